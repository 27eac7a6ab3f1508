# SPDX-License-Identifier: Apache-2.0
"""Figures of several rounds as text."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median


def spread(values: Sequence[float], form: str) -> str:
    """Minimum, median and maximum, each in ``form``."""
    return " ".join(format(value, form) for value in (min(values), median(values), max(values)))
