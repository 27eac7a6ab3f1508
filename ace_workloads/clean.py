# SPDX-License-Identifier: Apache-2.0
"""The corrected dependency pass: it follows a real file system, so every step it emits succeeds.

Two invariants carry it. The state is a function of the steps emitted so far, nothing else; and a
handle lives only while its name denotes the inode it was opened on.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import Self

from ace_workloads import steps
from ace_workloads.bounds import Bounds, Cut, Extent
from ace_workloads.names import ROOT, is_file, parent
from ace_workloads.ops import CoreOp, OpKind, Persist, Step, Verb

_DIRECTORY = 0
"""Stands for the inode of any directory: directories are told apart by path alone."""

_PAGE = 4096
"""Alignment that O_DIRECT and msync ask for."""


class CleanModel:
    """The tree, file sizes and symlinks as they are, and the handles that are open."""

    __slots__ = (
        "_append_bytes",
        "_devices",
        "_handles",
        "_inodes",
        "_sizes",
        "_targets",
        "emitted",
    )

    def __init__(self, bounds: Bounds) -> None:
        self._append_bytes = bounds.append_bytes
        self._inodes: dict[str, int] = {ROOT: _DIRECTORY}
        """Path -> inode number. Hard links share one."""
        self._sizes: dict[int, int] = {}
        """Inode number -> file size in bytes; inodes are numbered as they are made."""
        self._targets: dict[str, str] = {}
        """Path of a symlink -> its content, which counts from the directory the link is in."""
        self._devices: set[int] = set()
        """Inode numbers that mknod made."""
        self._handles: dict[str, int] = {}
        """Path an open handle was opened by -> inode it denotes, in the order of opening."""
        self.emitted: list[Step] = []

    def fork(self) -> Self:
        twin = object.__new__(type(self))
        twin._append_bytes = self._append_bytes
        twin._inodes = self._inodes.copy()
        twin._sizes = self._sizes.copy()
        twin._targets = self._targets.copy()
        twin._devices = self._devices.copy()
        twin._handles = self._handles.copy()
        twin.emitted = []
        return twin

    def apply(self, op: CoreOp, *, last: bool) -> None:
        _APPLY[op.kind](self, op)
        if op.kind.persists_itself:
            self.emitted.append(steps.CHECKPOINTS[last])

    def persist(self, persist: Persist, *, last: bool) -> None:
        if persist.verb is Verb.CHECKPOINT:
            return
        if persist.verb is Verb.NONE:
            self.emitted.append(steps.NONE)
            return
        if persist.verb is Verb.SYNC:
            self.emitted.append(steps.SYNC)
        else:
            self._open(persist.path)
            self._emit_named(persist.verb, persist.path)
        self.emitted.append(steps.CHECKPOINTS[last])

    def finish(self) -> None:
        for path in sorted(self._handles, key=is_file, reverse=True):
            self._emit_named(Verb.CLOSE, path)

    # -- the tree ------------------------------------------------------------------------------

    def _emit_named(self, verb: Verb, path: str) -> None:
        self.emitted.append(steps.named(verb, path))

    def _below(self, path: str) -> list[str]:
        return [name for name in self._inodes if name.startswith(path + "/")]

    def _mkdir(self, path: str) -> None:
        self.emitted.append(steps.created(Verb.MKDIR, path))
        self._inodes[path] = _DIRECTORY

    def _ensure_parent(self, path: str) -> None:
        above = parent(path)
        if above not in self._inodes:
            self._ensure_parent(above)
            self._mkdir(above)

    def _new_file(self, path: str) -> int:
        number = len(self._sizes) + 1
        self._sizes[number] = 0
        self._inodes[path] = number
        return number

    def _unlink(self, path: str) -> None:
        """Remove a file's name, with its handle."""
        self._close(path)
        self._emit_named(Verb.UNLINK, path)
        self._forget(path)

    def _forget(self, path: str) -> None:
        self._inodes.pop(path)
        self._targets.pop(path, None)

    def _empty(self, path: str) -> None:
        """Remove everything in a directory, files before directories."""
        children = [name for name in self._below(path) if parent(name) == path]
        for child in sorted(children, key=lambda name: (not is_file(name), name)):
            if is_file(child):
                self._unlink(child)
            else:
                self._rmdir(child)

    def _rmdir(self, path: str) -> None:
        self._empty(path)
        self._close(path)
        self._emit_named(Verb.RMDIR, path)
        self._forget(path)

    def _resolved(self, path: str) -> int | None:
        """Inode that opening ``path`` gives, or None if nothing is there to be opened."""
        for _ in range(len(self._targets)):
            if path not in self._targets:
                break
            path = posixpath.normpath(posixpath.join(parent(path), self._targets[path]))
        number = None if path in self._targets else self._inodes.get(path)
        return None if number in self._devices else number

    # -- handles -------------------------------------------------------------------------------

    def _open(self, path: str) -> None:
        """Have a handle on ``path``, making what is not there.

        A device or a symlink that leads nowhere gives way to a file: neither can be fsynced.
        """
        self._ensure_parent(path)
        number = self._resolved(path)
        if path in self._handles:
            if self._handles[path] == number:
                return
            self._close(path)  # a symlink that leads elsewhere by now
        if number is None and path in self._inodes:
            self._unlink(path)
        if is_file(path):
            self.emitted.append(steps.opened(path))
            self._handles[path] = self._new_file(path) if number is None else number
            return
        if number is None:
            self._mkdir(path)
        self.emitted.append(steps.created(Verb.OPENDIR, path))
        self._handles[path] = _DIRECTORY

    def _open_regular(self, path: str) -> None:
        """Like ``_open``, but a symlink gives way: the bounds mean this name, not its target."""
        if path in self._targets:
            self._unlink(path)
        self._open(path)

    def _close(self, path: str) -> None:
        if path in self._handles:
            del self._handles[path]
            self._emit_named(Verb.CLOSE, path)

    def _have_closed(self, path: str) -> None:
        """Have something at ``path``, and no handle on it."""
        if path not in self._inodes:
            if is_file(path):
                self._open(path)
            else:
                self._ensure_parent(path)
                self._mkdir(path)
        self._close(path)

    # -- data ----------------------------------------------------------------------------------

    def _size(self, path: str) -> int:
        return self._sizes[self._inodes[path]]

    def _grow(self, path: str, size: int) -> None:
        number = self._inodes[path]
        self._sizes[number] = max(self._sizes[number], size)

    def _ensure_data(self, path: str) -> None:
        if self._size(path) == 0:
            self.emitted.append(steps.sized(Verb.WRITE, path, 0, self._append_bytes))
            self._grow(path, self._append_bytes)

    def _extent(self, op: CoreOp) -> tuple[int, int]:
        """Offset and length of ``op``, from the real size, page aligned where the call needs it."""
        start, length = steps.extent_bytes(op.option, self._size(op.path), self._append_bytes)
        start, end = max(start, 0), start + length
        if op.kind in (OpKind.DWRITE, OpKind.MMAPWRITE):
            if op.option == Extent.APPEND:  # must not touch old data: leave a gap rather
                start, end = _page_up(start), _page_up(start) + length
            start, end = start - start % _PAGE, _page_up(end)
        return start, end - start

    # -- core ops ------------------------------------------------------------------------------

    def _creat(self, op: CoreOp) -> None:
        self._ensure_parent(op.path)
        if op.path in self._inodes:
            self._unlink(op.path)
        self._open(op.path)

    def _mknod(self, op: CoreOp) -> None:
        self._ensure_parent(op.path)
        if op.path in self._inodes:
            self._unlink(op.path)
        self.emitted.append(steps.created(Verb.MKNOD, op.path))
        self._devices.add(self._new_file(op.path))

    def _core_mkdir(self, op: CoreOp) -> None:
        self._ensure_parent(op.path)
        if op.path in self._inodes:
            self._rmdir(op.path)
        self._mkdir(op.path)

    def _falloc(self, op: CoreOp) -> None:
        self._open_regular(op.path)
        self._ensure_data(op.path)
        offset, length = self._extent(op)
        self.emitted.append(steps.sized(Verb.FALLOC, op.path, offset, length, op.flags))
        if "KEEP_SIZE" not in op.flags:
            self._grow(op.path, offset + length)

    def _write(self, op: CoreOp) -> None:
        self._open_regular(op.path)
        if op.option != Extent.APPEND:
            self._ensure_data(op.path)
        offset, length = self._extent(op)
        self.emitted.append(steps.sized(Verb(op.kind), op.path, offset, length))
        self._grow(op.path, offset + length)
        if op.kind is OpKind.DWRITE:
            del self._handles[op.path]

    def _truncate(self, op: CoreOp) -> None:
        self._open_regular(op.path)
        self._ensure_data(op.path)
        size = 0 if op.option == Cut.ALIGNED else steps.UNALIGNED_SIZE
        self.emitted.append(steps.sized(Verb.TRUNCATE, op.path, 0, size))
        self._sizes[self._inodes[op.path]] = size

    def _link(self, op: CoreOp) -> None:
        self._ensure_parent(op.path)
        self._ensure_parent(op.path2)
        self._open_regular(op.path)
        if op.path2 in self._inodes:
            self._unlink(op.path2)
        self.emitted.append(steps.paired(Verb(op.kind), op.path, op.path2))
        if op.kind is OpKind.LINK:
            self._inodes[op.path2] = self._inodes[op.path]
        else:
            self._new_file(op.path2)
            self._targets[op.path2] = op.path

    def _core_unlink(self, op: CoreOp) -> None:
        self._have_closed(op.path)
        self._emit_named(Verb(op.kind), op.path)
        self._forget(op.path)

    def _rename(self, op: CoreOp) -> None:
        self._ensure_parent(op.path)
        self._ensure_parent(op.path2)
        self._have_closed(op.path)
        for path in [*self._below(op.path), op.path2]:
            self._close(path)
        if not is_file(op.path) and op.path2 in self._inodes:
            self._empty(op.path2)
        self.emitted.append(steps.paired(Verb.RENAME, op.path, op.path2))
        # rename(2) between two links of one inode does nothing
        if not is_file(op.path) or self._inodes.get(op.path2) != self._inodes[op.path]:
            self._move(op.path, op.path2)

    def _move(self, old: str, new: str) -> None:
        self._targets.pop(new, None)
        for path in [old, *self._below(old)]:
            there = new + path.removeprefix(old)
            self._inodes[there] = self._inodes.pop(path)
            if path in self._targets:
                self._targets[there] = self._targets.pop(path)

    def _fsetxattr(self, op: CoreOp) -> None:
        self._open_regular(op.path)
        self._emit_named(Verb.FSETXATTR, op.path)

    def _removexattr(self, op: CoreOp) -> None:
        self._fsetxattr(op)
        self._emit_named(Verb.REMOVEXATTR, op.path)

    def _fdatasync(self, op: CoreOp) -> None:
        self._open_regular(op.path)
        self._ensure_data(op.path)
        self._emit_named(Verb.FDATASYNC, op.path)


def _page_up(offset: int) -> int:
    return -(-offset // _PAGE) * _PAGE


_APPLY: dict[OpKind, Callable[[CleanModel, CoreOp], None]] = {
    OpKind.CREAT: CleanModel._creat,
    OpKind.MKDIR: CleanModel._core_mkdir,
    OpKind.MKNOD: CleanModel._mknod,
    OpKind.FALLOC: CleanModel._falloc,
    OpKind.WRITE: CleanModel._write,
    OpKind.DWRITE: CleanModel._write,
    OpKind.MMAPWRITE: CleanModel._write,
    OpKind.LINK: CleanModel._link,
    OpKind.SYMLINK: CleanModel._link,
    OpKind.UNLINK: CleanModel._core_unlink,
    OpKind.REMOVE: CleanModel._core_unlink,
    OpKind.RENAME: CleanModel._rename,
    OpKind.FSETXATTR: CleanModel._fsetxattr,
    OpKind.REMOVEXATTR: CleanModel._removexattr,
    OpKind.TRUNCATE: CleanModel._truncate,
    OpKind.FDATASYNC: CleanModel._fdatasync,
}
