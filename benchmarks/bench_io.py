# SPDX-License-Identifier: Apache-2.0
"""What replication and encryption cost: ``bench_io.py [--rounds 5] [--seconds 5]``.

fio in the primary of one pair, on block stacks set up side by side on the same disk. In each round
every job runs on every stack, one right after the other and in another order each time, so that a
ratio is between neighbours in time. The host's disk cache never flushes and guests may be emulated:
ratios say more than rates. Processor time is that of the guests' QEMU processes, per operation;
the primary's includes the start of fio.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from io_arms import DRBD, LINEAR, Arm, arm_names, booted, cpu_seconds, disk_bytes, opened, set_up
from io_fio import JOBS, Job, Measured, fill, run_job
from io_table import spread

from harness.build.profile import DEFAULT_PROFILE
from harness.run.pair import Pair

_MIB = 1 << 20
_MICRO = 1e6


@dataclass(slots=True)
class Sample:
    """One job on one arm in one round."""

    measured: Measured
    primary_cpu_s: float
    backup_cpu_s: float


@dataclass(slots=True)
class Table:
    """All samples: job -> arm -> one per round."""

    samples: dict[str, dict[str, list[Sample]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def add(self, job: Job, arm: Arm, sample: Sample) -> None:
        self.samples[job.title][arm.name].append(sample)

    def rates(self, job: Job, arm: str) -> list[float]:
        return [sample.measured.rate for sample in self.samples[job.title][arm]]

    def ratios(self, job: Job, arm: str, to: str) -> list[float]:
        """Of rates of the same round."""
        pairs = zip(self.rates(job, arm), self.rates(job, to), strict=True)
        return [mine / theirs for mine, theirs in pairs]

    def cpu_us(self, job: Job, arm: str, of: Callable[[Sample], float]) -> float:
        """Median processor time per operation."""
        found = self.samples[job.title][arm]
        return median(of(s) * _MICRO / max(1, s.measured.operations) for s in found)


def lines(table: Table, arms: Sequence[str]) -> list[str]:
    """The table as text."""
    text = [f"{'':24}{'rate: min median max':>27}{'of linear':>23}{'of DRBD C':>23}"
            f"{'CPU us/op: primary, backup':>28}"]  # fmt: skip
    for job in JOBS:
        text.append(f"{job.title}, {job.unit}")
        for arm in arms:
            rate = spread(table.rates(job, arm), "8.0f" if job.unit == "op/s" else "8.1f")
            ratios = [
                spread(table.ratios(job, arm, to), "7.2f") if to in arms else ""
                for to in (LINEAR, DRBD)
            ]
            cpu = (
                table.cpu_us(job, arm, lambda sample: sample.primary_cpu_s),
                table.cpu_us(job, arm, lambda sample: sample.backup_cpu_s),
            )
            text.append(f"  {arm:22}{rate:>27}{ratios[0]:>23}{ratios[1]:>23}"
                        f"{cpu[0]:>18.0f}{cpu[1]:>10.0f}")  # fmt: skip
    return text


def measure(pair: Pair, arm: Arm, job: Job, length: int, seconds: float) -> Sample:
    """Run one job, and count the processor time of both guests meanwhile."""
    before = [cpu_seconds(guest) for guest in pair.guests]
    measured = run_job(pair.primary.agent, job, arm.device, length, seconds)
    after = [cpu_seconds(guest) for guest in pair.guests]
    return Sample(measured, after[0] - before[0], after[1] - before[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="of each job on each stack")
    parser.add_argument("--mib", type=int, default=64, help="length of each device")
    parser.add_argument("--profile", default=DEFAULT_PROFILE)
    parser.add_argument("--arm", action="append", choices=arm_names(), help="may be repeated")
    options = parser.parse_args()
    names = tuple(name for name in arm_names() if name in (options.arm or arm_names()))
    if LINEAR not in names:
        names = (LINEAR, *names)
    length = options.mib * _MIB
    table = Table()
    with opened(options.profile) as lab, booted(lab, disk_bytes(len(names), length)) as pair:
        arms = set_up(lab, pair, names, length)
        for arm in arms:
            fill(pair.primary.agent, arm.device, length)
        for number in range(options.rounds):
            for job in JOBS:
                turn = number % len(arms)
                for arm in arms[turn:] + arms[:turn]:
                    table.add(job, arm, measure(pair, arm, job, length, options.seconds))
            print(f"round {number + 1} of {options.rounds}", flush=True)
        reports = [report.title for guest in pair.guests for report in guest.kernel_reports()]
        accelerator = "KVM" if lab.accelerator.value == "kvm" else "emulation"
        print(f"kernel {lab.image.release}, {accelerator}, {options.rounds} rounds of "
              f"{options.seconds:g} s, devices of {options.mib} MiB")  # fmt: skip
    print("\n".join(lines(table, names)))
    if reports:
        raise SystemExit(f"the guests' kernels reported trouble: {'; '.join(reports)}")


if __name__ == "__main__":
    main()
