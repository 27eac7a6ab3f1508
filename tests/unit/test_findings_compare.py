# SPDX-License-Identifier: Apache-2.0
"""Two runs side by side: new, still, changed, fixed, not run."""

from __future__ import annotations

import pytest
from report_cases import result

from harness.findings.compare import Comparison, RunCases, compare
from harness.model.case import CaseResult
from harness.model.verdict import Check, Verdict

F, U = Verdict.FAIL, Verdict.UNKNOWN
MOUNT = (Check("mount", F),)


def compared(a: list[CaseResult], b: list[CaseResult]) -> Comparison:
    return compare(RunCases.of(a), RunCases.of(b))


def changes(a: list[CaseResult], b: list[CaseResult]) -> list[tuple[str, str, int, int]]:
    found = compared(a, b).findings
    return [(x.change.value, x.finding.violation, x.cases_a, x.cases_b) for x in found]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([result(1)], [result(1, F)], [("new", "lost", 0, 1)]),
        ([], [result(1, F)], [("new", "lost", 0, 1)]),
        ([result(1, F)], [result(2, F), result(3, F)], [("still", "lost", 1, 2)]),
        ([result(1, F)], [result(1)], [("fixed", "lost", 1, 0)]),
        # One of its cases that passes is enough, none of them must fail.
        ([result(1, F), result(2, F)], [result(1)], [("fixed", "lost", 2, 0)]),
        ([result(1, F)], [result(2)], [("not-run", "lost", 1, 0)]),
        ([result(1, F)], [result(1, U)], [("not-run", "lost", 1, 0)]),
        ([result(1, F)], [result(1, None)], [("not-run", "lost", 1, 0)]),
        ([result(1, F)], [result(1, workload_hash="other")], [("not-run", "lost", 1, 0)]),
        (
            [result(1, F)],
            [result(1, F, checks=MOUNT)],
            [("new", "unrecoverable", 0, 1), ("changed", "lost", 1, 0)],
        ),
        # Trouble of the harness itself is no finding.
        ([result(1, None)], [result(1, U)], []),
    ],
)
def test_what_became_of_a_finding(
    a: list[CaseResult], b: list[CaseResult], expected: list[tuple[str, str, int, int]]
) -> None:
    assert changes(a, b) == expected


def test_cases_only_in_one_and_how_outcomes_turned() -> None:
    a = [result(1), result(2), result(3, F), result(4), result(6)]
    b = [result(2, F), result(3), result(4), result(5), result(6, workload_hash="other")]
    found = compared(a, b)
    assert [case.workload for case in found.only_a] == ["ace-seq1/000001"]
    assert [case.workload for case in found.only_b] == ["ace-seq1/000005"]
    assert [case.workload for case in found.other_workload] == ["ace-seq1/000006"]
    turned = {
        (before.value, after.value): [case.workload for case in cases]
        for (before, after), cases in found.turned.items()
    }
    assert turned == {
        ("pass", "fail"): ["ace-seq1/000002"],
        ("fail", "pass"): ["ace-seq1/000003"],
    }
    assert found.compared == 3


def test_the_last_result_of_a_case_decides() -> None:
    assert not compared([result(1)], [result(1, F), result(1)]).turned
    assert compared([result(1)], [result(1), result(1, F)]).turned
