# SPDX-License-Identifier: Apache-2.0
"""The primary's live tree against the model: if they differ, the yardstick itself is wrong."""

from __future__ import annotations

from collections.abc import Iterator

from harness.model.tree import Entry, FileKind, Tree
from harness.oracle.history import Region, bad_ranges, regions
from harness.oracle.match import Live
from harness.oracle.model import Model
from harness.oracle.objects import ROOT, Inode


def live_differences(model: Model, live: Live, tree: Tree) -> tuple[str, ...]:
    """Every way in which the live tree is not the model's; empty if they agree."""
    return tuple(_differences(model, live, tree))


def _differences(model: Model, live: Live, tree: Tree) -> Iterator[str]:
    paths = model.paths()
    for path in sorted(paths.keys() - tree.entries.keys()):
        yield f"{path or '/'}: missing on the primary"
    for path in sorted(tree.entries.keys() - paths.keys()):
        yield f"{path}: on the primary, but not in the model"
    numbers: dict[int, int] = {}
    for path in sorted(paths.keys() & tree.entries.keys()):
        entry, inode = tree.entries[path], model.inodes[paths[path]]
        if numbers.setdefault(entry.ino, inode.id) != inode.id:
            yield f"{path}: inode {entry.ino} belongs to two objects of the model"
        if live.entries[inode.id].ino != entry.ino:
            yield f"{path}: inode {entry.ino}, its other name has {live.entries[inode.id].ino}"
        for what in _entry_differences(model, live, inode, entry):
            yield f"{path or '/'}: {what}"


def _entry_differences(model: Model, live: Live, inode: Inode, entry: Entry) -> Iterator[str]:
    if entry.error is not None:
        yield entry.error
        return
    if inode.kind is None:
        if entry.kind in (FileKind.DIR, FileKind.SYMLINK):
            yield f"mknod made a {entry.kind}"
    elif entry.kind is not inode.kind:
        yield f"{entry.kind} instead of {inode.kind}"
        return
    if inode.id != ROOT and inode.kind is not FileKind.SYMLINK:
        mode = inode.mode & ~live.umask
        if entry.mode != mode:
            yield f"mode {entry.mode:04o} instead of {mode:04o}"
    if entry.kind is not FileKind.DIR and entry.nlink != len(model.names_of(inode.id)):
        yield f"{entry.nlink} links instead of {len(model.names_of(inode.id))}"
    if entry.xattrs != inode.xattrs.now():
        yield f"extended attributes {entry.xattrs} instead of {inode.xattrs.now()}"
    if entry.link != inode.target:
        yield f"link to {entry.link!r} instead of {inode.target!r}"
    if entry.kind is FileKind.FILE:
        yield from _content_differences(inode, entry)


def _content_differences(inode: Inode, entry: Entry) -> Iterator[str]:
    if entry.size != inode.size.now():
        yield f"{entry.size} bytes instead of {inode.size.now()}"
        return
    if entry.content is None:
        yield "the content was not read"
        return
    read = sum(segment.length for segment in entry.content)
    if read != entry.size:
        yield f"{read} of {entry.size} bytes of content were read"
        return
    now = [
        Region(region.start, region.end, region.legal[-1:], True)
        for region in regions(inode.changes, (), entry.size)
    ]
    for item in bad_ranges(entry.content, now):
        yield f"content [{item.start},{item.end}) is not that of line {item.region.legal[-1]}"
