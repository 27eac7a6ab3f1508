# SPDX-License-Identifier: Apache-2.0
"""Expected and recovered side by side: every range of every file, and nothing unsaid."""

from __future__ import annotations

from dataclasses import replace

import pytest
from oracle_trees import all_of, crash_at, rewritten, steps_of, without

from harness.model.comparison import CrashComparison, FileRange, Mark, NameRow
from harness.model.content import pattern
from harness.model.evidence import ToolResult
from harness.model.tree import Tree
from harness.model.verdict import Verdict
from harness.oracle import judge_crash
from harness.oracle.compare import compare_crash

STEPS = steps_of(
    "mkdir A 0777;open foo O_RDWR|O_CREAT 0777;write foo 0 32768;fsync foo;checkpoint 0;"
    "write foo 0 5000;open Abar O_RDWR|O_CREAT 0777;write Abar 0 4096;opendir A 0777;fsync A;"
    "checkpoint 1"
)
CRASH = crash_at(STEPS, "ext4")


def compared(change: object = None) -> CrashComparison:
    assert CRASH.recovered is not None
    tree = change(CRASH.recovered) if callable(change) else CRASH.recovered
    return compare_crash(STEPS, "ext4", replace(CRASH, recovered=tree))


def row(comparison: CrashComparison, path: str) -> NameRow:
    return next(row for row in comparison.rows if row.path == path)


def test_a_faultless_tree_is_the_same_everywhere() -> None:
    seen = compared()
    assert (seen.checkpoint, seen.line, seen.recovered) == (2, 10, True)
    assert [(r.path, r.mark) for r in seen.rows] == [
        (path, Mark.SAME) for path in ("", "A", "A/bar", "foo")
    ]
    assert all(r.mark is Mark.SAME for each in seen.rows for r in each.ranges)


def test_a_lost_page_is_the_broken_range() -> None:
    seen = compared(
        rewritten("foo", pattern(6, 0, 5000) + pattern(3, 5000, 23672) + bytes(4096), [3, 6])
    )
    foo = row(seen, "foo")
    assert foo.mark is Mark.BROKEN
    assert [check.rule for check in foo.broken] == ["content/persisted"]
    assert foo.ranges == (
        FileRange(0, 5000, (3, 6), 6, False, Mark.SAME),
        FileRange(5000, 28672, (3,), 3, True, Mark.SAME),
        FileRange(28672, 32768, (3,), 0, True, Mark.BROKEN),
    )


def test_what_was_not_persisted_may_be_lost() -> None:
    bar = row(compared(rewritten("A/bar", b"")), "A/bar")
    assert bar.mark is Mark.OPEN
    assert [(r.start, r.end, r.found, r.mark) for r in bar.ranges] == [(0, 4096, None, Mark.OPEN)]


def test_bytes_behind_the_end_are_expected_nowhere() -> None:
    longer = pattern(8, 0, 4096) + b"\xff" * 4096
    bar = row(compared(rewritten("A/bar", longer, [8])), "A/bar")
    last = bar.ranges[-1]
    assert (last.start, last.end, last.expected, last.found) == (4096, 8192, (), -1)
    assert last.mark is Mark.BROKEN


@pytest.mark.parametrize(
    "change",
    [without("A", "foo"), rewritten("foo", b""), all_of(without("A/bar"), rewritten("foo", b"x"))],
)
def test_every_finding_of_the_judge_is_somewhere(change: object) -> None:
    assert CRASH.recovered is not None
    assert callable(change)
    crash = replace(CRASH, recovered=change(CRASH.recovered), fsck=ToolResult(False, 4, "bad"))
    failed = [
        c for c in judge_crash(STEPS, "ext4", crash, replicated=False) if c.verdict is Verdict.FAIL
    ]
    seen = compare_crash(STEPS, "ext4", crash)
    shown = [*seen.elsewhere, *(check for each in seen.rows for check in each.broken)]
    assert len(failed) > 1
    assert sorted(map(repr, shown)) == sorted(map(repr, failed))
    assert "fsck" in {check.rule for check in seen.elsewhere}


def test_without_a_recovered_tree_all_is_expected_and_nothing_found() -> None:
    seen = compare_crash(STEPS, "ext4", replace(CRASH, recovered=None))
    assert not seen.recovered
    assert all(each.expected and not each.found for each in seen.rows)


def test_an_unexpected_name_has_no_expectation() -> None:
    assert CRASH.recovered is not None
    entries = dict(CRASH.recovered.entries)
    entries["junk"] = replace(entries["foo"], path="junk", ino=99)
    seen = compared(lambda _tree: Tree(entries))
    junk = row(seen, "junk")
    assert (junk.expected, junk.mark) == ((), Mark.BROKEN)
