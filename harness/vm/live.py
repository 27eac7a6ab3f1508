# SPDX-License-Identifier: Apache-2.0
"""The folder of one running harness process, and what is left of processes that were killed.

Each process has its own folder with its own libvirt root, so that runs side by side share nothing.
The process holds a lock in it; a folder whose lock is free belongs to a dead process, and its
guests are ended and its files removed by whoever comes next.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.config import StateDir
from harness.errors import InfraError

_LOCK = "owner.lock"
_SHORT = "short-path"
_SWEEP_TIMEOUT_S = 120
# sun_path holds 108 bytes; libvirt appends /lib/qemu/domain-N-NAME/monitor.sock to its root.
_LONGEST_ROOT = 50


@dataclass(frozen=True, slots=True)
class LiveDir:
    """A folder for everything that exists only while this process runs."""

    path: Path
    """May be a short link to the real folder: unix socket names are limited to 108 bytes."""
    owner: str

    @property
    def libvirt_root(self) -> Path:
        return self.path / "libvirt"


@contextlib.contextmanager
def live_dir(state: StateDir) -> Iterator[LiveDir]:
    """A fresh live folder, locked for the length of the context and removed at its end.

    Raises InfraError when it cannot be made (disk full, no permission).
    """
    owner = uuid.uuid4().hex[:8]
    real = state.live / owner
    try:
        real.mkdir(parents=True)
        lock = open(real / _LOCK, "w", encoding="ascii")  # noqa: SIM115 - held until the end
    except OSError as error:
        hint = "free some space, or choose another disk with --state-dir DIR"
        raise InfraError(
            f"cannot make {real}: {error.strerror}",
            hint=hint if error.errno == errno.ENOSPC else None,
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield LiveDir(_short(real, owner), owner)
        finally:
            _remove(real)


def _short(real: Path, owner: str) -> Path:
    if len(str(real)) <= _LONGEST_ROOT:
        return real
    link = Path(tempfile.gettempdir()) / f"harness-{owner}"
    link.symlink_to(real)
    (real / _SHORT).write_text(str(link), encoding="utf-8")
    return link


def _remove(real: Path) -> None:
    with contextlib.suppress(OSError):
        Path((real / _SHORT).read_text(encoding="utf-8")).unlink()
    shutil.rmtree(real, ignore_errors=True)


def stale_dirs(state: StateDir) -> list[Path]:
    """Live folders whose process is gone."""
    if not state.live.is_dir():
        return []
    return [path for path in sorted(state.live.iterdir()) if path.is_dir() and _is_stale(path)]


def _is_stale(path: Path) -> bool:
    try:
        with open(path / _LOCK, "r+", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        # Made a moment ago and not locked yet, or cut short while being removed: only an empty
        # or lock-less folder that nobody is filling stays like this, and it holds no guests.
        return not (path / "libvirt").exists() and not any(path.iterdir())
    except OSError:
        return False
    return True


def sweep(state: StateDir) -> int:
    """End the guests of killed runs, remove their folders, and return how many guests there were.

    One process can open one embedded libvirt root only, so each root gets a process of its own.
    """
    ended = 0
    for path in stale_dirs(state):
        if (path / "libvirt").is_dir():
            ended += _sweep_one(path)
        _remove(path)
    return ended


def _sweep_one(path: Path) -> int:
    root = path
    with contextlib.suppress(OSError):
        root = Path((path / _SHORT).read_text(encoding="utf-8"))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "harness.vm.sweep", str(root / "libvirt")],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SWEEP_TIMEOUT_S,
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
    except subprocess.TimeoutExpired as error:
        raise InfraError(f"left-over guests of {path} could not be ended in time") from error
    if done.returncode != 0:
        raise InfraError(
            f"left-over guests of {path} could not be ended: "
            f"{done.stderr.decode(errors='replace').strip()[-300:]}",
            hint="end the QEMU processes whose command line names that folder, then remove it",
        )
    return int(done.stdout.split()[-1])
