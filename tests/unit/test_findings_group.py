# SPDX-License-Identifier: Apache-2.0
"""Findings: what is put together, what is kept apart, and what is said of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from report_cases import STARTED, result

from harness.findings import FindingCollector, finding_id, findings
from harness.model.case import CaseId, CaseResult, Outcome, Rerun
from harness.model.device import DeviceDigest
from harness.model.evidence import CaseEvidence
from harness.model.verdict import Check, Verdict


def failing(number: int = 1, *rules: str, **fields: Any) -> CaseResult:
    checks = tuple(Check(rule, Verdict.FAIL, "foo") for rule in rules or ("name/persisted",))
    return result(number, Verdict.FAIL, **({"checks": checks} | fields))


def test_one_cause_seen_through_many_skeletons_is_one_finding() -> None:
    cases = [failing(n, skeleton=skeleton) for n, skeleton in enumerate(("creat", "link", "creat"))]
    (only,) = findings(cases)
    assert only.cases == 3
    assert [str(mark) for mark in only.signatures] == [
        "creat:fsync:lost:name",
        "link:fsync:lost:name",
    ]
    assert list(only.signatures.values()) == [2, 1]
    assert only.case_ids == tuple(case.case_id for case in cases)


def test_different_causes_are_different_findings() -> None:
    oops = (Check("console", Verdict.FAIL, "backup", "nothing", "oops: in f"),)
    bug = (Check("console", Verdict.FAIL, "backup", "nothing", "bug: in g"),)
    cases = [
        failing(1),
        failing(2, "drain/promised", "name/persisted"),
        failing(3, checks=oops),
        failing(4, checks=bug),
    ]
    assert len(findings(cases)) == 4


HELD = tuple(Check(rule, Verdict.PASS) for rule in ("drain/quiesced", "device/equal"))


def replicated(number: int, *rules: str, found: str = "", **fields: Any) -> CaseResult:
    checks = tuple(Check(rule, Verdict.FAIL, "foo", "", found) for rule in rules)
    return failing(number, checks=(*HELD, *checks), **fields)


def test_a_block_that_came_too_late_is_one_bug_whatever_it_held() -> None:
    rules = ("mount", "fsck", "name/persisted", "content/persisted", "order/prefix")
    (only,) = findings(replicated(number, rule) for number, rule in enumerate(rules))
    assert only.violation == "crash-state"
    assert len(only.signatures) == 5


def test_wrong_bytes_are_one_bug_in_files_and_elsewhere() -> None:
    nobodys = replicated(1, "content/persisted", found="[0,9) data of no write at this place")
    checks = (*HELD[:1], Check("device/equal", Verdict.FAIL))
    (only,) = findings([nobodys, failing(2, checks=checks)])
    assert only.violation == "different"


def test_a_file_system_on_a_device_of_its_own_has_more_than_one_way_to_fail() -> None:
    assert len(findings([failing(1, "mount"), failing(2, "fsck"), failing(3)])) == 3
    control = {"control": Verdict.FAIL}
    cases = [replicated(1, "mount", **control), replicated(2, "name/persisted", **control)]
    assert len(findings(cases)) == 2


def test_outcomes_and_targets_are_never_melted() -> None:
    other = CaseId("ace-seq1/000005", "ext4", "drbd")
    cases = [
        failing(1),
        failing(2, control=Verdict.PASS),
        failing(3, control=Verdict.FAIL),
        failing(4, control=Verdict.FAIL, case_id=other),
        failing(5, case_id=other),
        result(6, None),
        result(7, Verdict.UNKNOWN),
        failing(8, reruns=(Rerun(Verdict.PASS),)),
        failing(9, reruns=(Rerun(Verdict.FAIL),)),
    ]
    found = findings(cases)
    assert [(one.outcome, one.target, one.cases) for one in found if one.target != "drbd"] == [
        (Outcome.FAIL, "rollbaccine", 3),
        (Outcome.CONTROL_FAIL, "control", 2),
        (Outcome.FLAKY, "rollbaccine", 1),
        (Outcome.INFRA, "rollbaccine", 1),
        (Outcome.UNKNOWN, "rollbaccine", 1),
    ]
    assert len(found) == 6
    assert len({one.id for one in found}) == 6
    assert {one.outcome for one in found} == set(Outcome) - {Outcome.PASS, Outcome.SKIPPED}


def test_most_frequent_first() -> None:
    cases = [failing(1, "mount"), failing(2), failing(3), result(4, None), result(5, None)]
    assert [one.cases for one in findings([*cases, result(6, None)])] == [2, 1, 3]


def test_the_smallest_case_has_the_fewest_ops_then_steps_and_no_evidence() -> None:
    long = "creat foo\nsync\ncheckpoint 1\n"
    cases = [
        failing(1, skeleton="creat-link", jlang=""),
        failing(3, skeleton="creat", jlang=long),
        failing(4, skeleton="link", jlang="sync\n", console={"backup": ("line",)}),
        failing(5, skeleton="link", jlang="sync\n"),
    ]
    for order in (cases, cases[::-1]):
        (only,) = findings(order)
        assert only.smallest.case_id == cases[2].case_id
        assert only.smallest.evidence is None
        assert not only.smallest.console


def test_first_and_last() -> None:
    cases = [failing(n, started_unix_s=STARTED + at) for n, at in enumerate((5, 1, 9))]
    (only,) = findings(cases)
    assert (only.first_unix_s, only.last_unix_s) == (STARTED + 1, STARTED + 9)


def test_ids_depend_on_the_cause_alone() -> None:
    (one,) = findings([failing(1)])
    (again,) = findings([result(2), failing(7, skeleton="link"), failing(9, "attr/xattr")])
    assert one.id == again.id == finding_id(failing(1))
    # People keep ids in lists: they never change. printf 'fail\nrollbaccine\nlost\n' | b2sum
    assert one.id == "f42c402886"
    assert finding_id(result()) is None


def test_evidence_is_let_go_of() -> None:
    """A run of any length: no more than one case is held while the next is read."""
    alive: list[int] = []

    class Watched(CaseEvidence):
        def __del__(self) -> None:
            alive.pop()

    def results() -> Iterator[CaseResult]:
        for number in range(50):
            alive.append(number)
            yield failing(number, evidence=Watched(()))
            assert len(alive) <= 2

    (only,) = findings(results())
    assert only.cases == 50
    assert alive == []


def test_how_devices_differ_is_told_apart() -> None:
    def differing(number: int, backup: int) -> CaseResult:
        digests = {
            "primary_device": DeviceDigest("aa", 5),
            "backup_device": DeviceDigest("b", backup),
        }
        return failing(number, "device/equal", evidence=CaseEvidence((), **digests))

    assert len(findings([differing(1, 4), differing(2, 3), differing(3, 6), differing(4, 6)])) == 2


def test_different_counts_what_is_not_the_harness_own_trouble() -> None:
    collector = FindingCollector()
    for case in (failing(1), failing(2), failing(3, "fsck"), result(4, None), result(5)):
        collector.add(case)
    assert collector.different == 2
