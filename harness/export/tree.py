# SPDX-License-Identifier: Apache-2.0
"""Writes tests into a folder laid out as xfstests is, one at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ace_workloads.workload import Workload
from harness.errors import InfraError, UsageError
from harness.export.xfstests import GROUP_LIST_HEAD, MAKEFILE, Test, build_test, obstacle

COMMON = ("ace", "ace-judge", "ace-play")
"""What all tests share, below ``common/``."""

_GROUP = re.compile(r"[a-z][a-z0-9-]*")
_TAKEN = ("generic", "btrfs", "ceph", "cifs", "ext4", "f2fs", "nfs", "ocfs2", "overlay", "perf",
          "selftest", "tmpfs", "udf", "xfs")  # fmt: skip


@dataclass
class Exported:
    """What was written."""

    folder: Path
    tests: int = 0
    workloads: int = 0
    left_out: int = 0
    first_left_out: str = ""
    """Id and reason."""


def group_name(text: str) -> str:
    """The folder for a suite's tests; UsageError where xfstests would not find them there."""
    name = text.replace(".", "-").replace("_", "-").replace("@", "-")
    if not _GROUP.fullmatch(name) or name in _TAKEN:
        raise UsageError(
            f"{text!r} is no name for a folder of tests",
            hint="--group NAME: lower-case letters, digits, dashes, and none that xfstests has",
        )
    return name


def width_for(numbers: int) -> int:
    """How many digits names need; check ignores tests with less than three."""
    return max(3, len(str(numbers)))


def export_tests(
    workloads: Iterable[Workload], out: Path, group: str, *, bundle: int | None, size: int
) -> Exported:
    """Write tests below ``out``; a workload that cannot be one is counted and left out.

    Without ``bundle`` a test has the number of its workload. ``size`` is the highest number a
    workload can have. Memory does not depend on how many there are.

    Raises:
        UsageError: the folder has files in it already.
        InfraError: it cannot be written to.
    """
    folder = out / "tests" / group
    exported = Exported(folder)
    with _writing(folder):
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError(
                f"{folder} is not empty", hint="remove it, or name another with --group"
            )
        folder.mkdir(parents=True, exist_ok=True)
        _write_common(out / "common")
        _write(folder / "Makefile", MAKEFILE.format(group=group))
        with (folder / "group.list").open("w", encoding="utf-8", newline="\n") as listed:
            listed.write(GROUP_LIST_HEAD)
            for test in _tests(workloads, exported, bundle, size):
                _write(folder / test.name, test.script, mode=0o755)
                _write(folder / f"{test.name}.out", test.golden)
                listed.write(f"{test.name} {' '.join(test.groups)}\n")
                exported.tests += 1
    return exported


def _tests(
    workloads: Iterable[Workload], exported: Exported, bundle: int | None, size: int
) -> Iterator[Test]:
    held: list[Workload] = []
    width = width_for(size if bundle is None else -(-size // bundle))
    number = 0
    for workload in workloads:
        if (reason := obstacle(workload)) is not None:
            exported.left_out += 1
            exported.first_left_out = exported.first_left_out or f"{workload.id}: {reason}"
            continue
        exported.workloads += 1
        if bundle is None:
            yield build_test(f"{workload.index:0{width}d}", [workload])
            continue
        held.append(workload)
        if len(held) == bundle:
            number += 1
            yield build_test(f"{number:0{width}d}", held)
            held = []
    if held:
        yield build_test(f"{number + 1:0{width}d}", held)


def common_files() -> dict[str, str]:
    """Name below ``common/`` -> text of what all tests share."""
    files = resources.files("harness.export") / "files"
    return {name: (files / name).read_text(encoding="utf-8") for name in COMMON}


def _write_common(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in common_files().items():
        _write(folder / name, text)


def _write(path: Path, text: str, *, mode: int = 0o644) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
    path.chmod(mode)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InfraError(f"cannot write below {folder}: {error.strerror}") from error
