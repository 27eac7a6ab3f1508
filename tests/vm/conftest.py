# SPDX-License-Identifier: Apache-2.0
"""Tests that boot real guests. Skipped where they cannot run, unless HARNESS_REQUIRE_VM=1."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pair_cluster
import pytest
from kmod_guest import KmodGuests, Machines, machines
from lanes import Lanes, guests_of, in_order
from pair_cluster import Cluster
from pair_guest import Duo, duo

from harness.config import StateDir, state_dir
from harness.model.case import CaseResult
from harness.report.load import Run, load_run
from harness.vm.live import sweep

RUN_TIMEOUT_S = 1500
_PAIRS: list[Duo] = []
"""What the fixture ``pair`` has made; one at most."""
_REQUIRED = ("qemu-system-x86_64", "mmdebstrap", "cpio")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs guests."""
    here = Path(__file__).parent
    mine = [item for item in items if here in item.path.parents]
    for item in mine:
        item.add_marker(pytest.mark.vm)
    items[:] = [*(item for item in items if item not in mine), *in_order(mine)]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Guests that the next test has no use for are not kept."""
    if nextitem is None or guests_of(nextitem.nodeid) != guests_of(item.nodeid):
        for each in _PAIRS:
            each.switch_off()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """With ``--dist loadscope``, what shares guests goes into one lane, all else goes by itself."""
    return Lanes(config, log) if config.getvalue("dist") == "loadscope" else None


@pytest.fixture(scope="session", autouse=True)
def _machines() -> None:
    missing = [program for program in _REQUIRED if shutil.which(program) is None]
    if not missing:
        return
    reason = f"{', '.join(missing)} not installed: run 'make setup'"
    if os.environ.get("HARNESS_REQUIRE_VM") == "1":
        pytest.fail(reason)
    pytest.skip(f"{reason}; HARNESS_REQUIRE_VM=1 turns this skip into a failure")


@pytest.fixture(scope="session")
def on() -> Iterator[Machines]:
    """One hypervisor for all tests that boot guests in this process."""
    with machines() as opened:
        yield opened


@pytest.fixture(scope="session")
def kmod_guests(on: Machines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KmodGuests]:
    """Guests with the module and its tests, shared by the tests of a profile."""
    made = KmodGuests(on, lambda: tmp_path_factory.mktemp("kmod"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def pair(on: Machines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Duo]:
    """A pair of guests that stays up from test to test."""
    made = duo(on, tmp_path_factory.mktemp("pair"))
    _PAIRS.append(made)
    yield made
    _PAIRS.remove(made)
    made.close()


@pytest.fixture
def cluster(pair: Duo) -> Iterator[Cluster]:
    """A primary and a backup, still to be created, of which nothing is left afterwards."""
    yield from pair_cluster.cluster(pair)


@dataclass(frozen=True)
class Finished:
    """A ``harness`` command that has ended."""

    code: int
    output: str
    out: Path

    def run(self, suite: str) -> Run:
        """The record it left."""
        return load_run(self.out / suite / "latest")

    def results(self, suite: str) -> list[CaseResult]:
        return list(self.run(suite).results())


@dataclass(frozen=True)
class Harness:
    """The command line, with a run store of the test's own, and guests that no other run sweeps."""

    out: Path
    state: StateDir
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def command(self, *words: str) -> list[str]:
        makes_one = words[0] in ("run", "replay", "compare-engines") and "--resume" not in words
        stores = ("--out", str(self.out)) if makes_one else ()
        return [sys.executable, "-m", "harness", *words, *stores]

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Begin a command in a process group of its own."""
        process = subprocess.Popen(
            self.command(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "HARNESS_STATE_DIR": str(self.state.path)},
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def finish(self, process: subprocess.Popen[str]) -> Finished:
        """Wait for its end; a command that does not end is killed and fails the test."""
        try:
            output, _ = process.communicate(timeout=RUN_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            pytest.fail(f"no end after {RUN_TIMEOUT_S} s:\n{output}")
        return Finished(process.returncode, output, self.out)

    def __call__(self, *words: str) -> Finished:
        return self.finish(self.start(*words))


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    """Run ``harness`` commands; what a failing test left running is interrupted."""
    state = StateDir(tmp_path / "state")
    shared = state_dir().cache
    shared.mkdir(parents=True, exist_ok=True)
    state.path.mkdir()
    state.cache.symlink_to(shared)
    made = Harness(tmp_path / "reports", state)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.communicate()
    sweep(state)


def qemu_pids(words: Sequence[str]) -> list[int]:
    """Processes of QEMU whose command line has all ``words``."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            line = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if line.startswith(("/usr/bin/qemu-system", "qemu-system")) and all(
            w in line for w in words
        ):
            found.append(int(entry.name))
    return found
