# SPDX-License-Identifier: Apache-2.0
"""A keeper in a process of its own: how it begins and ends, what it leaves; guests in memory."""

from __future__ import annotations

import contextlib
import io
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli.main import run_command_line
from harness.config import CHECKOUT, StateDir
from harness.run.devpair.keeper import Keeper
from harness.run.devpair.options import PairOptions
from harness.run.options import RunOptions
from harness.vm.live import find_name, sweep

WAIT_S = 60


class Shop:
    """Commands with one state directory."""

    def __init__(self, folder: Path) -> None:
        self.state = StateDir(folder)
        self.pids: list[int] = []

    def start(self, *words: str, how: str = "up") -> subprocess.Popen[str]:
        here = Path(__file__).parent
        environment = {
            **os.environ, "HARNESS_TEST_PAIR": how, "HARNESS_STATE_DIR": str(self.state.path),
            "PYTHONPATH": f"{CHECKOUT}:{here}",
        }  # fmt: skip
        command = [sys.executable, str(here / "pair_keeper_child.py"), "pair", *words]
        return subprocess.Popen(
            command, env=environment, cwd=CHECKOUT, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def __call__(self, *words: str) -> tuple[int, str]:
        """A command that starts nothing, in this process: that is quicker."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = run_command_line(["pair", *words, "--state-dir", str(self.state.path)])
        return code, said.getvalue()

    def up(self, *words: str, how: str = "up", code: int = 0) -> str:
        process = self.start("up", "--guests", "micro", *words, how=how)
        output, _ = process.communicate(timeout=WAIT_S)
        assert process.returncode == code, output
        return output

    def folders(self) -> list[Path]:
        live = self.state.live
        return [path for path in live.iterdir() if path.is_dir()] if live.is_dir() else []

    def keeper_of(self, process: subprocess.Popen[str]) -> int:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        deadline = time.monotonic() + WAIT_S
        while not (found := children.read_text().split()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        self.pids.append(int(found[0]))
        return int(found[0])


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path / "state")
    yield made
    for name in ("dev", "other"):
        made("down", "--name", name)
    assert made.folders() == []


def read_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"nothing about {text!r}")


def ends(pid: int) -> bool:
    """Whether the process ends in time."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], WAIT_S)[0])
    finally:
        os.close(process)


def test_up_status_and_down(shop: Shop) -> None:
    said = shop.up()
    for command in ("pair status", "pair run", "pair reload", "pair down"):
        assert f"harness {command}" in said
    code, output = shop("status", "--json")
    status = json.loads(output)
    assert (code, status["up"], status["connected"]) == (0, True, True)
    (folder,) = shop.folders()
    log = (folder / "keeper.log").read_text()
    assert "booting both guests" in log
    assert shop("cut") == (0, "the link is cut\n")
    assert shop("status")[0] == 1
    assert "asked for cut" in (folder / "keeper.log").read_text()
    assert shop("down") == (0, "pair 'dev' is down\n")
    assert shop.folders() == []
    assert shop("down") == (0, "no pair 'dev' is up\n")
    assert shop("status")[0] == 1


def test_one_pair_a_name(shop: Shop) -> None:
    shop.up()
    code, output = shop("up", "--guests", "micro")
    assert code == 64
    assert "pair 'dev' is up already" in output
    assert "--name other" in shop.up("--name", "other")
    assert len(shop.folders()) == 2
    assert shop("down", "--name", "other")[0] == 0
    assert shop("status")[0] == 0


def test_two_at_the_same_moment_make_one(shop: Shop) -> None:
    both = [shop.start("up", "--guests", "micro") for _ in range(2)]
    outputs = [process.communicate(timeout=WAIT_S)[0] for process in both]
    assert sorted(process.returncode for process in both) == [0, 64], outputs
    assert len(shop.folders()) == 1


def test_what_goes_wrong_is_the_commands_own_error(shop: Shop) -> None:
    output = shop.up(how="refused", code=64)
    assert output.endswith("harness: no such module\n  [another one]\n")
    assert shop.folders() == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_keeper_does_not_outlive_a_command_that_waits_for_it(
    shop: Shop, how: signal.Signals
) -> None:
    process = shop.start("up", "--guests", "micro", how="stuck")
    keeper = shop.keeper_of(process)
    read_until(process, "building the module")
    compilers = Path(f"/proc/{keeper}/task/{keeper}/children")
    deadline = time.monotonic() + WAIT_S
    while not (found := compilers.read_text().split()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, how)
    assert ends(keeper)
    assert ends(int(found[0])), "what it had started ends with it"
    process.communicate(timeout=WAIT_S)
    assert process.returncode == {signal.SIGINT: 130}.get(how, -how)
    assert shop.folders() == []


def test_it_can_be_asked_to_end_before_it_is_up(shop: Shop) -> None:
    process = shop.start("up", "--guests", "micro", how="stuck")
    read_until(process, "building the module")
    code, output = shop("cut")
    assert code == 64
    assert "not up yet" in output
    assert "building the module" in output
    assert shop("down")[0] == 0
    output, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == 3
    assert "ended before it was up" in output


def test_a_killed_one_is_told_from_none_and_tidied_up(shop: Shop) -> None:
    process = shop.start("up", "--guests", "micro")
    keeper = shop.keeper_of(process)
    process.communicate(timeout=WAIT_S)
    os.kill(keeper, signal.SIGKILL)
    assert ends(keeper)
    code, output = shop("status")
    assert code == 1
    assert "was killed" in output
    assert shop("reload")[0] == 64
    assert find_name(shop.state, "pair dev") is None
    assert "was killed: 0 left-over guests" in shop("down")[1]
    assert shop.folders() == []


def test_the_next_up_takes_the_place_of_a_killed_one(shop: Shop) -> None:
    process = shop.start("up", "--guests", "micro")
    keeper = shop.keeper_of(process)
    process.communicate(timeout=WAIT_S)
    os.kill(keeper, signal.SIGKILL)
    assert ends(keeper)
    shop.up()
    sweep(shop.state)
    assert len(shop.folders()) == 1


def test_signals_end_it_in_order(shop: Shop) -> None:
    process = shop.start("up", "--guests", "micro")
    keeper = shop.keeper_of(process)
    process.communicate(timeout=WAIT_S)
    for _ in range(3):
        os.kill(keeper, signal.SIGTERM)
    assert ends(keeper)
    assert shop.folders() == []


def test_the_end_is_interrupted_by_nothing() -> None:
    keeper = Keeper(PairOptions(RunOptions(suite="pair")), lambda text: None)
    with pytest.raises(KeyboardInterrupt):
        keeper._interrupt(signal.SIGTERM, None)
    keeper._interrupt(signal.SIGTERM, None)


def test_in_the_foreground_it_stays_until_ctrl_c(shop: Shop) -> None:
    process = shop.start("up", "--guests", "micro", "--foreground")
    read_until(process, "Ctrl-C ends it")
    assert shop("status")[0] == 0
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=WAIT_S)
    assert process.returncode == 0
    assert shop.folders() == []


def test_a_keeper_is_not_started_by_hand() -> None:
    assert run_command_line(["pair", "keep", "--leash", "777"]) == 3
