# SPDX-License-Identifier: Apache-2.0
"""Runs a workload's steps by system call and refuses whatever a sound workload never does.

Any errno ends the run, as in the guest. Beyond that: a handle must denote what its name denotes
when it is used, no name is opened twice, nothing stays open, no write starts beyond the end.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from ace_workloads.ops import Step, Verb

PAGE = 4096
XATTR = "user.xattr1"
_FALLOC_BITS = {
    "0": 0,
    "FALLOC_FL_KEEP_SIZE": 1,
    "FALLOC_FL_PUNCH_HOLE": 2,
    "FALLOC_FL_ZERO_RANGE": 16,
}
_libc = ctypes.CDLL(None, use_errno=True)


def fallocate(handle: int, flags: str, offset: int, length: int) -> None:
    """fallocate(2) with the mode spelt as in J-lang."""
    mode = sum(_FALLOC_BITS[word] for word in flags.split("|"))
    if _libc.fallocate(handle, mode, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
        raise OSError(ctypes.get_errno(), f"fallocate {flags} {offset} {length}")


class Executor:
    """One workload in one directory. ``sync`` is left out: it cannot fail and is the machine's."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._handles: dict[str, int] = {}
        self._do: dict[Verb, Callable[[Step], None]] = {
            Verb.OPEN: self._open,
            Verb.OPENDIR: self._opendir,
            Verb.CLOSE: self._close,
            Verb.MKDIR: lambda step: os.mkdir(self._at(step.path), step.mode),
            Verb.RMDIR: lambda step: os.rmdir(self._at(step.path)),
            # a fifo stands for the device of mknod, which only root may make
            Verb.MKNOD: lambda step: os.mkfifo(self._at(step.path), step.mode),
            Verb.SYMLINK: lambda step: os.symlink(step.path, self._at(step.path2)),
            Verb.LINK: lambda step: os.link(self._at(step.path), self._at(step.path2)),
            Verb.RENAME: lambda step: os.rename(self._at(step.path), self._at(step.path2)),
            Verb.UNLINK: lambda step: os.unlink(self._at(step.path)),
            Verb.REMOVE: lambda step: os.unlink(self._at(step.path)),
            Verb.TRUNCATE: lambda step: os.truncate(self._at(step.path), step.length),
            Verb.FALLOC: self._falloc,
            Verb.WRITE: self._write,
            Verb.DWRITE: self._dwrite,
            Verb.MMAPWRITE: self._mmapwrite,
            Verb.FSETXATTR: lambda step: os.setxattr(self._handle(step.path), XATTR, b"val1"),
            Verb.REMOVEXATTR: lambda step: os.removexattr(self._at(step.path), XATTR),
            Verb.FSYNC: lambda step: os.fsync(self._handle(step.path)),
            Verb.FDATASYNC: lambda step: os.fdatasync(self._handle(step.path)),
        }

    def run(self, steps: Iterable[Step]) -> None:
        """Every step in turn; OSError or AssertionError from the first one that goes wrong."""
        try:
            for step in steps:
                if step.verb in self._do:
                    self._do[step.verb](step)
            assert not self._handles, f"left open: {sorted(self._handles)}"
        finally:
            for handle in self._handles.values():
                os.close(handle)

    def _at(self, path: str) -> Path:
        return self._root / path

    def _handle(self, path: str) -> int:
        if path not in self._handles:
            raise OSError(errno.EBADF, f"no handle on {path!r}")
        handle = self._handles[path]
        held, named = os.fstat(handle), os.stat(self._at(path))
        assert (held.st_ino, held.st_dev) == (named.st_ino, named.st_dev), f"stale handle {path!r}"
        return handle

    def _open(self, step: Step) -> None:
        assert step.path not in self._handles, f"{step.path!r} is open already"
        flags = os.O_RDWR | os.O_CREAT
        self._handles[step.path] = os.open(self._at(step.path), flags, step.mode)

    def _opendir(self, step: Step) -> None:
        assert step.path not in self._handles, f"{step.path!r} is open already"
        self._handles[step.path] = os.open(self._at(step.path), os.O_RDONLY | os.O_DIRECTORY)

    def _close(self, step: Step) -> None:
        os.close(self._handles.pop(step.path))

    def _falloc(self, step: Step) -> None:
        handle = self._handle(step.path)
        assert step.offset <= os.fstat(handle).st_size, f"allocates beyond the end: {step}"
        fallocate(handle, step.flags, step.offset, step.length)

    def _write(self, step: Step) -> None:
        handle = self._handle(step.path)
        assert step.offset <= os.fstat(handle).st_size, f"writes beyond the end: {step}"
        assert os.pwrite(handle, bytes(step.length), step.offset) == step.length

    def _dwrite(self, step: Step) -> None:
        assert step.offset % PAGE == step.length % PAGE == 0, f"not aligned: {step}"
        self._handle(step.path)
        os.close(self._handles.pop(step.path))
        handle = os.open(self._at(step.path), os.O_RDWR | os.O_DIRECT | os.O_SYNC)
        try:
            assert step.offset < os.fstat(handle).st_size + PAGE, f"leaves a page out: {step}"
            with mmap.mmap(-1, step.length) as aligned:
                assert os.pwrite(handle, aligned, step.offset) == step.length
        finally:
            os.close(handle)

    def _mmapwrite(self, step: Step) -> None:
        handle = self._handle(step.path)
        fallocate(handle, "0", step.offset, step.length)
        with mmap.mmap(handle, step.offset + step.length) as mapped:
            mapped[step.offset :] = bytes(step.length)
            mapped.flush(step.offset, step.length)
