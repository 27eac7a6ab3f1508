# SPDX-License-Identifier: Apache-2.0
"""The POSIX model: what steps do to names, handles, sizes and bytes."""

from __future__ import annotations

import pytest
from oracle_trees import file_bytes, steps_of

from harness.model.content import pattern
from harness.oracle.model import Model, execute
from harness.oracle.objects import Promise

CREATE = "open {} O_RDWR|O_CREAT 0777"


def run(text: str) -> Model:
    """The model after J-lang lines; ``+foo`` stands for the line that creates and opens foo."""
    lines = [line.strip() for line in text.split(";")]
    return execute(
        steps_of("\n".join(CREATE.format(x[1:]) if x.startswith("+") else x for x in lines))
    )


def data(model: Model, path: str) -> bytes:
    return file_bytes(model.inodes[model.paths()[path]], model.line)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("+foo; link foo bar; unlink foo", "bar"),
        ("+foo; +bar; rename foo bar", "bar"),
        ("+foo; link foo bar; rename foo bar", "bar foo"),
        ("mkdir A 0777; +Afoo; rename A B", "B B/foo"),
        ("mkdir A 0777; +Afoo; rename A B; mkdir A 0777", "A B B/foo"),
        ("mkdir A 0777; mkdir B 0777; rename A B", "B"),
        ("mkdir A 0777; remove A; +foo; remove foo", ""),
        ("+foo; symlink foo bar", "bar foo"),
        ("symlink foo bar; +bar", "bar foo"),
    ],
)
def test_names(text: str, paths: str) -> None:
    model = run(text)
    assert model.errors == {}
    assert " ".join(sorted(filter(None, model.paths()))) == paths


@pytest.mark.parametrize(
    ("text", "errno"),
    [
        ("open foo O_RDWR 0777", "ENOENT"),
        ("mkdir AC 0777", "ENOENT"),
        ("+foo; link foo bar; link foo bar", "EEXIST"),
        ("mkdir A 0777; link A B", "EPERM"),
        ("mkdir A 0777; rename A AC", "EINVAL"),
        ("mkdir A 0777; mkdir AC 0777; rename A AC", "EINVAL"),
        ("mkdir A 0777; +Afoo; mkdir B 0777; rename B A", "ENOTEMPTY"),
        ("mkdir A 0777; +Afoo; rmdir A", "ENOTEMPTY"),
        ("mkdir A 0777; +foo; rename foo A", "EISDIR"),
        ("mkdir A 0777; +foo; rename A foo", "ENOTDIR"),
        ("mkdir A 0777; unlink A", "EISDIR"),
        ("+foo; removexattr foo", "ENODATA"),
        ("+foo; write foo -2000 5000", "EINVAL"),
        ("+foo; falloc foo 0 -2000 5000", "EINVAL"),
        ("fsync foo", "EBADF"),
        ("+foo; write foo 0 32768; dwrite foo 0 4096; fsync foo", "EBADF"),
        ("mknod foo 0777; open foo O_RDWR 0777; fsync foo", "EINVAL"),
        ("symlink foo bar; open bar O_RDWR 0777", "ENOENT"),
        ("mkdir A 0777; symlink A B; unlink foo; unlink B; rmdir A", "ENOENT"),
    ],
)
def test_a_step_that_must_fail_changes_nothing(text: str, errno: str) -> None:
    model = run(text)
    assert list(model.errors.values()) == [errno]


def test_a_handle_keeps_its_inode_when_the_name_is_taken_by_another() -> None:
    model = run("+foo; unlink foo; mkdir A 0777; write foo 0 100; fsync foo")
    assert model.errors == {}
    assert "foo" not in model.paths()
    assert model.inodes[1].size.now() == 100
    assert model.persisted[-1].inode == 1


def test_a_handle_belongs_to_the_name_it_was_opened_by() -> None:
    model = run("+foo; rename foo bar; +foo; write foo 0 100")
    assert len(data(model, "foo")) == 100
    assert len(data(model, "bar")) == 0


@pytest.mark.parametrize(
    ("text", "size", "zero", "line_2"),
    [
        ("write foo 0 32768", 32768, (0, 0), (0, 32768)),
        ("write foo 0 32768; truncate foo 2500", 2500, (0, 0), (0, 2500)),
        ("write foo 0 32768; truncate foo 0; truncate foo 2500", 2500, (0, 2500), (0, 0)),
        ("write foo 0 32768; falloc foo FALLOC_FL_ZERO_RANGE 30768 5000",
         35768, (30768, 35768), (0, 30768)),
        ("write foo 0 32768; falloc foo FALLOC_FL_ZERO_RANGE|FALLOC_FL_KEEP_SIZE 30768 5000",
         32768, (30768, 32768), (0, 30768)),
        ("write foo 0 32768; falloc foo FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE 0 5000",
         32768, (0, 5000), (5000, 32768)),
        ("write foo 0 32768; falloc foo FALLOC_FL_KEEP_SIZE 32768 32768",
         32768, (0, 0), (0, 32768)),
        ("write foo 0 32768; falloc foo 0 32768 32768", 65536, (32768, 65536), (0, 32768)),
    ],
)  # fmt: skip
def test_size_and_bytes(
    text: str, size: int, zero: tuple[int, int], line_2: tuple[int, int]
) -> None:
    found = data(run(f"+foo; {text}"), "foo")
    assert len(found) == size
    assert found[slice(*zero)] == bytes(zero[1] - zero[0])
    assert found[slice(*line_2)] == pattern(2, line_2[0], line_2[1] - line_2[0])


def test_each_persistence_op_notes_what_it_covers() -> None:
    model = run(
        "+foo; write foo 0 32768; mmapwrite foo 0 8192; fdatasync foo; fsync foo; "
        "dwrite foo 4096 8192; sync"
    )
    assert [(p.line, p.promise, p.start, p.end >= 1 << 40 or p.end) for p in model.persisted] == [
        (3, Promise.RANGE, 0, 8192),
        (4, Promise.DATA, 0, True),
        (5, Promise.INODE, 0, True),
        (6, Promise.RANGE_AND_INODE, 4096, 12288),
        (7, Promise.EVERYTHING, 0, True),
    ]
