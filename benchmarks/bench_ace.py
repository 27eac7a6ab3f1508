# SPDX-License-Identifier: Apache-2.0
"""How fast workloads are made: ``python benchmarks/bench_ace.py [SUITE ...]``.

Per suite and mode: canonical texts with their digest, whole workloads, and workloads by address,
each in workloads per second of CPU time on one core.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterable
from itertools import islice

from ace_workloads.digest import digest_texts
from ace_workloads.ops import Mode
from ace_workloads.registry import load_suite
from ace_workloads.suite import Suite

DEFAULT_SUITES = ("ace-seq1-nested", "ace-seq2", "ace-seq3")
LIMIT = 500_000
"""Workloads looked at per measurement: enough for a steady rate, and a fraction of seq-3."""
SAMPLES = 2_000


def rate(done: int, started: float) -> str:
    """Workloads per second since ``started``, a reading of ``process_time``."""
    return f"{done / max(time.process_time() - started, 1e-9):>12,.0f}"


def count(items: Iterable[object]) -> int:
    """Number of items, none of them kept."""
    return sum(1 for _ in items)


def measure(suite: Suite) -> list[str]:
    """The three rates of a suite."""
    rates = []
    started = time.process_time()
    rates.append(rate(digest_texts(islice(suite.texts(), LIMIT)).workloads, started))
    started = time.process_time()
    rates.append(rate(count(islice(suite.iter(), LIMIT)), started))
    suite.addresses.size()  # the totals that addressing needs, once per suite
    started = time.process_time()
    rates.append(rate(count(suite.sample(min(SAMPLES, suite.count() // 2), seed=0)), started))
    return rates


def main(names: list[str]) -> None:
    """Print one line per suite and mode."""
    header = (f"{title:>12}" for title in ("digest/s", "workloads/s", "by address/s"))
    print(f"{'suite':<18}{'mode':<10}", *header)
    for name in names or DEFAULT_SUITES:
        for mode in Mode:
            print(f"{name:<18}{mode:<10}", *measure(load_suite(name, mode=mode)), flush=True)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory {peak_kib / 1024:.0f} MiB")


if __name__ == "__main__":
    main(sys.argv[1:])
