# SPDX-License-Identifier: Apache-2.0
"""Verdicts and their algebra: fail > unknown > pass; skipped never hides another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a check, or a whole case, came to."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


_RANK = {Verdict.SKIPPED: 0, Verdict.PASS: 1, Verdict.UNKNOWN: 2, Verdict.FAIL: 3}


def merge(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of ``verdicts``; ``unknown`` for none at all, since nothing was seen."""
    worst: Verdict | None = None
    for verdict in verdicts:
        if worst is None or _RANK[verdict] > _RANK[worst]:
            worst = verdict
    return Verdict.UNKNOWN if worst is None else worst


@dataclass(frozen=True, slots=True)
class Check:
    """One oracle rule applied to one object of one crash point."""

    rule: str
    """Stable identifier from ``docs/oracle.md``, e.g. ``content/persisted``."""
    verdict: Verdict
    path: str = ""
    """The file-system path or device the rule was applied to."""
    expected: str = ""
    found: str = ""
    message: str = ""
    """One sentence: what is wrong (or why nothing can be said)."""
