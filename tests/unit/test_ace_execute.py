# SPDX-License-Identifier: Apache-2.0
"""Clean workloads run to their end on a real file system."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from ace_executor import Executor, fallocate

from ace_workloads.jlang import parse_run_section
from ace_workloads.ops import Mode
from ace_workloads.registry import load_suite
from ace_workloads.workload import Workload

RunAll = Callable[[Iterable[Workload]], int]


@pytest.fixture(scope="module")
def disk() -> Iterator[Path]:
    """A directory on a file system that can do what the ops need; tmpfs cannot."""
    folder = Path(tempfile.mkdtemp(prefix="ace-", dir=os.environ.get("TMPDIR", "/var/tmp")))
    probe = os.open(folder / "probe", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    try:
        fallocate(probe, "FALLOC_FL_ZERO_RANGE|FALLOC_FL_KEEP_SIZE", 0, 4096)
        os.setxattr(probe, "user.probe", b"")
    except OSError as error:
        pytest.fail(f"{folder}: {error}; set TMPDIR to a folder on ext4, xfs or btrfs")
    finally:
        os.close(probe)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def run_all(disk: Path) -> RunAll:
    """Runs workloads, each in a directory of its own; gives their number."""

    def run(workloads: Iterable[Workload]) -> int:
        done = 0
        for workload in workloads:
            root = disk / "root"
            root.mkdir()
            try:
                Executor(root).run(workload.steps)
            except (OSError, AssertionError) as error:
                pytest.fail(f"{workload.id}: {error}\n{workload.canonical_text}")
            finally:
                shutil.rmtree(root)
            done += 1
        return done

    return run


@pytest.mark.parametrize("name", ["smoke", "ace-seq1", "ace-seq1-nested", "paper-seq1"])
def test_every_workload_of_a_small_suite_executes(name: str, run_all: RunAll) -> None:
    suite = load_suite(name)
    assert run_all(suite) == suite.count()


@pytest.mark.parametrize(
    "name", ["ace-seq2", "ace-seq2-nested", "ace-seq3-nested", "paper-seq2", "paper-seq3-nested"]
)
def test_a_sample_of_a_large_suite_executes(name: str, run_all: RunAll) -> None:
    assert run_all(load_suite(name).sample(150, seed=1)) == 150


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("ace-seq2", 5000),
        ("ace-seq2-nested", 5000),
        ("ace-seq3", 2000),
        ("ace-seq3-nested", 5000),
        ("paper-seq2", 2000),
        ("paper-seq3-data", 2000),
        ("paper-seq3-metadata", 2000),
        ("paper-seq3-nested", 2000),
    ],
)
def test_a_large_sample_executes(name: str, size: int, run_all: RunAll) -> None:
    assert run_all(load_suite(name).sample(size, seed="large")) == size


RENAMES = """
name = "renames"
length = 4
ops = ["creat", "mkdir", "rename"]
first_files = ["A/C/foo"]
second_files = ["A/C/bar"]
second_dirs = ["B", "A/C"]
reach = "used"
"""

SPECIALS = """
name = "specials"
length = 3
ops = ["mknod", "symlink", "link", "rename", "unlink", "write", "fdatasync"]
first_files = ["foo", "A/foo"]
second_files = ["A/bar"]
symlink = "first-all"
link = "all-second"
write = ["append", "overlap_unaligned_end"]
persist = ["fsync", "fdatasync"]
"""


@pytest.mark.parametrize("text", [RENAMES, SPECIALS])
def test_bounds_no_shipped_suite_has_execute_as_well(
    text: str, run_all: RunAll, tmp_path: Path
) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    assert run_all(load_suite(path).sample(400, seed=1)) == 400


def test_the_original_generator_fails_where_it_is_known_to(run_all: RunAll) -> None:
    """19 of the 423 texts of seq1 fail: rename into itself 5, fsync without a handle 14."""
    failed = set()
    for workload in load_suite("ace-seq1", mode=Mode.ORIGINAL):
        try:
            run_all([workload])
        except pytest.fail.Exception:
            failed.add(workload.canonical_text)
    assert len(failed) == 19


@pytest.mark.parametrize(
    "steps",
    [
        "open foo O_RDWR|O_CREAT 0777\nrename foo bar\nopen bar O_RDWR|O_CREAT 0777\nfsync foo",
        "open foo O_RDWR|O_CREAT 0777\nopen foo O_RDWR|O_CREAT 0777\nclose foo",
        "open foo O_RDWR|O_CREAT 0777",
        "fsync foo",
        "open foo O_RDWR|O_CREAT 0777\nwrite foo 1 4096\nclose foo",
        "open foo O_RDWR|O_CREAT 0777\nwrite foo -1 4096\nclose foo",
        "open foo O_RDWR|O_CREAT 0777\ndwrite foo 0 4095",
        "mkdir A 0777\nmkdir A 0777",
    ],
)
def test_the_executor_refuses_unsound_steps(steps: str, tmp_path: Path) -> None:
    with pytest.raises((OSError, AssertionError)):
        Executor(tmp_path).run(parse_run_section(steps))
