# SPDX-License-Identifier: Apache-2.0
"""Where the time of a case goes, on a real pair: ``bench_run.py [--cases N] [--fs ext4]``.

Prints cases per second and each phase's mean and share; the control arm in the same session gives
the ratio, which says more than a figure of a noisy machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.report.load import load_run
from harness.report.summary import Summary

SUITE = "ace-seq1"


def measure(target: str, cases: int, fs: str, out: Path) -> tuple[Summary, float]:
    """Run the first ``cases`` of the suite; its record added up, and its cases per second.

    The clock runs from the beginning of the second case to the end of the last: cases overlap, and
    the guests boot in the first.
    """
    words = ["run", "--suite", SUITE, "--limit", str(cases), "--fs", fs, "--target", target]
    subprocess.run(
        [sys.executable, "-m", "harness", *words, "--out", str(out)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    summary = Summary(planned=cases)
    begun, ended = [], []
    for result in load_run(out / SUITE / "latest").results():
        summary.add(result)
        begun.append(result.started_unix_s)
        ended.append(result.started_unix_s + result.elapsed_s)
    return summary, (summary.done - 1) / (max(ended) - sorted(begun)[1])


def show(target: str, summary: Summary, rate: float) -> float:
    """Print one arm and return its cases per second."""
    print(f"{target}: {summary.counts_text()}; {rate:.2f} cases/s")
    for name, phase in summary.ranked_phases():
        share = 100 * phase.total_s / summary.case_time_s
        print(f"  {name:10} {phase.mean_ms:8.1f} ms {share:5.1f} %")
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100, help="two at least")
    parser.add_argument("--fs", default="ext4")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rates = [
            show(target, *measure(target, options.cases, options.fs, Path(folder) / target))
            for target in ("rollbaccine", "linear")
        ]
    print(f"ratio replicated/control: {rates[0] / rates[1]:.2f}")


if __name__ == "__main__":
    main()
