# SPDX-License-Identifier: Apache-2.0
"""Rules about a round as a whole; what a device may hold has a file of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.model.device import DeviceDigest
from harness.model.endurance import (
    Comparison,
    Leg,
    LoadRun,
    MemorySample,
    Rejoin,
    RoundEvidence,
)
from harness.model.evidence import CaseEvidence
from harness.model.verdict import Verdict, merge
from harness.oracle import judge_case
from harness.oracle.round_rules import MODULE_SLACK_BYTES, SLAB_SLACK_KIB

RUN = LoadRun(stream=7, completed=0, durable=0, issued=3)
DIGEST = DeviceDigest("00" * 16, 5)


def sample(number: int, module: int | None = 1 << 20, slab: int = 9000) -> MemorySample:
    return MemorySample("node1", 1, number, module, slab, 300_000)


def acknowledged() -> LoadRun:
    """A load whose first acknowledgement covers nothing that can be missing."""
    return replace(RUN, durable=1, completed=1, uncertain=(1,))


ROUND = RoundEvidence(
    blocks=64,
    base={},
    legs=(Leg(acknowledged(), True, "node2", {}),),
    rejoins=(Rejoin("node1", "old", 1.5, "synced 1"),),
    comparisons=(Comparison("the round", DIGEST, DIGEST),),
    after_deposition=0,
    memory=(sample(1), sample(2), sample(3)),
)
CONSOLE: dict[str, tuple[str, ...]] = {"node1": (), "node2": ()}


def judged(round_: RoundEvidence, console: dict[str, tuple[str, ...]] = CONSOLE) -> dict[str, str]:
    evidence = CaseEvidence(crashes=(), console=console, round=round_)
    checks = judge_case((), "raw", evidence, True)
    return {c.rule: c.verdict for c in checks if c.verdict is not Verdict.PASS}


def test_a_sound_round_passes() -> None:
    assert judged(ROUND) == {}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"refusals": ("promote: EBUSY",)}, "round/works"),
        ({"rejoins": (Rejoin("node1", "own", None, "syncing"),)}, "round/rejoin"),
        ({"after_deposition": 2}, "round/fenced"),
        (
            {"comparisons": (Comparison("x", DIGEST, DeviceDigest("11" * 16, 5), (3, 4)),)},
            "device/equal",
        ),
        ({"memory": (sample(1), sample(2, (1 << 20) + MODULE_SLACK_BYTES + 1))}, "round/memory"),
        (
            {"memory": tuple(sample(n, slab=9000 + n * SLAB_SLACK_KIB) for n in range(4))},
            "round/memory",
        ),
        (
            {"legs": (Leg(replace(RUN, errors=("batch 3 failed EIO",)), True, "node2", {}),)},
            "load/read",
        ),
        (
            {"legs": (Leg(replace(RUN, mismatches=("block 3",)), True, "node2", {}),)},
            "load/read",
        ),
    ],
)
def test_what_is_broken_fails(changes: dict[str, object], rule: str) -> None:
    found = judged(replace(ROUND, **changes))  # type: ignore[arg-type]
    assert found.get(rule) == "fail"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"comparisons": ()}, "device/equal"),
        ({"comparisons": (Comparison("x", DIGEST, None),)}, "device/equal"),
        ({"memory": ()}, "round/memory"),
        ({"legs": ()}, "load/progress"),
        ({"legs": (Leg(acknowledged(), True, "node2", None),)}, "load/durable"),
    ],
)
def test_what_was_not_seen_is_unknown(changes: dict[str, object], rule: str) -> None:
    assert judged(replace(ROUND, **changes)) == {rule: "unknown"}  # type: ignore[arg-type]


def test_errors_that_had_to_come_are_no_finding() -> None:
    run = replace(acknowledged(), errors=("batch 3 failed EIO",), may_fail=True)
    assert judged(replace(ROUND, legs=(Leg(run, True, "node2", {}),))) == {}


def test_one_high_sample_of_the_slab_is_no_growth() -> None:
    memory = (sample(1), sample(2, slab=9000 + 2 * SLAB_SLACK_KIB), sample(3))
    assert judged(replace(ROUND, memory=memory)) == {}
    assert judged(replace(ROUND, memory=memory[:2])) == {}, "two samples are no trend"
    other = replace(sample(9, slab=90_000), boot=2)
    assert judged(replace(ROUND, memory=(*ROUND.memory, other))) == {}, "of another boot"


def test_kernel_reports_fail_and_unwatched_guests_are_unknown() -> None:
    assert judged(ROUND, {"node1": ("oops: BUG",), "node2": ()}) == {"console": "fail"}
    assert judged(ROUND, {"node1": ()}) == {"console": "unknown"}


def test_legs_follow_each_other() -> None:
    """What the first leg left is what the second one began with."""
    run = replace(acknowledged(), stream=8)
    twice = (ROUND.legs[0], Leg(run, False, "node2", {}))
    assert merge([Verdict(v) for v in judged(replace(ROUND, legs=twice)).values()]) is (
        Verdict.UNKNOWN
    )
