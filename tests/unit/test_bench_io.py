# SPDX-License-Identifier: Apache-2.0
"""The figures of the cost benchmark: read rightly from fio, and compared within a round."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from bench_io import Sample, Table, lines
from io_arms import Arm
from io_fio import JOBS, Measured, parse

READ, WRITE, FSYNC, SEQUENTIAL = JOBS


def report(**write: float) -> str:
    nothing = {"iops": 0.0, "bw_bytes": 0, "total_ios": 0}
    read = {"iops": 9.0, "bw_bytes": 9 << 20, "total_ios": 90}
    job = {"read": read, "write": nothing | write}
    return "note: both iodepth >= 1 and synchronous I/O engine\n" + json.dumps({"jobs": [job]})


def test_a_rate_is_in_the_jobs_own_unit() -> None:
    text = report(iops=120.5, bw_bytes=3 << 20, total_ios=600)
    assert parse(WRITE, text) == Measured(120.5, 600)
    assert parse(SEQUENTIAL, text) == Measured(3.0, 600)
    assert parse(READ, text) == Measured(9.0, 90)


def test_a_report_that_fio_did_not_finish() -> None:
    with pytest.raises(ValueError, match="substring not found"):
        parse(WRITE, "fio: no such file")


def table(*rounds: tuple[float, float]) -> Table:
    made = Table()
    for linear, drbd in rounds:
        for name, rate in (("linear", linear), ("DRBD C", drbd)):
            for job in JOBS:
                made.add(job, Arm(name, "", "", None), Sample(Measured(rate, 100), 0.5, 0.25))
    return made


def test_ratios_are_of_the_same_round() -> None:
    """The host was ten times slower in the second: the ratio does not show it."""
    made = table((1000, 500), (100, 50), (900, 300))
    assert made.ratios(FSYNC, "DRBD C", "linear") == [0.5, 0.5, pytest.approx(1 / 3)]


def test_the_table_has_everything() -> None:
    text = lines(table((1000, 500), (100, 50), (900, 300)), ("linear", "DRBD C"))
    assert len(text) == 1 + len(JOBS) * 3
    drbd = text[3].split()
    assert drbd == ["DRBD", "C", "50", "300", "500", "0.33", "0.50", "0.50", "1.00", "1.00", "1.00",
                    "5000", "2500"]  # fmt: skip
