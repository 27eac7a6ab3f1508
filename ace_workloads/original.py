# SPDX-License-Identifier: Apache-2.0
"""The published generator's dependency pass, errors included (``docs/workloads.md`` lists them).

It believes what it is told: lengths are per name and never reset, a directory rename moves no
children, a handle that is lost stays lost. ``clean`` is the model that follows a real file system.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from ace_workloads import steps
from ace_workloads.bounds import Bounds, Cut, Extent
from ace_workloads.names import ROOT, parent
from ace_workloads.ops import CoreOp, OpKind, Persist, Step, Verb

_CHILDREN = {"A": ("A/foo", "A/bar"), "B": ("B/foo", "B/bar"), "A/C": ("A/C/foo", "A/C/bar")}


class OriginalModel:
    """Tracked state: which names exist and are open, which hold data, and how long they are.

    Both maps keep insertion order, which decides the order of the closes at the end.
    """

    __slots__ = ("_dirs", "_files", "_fixed", "_length", "_written", "emitted")

    def __init__(self, bounds: Bounds) -> None:
        self._fixed = (bounds.known_files, bounds.known_dirs, bounds.append_bytes)
        self._files: dict[str, bool] = {}
        """Name -> whether a handle is open."""
        self._dirs: dict[str, bool] = {ROOT: False}
        self._written: set[str] = set()
        self._length: dict[str, int] = {}
        self.emitted: list[Step] = []

    def fork(self) -> Self:
        twin = object.__new__(type(self))
        twin._fixed = self._fixed
        twin._files = self._files.copy()
        twin._dirs = self._dirs.copy()
        twin._written = self._written.copy()
        twin._length = self._length.copy()
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
            self._ensure_open(persist.path)
            self.emitted.append(steps.named(persist.verb, persist.path))
        self.emitted.append(steps.CHECKPOINTS[last])

    def finish(self) -> None:
        for names in (self._files, self._dirs):
            self.emitted.extend(
                steps.named(Verb.CLOSE, name) for name, is_open in names.items() if is_open
            )

    # -- what an op needs first --------------------------------------------------------------

    def _emit_named(self, verb: Verb, path: str) -> None:
        self.emitted.append(steps.named(verb, path))

    def _mkdir(self, path: str) -> None:
        self.emitted.append(steps.created(Verb.MKDIR, path))
        self._dirs[path] = False

    def _ensure_parent(self, path: str) -> None:
        above = parent(path)
        if above in self._dirs:
            return
        if above == "A/C" and "A" not in self._dirs:
            self._mkdir("A")
        self._mkdir(above)

    def _ensure_open(self, path: str) -> None:
        """Open ``path``, with what that takes; quirk Q4: nothing for a file out of bounds."""
        self._ensure_parent(path)
        known_files, known_dirs, _ = self._fixed
        if path in known_dirs:
            if path not in self._dirs:
                self._mkdir(path)
            if not self._dirs[path]:
                self.emitted.append(steps.created(Verb.OPENDIR, path))
                self._dirs[path] = True
        elif path in known_files and not self._files.get(path, False):
            self._open_file(path)

    def _open_file(self, path: str) -> None:
        self.emitted.append(steps.opened(path))
        self._files[path] = True

    def _ensure_closed(self, path: str) -> None:
        for names in (self._files, self._dirs):
            if names.get(path, False):
                self._emit_named(Verb.CLOSE, path)
                names[path] = False

    def _close_file(self, path: str) -> None:
        if self._files.get(path, False):
            self._emit_named(Verb.CLOSE, path)
            self._files[path] = False

    def _unlink(self, path: str) -> None:
        del self._files[path]
        self._emit_named(Verb.UNLINK, path)

    def _ensure_data(self, path: str) -> None:
        if path not in self._written:
            self._transfer(Verb.WRITE, path, Extent.APPEND)

    def _transfer(self, verb: Verb, path: str, extent: str, flags: str = "") -> None:
        """Emit a write or allocation and track the length the way the original does."""
        length = self._length.get(path, 0)
        _, _, append_bytes = self._fixed
        offset, count = steps.extent_bytes(extent, length, append_bytes)
        self.emitted.append(steps.sized(verb, path, offset, count, flags))
        if extent == Extent.APPEND:
            self._length[path] = length + count
            if verb is not Verb.FALLOC:
                self._written.add(path)
        elif verb is Verb.FALLOC and extent == Extent.OVERLAP_EXTEND:
            self._length[path] = offset + count

    # -- core ops ----------------------------------------------------------------------------

    def _creat(self, op: CoreOp) -> None:
        self._ensure_parent(op.path)
        if op.path in self._files:
            self._unlink(op.path)
        self._open_file(op.path)

    def _mknod(self, op: CoreOp) -> None:
        self._ensure_parent(op.path)
        if op.path in self._files:
            self._unlink(op.path)
        self.emitted.append(steps.created(Verb.MKNOD, op.path))
        self._files[op.path] = False

    def _core_mkdir(self, op: CoreOp) -> None:
        self._ensure_parent(op.path)
        if op.path in self._dirs:
            self._remove_dir(op.path)
        self._mkdir(op.path)

    def _remove_dir(self, path: str) -> None:
        for child in _CHILDREN[path]:
            if child in self._files:
                self._close_file(child)
                self._unlink(child)
        if path == "A" and "A/C" in self._dirs:
            if self._dirs["A/C"]:
                self._emit_named(Verb.CLOSE, "A/C")
            self._remove_dir("A/C")
        del self._dirs[path]
        self._emit_named(Verb.RMDIR, path)

    def _falloc(self, op: CoreOp) -> None:
        self._ensure_open(op.path)
        self._ensure_data(op.path)
        self._transfer(Verb.FALLOC, op.path, op.option, op.flags)

    def _write(self, op: CoreOp) -> None:
        self._ensure_open(op.path)
        # quirk Q5: the original never sees that an mmapwrite appends
        if op.option != Extent.APPEND or op.kind is OpKind.MMAPWRITE:
            self._ensure_data(op.path)
        self._transfer(Verb(op.kind), op.path, op.option)
        if op.kind is OpKind.DWRITE:
            self._files[op.path] = False

    def _link(self, op: CoreOp) -> None:
        self._ensure_parent(op.path)
        self._ensure_parent(op.path2)
        self._ensure_open(op.path)
        self._close_file(op.path2)
        if op.path2 in self._files:
            self._unlink(op.path2)
        self.emitted.append(steps.paired(Verb(op.kind), op.path, op.path2))
        self._files[op.path2] = False

    def _rename(self, op: CoreOp) -> None:
        self._ensure_parent(op.path)
        self._ensure_parent(op.path2)
        self._ensure_open(op.path)
        self._ensure_closed(op.path)
        self._close_file(op.path2)
        self.emitted.append(steps.paired(Verb.RENAME, op.path, op.path2))
        known_files, _, _ = self._fixed
        names = self._files if op.path in known_files else self._dirs
        names.pop(op.path, None)
        names[op.path2] = False

    def _core_unlink(self, op: CoreOp) -> None:
        self._ensure_open(op.path)
        self._ensure_closed(op.path)
        self._files.pop(op.path, None)
        self._emit_named(Verb(op.kind), op.path)

    def _fsetxattr(self, op: CoreOp) -> None:
        self._ensure_open(op.path)
        self._emit_named(Verb.FSETXATTR, op.path)

    def _removexattr(self, op: CoreOp) -> None:
        self._fsetxattr(op)
        self._emit_named(Verb.REMOVEXATTR, op.path)

    def _truncate(self, op: CoreOp) -> None:
        self._ensure_open(op.path)
        self._ensure_data(op.path)
        size = 0 if op.option == Cut.ALIGNED else steps.UNALIGNED_SIZE
        self.emitted.append(steps.sized(Verb.TRUNCATE, op.path, 0, size))
        if size == 0:
            self._length[op.path] = 0

    def _fdatasync(self, op: CoreOp) -> None:
        self._ensure_open(op.path)
        self._ensure_data(op.path)
        self._emit_named(Verb.FDATASYNC, op.path)


_APPLY: dict[OpKind, Callable[[OriginalModel, CoreOp], None]] = {
    OpKind.CREAT: OriginalModel._creat,
    OpKind.MKDIR: OriginalModel._core_mkdir,
    OpKind.MKNOD: OriginalModel._mknod,
    OpKind.FALLOC: OriginalModel._falloc,
    OpKind.WRITE: OriginalModel._write,
    OpKind.DWRITE: OriginalModel._write,
    OpKind.MMAPWRITE: OriginalModel._write,
    OpKind.LINK: OriginalModel._link,
    OpKind.SYMLINK: OriginalModel._link,
    OpKind.UNLINK: OriginalModel._core_unlink,
    OpKind.REMOVE: OriginalModel._core_unlink,
    OpKind.RENAME: OriginalModel._rename,
    OpKind.FSETXATTR: OriginalModel._fsetxattr,
    OpKind.REMOVEXATTR: OriginalModel._removexattr,
    OpKind.TRUNCATE: OriginalModel._truncate,
    OpKind.FDATASYNC: OriginalModel._fdatasync,
}
