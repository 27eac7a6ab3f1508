# SPDX-License-Identifier: Apache-2.0
"""Two engines side by side: agreement is said only where both have something to say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from oracle_trees import crash_at, edited, relinked, steps_of, without

from harness.cli.compare_engines import exit_code
from harness.findings.agreement import accounts, agreement
from harness.model.case import CaseId, CaseResult
from harness.model.evidence import CaseEvidence
from harness.model.tree import Tree
from harness.model.verdict import Check, Verdict
from harness.oracle.rules import Rule

TEXT = "open foo O_RDWR|O_CREAT 0777\nlink foo bar\nfsync foo\ncheckpoint 1\n"
NAMES = ("native", "xfstests")


def result(
    number: int = 1, verdict: Verdict | None = Verdict.PASS, **changes: object
) -> CaseResult:
    steps = steps_of(TEXT)
    crash = crash_at(steps, "ext4")
    plain = CaseResult(
        CaseId(f"s/{number}", "ext4", "t"), "hash", "creat", TEXT, verdict,
        evidence=CaseEvidence((crash,)),
        infra_error="lost" if verdict is None else None,
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def failing(rule: Rule) -> CaseResult:
    return result(verdict=Verdict.FAIL, checks=(Check(rule, Verdict.FAIL, "foo"),))


def changed(change: Callable[[Tree], Tree]) -> CaseResult:
    plain = result()
    assert plain.evidence is not None
    (crash,) = plain.evidence.crashes
    assert crash.live is not None
    crash = replace(crash, live=change(crash.live))
    return replace(plain, evidence=replace(plain.evidence, crashes=(crash,)))


def compared(one: list[CaseResult], other: list[CaseResult]) -> tuple[list[str], int, int, int]:
    found = agreement(accounts(one), accounts(other), NAMES)
    said = [each.about for each in found.disagreements]
    return said, found.agreed, len(found.open), exit_code(found)


def test_the_same_is_agreement() -> None:
    assert compared([result(1), result(2)], [result(2), result(1)]) == ([], 2, 0, 0)
    assert compared([failing(Rule.FSCK)], [failing(Rule.FSCK)]) == ([], 1, 0, 0)


def test_other_verdicts_and_findings_are_not() -> None:
    one = compared([result()], [failing(Rule.FSCK)])
    assert one == (["native: pass, xfstests: fail"], 0, 0, 1)
    said, *rest = compared([failing(Rule.CONSOLE)], [failing(Rule.ROUND_MEMORY)])
    assert "finding" in said[0]
    assert rest == [0, 0, 1]


@pytest.mark.parametrize("verdict", [None, Verdict.SKIPPED])
def test_no_verdict_is_no_agreement(verdict: Verdict | None) -> None:
    assert compared([result()], [result(verdict=verdict)]) == ([], 0, 1, 2)
    assert compared([result(verdict=verdict)], [result(verdict=verdict)]) == ([], 0, 1, 2)


def test_a_case_of_one_engine_alone_is_open() -> None:
    assert compared([result(1), result(2)], [result(1)]) == ([], 1, 1, 2)
    assert compared([], []) == ([], 0, 0, 2)


@pytest.mark.parametrize(
    "change",
    [
        without("bar"), edited("foo", size=1), edited("foo", mode=0o600), edited("foo", digest="x"),
        edited("foo", xattrs=(("user.a", b"1"),)), edited("bar", nlink=3), edited("bar", ino=99),
    ],
)  # fmt: skip
def test_another_tree_on_the_primary_is_a_disagreement(change: Callable[[Tree], Tree]) -> None:
    said, agreed, *_ = compared([result()], [changed(change)])
    assert said == ["the trees on the primary differ at crash point 1"]
    assert agreed == 0


def test_what_the_steps_do_not_decide_may_differ() -> None:
    def renumbered(tree: Tree) -> Tree:
        return Tree({
            path: replace(entry, ino=entry.ino + 100, blocks=8, mtime_ns=1, ctime_ns=2)
            for path, entry in tree.entries.items()
        })  # fmt: skip

    assert compared([result()], [changed(renumbered)])[0] == []
    assert compared([result()], [changed(relinked)])[0] == []


def test_a_crash_point_that_was_not_reached_is_a_disagreement() -> None:
    other = replace(result(), evidence=CaseEvidence(()))
    assert compared([result()], [other])[0] == ["crash points [1] and []"]
