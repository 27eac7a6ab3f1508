# SPDX-License-Identifier: Apache-2.0
"""Counts, findings, phase times and the exit code of a run: pure, shared by every report."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class FindingKey:
    """What makes two bad cases the same finding for the reader."""

    outcome: Outcome
    rule: str
    skeleton: str


@dataclass(slots=True)
class Finding:
    """Cases of one key."""

    example: CaseResult
    """The first of them."""
    cases: int = 0


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
    findings: dict[FindingKey, Finding] = field(default_factory=dict)
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
        if outcome not in (Outcome.PASS, Outcome.SKIPPED):
            self._add_finding(outcome, result)

    def _add_finding(self, outcome: Outcome, result: CaseResult) -> None:
        checks = deciding_checks(result)
        rule = checks[0].rule if checks else "(no check)"
        if outcome is Outcome.INFRA:
            rule = headline(result)
        key = FindingKey(outcome, rule, result.skeleton)
        self.findings.setdefault(key, Finding(result)).cases += 1

    @property
    def done(self) -> int:
        """Cases that ended, whatever came of them."""
        return sum(self.counts.values())

    @property
    def different_findings(self) -> int:
        """Findings of the target, not of the harness's own trouble."""
        return sum(key.outcome.is_finding for key in self.findings)

    @property
    def missing(self) -> int:
        """Planned cases that left no result: the run stopped early, or lost them."""
        return max(0, self.planned - self.done - self.left)

    def ranked_findings(self) -> list[tuple[FindingKey, Finding]]:
        """Findings, the kinds that matter most first, then by number of cases."""
        order = [
            Outcome.FAIL, Outcome.FLAKY, Outcome.CONTROL_FAIL, Outcome.INFRA, Outcome.UNKNOWN,
        ]  # fmt: skip
        return sorted(
            self.findings.items(),
            key=lambda item: (order.index(item[0].outcome), -item[1].cases, item[0].rule),
        )

    def ranked_phases(self) -> list[tuple[str, PhaseTime]]:
        """Phases, the one that took longest first."""
        return sorted(self.phases.items(), key=lambda item: -item[1].total_s)

    def exit_code(self) -> int:
        """Findings before infrastructure errors before unknown; 0 needs at least one pass.

        A finding stands whatever else went wrong, so it comes first. An infrastructure error comes
        before an unknown because it is the likelier cause of it and the one to mend first. Planned
        cases without a result are as unknown as those whose evidence was not enough, and so is a
        run in which nothing was judged at all.
        """
        if any(self.counts[outcome] for outcome in Outcome if outcome.is_finding):
            return EXIT_FINDINGS
        if self.counts[Outcome.INFRA]:
            return EXIT_INFRA
        if self.counts[Outcome.UNKNOWN] or self.missing or not self.counts[Outcome.PASS]:
            return EXIT_UNKNOWN
        return EXIT_PASS

    def counts_text(self) -> str:
        """``12 pass, 1 fail, 0 unknown, 0 infra`` and whatever else is not zero."""
        always = (Outcome.PASS, Outcome.FAIL, Outcome.UNKNOWN, Outcome.INFRA)
        parts = [f"{self.counts[outcome]} {outcome}" for outcome in always]
        for outcome in (Outcome.FLAKY, Outcome.CONTROL_FAIL, Outcome.SKIPPED):
            if self.counts[outcome]:
                parts.append(f"{self.counts[outcome]} {outcome}")
        if self.retried:
            parts.append(f"{self.retried} of the passes retried")
        return ", ".join(parts)
