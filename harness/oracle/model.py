# SPDX-License-Identifier: Apache-2.0
"""POSIX model of the tiny file system a workload builds, with the whole history kept.

A step changes the model at its line number (1-based). Names are *slots*: a directory inode and a
name in it, so that renaming a directory moves nothing below it. Handles belong to the name they
were opened under and keep their inode when the name goes away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ace_workloads.ops import Step, Verb
from harness.model.content import ZERO
from harness.model.tree import FileKind
from harness.oracle.history import END, Change, History
from harness.oracle.objects import ROOT, Inode, Persisted, Promise, Slot, Xattrs

XATTR = ("user.xattr1", b"val1")
_MAX_LINKS = 40


class OpError(Exception):
    """A step whose system call must fail; the argument is the errno name."""


class Model:
    """The file system after each line of a workload, as far as it has been executed."""

    def __init__(self) -> None:
        root = Inode(ROOT, FileKind.DIR, 0, 0o755)
        self.inodes: dict[int, Inode] = {ROOT: root}
        self.slots: dict[Slot, History[int | None]] = {}
        self.persisted: list[Persisted] = []
        self.errors: dict[int, str] = {}
        """Line -> errno of every step that must fail; it changes nothing."""
        self.line = 0
        self._handles: dict[str, int] = {}
        self._do: dict[Verb, Callable[[Step], None]] = {
            Verb.OPEN: self._open,
            Verb.OPENDIR: self._opendir,
            Verb.CLOSE: self._close,
            Verb.MKDIR: self._mkdir,
            Verb.MKNOD: self._mknod,
            Verb.SYMLINK: self._symlink,
            Verb.RMDIR: self._rmdir,
            Verb.UNLINK: self._unlink,
            Verb.REMOVE: self._remove,
            Verb.LINK: self._link,
            Verb.RENAME: self._rename,
            Verb.WRITE: self._write,
            Verb.DWRITE: self._dwrite,
            Verb.MMAPWRITE: self._mmapwrite,
            Verb.FALLOC: self._falloc,
            Verb.TRUNCATE: self._truncate,
            Verb.FSETXATTR: self._fsetxattr,
            Verb.REMOVEXATTR: self._removexattr,
            Verb.FSYNC: self._fsync,
            Verb.FDATASYNC: self._fsync,
            Verb.SYNC: self._sync,
        }

    def step(self, step: Step) -> None:
        """Execute the next line; a step that must fail is noted in ``errors``."""
        self.line += 1
        action = self._do.get(step.verb)
        if action is None:
            return
        try:
            action(step)
        except OpError as error:
            self.errors[self.line] = str(error)

    # --- questions -------------------------------------------------------------------------

    def children(self, directory: int, line: int | None = None) -> dict[str, int]:
        """Entries of a directory right after ``line`` (default: now)."""
        when = self.line if line is None else line
        found = {}
        for slot, history in self.slots.items():
            if slot.dir == directory and (inode := history.at(when)) is not None:
                found[slot.name] = inode
        return found

    def paths(self, line: int | None = None) -> dict[str, int]:
        """Path -> inode of the whole tree right after ``line`` (default: now), ``""`` the root."""
        found = {"": ROOT}
        todo = [("", ROOT)]
        while todo:
            prefix, directory = todo.pop()
            for name, inode in self.children(directory, line).items():
                path = f"{prefix}/{name}" if prefix else name
                found[path] = inode
                if self.inodes[inode].is_dir:
                    todo.append((path, inode))
        return found

    def names_of(self, inode: int, line: int | None = None) -> tuple[Slot, ...]:
        """Slots bound to ``inode`` right after ``line`` (default: now)."""
        when = self.line if line is None else line
        return tuple(slot for slot, history in self.slots.items() if history.at(when) == inode)

    def ancestors(self, inode: int, line: int) -> Iterator[int]:
        """Directories above every name ``inode`` has right after ``line``, the root left out."""
        for slot in self.names_of(inode, line):
            if slot.dir != ROOT:
                yield slot.dir
                yield from self.ancestors(slot.dir, line)

    def path_of(self, slot: Slot) -> str:
        """The slot's path now, or as last known when its directory is gone."""
        if slot.dir == ROOT:
            return slot.name
        for above, history in self.slots.items():
            if slot.dir in {inode for _, inode in history.since(0)}:
                current = self.names_of(slot.dir)
                return f"{self.path_of(current[0] if current else above)}/{slot.name}"
        return slot.name

    # --- names ------------------------------------------------------------------------------

    def _lookup(self, path: str, *, follow: bool, depth: int = 0) -> tuple[Slot | None, int | None]:
        """Last slot of ``path`` and what it is bound to; the root has no slot."""
        if depth > _MAX_LINKS:
            raise OpError("ELOOP")
        slot, current = None, ROOT
        parts = path.split("/") if path else []
        for position, name in enumerate(parts):
            if not self.inodes[current].is_dir:
                raise OpError("ENOTDIR")
            slot = Slot(current, name)
            bound = self.slots[slot].now() if slot in self.slots else None
            last = position == len(parts) - 1
            if bound is not None and (follow or not last):
                target = self.inodes[bound].target
                if target is not None:
                    above = "/".join(parts[:position])
                    step = f"{above}/{target}" if above else target
                    rest = "/".join([step, *parts[position + 1 :]])
                    return self._lookup(rest, follow=follow, depth=depth + 1)
            if bound is None:
                if last:
                    return slot, None
                raise OpError("ENOENT")
            current = bound
        return slot, current

    def _existing(self, path: str, *, follow: bool = False) -> tuple[Slot, int]:
        slot, inode = self._lookup(path, follow=follow)
        if inode is None:
            raise OpError("ENOENT")
        if slot is None:
            raise OpError("EBUSY")
        return slot, inode

    def _inode_at(self, path: str) -> Inode:
        _, inode = self._lookup(path, follow=True)
        if inode is None:
            raise OpError("ENOENT")
        return self.inodes[inode]

    def _bind(self, slot: Slot, inode: int | None) -> None:
        history = self.slots.setdefault(slot, History[int | None](0, None))
        for changed in (history.now(), inode, slot.dir):
            if changed is not None:
                self._log(self.inodes[changed])
        history.set(self.line, inode)

    def _log(self, inode: Inode) -> None:
        self._touch(inode)
        if self.line not in inode.logged:
            inode.logged.append(self.line)

    def _touch(self, inode: Inode) -> None:
        if self.line not in inode.touched:
            inode.touched.append(self.line)

    def _create(
        self, path: str, kind: FileKind | None, mode: int, target: str | None = None
    ) -> Inode:
        slot, bound = self._lookup(path, follow=False)
        if bound is not None or slot is None:
            raise OpError("EEXIST")
        inode = Inode(len(self.inodes), kind, self.line, mode, target)
        self.inodes[inode.id] = inode
        if target is not None:
            inode.size.set(self.line, len(target.encode()))
        self._bind(slot, inode.id)
        return inode

    def _open(self, step: Step) -> None:
        slot, bound = self._lookup(step.path, follow=True)
        if bound is None:
            if "O_CREAT" not in step.flags or slot is None:
                raise OpError("ENOENT")
            inode = Inode(len(self.inodes), FileKind.FILE, self.line, step.mode)
            self.inodes[inode.id] = inode
            self._bind(slot, inode.id)
            bound = inode.id
        elif self.inodes[bound].is_dir:
            raise OpError("EISDIR")
        self._handles[step.path] = bound

    def _opendir(self, step: Step) -> None:
        inode = self._inode_at(step.path)
        if not inode.is_dir:
            raise OpError("ENOTDIR")
        self._handles[step.path] = inode.id

    def _close(self, step: Step) -> None:
        if self._handles.pop(step.path, None) is None:
            raise OpError("EBADF")

    def _mkdir(self, step: Step) -> None:
        self._create(step.path, FileKind.DIR, step.mode)

    def _mknod(self, step: Step) -> None:
        self._create(step.path, None, step.mode)

    def _symlink(self, step: Step) -> None:
        self._create(step.path2, FileKind.SYMLINK, 0o777, step.path)

    def _rmdir(self, step: Step) -> None:
        slot, inode = self._existing(step.path)
        if not self.inodes[inode].is_dir:
            raise OpError("ENOTDIR")
        if self.children(inode):
            raise OpError("ENOTEMPTY")
        self._bind(slot, None)

    def _unlink(self, step: Step) -> None:
        slot, inode = self._existing(step.path)
        if self.inodes[inode].is_dir:
            raise OpError("EISDIR")
        self._bind(slot, None)

    def _remove(self, step: Step) -> None:
        _, inode = self._existing(step.path)
        (self._rmdir if self.inodes[inode].is_dir else self._unlink)(step)

    def _link(self, step: Step) -> None:
        _, inode = self._existing(step.path)
        slot, bound = self._lookup(step.path2, follow=False)
        if bound is not None or slot is None:
            raise OpError("EEXIST")
        if self.inodes[inode].is_dir:
            raise OpError("EPERM")
        self._bind(slot, inode)

    def _rename(self, step: Step) -> None:
        old, inode = self._existing(step.path)
        new, replaced = self._lookup(step.path2, follow=False)
        if new is None:
            raise OpError("EBUSY")
        moved = self.inodes[inode]
        if moved.is_dir and (new.dir == inode or inode in self.ancestors(new.dir, self.line)):
            raise OpError("EINVAL")
        if replaced is not None:
            if replaced == inode:
                return
            if moved.is_dir and not self.inodes[replaced].is_dir:
                raise OpError("ENOTDIR")
            if not moved.is_dir and self.inodes[replaced].is_dir:
                raise OpError("EISDIR")
            if self.children(replaced):
                raise OpError("ENOTEMPTY")
        self._bind(old, None)
        self._bind(new, inode)

    # --- data and attributes ------------------------------------------------------------------

    def _handle(self, path: str, *, regular: bool = False) -> Inode:
        number = self._handles.get(path)
        inode = None if number is None else self.inodes[number]
        if inode is None or (regular and inode.is_dir):
            raise OpError("EBADF")
        if inode.kind is None and regular:
            raise OpError("ENODEV")
        return inode

    def _store(self, inode: Inode, step: Step, value: int, *, grow: bool) -> None:
        if step.offset < 0 or step.length <= 0:
            raise OpError("EINVAL")
        self._touch(inode)
        end = step.offset + step.length
        inode.changes.append(Change(self.line, step.offset, end, value))
        inode.ends.append((self.line, end))
        if grow and end > inode.size.now():
            inode.size.set(self.line, end)

    def _write(self, step: Step) -> None:
        self._store(self._handle(step.path, regular=True), step, self.line, grow=True)

    def _dwrite(self, step: Step) -> None:
        self._handles.pop(step.path, None)
        inode = self._inode_at(step.path)
        if inode.is_dir:
            raise OpError("EISDIR")
        self._store(inode, step, self.line, grow=True)
        end = step.offset + step.length
        self.persisted.append(
            Persisted(self.line, Promise.RANGE_AND_INODE, inode.id, step.offset, end)
        )

    def _mmapwrite(self, step: Step) -> None:
        inode = self._handle(step.path, regular=True)
        self._store(inode, step, self.line, grow=True)
        end = step.offset + step.length
        self.persisted.append(Persisted(self.line, Promise.RANGE, inode.id, step.offset, end))

    def _falloc(self, step: Step) -> None:
        inode = self._handle(step.path, regular=True)
        if step.offset < 0 or step.length <= 0:
            raise OpError("EINVAL")
        punch, zero = "PUNCH_HOLE" in step.flags, "ZERO_RANGE" in step.flags
        grow = not punch and "KEEP_SIZE" not in step.flags
        if punch or zero:
            self._store(inode, step, ZERO, grow=grow)
            return
        self._touch(inode)
        end = step.offset + step.length
        inode.ends.append((self.line, end))
        if grow:
            inode.size.set(self.line, max(inode.size.now(), end))

    def _truncate(self, step: Step) -> None:
        inode = self._inode_at(step.path)
        if inode.is_dir:
            raise OpError("EISDIR")
        if step.length < 0:
            raise OpError("EINVAL")
        self._touch(inode)
        if step.length < inode.size.now():
            inode.changes.append(Change(self.line, step.length, END, ZERO))
        inode.size.set(self.line, step.length)

    def _fsetxattr(self, step: Step) -> None:
        self._set_xattrs(self._handle(step.path), (XATTR,))

    def _removexattr(self, step: Step) -> None:
        inode = self._inode_at(step.path)
        if not inode.xattrs.now():
            raise OpError("ENODATA")
        self._set_xattrs(inode, ())

    def _set_xattrs(self, inode: Inode, xattrs: Xattrs) -> None:
        self._log(inode)
        inode.xattrs.set(self.line, xattrs)

    def _fsync(self, step: Step) -> None:
        promise = Promise.INODE if step.verb is Verb.FSYNC else Promise.DATA
        inode = self._handle(step.path)
        if inode.kind is None:
            raise OpError("EINVAL")  # a device's own fsync, of which /dev/null has none
        self.persisted.append(Persisted(self.line, promise, inode.id))

    def _sync(self, step: Step) -> None:
        self.persisted.append(Persisted(self.line, Promise.EVERYTHING))


def execute(steps: Sequence[Step], upto: int | None = None) -> Model:
    """The model after lines 1 to ``upto`` of ``steps`` (default: all of them)."""
    model = Model()
    for step in steps if upto is None else steps[:upto]:
        model.step(step)
    return model
