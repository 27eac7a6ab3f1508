# SPDX-License-Identifier: Apache-2.0
"""A guest with a module that commits mistakes, and what its kernel says about each."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kmod_guest import DEBUGGING, KmodGuest, Machines, kmod_guest

from harness.build.cache import built, content_key
from harness.build.kmod import KMOD_SOURCE
from harness.build.profile import load_profile
from harness.build.rootfs import RootTree, build_root, make_inside
from harness.config import StateDir, state_dir
from harness.errors import HarnessError
from harness.guest.oops import KernelReport, Scanner

_SOURCE = KMOD_SOURCE / "tests" / "bad"
_FILE = "harness_bad.ko"
_TIMEOUT_S = 120.0
_POLL_S = 0.2


@dataclass
class BadGuest:
    """Commits mistakes by name; reports are read off the console."""

    guest: KmodGuest
    _scanner: Scanner = field(default_factory=Scanner)
    _read: int = 0

    def commit(self, name: str) -> None:
        """Make the mistake ``name`` of ``kmod/tests/bad``; the guest may not survive it."""
        line = f"echo {name} > /sys/module/harness_bad/parameters/commit"
        with contextlib.suppress(HarnessError):
            self.guest.run("sh", "-c", line, timeout_s=_TIMEOUT_S)

    def reports(self) -> tuple[KernelReport, ...]:
        """Those that have begun since the last call."""
        with open(self.guest.console, "rb") as console:
            console.seek(self._read)
            fresh = console.read()
        self._read += len(fresh)
        return self._scanner.feed(fresh)

    def reports_until(self, kind: str, title: str) -> list[KernelReport]:
        """Wait for one of this kind and beginning; all reports up to then, or up to a deadline."""
        found: list[KernelReport] = []
        end = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < end:
            found += self.reports()
            if any(r.kind == kind and r.title.startswith(title) for r in found):
                break
            time.sleep(_POLL_S)
        return found


@contextlib.contextmanager
def bad_guest(
    on: Machines, profile_name: str, folder: Path, arguments: Sequence[str] = ()
) -> Iterator[BadGuest]:
    """Boot a guest of the profile with the module loaded."""
    state = state_dir()
    module = _build(build_root(load_profile(profile_name), state), state)
    words = (*DEBUGGING, *arguments)
    with kmod_guest(
        on, profile_name, folder, faults=False, arguments=words, files=[module]
    ) as guest:
        loaded = guest.run("insmod", f"/opt/kmod/{_FILE}")
        assert loaded.ok, loaded.text
        bad = BadGuest(guest)
        assert bad.reports() == (), "a guest that has done nothing wrong yet"
        yield bad


def _build(root: RootTree, state: StateDir) -> Path:
    sources = sorted(path for path in _SOURCE.iterdir() if path.is_file())
    words = [f"KVER={root.release}"]
    key = content_key([root.path.parent.name, *sources])

    def build(work: Path) -> None:
        make_inside(root, sources, words, work / _FILE, "building the bad module")

    return built(state.cache, f"bad-module-{key}", build) / _FILE
