# SPDX-License-Identifier: Apache-2.0
"""A tree read back by the agent against what Python sees of the same files."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import pytest
from agent_process import disk_directory, fault, is_root, run, run_steps, running_agent

from harness.guest.agent import Agent
from harness.guest.replies import parse_tree
from harness.model.content import decode, pattern
from harness.model.tree import Entry, FileKind, Tree

NOBODY = 65534
NOT_UTF8 = os.fsdecode(b"\xff\xfe odd\n%41")


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    with running_agent() as client:
        yield client


@pytest.fixture
def root() -> Iterator[Path]:
    with disk_directory() as path:
        yield path


def read(agent: Agent, root: Path, *how: str, lines: tuple[int, ...] = ()) -> Tree:
    result = run(agent, ["tree", str(root), *(how or ("full",))])
    return parse_tree(result.results[0].payload, lines)


def facts(entry: Entry) -> tuple[object, ...]:
    return (
        entry.mode,
        entry.uid,
        entry.gid,
        entry.nlink,
        entry.size,
        entry.blocks,
        entry.ino,
        entry.mtime_ns,
        entry.ctime_ns,
        entry.rdev,
    )


def facts_of(path: Path) -> tuple[object, ...]:
    st = path.lstat()
    return (
        stat.S_IMODE(st.st_mode),
        st.st_uid,
        st.st_gid,
        st.st_nlink,
        st.st_size,
        st.st_blocks,
        st.st_ino,
        st.st_mtime_ns,
        st.st_ctime_ns,
        st.st_rdev,
    )


@pytest.fixture
def tricky(root: Path) -> Path:
    """Every kind of entry, odd names, links, attributes, modes."""
    (root / "A" / "C").mkdir(parents=True)
    (root / "A" / "foo").write_bytes(b"hello\n\0world")
    (root / "empty").touch()
    os.link(root / "A" / "foo", root / "A" / "C" / "again")
    os.symlink("A/foo", root / "soft")
    os.symlink("-", root / "dash")
    os.symlink("no where %", root / "dangling")
    (root / NOT_UTF8).write_bytes(b"E fake line\n")
    (root / "A.b").mkdir(mode=0o711)
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "sock"))
    os.setxattr(root / "A", "user.one", b"1,=%\0\xff")
    os.setxattr(root / "A", "user.two", b"")
    (root / "A" / "foo").chmod(0o6711)
    if is_root():
        os.mknod(root / "char", stat.S_IFCHR | 0o600, os.makedev(300, 70000))
        os.mknod(root / "block", stat.S_IFBLK | 0o600, os.makedev(7, 300))
    return root


def test_every_entry_and_every_fact_is_there(agent: Agent, tricky: Path) -> None:
    tree = read(agent, tricky)
    names = [""] + [str(path.relative_to(tricky)) for path in tricky.rglob("*")]
    assert list(tree.entries) == sorted(names, key=os.fsencode)
    for name in names:
        entry = tree.entries[name]
        assert facts(entry) == facts_of(tricky / name if name else tricky), name
        assert entry.error is None


def test_kinds_links_and_attributes(agent: Agent, tricky: Path) -> None:
    entries = read(agent, tricky).entries
    kinds = {"A": FileKind.DIR, "empty": FileKind.FILE, "soft": FileKind.SYMLINK}
    kinds |= {"fifo": FileKind.FIFO, "sock": FileKind.SOCKET}
    if is_root():
        kinds |= {"char": FileKind.CHARDEV, "block": FileKind.BLOCKDEV}
    assert {name: entries[name].kind for name in kinds} == kinds
    links = [entries[name].link for name in ("soft", "dash", "dangling", "A", "empty")]
    assert links == ["A/foo", "-", "no where %", None, None]
    assert entries["A"].xattrs == (("user.one", b"1,=%\0\xff"), ("user.two", b""))
    assert entries["empty"].xattrs == ()


def test_content_and_digest(agent: Agent, tricky: Path) -> None:
    entries = read(agent, tricky).entries
    for name in ("A/foo", "A/C/again", "empty", NOT_UTF8):
        raw = (tricky / name).read_bytes()
        content = entries[name].content
        assert content is not None
        assert decode(content) == raw
        assert entries[name].digest == blake2b(raw, digest_size=16).hexdigest()
    assert entries["A"].content is None
    assert entries["A"].digest is None


def test_meta_has_facts_only(agent: Agent, tricky: Path) -> None:
    entry = read(agent, tricky, "meta").entries["A/foo"]
    assert facts(entry) == facts_of(tricky / "A" / "foo")
    assert (entry.content, entry.digest) == (None, None)


@pytest.mark.parametrize(("limit", "kept"), [("11", False), ("12", True)])
def test_a_file_over_the_limit_has_a_digest_only(
    agent: Agent, tricky: Path, limit: str, kept: bool
) -> None:
    entry = read(agent, tricky, "full", limit).entries["A/foo"]
    assert (entry.content is not None) == kept
    raw = (tricky / "A" / "foo").read_bytes()
    assert entry.digest == blake2b(raw, digest_size=16).hexdigest()


def test_a_big_sparse_file_is_hashed_and_a_huge_one_refused(agent: Agent, root: Path) -> None:
    with (root / "big").open("wb") as file:
        file.truncate(5_000_001)
        file.seek(1_234_567)
        file.write(b"data")
    with (root / "huge").open("wb") as file:
        file.truncate(1 << 40)
    entries = read(agent, root).entries
    raw = (root / "big").read_bytes()
    assert entries["big"].digest == blake2b(raw, digest_size=16).hexdigest()
    assert entries["big"].content is None
    assert (entries["huge"].digest, entries["huge"].error) == (None, "read: EFBIG")


def test_content_of_all_files_together_fits_a_response(agent: Agent, root: Path) -> None:
    for name in "abc":
        with (root / name).open("wb") as file:
            file.truncate(20 << 20)
    entries = read(agent, root, "full", str(30 << 20)).entries
    assert [entries[name].content is not None for name in "abc"] == [True, True, False]
    assert len({entries[name].digest for name in "abc"}) == 1


def test_recovered_writes_are_told_apart(agent: Agent, root: Path) -> None:
    assert run_steps(
        agent, root, "open foo O_RDWR|O_CREAT 0777", "write foo 0 8192", "write foo 16384 4096"
    ).ok
    content = read(agent, root, lines=(2, 3)).entries["foo"].content
    assert content is not None
    assert [(s.length, s.line) for s in content] == [(8192, 2), (8192, 0), (4096, 3)]
    assert decode(content) == pattern(2, 0, 8192) + bytes(8192) + pattern(3, 16384, 4096)


def test_lost_and_found_shows_when_something_was_found(agent: Agent, root: Path) -> None:
    (root / "lost+found").mkdir()
    (root / "A" / "lost+found").mkdir(parents=True)
    assert list(read(agent, root).entries) == ["", "A", "A/lost+found"]
    (root / "lost+found" / "#12").touch()
    assert "lost+found" in read(agent, root).entries


def test_reading_leaves_access_times_alone(agent: Agent, tricky: Path) -> None:
    names = ["", "A", "A/foo"]
    for name in names:
        os.utime(tricky / name, ns=(1, 2))
    read(agent, tricky)
    assert [(tricky / name).lstat().st_atime_ns for name in names] == [1, 1, 1]


def test_a_deep_tree_ends_with_an_error_on_its_entry(agent: Agent, root: Path) -> None:
    path = root
    for _ in range(80):
        path = path / "d"
    path.mkdir(parents=True)
    tree = read(agent, root)
    (cut,) = [entry for entry in tree.entries.values() if entry.error]
    assert cut.error == "opendir: ELOOP"
    assert cut.path.count("/") == 63


def test_an_unreadable_entry_is_a_fact_about_it(root: Path) -> None:
    root.chmod(0o755)
    (root / "shut").mkdir(mode=0)
    (root / "dark").touch(mode=0)
    with running_agent(NOBODY if is_root() else None) as agent:
        entries = read(agent, root).entries
    assert entries["shut"].error == "opendir: EACCES"
    assert entries["dark"].error == "open: EACCES"
    assert entries["dark"].content is None


@pytest.mark.parametrize("words", [["full", "x"], ["half"]])
def test_a_malformed_request_is_refused(agent: Agent, root: Path, words: list[str]) -> None:
    fault(run(agent, ["tree", str(root), *words]))


def test_a_missing_root_is_a_failure(agent: Agent, root: Path) -> None:
    fault(run(agent, f"tree {root}/none full"))
    (root / "file").touch()
    fault(run(agent, f"tree {root}/file full"))


def test_a_probe_uses_and_empties_the_directory(agent: Agent, tricky: Path) -> None:
    (tricky / "lost+found").mkdir()
    result = run(agent, f"probe {tricky}")
    assert result.ok, result.results[0].text
    assert os.listdir(tricky) == ["lost+found"]


def test_a_probe_says_what_it_could_not_do(agent: Agent, root: Path) -> None:
    (root / "harness-probe").touch()
    assert fault(run(agent, f"probe {root}")).text == "mkdir: EEXIST: harness-probe"
