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


def measure(target: str, cases: int, fs: str, out: Path) -> Summary:
    """Run the first ``cases`` of the suite and add up its record."""
    words = ["run", "--suite", SUITE, "--limit", str(cases), "--fs", fs, "--target", target]
    subprocess.run(
        [sys.executable, "-m", "harness", *words, "--out", str(out)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    summary = Summary(planned=cases)
    for result in load_run(out / SUITE / "latest").results():
        summary.add(result)
    return summary


def show(target: str, summary: Summary) -> float:
    """Print one arm and return its cases per second."""
    rate = summary.done / summary.case_time_s
    print(f"{target}: {summary.counts_text()}; {rate:.2f} cases/s within cases")
    for name, phase in summary.ranked_phases():
        share = 100 * phase.total_s / summary.case_time_s
        print(f"  {name:10} {phase.mean_ms:8.1f} ms {share:5.1f} %")
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--fs", default="ext4")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rates = [
            show(target, measure(target, options.cases, options.fs, Path(folder) / target))
            for target in ("rollbaccine", "linear")
        ]
    print(f"ratio replicated/control: {rates[0] / rates[1]:.2f}")


if __name__ == "__main__":
    main()
