# SPDX-License-Identifier: Apache-2.0
"""Rules about one round of an endurance run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from harness.model.endurance import Leg, MemorySample, RoundEvidence
from harness.model.verdict import Check
from harness.oracle.blocks import judge_leg
from harness.oracle.case_rules import judge_equal
from harness.oracle.rules import Rule, failed, passed, unknown

MODULE_SLACK_BYTES = 64 << 10
"""Between two quiet moments the target may keep this much more. Seen were 33 bytes more with each
change of leadership, and nothing else."""
SLAB_SLACK_KIB = 1024
"""Unreclaimable slab of a guest may differ by this much between two quiet moments: seen were up to
460 KiB within the first rounds of a guest, and 200 KiB over the eleven that followed."""
_MOST = 8


def judge_round(evidence: RoundEvidence) -> Iterator[Check]:
    """Every rule, in the order in which things happened as far as there is one."""
    yield from _works(evidence)
    base = evidence.base
    for leg in evidence.legs:
        yield from judge_leg(evidence.blocks, base, leg)
        yield from _load(leg)
        base = base if leg.found is None else leg.found
    if not any(leg.run.durable for leg in evidence.legs):
        yield unknown(Rule.LOAD_PROGRESS, "", "the load got nothing acknowledged in this round")
    yield from _rejoins(evidence)
    if evidence.after_deposition is not None:
        yield from _deposed(evidence.after_deposition)
    for seen in evidence.comparisons:
        yield from judge_equal(f"after {seen.after}", seen.primary, seen.backup, seen.differing)
    if not evidence.comparisons:
        yield unknown(Rule.DEVICE_EQUAL, "", "the devices were not compared in this round")
    yield from _memory(evidence.memory)


def _works(evidence: RoundEvidence) -> Iterator[Check]:
    for text in evidence.refusals[:_MOST]:
        yield failed(Rule.ROUND_WORKS, "", "success", text, f"this had to work: {text}")
    if not evidence.refusals:
        yield passed(Rule.ROUND_WORKS, "", "every step of the round was carried out")


def _load(leg: Leg) -> Iterator[Check]:
    where = f"{leg.node}, stream {leg.run.stream}"
    for text in leg.run.mismatches[:_MOST]:
        yield failed(
            Rule.LOAD_READ, where, "what was written last", text,
            "a block read back wrong while the load ran",
        )  # fmt: skip
    if leg.run.errors and not leg.run.may_fail:
        yield failed(
            Rule.LOAD_READ, where, "no I/O error", "; ".join(leg.run.errors[:_MOST]),
            "I/O failed where it had to wait",
        )  # fmt: skip
    elif not leg.run.mismatches:
        yield passed(Rule.LOAD_READ, where, "every block that was read back, and no I/O error")


def _rejoins(evidence: RoundEvidence) -> Iterator[Check]:
    for rejoin in evidence.rejoins:
        where = f"{rejoin.node} with its disk {rejoin.disk}"
        if rejoin.in_sync_s is None:
            yield failed(
                Rule.ROUND_REJOIN, where, "in sync", rejoin.status,
                "a node that came back was not in sync in the time allowed",
            )  # fmt: skip
        else:
            yield passed(Rule.ROUND_REJOIN, where, "in sync")


def _deposed(acknowledged: int) -> Iterator[Check]:
    if acknowledged:
        yield failed(
            Rule.ROUND_FENCED, "", "no acknowledgement", f"{acknowledged} batches acknowledged",
            "a primary acknowledged flushes after another node had been promoted",
        )  # fmt: skip
    else:
        yield passed(Rule.ROUND_FENCED, "", "no acknowledgement")


def _memory(samples: Sequence[MemorySample]) -> Iterator[Check]:
    """Samples of one boot of a guest, quiet every time, do not grow."""
    ordered = sorted(samples, key=lambda sample: (sample.node, sample.boot))
    for (node, boot), group in groupby(ordered, key=lambda sample: (sample.node, sample.boot)):
        of_boot = sorted(group, key=lambda sample: sample.round)
        where = f"{node}, boot {boot}"
        if len(of_boot) > 1:
            yield from _flat(where, of_boot)
    if not samples:
        yield unknown(Rule.ROUND_MEMORY, "", "no memory figures were taken in this round")


def _flat(where: str, samples: Sequence[MemorySample]) -> Iterator[Check]:
    first, last = samples[0], samples[-1]
    rounds = f"from round {first.round} to round {last.round}"
    grown = False
    if first.module_bytes is not None and last.module_bytes is not None:
        grown = last.module_bytes > first.module_bytes + MODULE_SLACK_BYTES
        if grown:
            yield failed(
                Rule.ROUND_MEMORY, where, f"{first.module_bytes} bytes", f"{last.module_bytes}",
                f"the target's memory grew {rounds}",
            )  # fmt: skip
    # The least of the first samples: caches fill up while a guest warms up.
    slab = min(sample.slab_kib for sample in samples[-2:])
    if slab > first.slab_kib + SLAB_SLACK_KIB:
        grown = True
        yield failed(
            Rule.ROUND_MEMORY, where, f"{first.slab_kib} KiB", f"{slab} KiB",
            f"unreclaimable slab of the guest's kernel grew {rounds}",
        )  # fmt: skip
    if not grown:
        yield passed(Rule.ROUND_MEMORY, where, f"flat {rounds}")
