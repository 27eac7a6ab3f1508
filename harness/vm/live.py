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
import hashlib
import platform
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import proc
from harness.config import StateDir
from harness.deadline import Deadline
from harness.errors import InfraError, UsageError
from harness.vm.orphans import end_qemu

_LOCK = "owner.lock"
_REGISTRY = ".lock"
_SHORT = "short-path"
_NAME = "name"
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
    with contextlib.ExitStack() as stack:
        try:
            with _registry(state):
                real.mkdir()
                lock = stack.enter_context(open(real / _LOCK, "w", encoding="ascii"))
                fcntl.flock(lock, fcntl.LOCK_EX)
            # Undone while the lock is still held: nobody may take the folder for a dead one's.
            stack.callback(_remove, real)
            path = _short(real, owner)
        except OSError as error:
            raise _cannot_make(real, error) from error
        yield LiveDir(path, owner)


def claim_name(state: StateDir, live: LiveDir, name: str) -> None:
    """Let others find this process by ``name``. UsageError when a running one has it already."""
    real = state.live / live.owner
    with _registry(state):
        if _named(state, name) is not None:
            raise UsageError(f"there is a {name!r} already")
        try:
            (real / _NAME).write_text(name, encoding="utf-8")
        except OSError as error:
            raise _cannot_make(real / _NAME, error) from error


def find_name(state: StateDir, name: str) -> LiveDir | None:
    """The folder of the running process that claimed ``name``."""
    if not state.live.is_dir():
        return None
    with _registry(state):
        return _named(state, name)


def _named(state: StateDir, name: str) -> LiveDir | None:
    """As of ``find_name``; call it with no folder being made meanwhile."""
    for path in sorted(state.live.glob(f"*/{_NAME}")):
        with contextlib.suppress(OSError):
            real = path.parent
            if path.read_text(encoding="utf-8") == name and not _is_stale(real):
                return LiveDir(_given_short(real) or real, real.name)
    return None


@contextlib.contextmanager
def _registry(state: StateDir) -> Iterator[None]:
    """One process at a time makes and claims its folder, or removes those of dead ones.

    A folder that is made but not claimed yet would look like one of a dead process.
    """
    path = state.live / _REGISTRY
    try:
        state.live.mkdir(parents=True, exist_ok=True)
        lock = open(path, "w", encoding="ascii")  # noqa: SIM115 - closed below
    except OSError as error:
        raise _cannot_make(path, error) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _cannot_make(path: Path, error: OSError) -> InfraError:
    return InfraError(
        f"cannot make {path}: {error.strerror or error}",
        hint=proc.NO_SPACE_HINT if error.errno in (errno.ENOSPC, errno.EDQUOT) else None,
    )


def _short(real: Path, owner: str) -> Path:
    if len(str(real)) <= _LONGEST_ROOT:
        return real
    link = Path(tempfile.gettempdir()) / f"harness-{owner}"
    # In this order, so that there is no link that nobody knows of.
    (real / _SHORT).write_text(str(link), encoding="utf-8")
    link.symlink_to(real)
    return link


def _given_short(real: Path) -> Path | None:
    """The short link to ``real``, if it was given one."""
    try:
        return Path((real / _SHORT).read_text(encoding="utf-8"))
    except OSError:
        return None


def _remove(real: Path) -> None:
    if (short := _given_short(real)) is not None:
        with contextlib.suppress(OSError):
            short.unlink()
    with contextlib.suppress(OSError):
        for path in real.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != _LOCK:
                path.unlink()
        # The lock goes last: a folder without one is taken for a dead process's.
        (real / _LOCK).unlink(missing_ok=True)
        real.rmdir()


def stale_dirs(state: StateDir) -> list[Path]:
    """Live folders whose process is gone; call it with no folder being made meanwhile."""
    if not state.live.is_dir():
        return []
    return [path for path in sorted(state.live.iterdir()) if path.is_dir() and _is_stale(path)]


def _is_stale(path: Path) -> bool:
    try:
        with open(path / _LOCK, "r+", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        # Its process was ended before it claimed the folder, or when it had all but removed it.
        return True
    except OSError:
        return False
    return True


def is_living(state: StateDir, owner: str) -> bool:
    """Whether the process with the live folder ``owner`` is there; it may be about to begin."""
    path = state.live / owner
    return path.is_dir() and not _is_stale(path)


def place_of(state: StateDir) -> str:
    """A name, of 8 digits, for this host and state directory, to tell one's own runs elsewhere."""
    try:
        host = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except OSError:
        host = ""
    words = f"{host or platform.node()}:{state.live.resolve()}"
    return hashlib.sha256(words.encode()).hexdigest()[:8]


def sweep(state: StateDir) -> int:
    """End the guests of killed runs, remove their folders, and return how many guests there were.

    InfraError when a guest cannot be ended; its folder stays.
    """
    if not state.live.is_dir():
        return 0
    ended = 0
    with _registry(state):
        for path in stale_dirs(state):
            ended += _end_guests(path)
            _remove(path)
    return ended


def _end_guests(path: Path) -> int:
    short = _given_short(path)
    names = [path] if short is None else [path, short]
    deadline = Deadline.after(_SWEEP_TIMEOUT_S, f"guests that a killed run left in {path}")
    try:
        return end_qemu(names, deadline)
    except InfraError as error:
        hint = f"end the QEMU processes whose command line names {path}, then remove that folder"
        raise InfraError(str(error), hint=hint) from error
