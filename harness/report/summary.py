# SPDX-License-Identifier: Apache-2.0
"""Counts, findings, phase times and the exit code of a run: pure, shared by every report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from harness.errors import (
    EXIT_FINDINGS,
    EXIT_INFRA,
    EXIT_INTERRUPTED,
    EXIT_PASS,
    EXIT_UNKNOWN,
)
from harness.findings import (
    NOTHING_KNOWN,
    FindingCollector,
    KnownIssue,
    KnownIssues,
    Rate,
    failure_rate,
    finding_id,
)
from harness.model.case import CaseResult, Outcome
from harness.model.verdict import Check, Verdict

EXIT_MEANING: Mapping[int, str] = MappingProxyType(
    {
        EXIT_PASS: "all cases passed",
        EXIT_FINDINGS: "findings: at least one case failed",
        EXIT_UNKNOWN: "no finding, but not every case came to a verdict",
        EXIT_INFRA: "no finding, but infrastructure errors left cases without a verdict",
        EXIT_INTERRUPTED: "interrupted: cases recorded so far are kept",
    }
)

_WORST_FIRST = (Verdict.FAIL, Verdict.UNKNOWN)


def deciding_checks(result: CaseResult) -> tuple[Check, ...]:
    """The checks that make ``result`` what it is: its fails, else its unknowns."""
    for verdict in _WORST_FIRST:
        found = tuple(check for check in result.checks if check.verdict is verdict)
        if found:
            return found
    return ()


def headline(result: CaseResult) -> str:
    """Why the case came out as it did, in one line; never empty for a case that did not pass."""
    if result.verdict is None:
        return _one_line(result.infra_error or "infrastructure error without a text")
    if result.verdict is Verdict.PASS:
        return ""
    checks = deciding_checks(result)
    if not checks:
        reasons = [check.message for check in result.checks if check.message]
        return _one_line(reasons[0] if reasons else f"{result.verdict} without a reason recorded")
    first = checks[0]
    where = f" {first.path}:" if first.path else ""
    more = f" (and {len(checks) - 1} more)" if len(checks) > 1 else ""
    said = first.message or f"expected {first.expected or '?'}, found {first.found or '?'}"
    return _one_line(f"{first.rule}:{where} {said}{more}{_how_often(result)}")


def _how_often(result: CaseResult) -> str:
    again = [rerun.verdict for rerun in result.reruns if rerun.verdict is not None]
    if result.verdict is not Verdict.FAIL or not again:
        return ""
    verdicts = [Verdict.FAIL, *again]
    return f"; failed in {verdicts.count(Verdict.FAIL)} of {len(verdicts)} runs"


def _one_line(text: str) -> str:
    return " ".join(text.split()) or "(no text)"


@dataclass(slots=True)
class PhaseTime:
    """Time one phase took, over the cases that went through it."""

    total_s: float = 0.0
    cases: int = 0

    @property
    def mean_ms(self) -> float:
        """Mean per case that had the phase, in milliseconds."""
        return 1000 * self.total_s / self.cases if self.cases else 0.0


@dataclass(slots=True)
class Summary:
    """Adds up results one by one, so that a run of any length needs little memory."""

    planned: int = 0
    left: int = 0
    """Planned cases that were not begun on purpose."""
    counts: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    retried: int = 0
    """Cases that passed, but not at the first attempt."""
    known: KnownIssues = NOTHING_KNOWN
    known_cases: Counter[KnownIssue] = field(default_factory=Counter)
    """Failures that the list of known issues has, by entry; they are in ``counts`` as well."""
    known_by_finding: Counter[str] = field(default_factory=Counter)
    new_findings: set[str] = field(default_factory=set)
    """Ids of findings with a failure that is not known."""
    collector: FindingCollector = field(default_factory=FindingCollector)
    phases: dict[str, PhaseTime] = field(default_factory=dict)
    case_time_s: float = 0.0

    def add(self, result: CaseResult) -> None:
        """Count ``result``."""
        outcome = result.outcome
        self.counts[outcome] += 1
        self.case_time_s += result.elapsed_s
        if outcome is Outcome.PASS and result.attempts:
            self.retried += 1
        for name, spent_s in result.phases_s.items():
            phase = self.phases.setdefault(name, PhaseTime())
            phase.total_s += spent_s
            phase.cases += 1
        self.collector.add(result)
        if outcome.is_finding:
            self._add_failure(result, str(finding_id(result)))

    def _add_failure(self, result: CaseResult, finding: str) -> None:
        issue = self.known.match(result)
        if issue is None:
            self.new_findings.add(finding)
        else:
            self.known_cases[issue] += 1
            self.known_by_finding[finding] += 1

    @property
    def done(self) -> int:
        """Cases that ended, whatever came of them."""
        return sum(self.counts.values())

    @property
    def failures(self) -> int:
        """Cases that speak against what is tested, known ones included."""
        return sum(count for outcome, count in self.counts.items() if outcome.is_finding)

    @property
    def rate(self) -> Rate:
        """What is known of the rate of failures, from the cases that came to a verdict."""
        return failure_rate(self.failures, self.counts[Outcome.PASS] + self.failures)

    @property
    def missing(self) -> int:
        """Planned cases that left no result: the run stopped early, or lost them."""
        return max(0, self.planned - self.done - self.left)

    def ranked_phases(self) -> list[tuple[str, PhaseTime]]:
        """Phases, the one that took longest first."""
        return sorted(self.phases.items(), key=lambda item: -item[1].total_s)

    def exit_code(self) -> int:
        """Findings before infrastructure errors before unknown; 0 needs a case that was judged.

        A finding stands whatever else went wrong, so it comes first; those on the list of known
        issues were looked at before and do not count here. An infrastructure error comes
        before an unknown because it is the likelier cause of it and the one to mend first. Planned
        cases without a result are as unknown as those whose evidence was not enough, and so is a
        run in which nothing was judged at all.
        """
        if self.new_findings:
            return EXIT_FINDINGS
        if self.counts[Outcome.INFRA]:
            return EXIT_INFRA
        judged = self.counts[Outcome.PASS] + self.failures
        if self.counts[Outcome.UNKNOWN] or self.missing or not judged:
            return EXIT_UNKNOWN
        return EXIT_PASS

    def meaning(self, code: int) -> str:
        """What ``code`` says of this run."""
        if code == EXIT_PASS and self.known_cases:
            return "all cases passed but those that are known to fail"
        return EXIT_MEANING.get(code, "the run itself failed")

    def counts_text(self) -> str:
        """``12 pass, 1 fail, 0 unknown, 0 infra`` and whatever else is not zero."""
        always = (Outcome.PASS, Outcome.FAIL, Outcome.UNKNOWN, Outcome.INFRA)
        parts = [f"{self.counts[outcome]} {outcome}" for outcome in always]
        for outcome in (Outcome.FLAKY, Outcome.CONTROL_FAIL, Outcome.SKIPPED):
            if self.counts[outcome]:
                parts.append(f"{self.counts[outcome]} {outcome}")
        if known := self.known_cases.total():
            parts.append(f"{known} of the failures known")
        if self.retried:
            parts.append(f"{self.retried} of the passes retried")
        return ", ".join(parts)
