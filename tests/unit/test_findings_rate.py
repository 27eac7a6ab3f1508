# SPDX-License-Identifier: Apache-2.0
"""Bounds of failure rates, against values published or worked out by hand."""

from __future__ import annotations

import pytest

from harness.findings import failure_rate


@pytest.mark.parametrize(
    ("failures", "cases", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998), table I, score method without correction.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_interval_of_wilson(failures: int, cases: int, low: float, high: float) -> None:
    rate = failure_rate(failures, cases)
    assert rate.low == pytest.approx(low, abs=5e-5)
    assert rate.high == pytest.approx(high, abs=5e-5)


def test_rule_of_three() -> None:
    rate = failure_rate(0, 300)
    assert (rate.low, rate.high) == (0.0, 0.01)
    assert rate.text() == "0 failures in 300 cases: rate below 3/300 = 1 % (95 %)"


def test_all_failed() -> None:
    rate = failure_rate(20, 20)
    assert rate.high == 1.0
    # z^2 / (n + z^2) fail at least with so many trials: 20 / (20 + 3.8415).
    assert rate.low == pytest.approx(0.8389, abs=5e-5)


def test_few_or_no_cases_say_little_or_nothing() -> None:
    assert failure_rate(0, 2).high == 1.0
    assert failure_rate(0, 0).text().startswith("no case came to a verdict")


def test_text_with_failures() -> None:
    assert failure_rate(81, 263).text() == (
        "81 failures in 263 cases: rate 25.5 % to 36.6 % (95 %)"
    )


@pytest.mark.parametrize(("failures", "cases"), [(1, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(failures: int, cases: int) -> None:
    with pytest.raises(ValueError, match=f"{failures} failures in {cases} cases"):
        failure_rate(failures, cases)
