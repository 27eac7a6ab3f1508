# SPDX-License-Identifier: Apache-2.0
"""Findings and comparisons of runs as JSON for scripts; ``docs/findings.md`` has the fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.findings import Finding, KnownIssue, Rate
from harness.findings.compare import Changed, Comparison

SCHEMA = 1
Json = dict[str, Any]


def finding_json(one: Finding, replay: str) -> Json:
    """``one``, with the command that runs its smallest case again."""
    return {
        "id": one.id,
        "outcome": one.outcome.value,
        "target": one.target,
        "violation": one.violation,
        "object": one.object,
        "title": one.title,
        "cases": one.cases,
        "signatures": [
            {"signature": str(mark), "cases": cases} for mark, cases in one.signatures.items()
        ],
        "smallest_case": str(one.smallest.case_id),
        "replay": replay,
        "first_unix_s": one.first_unix_s,
        "last_unix_s": one.last_unix_s,
    }


def rate_json(rate: Rate) -> Json:
    """Fractions, 95 % confidence."""
    return {
        "failures": rate.failures,
        "cases": rate.cases,
        "low": rate.low,
        "high": rate.high,
        "confidence": 0.95,
        "text": rate.text(),
    }


def known_json(issues: Sequence[tuple[KnownIssue, int]]) -> list[Json]:
    """Each entry of a list of known issues with the number of cases it was about."""
    return [
        {
            "entry": issue.number,
            "what": issue.what,
            "reason": issue.reason,
            "link": issue.link,
            "expires": issue.expires.isoformat(),
            "cases": cases,
        }
        for issue, cases in issues
    ]


def comparison_json(comparison: Comparison) -> Json:
    """All of ``comparison``."""
    return {
        "compared_cases": comparison.compared,
        "findings": [_changed_json(each) for each in comparison.findings],
        "turned": [
            {"from": before.value, "to": after.value, "cases": [str(case) for case in cases]}
            for (before, after), cases in comparison.turned.items()
        ],
        "only_in_a": [str(case) for case in comparison.only_a],
        "only_in_b": [str(case) for case in comparison.only_b],
        "other_workload": [str(case) for case in comparison.other_workload],
    }


def _changed_json(each: Changed) -> Json:
    return {
        "change": each.change.value,
        "id": each.finding.id,
        "outcome": each.finding.outcome.value,
        "target": each.finding.target,
        "title": each.finding.title,
        "cases_in_a": each.cases_a,
        "cases_in_b": each.cases_b,
        "smallest_case": str(each.finding.smallest.case_id),
    }
