# SPDX-License-Identifier: Apache-2.0
"""Rules about one recovered object: its attributes, size and content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.model.content import ZERO
from harness.model.tree import Entry, FileKind, Tree
from harness.model.verdict import Check, Verdict
from harness.oracle.expect import Expectation, Fs
from harness.oracle.history import END, BadRange, Region, bad_ranges, regions
from harness.oracle.match import Live, Match, dir_links
from harness.oracle.objects import ROOT, Inode
from harness.oracle.rules import Rule, compared, failed, passed, unknown
from harness.oracle.sizes import legal_sizes
from harness.oracle.times import judge_times


@dataclass(frozen=True, slots=True)
class Subject:
    """One recovered entry and what is known of the object it is judged as."""

    expectation: Expectation
    live: Live
    tree: Tree
    entry: Entry
    inode: Inode

    @property
    def reference(self) -> Entry | None:
        """The object on the primary, if it has a name there."""
        return self.live.entries.get(self.inode.id)


def judge_objects(
    expectation: Expectation, live: Live, tree: Tree, found: Match
) -> Iterator[Check]:
    """Every rule about objects; one that may be several is judged as the one it fits best."""
    for path, inodes in sorted(found.objects.items()):
        entry = tree.entries.get(path)
        if entry is None:
            continue
        readings = [
            list(_object(Subject(expectation, live, tree, entry, expectation.model.inodes[i])))
            for i in sorted(inodes)
        ]
        yield from min(readings, key=_badness)


def _badness(checks: Sequence[Check]) -> tuple[int, int]:
    verdicts = [check.verdict for check in checks]
    return verdicts.count(Verdict.FAIL), verdicts.count(Verdict.UNKNOWN)


def _object(subject: Subject) -> Iterator[Check]:
    if subject.entry.error is not None:
        message = "the recovered file system cannot read its own file"
        yield failed(
            Rule.CONTENT_READABLE, subject.entry.path, "readable", subject.entry.error, message
        )
        return
    yield from _fixed_attributes(subject)
    yield _links(subject)
    yield from _xattrs(subject)
    yield from _settled_attributes(subject)
    if subject.entry.kind is FileKind.FILE:
        yield from _size(subject)
        yield from _content(subject)


def _fixed_attributes(subject: Subject) -> Iterator[Check]:
    """Attributes an object is created with and no step changes."""
    entry, inode, reference = subject.entry, subject.inode, subject.reference
    root = reference or subject.live.entries.get(ROOT)
    if root is not None:  # without a live tree neither umask nor owner is known
        expected = reference.mode if reference is not None else inode.mode & ~subject.live.umask
        message = "no step ever gave it these permissions"
        yield compared(Rule.ATTR_MODE, entry.path, f"{expected:04o}", f"{entry.mode:04o}", message)
        yield compared(
            Rule.ATTR_OWNER, entry.path, f"{root.uid}:{root.gid}", f"{entry.uid}:{entry.gid}",
            "no step ever gave it this owner",
        )  # fmt: skip
    if reference is not None:
        expected_kind = f"{reference.kind} {reference.rdev}"
        message = "it is not what was made"
        found_kind = f"{entry.kind} {entry.rdev}"
        yield compared(Rule.ATTR_KIND, entry.path, expected_kind, found_kind, message)
    if inode.kind is FileKind.SYMLINK:
        message = "the link points where no step made it point"
        yield compared(Rule.ATTR_SYMLINK, entry.path, inode.target, entry.link, message)


def _links(subject: Subject) -> Check:
    """The link count is the number of names, whatever the names are."""
    entry, tree = subject.entry, subject.tree
    if entry.kind is not FileKind.DIR:
        expected = sum(other.ino == entry.ino for other in tree.entries.values())
    elif subject.expectation.fs is Fs.BTRFS:
        expected = 1
    else:
        expected = dir_links(tree, entry.path)
        if entry.path == "":
            expected += subject.live.lost_found
    message = "link count and names do not agree"
    return compared(Rule.ATTR_NLINK, entry.path, expected, entry.nlink, message)


def _xattrs(subject: Subject) -> Iterator[Check]:
    inode, entry = subject.inode, subject.entry
    floor = subject.expectation.xattrs_floor(inode)
    legal = [value for _, value in inode.xattrs.since(floor)]
    if entry.xattrs in legal:
        yield passed(Rule.ATTR_XATTR, entry.path, entry.xattrs)
    else:
        message = "extended attributes it did not have, then or later"
        expected = " or ".join(str(value) for value in legal)
        yield failed(Rule.ATTR_XATTR, entry.path, expected, entry.xattrs, message)


def _settled_attributes(subject: Subject) -> Iterator[Check]:
    """Attributes compared with the primary's, where they were persisted and still hold."""
    expectation, inode, entry = subject.expectation, subject.inode, subject.entry
    yield from judge_times(expectation, subject.live, inode, entry)
    reference = subject.reference
    if reference is None or expectation.fs is Fs.BTRFS or not expectation.attrs_settled(inode):
        return
    message = "persisted, not changed since, and different"
    if inode.is_dir:
        yield compared(Rule.SIZE_DIR, entry.path, reference.size, entry.size, message)
    if expectation.fs is Fs.EXT4 and (inode.is_dir or _wholly_persisted(subject)):
        yield compared(Rule.ATTR_BLOCKS, entry.path, reference.blocks, entry.blocks, message)


def _wholly_persisted(subject: Subject) -> bool:
    last = max(subject.inode.touched, default=0)
    spans = subject.expectation.floors.spans(subject.inode.id)
    return any(s.line >= last and s.start == 0 and s.end == END for s in spans)


def _size(subject: Subject) -> Iterator[Check]:
    entry, inode = subject.entry, subject.inode
    spans = subject.expectation.floors.spans(inode.id)
    legal = legal_sizes(inode, spans)
    expected = " or ".join(str(size) for size in legal.steps)
    settled = len(legal.steps) == 1 and bool(spans)
    rule = Rule.SIZE_PERSISTED if settled or entry.size < legal.steps[0] else Rule.SIZE_LEGAL
    if legal.allow(entry.size):
        yield passed(rule, entry.path, expected)
    else:
        message = "a size the file did not have, then or later"
        yield failed(rule, entry.path, expected, entry.size, message)


def _content(subject: Subject) -> Iterator[Check]:
    entry, inode = subject.entry, subject.inode
    cut = list(regions(inode.changes, subject.expectation.floors.spans(inode.id), entry.size))
    promised = sum(region.length for region in cut if region.promised)
    if entry.content is None:
        reference = subject.reference
        if promised == entry.size and reference is not None and reference.digest is not None:
            message = "persisted content, not changed since, and different"
            yield compared(
                Rule.CONTENT_PERSISTED, entry.path, reference.digest, entry.digest, message
            )
        else:
            yield unknown(Rule.CONTENT_LEGAL, entry.path, "the content was not read back")
        return
    read = sum(segment.length for segment in entry.content)
    if read != entry.size:
        message = f"{read} of {entry.size} bytes of content were read back"
        yield unknown(Rule.CONTENT_LEGAL, entry.path, message)
        return
    bad = bad_ranges(entry.content, cut)
    for item in bad:
        yield _content_failure(entry.path, item)
    if promised and not any(item.region.promised for item in bad):
        yield passed(Rule.CONTENT_PERSISTED, entry.path, f"{promised} bytes")
    if promised < entry.size and all(item.region.promised for item in bad):
        yield passed(Rule.CONTENT_LEGAL, entry.path, f"{entry.size - promised} bytes")


def _content_failure(path: str, item: BadRange) -> Check:
    where = f"[{item.start},{item.end})"
    expected = f"{where} {legal_text(item.region)}"
    found = f"{where} {data_text(item.found)}"
    if item.region.promised:
        message = "persisted bytes, not overwritten since, are gone or different"
        return failed(Rule.CONTENT_PERSISTED, path, expected, found, message)
    message = "bytes that no write put there, or that were overwritten and persisted"
    return failed(Rule.CONTENT_LEGAL, path, expected, found, message)


def data_text(value: int) -> str:
    """Where bytes come from, in words."""
    if value == ZERO:
        return "zeros"
    return f"step {value} data" if value > 0 else "data of no write at this place"


def legal_text(region: Region) -> str:
    """What the bytes of a region may be, in words."""
    return " or ".join(data_text(value) for value in dict.fromkeys(region.legal))
