# SPDX-License-Identifier: Apache-2.0
"""Which object of the model each recovered name can be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.model.tree import Entry, FileKind, Tree
from harness.oracle.expect import Binding, Expectation, Fs
from harness.oracle.model import Model
from harness.oracle.objects import ROOT, Slot


@dataclass(frozen=True, slots=True)
class Live:
    """What the primary's live tree says about the model's objects."""

    entries: Mapping[int, Entry] = field(default_factory=dict)
    """Model inode -> entry (of any of its names), for objects that have a name now."""
    umask: int = 0
    """Mode bits the executor took away at creation."""
    lost_found: int = 0
    """How many links the root has beyond the model's (``lost+found``)."""

    def owner_of(self, ino: int) -> int | None:
        """The model inode that has inode number ``ino`` now."""
        return next((inode for inode, e in self.entries.items() if e.ino == ino), None)


@dataclass(slots=True)
class Match:
    """Recovered paths and the objects each can be."""

    objects: dict[str, frozenset[int]] = field(default_factory=dict)
    strange: dict[str, Slot | None] = field(default_factory=dict)
    """Path that can be no object -> its slot, None where even the directory is strange."""
    renumbered: dict[str, int] = field(default_factory=dict)
    """Path of a promised object that came back under another inode number -> the promised one."""
    clashing: list[str] = field(default_factory=list)
    """Paths that by their inode number are one object, by their names another."""

    def path_of(self, inode: int) -> str | None:
        """A recovered path that can be ``inode``."""
        return next((path for path, found in self.objects.items() if inode in found), None)


def live_of(model: Model, tree: Tree, fs: Fs) -> Live:
    """Read inode numbers, umask and the root's extra links off the primary's live tree."""
    entries: dict[int, Entry] = {}
    umask = 0
    for path, inode in model.paths().items():
        entry = tree.entries.get(path)
        if entry is None:
            continue
        entries.setdefault(inode, entry)
        if inode != ROOT and entry.kind is not FileKind.SYMLINK:
            umask |= model.inodes[inode].mode & ~entry.mode & 0o777
    lost_found = 0
    if fs is not Fs.BTRFS and ROOT in entries:
        lost_found = entries[ROOT].nlink - dir_links(tree, "")
    return Live(entries, umask, lost_found)


def dir_links(tree: Tree, path: str) -> int:
    """Link count of a directory where each subdirectory links back to it."""
    prefix = f"{path}/" if path else ""
    return 2 + sum(tree.entries[prefix + name].kind is FileKind.DIR for name in tree.children(path))


def match(expectation: Expectation, live: Live, tree: Tree) -> Match:
    """Walk the recovered tree from the root and tell every name's possible objects."""
    result = Match({"": frozenset({ROOT})})
    for path in sorted(tree.entries, key=lambda p: (p.count("/"), p)):
        if path:
            _match_name(result, expectation, live, tree.entries[path])
    _join_hard_links(result, tree)
    return result


def _match_name(result: Match, expectation: Expectation, live: Live, entry: Entry) -> None:
    above, _, name = entry.path.rpartition("/")
    directories = [
        inode
        for inode in result.objects.get(above, frozenset())
        if expectation.model.inodes[inode].is_dir
    ]
    if not directories:
        result.strange[entry.path] = None
        return
    found: set[int] = set()
    for directory in directories:
        binding = expectation.binding(Slot(directory, name))
        kept = {i for i in binding.legal if i is not None and _can_be(expectation, live, i, entry)}
        found |= kept
        if not kept and _renumbered(expectation.model, binding, entry):
            result.renumbered[entry.path] = binding.legal[0] or ROOT
            found |= {binding.legal[0] or ROOT}
    if found:
        result.objects[entry.path] = frozenset(found)
    else:
        result.strange[entry.path] = Slot(directories[0], name)


def _same_kind(model: Model, inode: int, entry: Entry) -> bool:
    kind = model.inodes[inode].kind
    if kind is None:
        return entry.kind not in (FileKind.DIR, FileKind.SYMLINK)
    return entry.kind is kind


def _renumbered(model: Model, binding: Binding, entry: Entry) -> bool:
    only = binding.legal[0] if binding.promised else None
    return only is not None and _same_kind(model, only, entry)


def _can_be(expectation: Expectation, live: Live, inode: int, entry: Entry) -> bool:
    """Whether kind and inode number allow ``entry`` to be the model's ``inode``."""
    if not _same_kind(expectation.model, inode, entry):
        return False
    if inode in live.entries:
        return live.entries[inode].ino == entry.ino
    owner = live.owner_of(entry.ino)
    if owner is None:
        return True
    # The number is in use on the primary; it may have been this object's before it was freed.
    if expectation.fs is Fs.BTRFS:
        return False
    return expectation.model.inodes[owner].born > expectation.model.inodes[inode].born


def _join_hard_links(result: Match, tree: Tree) -> None:
    """Names of one recovered inode are one object; two recovered inodes are two objects."""
    groups: dict[int, list[str]] = defaultdict(list)
    for path in result.objects:
        if path:
            groups[tree.entries[path].ino].append(path)
    taken: dict[int, int] = {}
    surest_first = sorted(groups, key=lambda ino: min(len(result.objects[p]) for p in groups[ino]))
    for ino in surest_first:
        paths = groups[ino]
        common = frozenset.intersection(*(result.objects[p] for p in paths))
        common -= {inode for inode in common if taken.get(inode, ino) != ino}
        for path in paths:
            if common:
                result.objects[path] = common
            else:
                del result.objects[path]
                result.clashing.append(path)
        if len(common) == 1:
            taken[next(iter(common))] = ino
