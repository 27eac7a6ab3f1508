# SPDX-License-Identifier: Apache-2.0
"""Tables of (workload, file systems, what the crash did to the tree) -> the rule it breaks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from oracle_trees import (
    FILE_SYSTEMS,
    all_of,
    crash_at,
    edited,
    execute,
    judged,
    relinked,
    rewritten,
    rules,
    steps_of,
    tree_at,
    without,
)

from harness.model.content import pattern
from harness.model.tree import FileKind, Tree

ALL = FILE_SYSTEMS
ORDERED = ("ext4", "xfs")
Change = Callable[[Tree], Tree]

FOO = "open foo O_RDWR|O_CREAT 0777;"
BAR = "open bar O_RDWR|O_CREAT 0777;"
DIR = "mkdir A 0777;"
POINT = "checkpoint 0;"
WRITTEN = FOO + "write foo 0 32768;fsync foo;" + POINT
TWICE = WRITTEN + "write foo 0 5000;" + BAR + "fsync bar;" + POINT
REMOVED = FOO + "sync;" + POINT + "unlink foo;opendir test 0777;fsync test;" + POINT
MOVED = DIR + FOO + "sync;" + POINT + "rename foo Abar;open Abar O_RDWR 0777;fsync Abar;" + POINT
REPLACED = (FOO + "link foo bar;" + DIR + "open Afoo O_RDWR|O_CREAT 0777;"
            "open Abar O_RDWR|O_CREAT 0777;sync;" + POINT + "rename Afoo foo;fsync Abar;"
            + POINT)  # fmt: skip
SYNCED = DIR + FOO + "write foo 0 32768;fsetxattr foo;link foo Abar;symlink foo bar;sync;" + POINT


def copied(source: str, to: str, **fields: object) -> Change:
    """The entry ``source`` once more, under another name."""

    def change(tree: Tree) -> Tree:
        extra = edited(source, path=to, **fields)(tree).entries[source]
        return relinked(Tree({**tree.entries, to: extra}))

    return change


def copied_root_file(tree: Tree, to: str, ino: int) -> Tree:
    """An empty file added to the root."""
    return copied("", to, kind=FileKind.FILE, size=0, ino=ino, mode=0o777, content=(),
                  ctime_ns=1001 * 10**9, mtime_ns=1001 * 10**9)(tree)  # fmt: skip


def state_after(line: int, text: str, fs: str) -> Change:
    """The tree as it was after an earlier line."""
    return lambda _: tree_at(execute(steps_of(text), None), fs, line)


BROKEN: list[tuple[str, str, tuple[str, ...], Change, tuple[str, str]]] = [
    ("a persisted file is missing", WRITTEN, ALL, without("foo"), ("name/persisted", "foo")),
    ("its content is gone", WRITTEN, ALL, rewritten("foo", bytes(32768)),
     ("content/persisted", "foo")),
    ("one byte differs", WRITTEN, ALL,
     rewritten("foo", pattern(2, 0, 20000) + b"?" + pattern(2, 20001, 12767), [2]),
     ("content/persisted", "foo")),
    ("its tail is gone", WRITTEN, ALL, rewritten("foo", pattern(2, 0, 28672), [2]),
     ("size/persisted", "foo")),
    ("it is longer", WRITTEN, ALL, rewritten("foo", pattern(2, 0, 32768) + bytes(4096), [2]),
     ("size/persisted", "foo")),
    ("data at a wrong place", WRITTEN, ALL,
     rewritten("foo", pattern(2, 4096, 4096) + pattern(2, 4096, 28672), [2]),
     ("content/persisted", "foo")),
    ("an overwrite left garbage", TWICE, ALL,
     rewritten("foo", b"x" * 4096 + pattern(2, 4096, 28672), [2, 5]), ("content/legal", "foo")),
    ("an overwrite left zeros", TWICE, ALL,
     rewritten("foo", bytes(4096) + pattern(2, 4096, 28672), [2, 5]), ("content/legal", "foo")),
    ("data beside an overwrite changed", TWICE, ALL,
     rewritten("foo", pattern(5, 0, 5000) + bytes(96) + pattern(2, 5096, 27672), [2, 5]),
     ("content/persisted", "foo")),
    ("a removed name is back", REMOVED, ALL, copied("", "foo", kind=FileKind.FILE, size=0),
     ("name/gone", "foo")),
    ("a renamed file is under no name", MOVED, ALL, without("A/bar"),
     ("name/persisted", "A/bar")),
    ("a renamed file still has its old name", MOVED, ALL, copied("A/bar", "foo"),
     ("name/gone", "foo")),
    ("a name nobody made", WRITTEN, ALL, copied("foo", "B"), ("name/legal", "B")),
    ("a name below a name nobody made", WRITTEN, ALL,
     all_of(copied("", "B"), copied("foo", "B/foo")), ("name/legal", "B/foo")),
    ("an orphan in lost+found", WRITTEN, ALL,
     all_of(copied("", "lost+found"), copied("foo", "lost+found/#12")),
     ("name/legal", "lost+found")),
    ("a hard link became a copy", SYNCED, ALL,
     lambda t: relinked(edited("A/bar", ino=999)(t)), ("name/legal", "A/bar")),
    ("another inode number", WRITTEN, ALL, edited("foo", ino=999), ("attr/ino", "foo")),
    ("a file became a directory", WRITTEN, ALL,
     lambda t: relinked(edited("foo", kind=FileKind.DIR, content=None)(t)),
     ("name/persisted", "foo")),
    ("mode", SYNCED, ALL, edited("foo", mode=0o600), ("attr/mode", "foo")),
    ("owner", SYNCED, ALL, edited("A", uid=1), ("attr/owner", "A")),
    ("xattr lost", SYNCED, ALL, edited("foo", xattrs=()), ("attr/xattr", "foo")),
    ("xattr changed", SYNCED, ALL, edited("A/bar", xattrs=(("user.xattr1", b"val2"),)),
     ("attr/xattr", "A/bar")),
    ("link count", SYNCED, ALL, edited("foo", nlink=1), ("attr/nlink", "foo")),
    ("link count of a directory", SYNCED, ALL, edited("A", nlink=7), ("attr/nlink", "A")),
    ("symlink target", SYNCED, ALL, edited("bar", link="fox"), ("attr/symlink", "bar")),
    ("mtime", WRITTEN, ALL, edited("foo", mtime_ns=5), ("attr/mtime", "foo")),
    ("ctime", WRITTEN, ALL, edited("foo", ctime_ns=5), ("attr/ctime", "foo")),
    ("blocks", WRITTEN, ("ext4",), edited("foo", blocks=0), ("attr/blocks", "foo")),
    ("directory size", SYNCED, ORDERED, edited("A", size=0), ("size/dir", "A")),
    ("unreadable", WRITTEN, ALL, edited("foo", error="read: EIO"), ("content/readable", "foo")),
    ("only the later of two changes", FOO + DIR + BAR + "fsync bar;" + POINT, ORDERED,
     without("foo"), ("order/prefix", "")),
    ("both names of a rename", FOO + "sync;" + POINT + "rename foo bar;" + DIR +
     "opendir A 0777;fsync A;" + POINT, ORDERED, copied("bar", "foo"), ("name/gone", "foo")),
    ("O_SYNC write lost", FOO + "write foo 0 32768;dwrite foo 0 8192;" + BAR + "fsync bar;" +
     POINT, ALL, rewritten("foo", b""), ("size/persisted", "foo")),
    ("msync lost", FOO + "write foo 0 32768;mmapwrite foo 0 8192;" + POINT, ALL,
     rewritten("foo", bytes(8192)), ("content/persisted", "foo")),
    ("msync's size lost", FOO + "write foo 0 32768;mmapwrite foo 0 8192;" + POINT, ALL,
     rewritten("foo", pattern(3, 0, 4096), [3]), ("size/persisted", "foo")),
    ("truncation lost", FOO + "write foo 0 32768;fsync foo;" + POINT + "truncate foo 0;"
     "fsync foo;" + POINT, ALL, rewritten("foo", pattern(2, 0, 32768), [2]),
     ("size/persisted", "foo")),
    ("neither the old nor the new object", REPLACED, ORDERED, without("foo"),
     ("rename/atomic", "foo")),
    ("a third object in place of two", REPLACED, ALL, edited("foo", ino=999),
     ("name/legal", "foo")),
    ("an fdatasynced file is missing", FOO + "fdatasync foo;" + POINT, ALL, without("foo"),
     ("name/persisted", "foo")),
    ("the directory of an fdatasynced file is missing", DIR + "open Afoo O_RDWR|O_CREAT 0777;"
     "fdatasync Afoo;" + POINT, ALL, without("A"), ("name/persisted", "A")),
    ("xattr lost after fsync", FOO + "fsetxattr foo;fsync foo;" + POINT, ALL,
     edited("foo", xattrs=()), ("attr/xattr", "foo")),
    ("a size nobody wrote", FOO + "write foo 0 32768;" + BAR + "fsync bar;" + POINT, ALL,
     rewritten("foo", bytes(12345)), ("size/legal", "foo")),
    ("stale data behind a truncation", FOO + "write foo 0 32768;truncate foo 0;"
     "truncate foo 2500;fdatasync foo;" + POINT, ALL, rewritten("foo", pattern(2, 0, 2500), [2]),
     ("content/persisted", "foo")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "fs", "change", "rule"),
    [
        pytest.param(text, fs, change, rule, id=f"{fs}: {name}")
        for name, text, systems, change, rule in BROKEN
        for fs in systems
    ],
)
def test_a_broken_promise_fails(text: str, fs: str, change: Change, rule: tuple[str, str]) -> None:
    assert judged(text, fs, lambda tree: tree) == []
    assert rule in rules(judged(text, fs, change))


LEGAL: list[tuple[str, str, tuple[str, ...], Change]] = [
    ("unpersisted data is missing", FOO + "write foo 0 32768;" + BAR + "fsync bar;" + POINT, ALL,
     rewritten("foo", b"")),
    ("unpersisted data is there in part", FOO + "write foo 0 32768;" + BAR + "fsync bar;" + POINT,
     ALL, rewritten("foo", pattern(2, 0, 4096) + bytes(8192), [2])),
    ("unpersisted data is zeros", FOO + "write foo 0 32768;" + BAR + "fsync bar;" + POINT, ALL,
     rewritten("foo", bytes(32768))),
    ("an unpersisted overwrite is there", TWICE, ALL,
     rewritten("foo", pattern(5, 0, 5000) + pattern(2, 5000, 27768), [2, 5])),
    ("an unpersisted overwrite is missing", TWICE, ALL,
     rewritten("foo", pattern(2, 0, 32768), [2, 5])),
    ("an unpersisted overwrite is torn", TWICE, ALL,
     rewritten("foo", pattern(5, 0, 4096) + pattern(2, 4096, 28672), [2, 5])),
    ("size as far as msync went", FOO + "write foo 0 32768;mmapwrite foo 0 8192;" + POINT, ALL,
     rewritten("foo", pattern(3, 0, 8192), [3])),
    ("size as far as the allocation went", FOO + "write foo 0 32768;falloc foo 0 0 5000;" + BAR +
     "fsync bar;" + POINT, ALL, rewritten("foo", bytes(5000))),
    ("an unpersisted file is missing", FOO + BAR + "fsync bar;" + POINT, ("btrfs",),
     without("foo")),
    ("a later file is missing", FOO + "fsync foo;" + POINT + BAR + "fsync foo;" + POINT, ALL,
     without("bar")),
    ("a removal after its fsync did not happen", FOO + "fsync foo;" + POINT + DIR + "unlink foo;" +
     "opendir A 0777;fsync A;" + POINT, ("btrfs",), lambda t: copied_root_file(t, "foo", 257)),
    ("an unpersisted rename did not happen", FOO + BAR + "sync;" + POINT + "rename foo Bfoo;"
     "fsync bar;" + POINT, ALL, lambda tree: tree),
    ("btrfs: replaced by an object the log does not know", DIR + "mkdir AC 0777;" + FOO +
     "link foo ACbar;opendir AC 0777;fsync AC;" + POINT + BAR + "rename bar ACbar;fsync foo;" +
     POINT, ("btrfs",), without("A/C/bar")),
    ("btrfs: renamed into a new directory, old name taken", DIR + "open Afoo O_RDWR|O_CREAT 0777;"
     "sync;" + POINT + "mkdir AC 0777;rename Afoo ACbar;open Afoo O_RDWR|O_CREAT 0777;fsync Afoo;"
     + POINT, ("btrfs",), without("A/C/bar")),
    ("times of a direct write", FOO + "dwrite foo 0 8192;" + POINT, ALL,
     edited("foo", mtime_ns=1009 * 10**9, ctime_ns=1009 * 10**9)),
    ("times of an fdatasync", FOO + "write foo 0 32768;fdatasync foo;" + POINT, ALL,
     edited("foo", mtime_ns=1002 * 10**9)),
    ("blocks of xfs and btrfs", WRITTEN, ("xfs", "btrfs"), edited("foo", blocks=128)),
    ("xattr set and not persisted", FOO + "fsync foo;" + POINT + "fsetxattr foo;" + BAR +
     "fsync bar;" + POINT, ("btrfs",), edited("foo", xattrs=())),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "fs", "change"),
    [
        pytest.param(text, fs, change, id=f"{fs}: {name}")
        for name, text, systems, change in LEGAL
        for fs in systems
    ],
)
def test_what_a_crash_may_do_passes(text: str, fs: str, change: Change) -> None:
    assert judged(text, fs, change) == []


RENAMED = FOO + "sync;" + POINT + DIR + "rename foo Afoo;" + BAR + "fsync bar;" + POINT


@pytest.mark.parametrize("line", [3, 4, 5, 6])
def test_btrfs_may_bring_back_any_moment_since_the_last_commit_but_for_what_was_fsynced(
    line: int,
) -> None:
    found = judged(RENAMED, "btrfs", state_after(line, RENAMED, "btrfs"))
    assert rules(found) == ({("name/persisted", "bar")} if line < 6 else set())


@pytest.mark.parametrize("fs", ALL)
def test_a_persisted_file_must_survive_an_unpersisted_rename_under_some_name(fs: str) -> None:
    text = FOO + "sync;" + POINT + "rename foo bar;" + DIR + "opendir A 0777;fsync A;" + POINT
    found = rules(judged(text, fs, without("bar")))
    assert found & {("rename/atomic", "bar"), ("name/persisted", "bar")}


@pytest.mark.parametrize("fs", ALL)
def test_fsync_of_a_new_sibling_persists_the_siblings_name(fs: str) -> None:
    text = FOO + BAR + "fsync bar;" + POINT
    assert ("name/persisted", "bar") in rules(judged(text, fs, without("bar")))


@pytest.mark.parametrize("fs", ALL)
def test_fsync_of_the_mount_point_persists_its_entries(fs: str) -> None:
    text = FOO + "opendir test 0777;fsync test;" + POINT
    assert ("name/persisted", "foo") in rules(judged(text, fs, without("foo")))


@pytest.mark.parametrize("fs", ALL)
def test_fsync_through_a_handle_of_a_renamed_file_persists_the_new_name(fs: str) -> None:
    text = FOO + "sync;" + POINT + "rename foo bar;fsync foo;" + POINT
    assert ("name/persisted", "bar") in rules(judged(text, fs, without("bar")))
    assert ("name/gone", "foo") in rules(judged(text, fs, copied("bar", "foo")))


@pytest.mark.parametrize("fs", ALL)
def test_fsync_of_an_open_unlinked_file_does_not_bring_it_back(fs: str) -> None:
    text = FOO + "sync;" + POINT + "unlink foo;write foo 0 4096;fsync foo;" + POINT
    assert judged(text, fs, lambda tree: tree) == []


def test_btrfs_may_bring_back_the_last_commits_owner_of_a_name_changed_since_its_fsync() -> None:
    text = (
        DIR + FOO + "sync;" + POINT + "rename foo Afoo;open foo O_RDWR|O_CREAT 0777;fsync foo;" +
        POINT + "unlink foo;" + BAR + "fsync bar;" + POINT
    )  # fmt: skip
    live = crash_at(steps_of(text), "btrfs").live
    assert live is not None
    old = live.entries["A/foo"]
    moved_back = all_of(
        without("A/foo"),
        copied("", "foo", kind=old.kind, size=0, content=(), ino=old.ino, mode=old.mode,
               mtime_ns=old.mtime_ns, ctime_ns=old.ctime_ns),
    )  # fmt: skip
    assert judged(text, "btrfs", moved_back) == []
    assert rules(judged(text, "ext4", moved_back)) >= {("name/gone", "foo")}


@pytest.mark.parametrize(("fs", "legal"), [("ext4", True), ("xfs", True), ("btrfs", False)])
def test_an_inode_number_may_serve_two_objects_one_after_the_other(fs: str, legal: bool) -> None:
    """btrfs gives a number out again only after the next mount."""
    text = FOO + BAR + "sync;" + POINT + "unlink foo;" + FOO + "fsync bar;" + POINT
    live = crash_at(steps_of(text), fs).live
    assert live is not None
    reused = edited("foo", ino=live.entries["foo"].ino)
    found = judged(text, fs, all_of(state_after(3, text, fs), reused))
    assert (found == []) is legal
