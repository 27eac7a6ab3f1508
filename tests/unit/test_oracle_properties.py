# SPDX-License-Identifier: Apache-2.0
"""Properties over random workloads: what a correct disk may hold passes, any damage fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from hypothesis import given, note, settings
from hypothesis import strategies as st
from oracle_trees import (
    FILE_SYSTEMS,
    FileState,
    crash_at,
    file_bytes,
    relinked,
    tree_at,
)

from ace_workloads.ops import Step, Verb
from harness.model.content import RAW, encode
from harness.model.tree import Entry, FileKind, Tree
from harness.model.verdict import Verdict
from harness.oracle import judge_crash
from harness.oracle.model import Model, execute

FILES = ("foo", "bar", "A/foo", "A/bar", "A/C/foo")
DIRS = ("A", "B", "A/C")
CHECKPOINT = Step(Verb.CHECKPOINT)
FLAGS = (
    "0",
    "FALLOC_FL_KEEP_SIZE",
    "FALLOC_FL_ZERO_RANGE",
    "FALLOC_FL_ZERO_RANGE|FALLOC_FL_KEEP_SIZE",
    "FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE",
)
EXTENTS = ((0, 5000), (0, 8192), (4096, 8192), (2500, 3000), (12288, 4096))

files, dirs = st.sampled_from(FILES), st.sampled_from(DIRS)
names, pairs = st.one_of(files, dirs), st.tuples(files, files)


def _extent(verb: Verb, path: str, extent: tuple[int, int], flags: str = "") -> Step:
    return Step(verb, path, offset=extent[0], length=extent[1], flags=flags)


extents = st.sampled_from(EXTENTS)
aligned = st.sampled_from(EXTENTS[1:3])
ops = st.one_of(
    st.builds(lambda p: Step(Verb.OPEN, p, mode=0o777, flags="O_RDWR|O_CREAT"), files),
    st.builds(lambda p: Step(Verb.OPENDIR, p, mode=0o777), st.one_of(dirs, st.just(""))),
    st.builds(lambda p: Step(Verb.MKDIR, p, mode=0o777), dirs),
    st.builds(lambda p: Step(Verb.REMOVE, p), names),
    st.builds(lambda p: Step(Verb.LINK, p[0], p[1]), pairs),
    st.builds(lambda p: Step(Verb.SYMLINK, p[0], p[1]), pairs),
    st.builds(lambda p: Step(Verb.RENAME, p[0], p[1]), st.one_of(pairs, st.tuples(dirs, dirs))),
    st.builds(lambda p, e: _extent(Verb.WRITE, p, e), files, extents),
    st.builds(lambda p, e: _extent(Verb.DWRITE, p, e), files, aligned),
    st.builds(lambda p, e: _extent(Verb.MMAPWRITE, p, e), files, aligned),
    st.builds(
        lambda p, e, f: _extent(Verb.FALLOC, p, e, f), files, extents, st.sampled_from(FLAGS)
    ),
    st.builds(lambda p, n: Step(Verb.TRUNCATE, p, length=n), files, st.sampled_from((0, 2500))),
    st.builds(lambda p: Step(Verb.FSETXATTR, p), names),
    st.builds(lambda p: Step(Verb.REMOVEXATTR, p), names),
    st.builds(lambda p: Step(Verb.FSYNC, p), st.one_of(names, st.just(""))),
    st.builds(lambda p: Step(Verb.FDATASYNC, p), names),
    st.just(Step(Verb.SYNC)),
)


def runnable(steps: Sequence[Step], *end: Step) -> tuple[Step, ...]:
    """The steps that succeed, and ``end``; a file is opened first where a step wants a handle."""
    kept: list[Step] = [Step(Verb.MKDIR, "A", mode=0o777)]
    needs_handle = (Verb.WRITE, Verb.MMAPWRITE, Verb.FALLOC, Verb.FSETXATTR, Verb.FSYNC,
                    Verb.FDATASYNC)  # fmt: skip
    for step in steps:
        tries = [step]
        if step.verb in needs_handle:
            verb = Verb.OPEN if step.path in FILES else Verb.OPENDIR
            tries.insert(0, Step(verb, step.path, mode=0o777, flags="O_RDWR|O_CREAT"))
        for one in tries:
            trial = execute((*kept, one))
            if not trial.errors:
                kept.append(one)
    return (*kept, *end, CHECKPOINT)


workloads = st.lists(ops, min_size=2, max_size=12)
systems = st.sampled_from(FILE_SYSTEMS)


def verdict_of(steps: Sequence[Step], fs: str, tree: Tree) -> Verdict:
    crash = replace(crash_at(steps, fs), recovered=tree)
    checks = judge_crash(steps, fs, crash)
    assert [check for check in checks if check.verdict is Verdict.UNKNOWN] == []
    failed = [check for check in checks if check.verdict is Verdict.FAIL]
    note(f"failed: {failed}")
    return Verdict.FAIL if failed else Verdict.PASS


@settings(max_examples=150, deadline=None)
@given(workloads, systems)
def test_the_latest_state_passes(operations: list[Step], fs: str) -> None:
    steps = runnable(operations)
    assert verdict_of(steps, fs, tree_at(execute(steps), fs)) is Verdict.PASS


@settings(max_examples=150, deadline=None)
@given(workloads, workloads, systems, st.data())
def test_any_moment_after_a_sync_passes(
    before: list[Step], after: list[Step], fs: str, data: st.DataObject
) -> None:
    """What was done after the sync may be on disk up to any point, data later than names."""
    durable = (Verb.FSYNC, Verb.FDATASYNC, Verb.SYNC, Verb.DWRITE, Verb.MMAPWRITE)
    first = runnable(before, Step(Verb.SYNC))
    steps = runnable((*first[:-1], *(step for step in after if step.verb not in durable)))
    model = execute(steps)
    synced = max(at for at, step in enumerate(steps, 1) if step.verb is Verb.SYNC)
    line = data.draw(st.integers(synced, model.line), label="names as of line")
    states: dict[int, FileState] = {}
    for number, inode in model.inodes.items():
        if inode.kind is FileKind.FILE:
            older = data.draw(st.integers(min(synced, line), line), label=f"data of {number}")
            states[number] = (line, _short_of(model, number, max(older, inode.born), synced))
    assert verdict_of(steps, fs, tree_at(model, fs, line, states)) is Verdict.PASS


def _short_of(model: Model, number: int, line: int, synced: int) -> bytes:
    """The bytes of a file whose last writes never left the page cache."""
    inode = model.inodes[number]
    return file_bytes(inode, max(line, synced))


Damage = Callable[[Entry, str], Tree | Entry | None]


def _flip(entry: Entry) -> Entry | None:
    if not entry.size or entry.content is None:
        return None
    garbage = encode(b"\xff" * entry.size, [])
    assert garbage[0].line == RAW
    return replace(entry, content=garbage)


DAMAGES: dict[str, Callable[[Entry], Entry | None]] = {
    "size": lambda e: (
        replace(e, size=e.size + 1, content=(*(e.content or ()), *encode(b"x", [])))
        if e.kind is FileKind.FILE
        else None
    ),
    "content": _flip,
    "xattr": lambda e: replace(e, xattrs=(("user.other", b""),)),
    "mode": lambda e: replace(e, mode=e.mode ^ 0o100),
    "owner": lambda e: replace(e, gid=7),
    "nlink": lambda e: replace(e, nlink=e.nlink + 1),
    "ino": lambda e: replace(e, ino=e.ino + 1000) if e.path else None,
    "link": lambda e: replace(e, link="elsewhere") if e.kind is FileKind.SYMLINK else None,
    "ctime": lambda e: replace(e, ctime_ns=e.ctime_ns - 1),
    "mtime": lambda e: replace(e, mtime_ns=e.mtime_ns - 1),
    "error": lambda e: replace(e, error="read: EIO"),
}


@settings(max_examples=200, deadline=None)
@given(workloads, systems, st.data())
def test_any_damage_after_a_sync_fails(
    operations: list[Step], fs: str, data: st.DataObject
) -> None:
    steps = runnable(operations, Step(Verb.SYNC))
    tree = tree_at(execute(steps), fs)
    path = data.draw(st.sampled_from(sorted(tree.entries)), label="path")
    kind = data.draw(st.sampled_from(sorted(DAMAGES)), label="damage")
    damaged = DAMAGES[kind](tree.entries[path])
    if damaged is None:
        return
    assert verdict_of(steps, fs, Tree({**tree.entries, path: damaged})) is Verdict.FAIL


@settings(max_examples=150, deadline=None)
@given(workloads, systems, st.data())
def test_a_name_too_few_or_too_many_after_a_sync_fails(
    operations: list[Step], fs: str, data: st.DataObject
) -> None:
    steps = runnable(operations, Step(Verb.SYNC))
    tree = tree_at(execute(steps), fs)
    leaves = [p for p in tree.entries if p and not tree.children(p)]
    if leaves:
        gone = data.draw(st.sampled_from(sorted(leaves)), label="gone")
        fewer = relinked(Tree({p: e for p, e in tree.entries.items() if p != gone}))
        assert verdict_of(steps, fs, fewer) is Verdict.FAIL
    free = [name for name in (*FILES[:2], "B") if name not in tree.entries]
    source = next((e for e in tree.entries.values() if e.kind is FileKind.FILE), None)
    if free and source is not None:
        extra = replace(source, path=free[0], ino=source.ino + 1000, nlink=1)
        assert verdict_of(steps, fs, Tree({**tree.entries, free[0]: extra})) is Verdict.FAIL


@settings(max_examples=150, deadline=None)
@given(workloads, files, systems, st.sampled_from(["size", "content", "xattr", "ino", "gone"]))
def test_damage_to_a_file_just_fsynced_fails(
    operations: list[Step], path: str, fs: str, kind: str
) -> None:
    steps = runnable([*operations, Step(Verb.FSYNC, path)])
    if steps[-2:-1] != (Step(Verb.FSYNC, path),):
        return
    tree = tree_at(execute(steps), fs)
    entry = tree.entries.get(path)
    if entry is None or entry.kind is not FileKind.FILE:
        return
    if kind == "gone":
        damaged = relinked(Tree({p: e for p, e in tree.entries.items() if p != path}))
    else:
        changed = DAMAGES[kind](entry)
        if changed is None:
            return
        damaged = Tree({**tree.entries, path: changed})
    assert verdict_of(steps, fs, damaged) is Verdict.FAIL
