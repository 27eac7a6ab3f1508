# SPDX-License-Identifier: Apache-2.0
"""A guest with a module that commits mistakes, and what its kernel says about each."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kmod_guest import BAD_FILE, DEBUGGING, KmodGuest, Machines, build_bad, kmod_guest

from harness.build.profile import load_profile
from harness.build.rootfs import build_root
from harness.config import state_dir
from harness.errors import HarnessError
from harness.guest.oops import KernelReport, Scanner

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


def insert_bad(guest: KmodGuest, heard: int) -> BadGuest:
    """Load the module into ``guest``, whose console up to ``heard`` is of no interest."""
    loaded = guest.run("insmod", f"/opt/kmod/{BAD_FILE}")
    assert loaded.ok, loaded.text
    bad = BadGuest(guest, _read=heard)
    assert bad.reports() == (), "a guest that has done nothing wrong yet"
    return bad


@contextlib.contextmanager
def bad_guest(
    on: Machines, profile_name: str, folder: Path, arguments: Sequence[str] = ()
) -> Iterator[BadGuest]:
    """Boot a guest of the profile with the module loaded."""
    state = state_dir()
    module = build_bad(build_root(load_profile(profile_name), state), state)
    words = (*DEBUGGING, *arguments)
    with kmod_guest(
        on, profile_name, folder, faults=False, arguments=words, files=[module]
    ) as guest:
        yield insert_bad(guest, 0)
