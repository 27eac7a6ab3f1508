# SPDX-License-Identifier: Apache-2.0
"""Workloads as one test of xfstests, and what ``check`` said of it: pure."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ace_workloads.workload import Workload
from harness.export.xfstests import Test, build_test

GROUP = "ace-harness"
"""Folder of the tests that are put into a guest; no suite's own export is called so."""
NAME = "001"
TEST = f"{GROUP}/{NAME}"
OUTPUT, NOT_RUN, KERNEL_LOG, FULL = ".out.bad", ".notrun", ".dmesg", ".full"
ENDINGS = (OUTPUT, NOT_RUN, KERNEL_LOG, FULL)
"""Of the files in which ``check`` says how a test went."""
_STEP = re.compile(r"step (\d+): (.*)")
_COUNT = re.compile(r"\d+ of \d+ crash points as promised")
_CHECK_TOOK = re.compile(r"\s\d+s$")


def bundle(workloads: Sequence[Workload]) -> Test:
    """One test with all of ``workloads``, none of which may have an obstacle."""
    return build_test(NAME, workloads)


def bundle_files(test: Test, common: Mapping[str, str]) -> dict[str, str]:
    """Path below the xfstests tree -> text, of ``test`` and what it is sourced from."""
    return {
        **{f"common/{name}": text for name, text in common.items()},
        f"tests/{GROUP}/{NAME}": test.script,
        f"tests/{GROUP}/{NAME}.out": test.golden,
        f"tests/{GROUP}/group.list": f"{NAME} {' '.join(test.groups)}\n",
    }


@dataclass(frozen=True, slots=True)
class CheckVerdict:
    """What ``check`` made of a test of several workloads."""

    not_run: str | None = None
    """Why none of them was run."""
    complaints: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Workload id -> lines of the test's output that are not as they should be."""
    common: tuple[str, ...] = ()
    """What was said of the test as a whole, and belongs to none of its workloads."""


def read_verdict(
    workloads: Sequence[Workload], golden: str, files: Mapping[str, str], printed: str, status: int
) -> CheckVerdict:
    """The verdict from the files that ``check`` left, by their endings, and its own output.

    ``status`` is its exit status. Whatever is bad and says nothing about a workload is ``common``:
    a failure is never lost for want of somebody it can be put down to.
    """
    if NOT_RUN in files:
        return CheckVerdict(not_run=files[NOT_RUN].strip() or "no reason given")
    common: list[str] = []
    complaints: dict[str, list[str]] = {}
    expected = set(golden.splitlines())
    known = {workload.id for workload in workloads}
    for line in files.get(OUTPUT, "").splitlines():
        if line in expected:
            continue
        about = line.partition(": ")[0]
        if about in known:
            complaints.setdefault(about, []).append(line.partition(": ")[2])
        else:
            common.append(line)
    if KERNEL_LOG in files:
        common += [f"kernel log: {line}" for line in files[KERNEL_LOG].splitlines()]
    if status != 0 and not common and not complaints:
        common += [_CHECK_TOOK.sub("", line) for line in printed.splitlines() if line.strip()]
        common = common or [f"check ended with status {status}"]
    return CheckVerdict(
        complaints={about: tuple(lines) for about, lines in complaints.items()},
        common=tuple(common),
    )


def step_errors(lines: Sequence[str]) -> tuple[tuple[int, str], ...]:
    """(line, "program: ERRNO") of the steps among a workload's complaints.

    What a program says of an error that is none of the system's stays as it is.
    """
    found = (_STEP.match(line) for line in lines)
    return tuple((int(match[1]), _with_errno(match[2])) for match in found if match is not None)


def _with_errno(said: str) -> str:
    for number, name in errno.errorcode.items():
        if said.endswith(os.strerror(number)):
            return f"{said.partition(':')[0]}: {name}"
    return said


def complaints(lines: Sequence[str]) -> tuple[str, ...]:
    """What is left of a workload's complaints without its failed steps, and what follows of them.

    After a failed step the test goes on with the next workload: it cannot have met all its crash
    points, and says so.
    """
    steps = any(_STEP.match(line) for line in lines)
    return tuple(
        line for line in lines if not _STEP.match(line) and not (steps and _COUNT.fullmatch(line))
    )
