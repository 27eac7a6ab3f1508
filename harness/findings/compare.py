# SPDX-License-Identifier: Apache-2.0
"""Two runs side by side: what is new, what is fixed, and what cannot be told.

A finding is fixed only if a case that showed it has been run again and passed; that it is not seen
among other cases says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.findings.finding import Finding, FindingCollector, finding_id
from harness.model.case import CaseId, CaseResult, Outcome


class Change(StrEnum):
    """What became of a finding from run A to run B."""

    NEW = "new"
    """In B, not in A."""
    STILL = "still"
    """In both."""
    CHANGED = "changed"
    """In A; its cases still fail in B, but in another way."""
    FIXED = "fixed"
    """In A; at least one of its cases passed in B, and none failed."""
    NOT_RUN = "not-run"
    """In A; none of its cases came to a verdict in B."""


@dataclass(slots=True)
class RunCases:
    """What is kept of a run to compare it: the last outcome of each case, and its findings."""

    outcomes: dict[CaseId, Outcome] = field(default_factory=dict)
    workloads: dict[CaseId, str] = field(default_factory=dict)
    """Content hash of the workload of each case."""
    failing: dict[CaseId, str] = field(default_factory=dict)
    """Failing case -> id of its finding."""
    collector: FindingCollector = field(default_factory=FindingCollector)

    @classmethod
    def of(cls, results: Iterable[CaseResult]) -> RunCases:
        """``results`` of one run, looked at one at a time."""
        cases = cls()
        for result in results:
            cases.add(result)
        return cases

    def add(self, result: CaseResult) -> None:
        """Take ``result`` into account; the last one of a case decides."""
        case_id = result.case_id
        self.outcomes[case_id] = result.outcome
        self.workloads[case_id] = result.workload_hash
        self.failing.pop(case_id, None)
        if result.outcome.is_finding:
            self.failing[case_id] = str(finding_id(result))
        self.collector.add(result)

    def findings(self) -> list[Finding]:
        """Failures only, most frequent first within an outcome."""
        return [one for one in self.collector.ranked() if one.outcome.is_finding]


@dataclass(frozen=True, slots=True)
class Changed:
    """A finding, as it was in A unless it is new, and what became of it."""

    change: Change
    finding: Finding
    cases_a: int
    cases_b: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Run A against run B."""

    findings: tuple[Changed, ...]
    """New ones first, in the order of ``Change``."""
    turned: Mapping[tuple[Outcome, Outcome], tuple[CaseId, ...]]
    """(outcome in A, another one in B) -> cases."""
    only_a: tuple[CaseId, ...]
    only_b: tuple[CaseId, ...]
    other_workload: tuple[CaseId, ...]
    """Of the same id in both, but not the same workload: not compared."""
    compared: int
    """Cases that came to a verdict in both."""

    @property
    def has_new(self) -> bool:
        """Whether B has a finding that A has not."""
        return any(one.change is Change.NEW for one in self.findings)


def compare(a: RunCases, b: RunCases) -> Comparison:
    """What changed from run ``a`` to run ``b``."""
    common = a.outcomes.keys() & b.outcomes.keys()
    other = {case_id for case_id in common if a.workloads[case_id] != b.workloads[case_id]}
    turned: dict[tuple[Outcome, Outcome], list[CaseId]] = {}
    for case_id in sorted(common - other):
        pair = a.outcomes[case_id], b.outcomes[case_id]
        if pair[0] is not pair[1]:
            turned.setdefault(pair, []).append(case_id)
    return Comparison(
        findings=tuple(_findings(a, b)),
        turned={pair: tuple(cases) for pair, cases in sorted(turned.items())},
        only_a=tuple(sorted(a.outcomes.keys() - common)),
        only_b=tuple(sorted(b.outcomes.keys() - common)),
        other_workload=tuple(sorted(other)),
        compared=sum(_judged(a, one) and _judged(b, one) for one in common - other),
    )


def _judged(run: RunCases, case_id: CaseId) -> bool:
    outcome = run.outcomes[case_id]
    return outcome.is_finding or outcome is Outcome.PASS


def _findings(a: RunCases, b: RunCases) -> list[Changed]:
    before = {one.id: one for one in a.findings()}
    after = {one.id: one for one in b.findings()}
    found = [
        Changed(Change.NEW, one, 0, one.cases) for one in after.values() if one.id not in before
    ]
    for one in before.values():
        seen = after[one.id].cases if one.id in after else 0
        found.append(Changed(_became(one, a, b, bool(seen)), one, one.cases, seen))
    order = list(Change)
    return sorted(found, key=lambda each: order.index(each.change))


def _became(one: Finding, a: RunCases, b: RunCases, seen: bool) -> Change:
    if seen:
        return Change.STILL
    again = [
        b.outcomes[case_id]
        for case_id in one.case_ids
        if case_id in b.outcomes and a.workloads[case_id] == b.workloads[case_id]
    ]
    if any(outcome.is_finding for outcome in again):
        return Change.CHANGED
    return Change.FIXED if Outcome.PASS in again else Change.NOT_RUN
