# SPDX-License-Identifier: Apache-2.0
"""The text for people: expected against recovered."""

from __future__ import annotations

from dataclasses import replace

import pytest
from oracle_trees import all_of, crash_at, rewritten, steps_of, without

from harness.model.content import pattern
from harness.model.evidence import CrashEvidence
from harness.model.verdict import Verdict
from harness.oracle import judge_crash
from harness.oracle.diff import diff_lines, expected_tree_text, recovered_tree_text

STEPS = steps_of(
    "mkdir A 0777;open foo O_RDWR|O_CREAT 0777;write foo 0 32768;fsync foo;checkpoint 0;"
    "write foo 0 5000;open Abar O_RDWR|O_CREAT 0777;write Abar 0 4096;opendir A 0777;fsync A;"
    "checkpoint 1"
)
CRASH = crash_at(STEPS, "ext4")


@pytest.mark.parametrize("line", [10, 11])
def test_a_faultless_tree_has_no_marks(line: int) -> None:
    assert diff_lines(STEPS, "ext4", replace(CRASH, line=line)) == (
        "crash point 2, after line 10 (fsync A), ext4",
        "  /  dir",
        "  A  dir",
        "  A/bar  file, 4096 bytes",
        "  foo  file, 32768 bytes",
    )


def test_lost_and_legal_differences_are_told_apart() -> None:
    assert CRASH.recovered is not None
    change = all_of(
        rewritten("A/bar", b""),
        rewritten("foo", pattern(6, 0, 5000) + pattern(3, 5000, 23672) + bytes(4096), [3, 6]),
    )
    lines = diff_lines(STEPS, "ext4", replace(CRASH, recovered=change(CRASH.recovered)))
    assert lines[3:] == (
        "~ A/bar  size 4096 -> 0: not persisted",
        "! foo  content/persisted: expected [28672,32768) step 3 data, found [28672,32768) zeros",
    )


def test_a_legal_older_content_is_shown_with_its_range() -> None:
    assert CRASH.recovered is not None
    old = rewritten("foo", pattern(3, 0, 32768), [3, 6])(CRASH.recovered)
    lines = diff_lines(STEPS, "ext4", replace(CRASH, recovered=old))
    assert lines[4:] == ("~ foo  [0,4992) step 6 data -> step 3 data: not persisted",)


def test_every_failing_check_has_a_line() -> None:
    assert CRASH.recovered is not None
    crash = replace(CRASH, recovered=without("A", "foo")(CRASH.recovered))
    failed = [c for c in judge_crash(STEPS, "ext4", crash) if c.verdict is Verdict.FAIL]
    lines = diff_lines(STEPS, "ext4", crash)
    assert len([line for line in lines if line.startswith("!")]) == len(failed) > 2
    assert any("name/persisted" in line and "A/bar" in line for line in lines)


def test_nothing_recovered() -> None:
    crash = replace(CRASH, recovered=None)
    assert diff_lines(STEPS, "ext4", crash)[1:] == ("! nothing was recovered",)


def test_expected_tree() -> None:
    assert expected_tree_text(STEPS, "ext4", 10) == (
        "expected after line 10 (fsync A) on ext4\n"
        "/  dir, the mount point, all attributes persisted\n"
        "A  dir, name persisted, all attributes persisted\n"
        "A/bar  file, name persisted\n"
        "    size 0 or 4096\n"
        "    [0,4096) zeros or step 8 data, not persisted\n"
        "foo  file, name persisted\n"
        "    size 32768\n"
        "    [0,5000) step 3 data or step 6 data, not persisted\n"
        "    [5000,32768) step 3 data, persisted\n"
    )


@pytest.mark.parametrize("crash", [CRASH, crash_at(STEPS, "ext4", 1)])
def test_recovered_tree(crash: CrashEvidence) -> None:
    assert crash.recovered is not None
    text = recovered_tree_text(crash.recovered)
    assert text.count("\n") == len(text.splitlines())
    assert "foo  file 0777 0:0, 1 links, 32768 bytes, 64 blocks, inode 13\n" in text
