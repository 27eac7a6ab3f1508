# SPDX-License-Identifier: Apache-2.0
"""Expected against recovered as data: what ``diff.py`` says in lines, with every range of bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from ace_workloads.ops import Step, Verb
from harness.model.comparison import CrashComparison, FileRange, Mark, NameRow
from harness.model.content import Content
from harness.model.evidence import CrashEvidence
from harness.model.tree import Entry, FileKind, Tree
from harness.model.verdict import Check, Verdict
from harness.oracle.checks import judge_crash
from harness.oracle.diff import object_facts
from harness.oracle.expect import Expectation, Fs
from harness.oracle.history import BadRange, Region, bad_ranges, regions
from harness.oracle.model import execute
from harness.oracle.objects import Inode
from harness.oracle.sizes import legal_sizes

_OF_NAMES = ("name", "attr", "size", "content")
"""First words of rules that are about one object."""


def compare_crash(steps: Sequence[Step], fs: str, crash: CrashEvidence) -> CrashComparison:
    """Both trees of ``crash``, name by name; every finding of the judge is in it."""
    line = crash.line
    while line > 1 and steps[line - 1].verb is Verb.CHECKPOINT:
        line -= 1
    expectation = Expectation(execute(steps, crash.line), Fs(fs))
    broken = [
        check
        for check in judge_crash(steps, fs, crash, replicated=False)
        if check.verdict is Verdict.FAIL
    ]
    tree = crash.recovered if crash.recovered is not None else Tree({})
    known = expectation.model.paths()
    paths = sorted({*known, *tree.entries})
    there = crash.recovered is not None
    elsewhere = tuple(c for c in broken if c.path not in paths or not _about_a_name(c))
    rows = tuple(
        _row(expectation, tree, path, [c for c in broken if c.path == path and _about_a_name(c)],
             there)
        for path in paths
    )  # fmt: skip
    return CrashComparison(crash.checkpoint, line, rows, there, elsewhere)


def _about_a_name(check: Check) -> bool:
    """Whether a path of ``""`` stands for the mount point, and not for the whole file system."""
    return check.rule.partition("/")[0] in _OF_NAMES


def _row(
    expectation: Expectation, tree: Tree, path: str, broken: Sequence[Check], there: bool
) -> NameRow:
    number = expectation.model.paths().get(path)
    entry = tree.entries.get(path)
    inode = None if number is None else expectation.model.inodes[number]
    expected = () if inode is None else _expected(expectation, path, inode)
    ranges: tuple[FileRange, ...] = ()
    if inode is not None and entry is not None:
        ranges = _ranges(expectation, inode, entry)
    return NameRow(
        path,
        _mark(inode, entry, ranges, bool(broken), there),
        expected,
        () if entry is None else tuple(entry_facts(entry)),
        tuple(broken),
        0 if inode is None else inode.size.now(),
        ranges,
    )


def _mark(
    inode: Inode | None,
    entry: Entry | None,
    ranges: Sequence[FileRange],
    broken: bool,
    there: bool,
) -> Mark:
    if broken:
        return Mark.BROKEN
    if not there or inode is None or entry is None:
        return Mark.OPEN
    is_file = inode.kind is FileKind.FILE and entry.kind is FileKind.FILE
    if is_file and entry.size != inode.size.now():
        return Mark.OPEN
    return Mark.OPEN if any(r.mark is not Mark.SAME for r in ranges) else Mark.SAME


def _expected(expectation: Expectation, path: str, inode: Inode) -> tuple[str, ...]:
    facts = object_facts(expectation, path, inode)
    if inode.kind is FileKind.FILE:
        spans = expectation.floors.spans(inode.id)
        sizes = " or ".join(map(str, legal_sizes(inode, spans).steps))
        facts.insert(1, f"{sizes} bytes")
    return tuple(facts)


def entry_facts(entry: Entry) -> Iterator[str]:
    """What was found under a name, fact by fact."""
    yield str(entry.kind)
    if entry.kind is FileKind.FILE:
        yield f"{entry.size} bytes"
    yield f"mode {entry.mode:04o}"
    yield f"{entry.nlink} link{'s' * (entry.nlink != 1)}"
    yield f"inode {entry.ino}"
    if entry.link is not None:
        yield f"-> {entry.link}"
    for key, value in entry.xattrs:
        yield f"{key}={value.decode(errors='replace')}"
    if entry.error is not None:
        yield entry.error


def _ranges(expectation: Expectation, inode: Inode, entry: Entry) -> tuple[FileRange, ...]:
    content = entry.content
    if inode.kind is not FileKind.FILE or entry.kind is not FileKind.FILE or content is None:
        return ()
    spans = expectation.floors.spans(inode.id)
    size = inode.size.now()
    legal = list(regions(inode.changes, spans, max(size, entry.size)))
    in_file = [r for r in regions(inode.changes, spans, entry.size)]
    latest = [Region(r.start, r.end, r.legal[-1:], True) for r in in_file]
    return _joined(
        _cut(
            legal,
            content,
            bad_ranges(content, in_file),
            bad_ranges(content, latest),
            (size, entry.size),
        )
    )


def _cut(
    legal: Sequence[Region],
    content: Content,
    bad: Sequence[BadRange],
    different: Sequence[BadRange],
    sizes: tuple[int, int],
) -> Iterator[FileRange]:
    """Every range between two places at which anything changes."""
    wanted, there = sizes
    cuts = {0, wanted, there}
    cuts.update(cut for region in legal for cut in (region.start, region.end))
    cuts.update(cut for item in (*bad, *different) for cut in (item.start, item.end))
    ends = list(_segment_ends(content))
    cuts.update(end for end, _ in ends)
    for start, end in pairwise(sorted(cut for cut in cuts if cut <= max(sizes))):
        region = next(r for r in legal if r.start <= start < r.end)
        found = next((line for until, line in ends if start < until), None)
        if start >= there:
            found, mark = None, Mark.BROKEN if region.promised else Mark.OPEN
        elif any(item.start <= start < item.end for item in bad):
            mark = Mark.BROKEN
        elif start >= wanted or any(item.start <= start < item.end for item in different):
            mark = Mark.OPEN
        else:
            # Bytes of two writes can be equal; then it is what it should be, whoever is named.
            found, mark = region.legal[-1], Mark.SAME
        expected = region.legal if start < wanted else ()
        yield FileRange(start, end, tuple(dict.fromkeys(expected)), found, region.promised, mark)


def _segment_ends(content: Content) -> Iterator[tuple[int, int]]:
    offset = 0
    for segment in content:
        offset += segment.length
        yield offset, segment.line


def _joined(ranges: Iterator[FileRange]) -> tuple[FileRange, ...]:
    result: list[FileRange] = []
    for item in ranges:
        if result and replace(item, start=0, end=0) == replace(result[-1], start=0, end=0):
            item = replace(item, start=result.pop().start)
        result.append(item)
    return tuple(result)
