# SPDX-License-Identifier: Apache-2.0
"""What each step of a workload does to real files."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_process import disk_directory, fault, is_root, run, run_steps, running_agent, soon

from harness.guest.agent import Agent
from harness.guest.replies import parse_failure
from harness.model.content import pattern


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    with running_agent() as client:
        yield client


@pytest.fixture
def root() -> Iterator[Path]:
    with disk_directory() as path:
        yield path


OPEN_FOO = "open foo O_RDWR|O_CREAT 0777"


def test_open_creates_with_exactly_the_mode_it_says(agent: Agent, root: Path) -> None:
    assert run_steps(agent, root, OPEN_FOO).ok
    assert stat.S_IMODE((root / "foo").stat().st_mode) == 0o777


def test_a_write_stores_the_record_stream_of_its_line(agent: Agent, root: Path) -> None:
    assert run_steps(agent, root, OPEN_FOO, "write foo 0 32768", "write foo 30768 5000").ok
    want = pattern(2, 0, 30768) + pattern(3, 30768, 5000)
    assert (root / "foo").read_bytes() == want


def test_records_count_on_across_every_decimal_carry(agent: Agent, root: Path) -> None:
    assert run_steps(agent, root, OPEN_FOO, "write foo 99999000 1100", "write foo 7 3").ok
    with (root / "foo").open("rb") as file:
        file.seek(99_999_000)
        assert file.read() == pattern(2, 99_999_000, 1100)


def test_dwrite_stores_through_a_handle_of_its_own(agent: Agent, root: Path) -> None:
    result = run_steps(agent, root, OPEN_FOO, "dwrite foo 4096 8192", "fsync foo")
    assert (root / "foo").read_bytes() == bytes(4096) + pattern(2, 4096, 8192)
    assert fault(result).status == -errno.EBADF, "the handle has to be gone after a dwrite"


def test_dwrite_does_not_create(agent: Agent, root: Path) -> None:
    assert fault(run_steps(agent, root, "dwrite foo 0 4096")).status == -errno.ENOENT


def test_mmapwrite_extends_the_file_and_stores(agent: Agent, root: Path) -> None:
    steps = (OPEN_FOO, "write foo 0 5000", "mmapwrite foo 4500 32768")
    assert run_steps(agent, root, *steps).ok
    want = pattern(2, 0, 4500) + pattern(3, 4500, 32768)
    assert (root / "foo").read_bytes() == want


@pytest.mark.parametrize(
    ("mode", "size", "zero"),
    [
        ("0", 12288, None),
        ("FALLOC_FL_KEEP_SIZE", 8192, None),
        ("FALLOC_FL_ZERO_RANGE", 12288, slice(4096, 12288)),
        ("FALLOC_FL_ZERO_RANGE|FALLOC_FL_KEEP_SIZE", 8192, slice(4096, 8192)),
        ("FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE", 8192, slice(4096, 8192)),
    ],
)
def test_falloc_passes_its_mode_on(
    agent: Agent, root: Path, mode: str, size: int, zero: slice | None
) -> None:
    assert run_steps(agent, root, OPEN_FOO, "write foo 0 8192", f"falloc foo {mode} 4096 8192").ok
    want = bytearray(pattern(2, 0, 8192).ljust(size, b"\0"))
    if zero:
        want[zero] = bytes(zero.stop - zero.start)
    assert (root / "foo").read_bytes() == want


def test_names_are_made_linked_moved_and_removed(agent: Agent, root: Path) -> None:
    steps = (
        "mkdir A 0755",
        "open A/foo O_RDWR|O_CREAT 0600",
        "link A/foo bar",
        "rename A/foo baz",
        "symlink A/foo soft",
        "rename A B",
        "mkdir C 0700",
        "rmdir C",
        "open gone O_RDWR|O_CREAT 0600",
        "unlink gone",
        "mkdir D 0700",
        "remove D",
        "open E O_RDWR|O_CREAT 0600",
        "remove E",
    )
    assert run_steps(agent, root, *steps).ok
    assert sorted(os.listdir(root)) == ["B", "bar", "baz", "soft"]
    assert (root / "bar").stat().st_ino == (root / "baz").stat().st_ino
    assert os.readlink(root / "soft") == "A/foo"
    assert stat.S_IMODE((root / "B").stat().st_mode) == 0o755


def test_truncate_and_attributes(agent: Agent, root: Path) -> None:
    steps = (OPEN_FOO, "write foo 0 5000", "truncate foo 2500", "fsetxattr foo")
    assert run_steps(agent, root, *steps).ok
    assert (root / "foo").stat().st_size == 2500
    assert os.getxattr(root / "foo", "user.xattr1") == b"val1"
    assert run_steps(agent, root, "removexattr foo").ok
    assert os.listxattr(root / "foo") == []


def test_persistence_steps_and_none(agent: Agent, root: Path) -> None:
    steps = (OPEN_FOO, "opendir . 0777", "fsync foo", "fdatasync foo", "fsync .", "sync", "none")
    assert run_steps(agent, root, *steps, "close foo", "close .").ok


def test_mknod_makes_a_null_device_where_it_may(agent: Agent, root: Path) -> None:
    result = run_steps(agent, root, "mknod foo 0640")
    if not is_root():
        assert fault(result).status == -errno.EPERM
        return
    facts = (root / "foo").lstat()
    assert (facts.st_mode, facts.st_rdev) == (stat.S_IFCHR | 0o640, os.makedev(1, 3))


def test_a_second_open_of_a_name_keeps_the_first_handle_until_the_end(
    agent: Agent, root: Path
) -> None:
    pid = int(agent.run(["exec", "5000", "sh", "-c", "echo $PPID"], soon()).text)
    open_files: list[str] = []

    def count(_: object) -> bool:
        # The agent stands at the checkpoint: look at its handles from outside.
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        open_files.extend(sorted(link for link in links if str(root) in link))
        return True

    steps = (OPEN_FOO, "unlink foo", OPEN_FOO, "checkpoint 1")
    lines = [f"step {n} {step}" for n, step in enumerate(steps, start=1)]
    assert run(agent, f"begin {root}", *lines, "end", on_event=count).ok
    assert open_files == [f"{root}/foo", f"{root}/foo (deleted)"]


@pytest.mark.parametrize(
    ("steps", "call", "name"),
    [
        (("mkdir A 0777", "mkdir A 0777"), "mkdir", "EEXIST"),
        (("rmdir A",), "rmdir", "ENOENT"),
        (("unlink foo",), "unlink", "ENOENT"),
        (("remove foo",), "remove", "ENOENT"),
        (("rename foo bar",), "rename", "ENOENT"),
        (("link foo bar",), "link", "ENOENT"),
        (("truncate foo 0",), "truncate", "ENOENT"),
        (("removexattr foo",), "removexattr", "ENOENT"),
        (("opendir foo 0777",), "open", "ENOENT"),
        (("open foo O_RDWR 0777",), "open", "ENOENT"),
        (("close foo",), "close", "EBADF"),
        (("fsync foo",), "handle", "EBADF"),
        (("fdatasync foo",), "handle", "EBADF"),
        (("fsetxattr foo",), "handle", "EBADF"),
        (("falloc foo 0 0 1",), "handle", "EBADF"),
        (("write foo 0 1",), "handle", "EBADF"),
        (("mmapwrite foo 0 1",), "handle", "EBADF"),
        ((OPEN_FOO, "removexattr foo"), "removexattr", "ENODATA"),
        ((OPEN_FOO, "write foo -2000 5000"), "pwrite", "EINVAL"),
        ((OPEN_FOO, "dwrite foo -4096 4096"), "pwrite", "EINVAL"),
        ((OPEN_FOO, "falloc foo 0 -2000 5000"), "fallocate", "EINVAL"),
        ((OPEN_FOO, "mmapwrite foo -2000 5000"), "fallocate", "EINVAL"),
        ((OPEN_FOO, "falloc foo FALLOC_FL_PUNCH_HOLE 0 4096"), "fallocate", "EOPNOTSUPP"),
        (("open foo O_NONSENSE 0777",), "open", "EINVAL"),
        (("open foo O_RDWR 999",), "open", "EINVAL"),
        ((OPEN_FOO, "write foo zero 1"), "write", "EINVAL"),
        ((OPEN_FOO, "write foo 0 -1"), "write", "EINVAL"),
        (("write foo",), "write", "EINVAL"),
        (("frobnicate foo",), "step", "ENOSYS"),
    ],
)
def test_a_failing_step_names_call_errno_and_object(
    agent: Agent, root: Path, steps: tuple[str, ...], call: str, name: str
) -> None:
    result = run_steps(agent, root, *steps)
    failure = fault(result)
    assert failure.words[1] == str(len(steps)), "the line that failed"
    told = parse_failure(failure.payload)
    assert (told.call, told.errno) == (call, name)
    assert failure.status == -getattr(errno, name)
    assert result.results[-1].skipped
