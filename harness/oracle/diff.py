# SPDX-License-Identifier: Apache-2.0
"""Expected against recovered, as plain lines for people.

Each line starts with a mark: ``!`` what no crash may do, ``~`` what a crash may do to things that
were not persisted, a blank what is as on the primary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ace_workloads.jlang import format_step
from ace_workloads.ops import Step, Verb
from harness.model.evidence import CrashEvidence
from harness.model.tree import Entry, FileKind, Tree
from harness.model.verdict import Check, Verdict
from harness.oracle.checks import judge_crash
from harness.oracle.expect import Expectation, Fs
from harness.oracle.history import Region, bad_ranges, regions
from harness.oracle.inode_rules import data_text, legal_text
from harness.oracle.model import execute
from harness.oracle.name_rules import one_of
from harness.oracle.objects import Inode
from harness.oracle.sizes import legal_sizes

_BROKEN, _OPEN, _SAME = "!", "~", " "


def expected_tree_text(steps: Sequence[Step], fs: str, line: int) -> str:
    """The tree after ``line`` and what of it is promised, one block of lines per name."""
    expectation = Expectation(execute(steps, line), Fs(fs))
    model = expectation.model
    lines = [f"expected {_moment(steps, line)} on {fs}"]
    paths = model.paths()
    for path in sorted(paths):
        lines += _expected_object(expectation, path, model.inodes[paths[path]])
    for slot in sorted(model.slots):
        if model.slots[slot].now() is None:
            binding = expectation.binding(slot)
            legal = "gone for good" if binding.promised else one_of(model, binding.legal)
            lines.append(f"{model.path_of(slot)}  {legal}")
    return "\n".join(lines) + "\n"


def _moment(steps: Sequence[Step], line: int) -> str:
    """The line that the crash came after; evidence may name the checkpoint that follows it."""
    while line > 1 and steps[line - 1].verb is Verb.CHECKPOINT:
        line -= 1
    return f"after line {line} ({format_step(steps[line - 1])})"


def object_facts(expectation: Expectation, path: str, inode: Inode) -> list[str]:
    """What is known, and what is promised, of the object that the primary has at ``path``."""
    model = expectation.model
    named = "the mount point"
    for slot in model.names_of(inode.id):
        if model.path_of(slot) == path:
            binding = expectation.binding(slot)
            named = "name persisted" if binding.promised else one_of(model, binding.legal)
    facts = [str(inode.kind or "special file"), named]
    if expectation.attrs_settled(inode):
        facts.append("all attributes persisted")
    if inode.target is not None:
        facts.append(f"-> {inode.target}")
    for key, value in inode.xattrs.now():
        facts.append(f"{key}={value.decode(errors='replace')}")
    return facts


def _expected_object(expectation: Expectation, path: str, inode: Inode) -> Iterator[str]:
    yield f"{path or '/'}  {', '.join(object_facts(expectation, path, inode))}"
    if inode.kind is FileKind.FILE:
        spans = expectation.floors.spans(inode.id)
        sizes = " or ".join(map(str, legal_sizes(inode, spans).steps))
        yield f"    size {sizes}"
        for region in regions(inode.changes, spans, inode.size.now()):
            state = "persisted" if region.promised else "not persisted"
            yield f"    [{region.start},{region.end}) {legal_text(region)}, {state}"


def diff_lines(steps: Sequence[Step], fs: str, crash: CrashEvidence) -> tuple[str, ...]:
    """Expected against recovered, path by path; every finding of the judge has a ``!`` line."""
    return tuple(_diff(steps, fs, crash))


def _diff(steps: Sequence[Step], fs: str, crash: CrashEvidence) -> Iterator[str]:
    yield f"crash point {crash.checkpoint}, {_moment(steps, crash.line)}, {fs}"
    if crash.recovered is None:
        yield f"{_BROKEN} nothing was recovered"
        return
    model = execute(steps, crash.line)
    expectation = Expectation(model, Fs(fs))
    broken = [
        check
        for check in judge_crash(steps, fs, crash, replicated=False)
        if check.verdict is Verdict.FAIL
    ]
    paths = model.paths()
    shown = {check.path for check in broken}
    for path in sorted({*paths, *crash.recovered.entries, *shown}):
        here = [check for check in broken if check.path == path]
        if path in paths:
            yield from _known_path(expectation, crash.recovered, path, paths[path], here)
        else:
            yield from _other_path(crash.recovered, path, here)


def _known_path(
    expectation: Expectation, tree: Tree, path: str, number: int, broken: Sequence[Check]
) -> Iterator[str]:
    entry, inode = tree.entries.get(path), expectation.model.inodes[number]
    kind = str(inode.kind or "special file")
    if broken:
        yield from (_finding(check) for check in broken)
    elif entry is None:
        yield f"{_OPEN} {path}  expected {kind}, found nothing: not persisted"
    if entry is None or entry.kind is not FileKind.FILE or inode.kind is not FileKind.FILE:
        if entry is not None and not broken:
            yield f"{_SAME} {path or '/'}  {kind}"
        return
    legal = list(_legal_differences(inode, entry, bool(broken)))
    yield from legal
    if not legal and not broken:
        yield f"{_SAME} {path}  {kind}, {entry.size} bytes"


def _legal_differences(inode: Inode, entry: Entry, judged: bool) -> Iterator[str]:
    """Where a file is not as on the primary; what breaks a rule was said before."""
    if judged:
        return
    if entry.size != inode.size.now():
        yield f"{_OPEN} {entry.path}  size {inode.size.now()} -> {entry.size}: not persisted"
    if entry.content is None:
        return
    latest = [
        Region(region.start, region.end, region.legal[-1:], True)
        for region in regions(inode.changes, (), min(entry.size, inode.size.now()))
    ]
    for item in bad_ranges(entry.content, latest):
        was, found = data_text(item.region.legal[-1]), data_text(item.found)
        yield f"{_OPEN} {entry.path}  [{item.start},{item.end}) {was} -> {found}: not persisted"


def _other_path(tree: Tree, path: str, broken: Sequence[Check]) -> Iterator[str]:
    yield from (_finding(check) for check in broken)
    entry = tree.entries.get(path)
    if entry is not None and not broken:
        yield f"{_OPEN} {path}  {entry.kind}, {entry.size} bytes: an older name, still legal"


def _finding(check: Check) -> str:
    where = check.path or "/"
    return f"{_BROKEN} {where}  {check.rule}: expected {check.expected}, found {check.found}"


def recovered_tree_text(tree: Tree) -> str:
    """A recovered tree, one line per name and one per range of content."""
    lines: list[str] = []
    for path in sorted(tree.entries):
        entry = tree.entries[path]
        lines.append(
            f"{path or '/'}  {entry.kind} {entry.mode:04o} {entry.uid}:{entry.gid}, "
            f"{entry.nlink} links, {entry.size} bytes, {entry.blocks} blocks, inode {entry.ino}"
        )
        lines += _recovered_details(entry)
    return "\n".join(lines) + "\n"


def _recovered_details(entry: Entry) -> Iterator[str]:
    if entry.error is not None:
        yield f"    {entry.error}"
    if entry.link is not None:
        yield f"    -> {entry.link}"
    for key, value in entry.xattrs:
        yield f"    {key}={value.decode(errors='replace')}"
    offset = 0
    for segment in entry.content or ():
        yield f"    [{offset},{offset + segment.length}) {data_text(segment.line)}"
        offset += segment.length
