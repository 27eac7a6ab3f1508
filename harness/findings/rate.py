# SPDX-License-Identifier: Apache-2.0
"""What so many failures in so many cases say about the rate of failures, with 95 % confidence.

No failure: the rule of three (Hanley and Lippman-Hand, JAMA 249, 1983). Otherwise the interval of
Wilson (JASA 22, 1927), which stays between 0 and 1 and holds for few cases too.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

_Z = 1.959963984540054
"""Quantile of the normal distribution that leaves 2.5 % above it."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Of ``cases`` that came to a verdict ``failures`` failed; bounds are fractions."""

    failures: int
    cases: int
    low: float
    high: float

    def text(self) -> str:
        """One line for people."""
        if self.cases == 0:
            return "no case came to a verdict: nothing is known about the rate"
        cases = f"{self.failures} failures in {self.cases} cases"
        if self.failures == 0:
            bound = _percent(self.high)
            return f"{cases}: rate below 3/{self.cases} = {bound} (95 %)"
        return f"{cases}: rate {_percent(self.low)} to {_percent(self.high)} (95 %)"


def failure_rate(failures: int, cases: int) -> Rate:
    """What is known of the rate; ValueError unless 0 <= failures <= cases."""
    if not 0 <= failures <= cases:
        raise ValueError(f"{failures} failures in {cases} cases")
    if failures == 0:
        # Below three cases the rule says nothing.
        return Rate(0, cases, 0.0, min(1.0, 3 / cases) if cases else 1.0)
    share, spread = failures / cases, _Z * _Z / cases
    middle = (share + spread / 2) / (1 + spread)
    half = _Z * sqrt((share * (1 - share) + spread / 4) / cases) / (1 + spread)
    high = 1.0 if failures == cases else min(1.0, middle + half)
    return Rate(failures, cases, max(0.0, middle - half), high)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.1f} %"
