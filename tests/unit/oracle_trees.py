# SPDX-License-Identifier: Apache-2.0
"""Trees that a correct disk could hold, made from the oracle's model (not from its rules)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ace_workloads.jlang import parse_run_section
from ace_workloads.ops import Step, Verb
from harness.model.content import encode, pattern
from harness.model.evidence import CrashEvidence, Drain, ToolResult
from harness.model.tree import Entry, FileKind, Tree
from harness.model.verdict import Check, Verdict
from harness.oracle import judge_crash
from harness.oracle.model import Model, execute
from harness.oracle.objects import ROOT, Inode

FILE_SYSTEMS = ("ext4", "xfs", "btrfs")
SECOND_NS = 1_000_000_000
_FIRST_INO = {"ext4": 11, "xfs": 130, "btrfs": 256}
_ROOT_INO = {"ext4": 2, "xfs": 128, "btrfs": 256}

FileState = tuple[int, bytes]
"""(line whose attributes the file has, its bytes)"""


def steps_of(text: str) -> tuple[Step, ...]:
    """Steps of J-lang lines, separated by newlines or semicolons."""
    return parse_run_section(text.replace(";", "\n"))


def file_bytes(inode: Inode, line: int) -> bytes:
    """The file as the primary reads it after ``line``, built up write by write."""
    size = inode.size.at(line)
    data = bytearray(size)
    for change in inode.changes:
        end = min(change.end, size)
        if change.line <= line and change.start < end:
            length = end - change.start
            new = pattern(change.value, change.start, length) if change.value else bytes(length)
            data[change.start : end] = new
    return bytes(data)


def tree_at(
    model: Model,
    fs: str,
    line: int | None = None,
    files: Mapping[int, FileState] | None = None,
) -> Tree:
    """The tree after ``line`` (default: now); ``files`` puts other states in files' places."""
    when = model.line if line is None else line
    paths = model.paths(when)
    entries = {}
    for path, number in paths.items():
        inode = model.inodes[number]
        state = (files or {}).get(number, (when, file_bytes(inode, when)))
        entries[path] = _entry(model, fs, path, inode, when, state, paths)
    return Tree(entries)


def _entry(
    model: Model, fs: str, path: str, inode: Inode, when: int, state: FileState,
    paths: Mapping[str, int],
) -> Entry:  # fmt: skip
    changed = max((at for at in inode.touched if at <= state[0]), default=0)
    kind = inode.kind or FileKind.CHARDEV
    names = len(model.names_of(inode.id, when))
    below = [model.inodes[child] for child in model.children(inode.id, when).values()]
    regular = kind is FileKind.FILE
    size = len(state[1]) if regular else 4096 if inode.is_dir else len(inode.target or "")
    links = names
    if inode.is_dir:
        links = 1 if fs == "btrfs" else 2 + sum(child.is_dir for child in below)
        links += fs == "ext4" and inode.id == ROOT
    lines = [change.value for change in inode.changes if change.value]
    return Entry(
        path=path,
        kind=kind,
        mode=inode.mode,
        uid=0,
        gid=0,
        nlink=links,
        size=size,
        blocks=8 if inode.is_dir else 8 * -(-size // 4096) if regular else 0,
        ino=_ROOT_INO[fs] if inode.id == ROOT else _FIRST_INO[fs] + inode.id,
        mtime_ns=(1000 + changed) * SECOND_NS,
        ctime_ns=(1000 + changed) * SECOND_NS,
        rdev=259 if kind is FileKind.CHARDEV else 0,
        xattrs=inode.xattrs.at(when),
        link=inode.target,
        content=encode(state[1], sorted(set(lines))) if regular else None,
    )


def crash_at(steps: Sequence[Step], fs: str, checkpoint: int = 0) -> CrashEvidence:
    """Faultless evidence of a crash point (default: the last one): recovered = live."""
    lines = [at for at, step in enumerate(steps) if step.verb is Verb.CHECKPOINT]
    number = checkpoint or len(lines)
    line = lines[number - 1]
    tree = tree_at(execute(steps, line), fs)
    ok = ToolResult(True, 0)
    drain = Drain(quiesced=True, promised=9, applied=9)
    return CrashEvidence(number, line, tree, drain, ok, tree, ok, ok)


def judged(text: str, fs: str, change: Callable[[Tree], Tree], checkpoint: int = 0) -> list[Check]:
    """What the oracle finds wrong when the recovered tree is the live one after ``change``."""
    steps = steps_of(text)
    crash = crash_at(steps, fs, checkpoint)
    assert crash.recovered is not None
    checks = judge_crash(steps, fs, replace(crash, recovered=change(crash.recovered)))
    return [check for check in checks if check.verdict in (Verdict.FAIL, Verdict.UNKNOWN)]


def rules(checks: Sequence[Check]) -> set[tuple[str, str]]:
    """(rule, path) of each check."""
    return {(str(check.rule), check.path) for check in checks}


def without(*paths: str) -> Callable[[Tree], Tree]:
    """Take names away, with all below them; link counts follow."""

    def change(tree: Tree) -> Tree:
        gone = tuple(f"{path}/" for path in paths)
        kept = {p: e for p, e in tree.entries.items() if p not in paths and not p.startswith(gone)}
        return relinked(Tree(kept))

    return change


def relinked(tree: Tree) -> Tree:
    """The tree with link counts that fit its names (ext4 and xfs keep the root's extra link)."""
    entries = {}
    for path, entry in tree.entries.items():
        if entry.kind is FileKind.DIR:
            subdirs = sum(
                tree.entries[f"{path}/{name}" if path else name].kind is FileKind.DIR
                for name in tree.children(path)
            )
            extra = int(entry.ino == _ROOT_INO["ext4"])
            links = 1 if entry.nlink == 1 else 2 + subdirs + extra
        else:
            links = sum(other.ino == entry.ino for other in tree.entries.values())
        entries[path] = replace(entry, nlink=links)
    return Tree(entries)


def edited(path: str, /, **fields: object) -> Callable[[Tree], Tree]:
    """Change fields of one entry."""

    def change(tree: Tree) -> Tree:
        entry = replace(tree.entries[path], **fields)  # type: ignore[arg-type]
        return Tree({**tree.entries, path: entry})

    return change


def rewritten(path: str, data: bytes, lines: Sequence[int] = ()) -> Callable[[Tree], Tree]:
    """Give a file other bytes, of the writes ``lines`` where they match."""
    return edited(path, size=len(data), content=encode(data, lines))


def all_of(*changes: Callable[[Tree], Tree]) -> Callable[[Tree], Tree]:
    """Every change, in order."""

    def change(tree: Tree) -> Tree:
        for one in changes:
            tree = one(tree)
        return tree

    return change
