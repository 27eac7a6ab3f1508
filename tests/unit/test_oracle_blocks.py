# SPDX-License-Identifier: Apache-2.0
"""What a device may hold after a load: every legal state passes, every kind of damage fails."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.model.endurance import Leg, LoadRun
from harness.model.load import Contents, Damaged, Held, Kind, Version, batch_of, outcomes
from harness.model.verdict import Verdict, merge
from harness.oracle.blocks import judge_leg
from harness.oracle.rules import Rule

BLOCKS = 200
OLD, NEW = 7, 99


def apply(
    contents: Contents, stream: int, batches: range, chance: random.Random, share: float = 1.0
) -> dict[int, Held]:
    """``contents`` after ``batches``, of the last one of which only a ``share`` of the ops."""
    held = dict(contents)
    for number in batches:
        batch = batch_of(stream, number, BLOCKS)
        ops = list(enumerate(batch.ops))
        chance.shuffle(ops)
        if number == batches[-1]:
            ops = [op for op in ops if chance.random() < share]
        for index, op in ops:
            for block in range(op.start, op.start + op.count):
                if batch.kind is Kind.WRITE:
                    held[block] = Version(stream, number, index)
                else:
                    held.pop(block, None)
    return held


BASE = apply({}, OLD, range(1, 60), random.Random(1))


def leg(found: Contents, durable: int, issued: int, **changes: object) -> Leg:
    run = LoadRun(NEW, completed=durable, durable=durable, issued=issued)
    return Leg(replace(run, **changes), crashed=True, node="b", found=found)  # type: ignore[arg-type]


def broken(judged: Leg, base: Contents = BASE) -> set[str]:
    return {c.rule for c in judge_leg(BLOCKS, base, judged) if c.verdict is not Verdict.PASS}


@settings(deadline=None, max_examples=60)
@given(
    durable=st.integers(0, 120),
    more=st.integers(0, 25),
    at=st.floats(0, 1),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_every_moment_since_the_last_acknowledgement_passes(
    durable: int, more: int, at: float, share: float, seed: int
) -> None:
    moment = durable + round(at * more)
    share = 1.0 if moment == durable else share
    found = apply(BASE, NEW, range(1, moment + 1), random.Random(seed), share)
    checks = list(judge_leg(BLOCKS, BASE, leg(found, durable, durable + more)))
    assert merge(check.verdict for check in checks) is Verdict.PASS


@settings(deadline=None, max_examples=60)
@given(durable=st.integers(5, 120), more=st.integers(0, 25), back=st.integers(1, 200))
def test_a_moment_before_the_last_acknowledgement_fails(durable: int, more: int, back: int) -> None:
    """But where the batches in between left the same behind, which nobody can tell."""
    moment = max(0, durable - back)
    found = apply(BASE, NEW, range(1, moment + 1), random.Random(3))
    full = apply(BASE, NEW, range(1, durable + 1), random.Random(3))
    overlap = Rule.LOAD_DURABLE in broken(leg(found, durable, durable + more))
    assert overlap == any(found.get(n) != full.get(n) for n in range(BLOCKS))


@settings(deadline=None, max_examples=100)
@given(
    durable=st.integers(5, 120), more=st.integers(0, 25), seed=st.integers(0, 99), pick=st.data()
)
def test_one_block_of_an_older_version_fails(
    durable: int, more: int, seed: int, pick: st.DataObject
) -> None:
    """A lost write of a batch that was acknowledged, whatever else came later."""
    chance = random.Random(seed)
    found = apply(BASE, NEW, range(1, durable + more + 1), chance)
    written = [
        (number, block)
        for number in range(1, durable + 1)
        for block, held in outcomes(NEW, batch_of(NEW, number, BLOCKS)).items()
        if found.get(block) in held and (found.get(block) or (BASE.get(block) and number > 1))
    ]
    number, block = pick.draw(st.sampled_from(written))
    before = apply(BASE, NEW, range(1, number), random.Random(seed))
    if before.get(block) == found.get(block):
        return
    found.pop(block, None)
    if before.get(block) is not None:
        found[block] = before[block]
    assert broken(leg(found, durable, durable + more)) & {Rule.LOAD_DURABLE, Rule.LOAD_PREFIX}


def test_zeros_in_place_of_an_acknowledged_write_fail() -> None:
    found = apply(BASE, NEW, range(1, 41), random.Random(0))
    block = next(n for n, held in found.items() if isinstance(held, Version) and held.stream == NEW)
    del found[block]
    assert broken(leg(found, 40, 50)) == {Rule.LOAD_DURABLE}


def test_a_version_from_before_the_load_fails() -> None:
    """An old image of the disk, and blocks of another device's load."""
    assert broken(leg(BASE, 40, 50)) == {Rule.LOAD_DURABLE}
    found = apply(BASE, NEW, range(1, 41), random.Random(0))
    assert broken(leg({**found, 0: Version(5, 1, 0)}, 40, 50)) == {Rule.LOAD_DURABLE}
    older = apply({}, OLD, range(1, 20), random.Random(1))
    block = next(n for n in older if older[n] != BASE.get(n) and found.get(n) == BASE.get(n))
    assert broken(leg({**found, block: older[block]}, 40, 50)) == {Rule.LOAD_DURABLE}


def test_a_torn_or_unreadable_block_fails_and_is_told_in_full() -> None:
    found = apply(BASE, NEW, range(1, 41), random.Random(0))
    judged = leg({**found, 3: Damaged("99/1/0:3.0,zero")}, 40, 50)
    assert broken(judged) == {Rule.LOAD_WHOLE}
    (check,) = (c for c in judge_leg(BLOCKS, BASE, judged) if c.verdict is Verdict.FAIL)
    assert check.path == "b, stream 99, block 3"
    assert check.found == "99/1/0:3.0,zero"


def test_writes_that_nobody_issued_fail() -> None:
    found = apply(BASE, NEW, range(1, 41), random.Random(0))
    later = next(iter(outcomes(NEW, batch_of(NEW, 60, BLOCKS))))
    assert broken(leg({**found, later: Version(NEW, 60, 0)}, 40, 50)) == {Rule.LOAD_FOREIGN}
    # A write of this load, but not to this block.
    elsewhere = next(n for n in range(BLOCKS) if n not in outcomes(NEW, batch_of(NEW, 20, BLOCKS)))
    assert Rule.LOAD_FOREIGN in broken(leg({**found, elsewhere: Version(NEW, 20, 0)}, 40, 50))
    assert broken(leg({**found, BLOCKS: Version(NEW, 20, 0)}, 40, 50)) == {Rule.LOAD_FOREIGN}


def test_a_later_write_without_an_earlier_one_fails() -> None:
    """Neither was acknowledged, but together they are the state of no moment."""
    written = {n: set(outcomes(NEW, batch_of(NEW, n, BLOCKS))) for n in (41, 42, 43)}
    first = next(iter(written[41] - written[42] - written[43]))
    found = apply(BASE, NEW, range(1, 44), random.Random(0))
    before = apply(BASE, NEW, range(1, 41), random.Random(0))
    found.pop(first)
    if first in before:
        found[first] = before[first]
    judged = leg(found, 40, 50)
    assert broken(judged) == {Rule.LOAD_PREFIX}
    (check,) = (c for c in judge_leg(BLOCKS, BASE, judged) if c.verdict is Verdict.FAIL)
    assert f"block {first}" in check.found
    assert NEW == 99
    assert broken(leg(found, 40, 50, uncertain=(41,))) == set()


def test_without_a_crash_only_the_last_state_passes() -> None:
    found = apply(BASE, NEW, range(1, 41), random.Random(0))
    run = LoadRun(NEW, completed=40, durable=30, issued=50)
    assert broken(Leg(run, False, "a", found)) == set()
    older = apply(BASE, NEW, range(1, 40), random.Random(0))
    assert broken(Leg(run, False, "a", older)) == {Rule.LOAD_CURRENT}
    newer = apply(BASE, NEW, range(1, 42), random.Random(0))
    assert broken(Leg(run, False, "a", newer)) == {Rule.LOAD_FOREIGN}


def test_a_write_that_failed_may_or_may_not_be_there() -> None:
    found = apply(BASE, NEW, range(1, 41), random.Random(0))
    older = apply(BASE, NEW, range(1, 40), random.Random(0))
    for state in (found, older):
        run = LoadRun(NEW, completed=40, durable=30, issued=50, uncertain=(40,))
        assert broken(Leg(run, False, "a", state)) == set()


def test_a_device_that_was_not_read_is_unknown() -> None:
    (check,) = judge_leg(BLOCKS, BASE, replace(leg({}, 1, 2), found=None))
    assert check.verdict is Verdict.UNKNOWN
