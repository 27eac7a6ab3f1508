# SPDX-License-Identifier: Apache-2.0
"""What a device may hold after a load, and after a crash in the middle of one.

After a crash the state must be that of some moment: there is a batch such that all batches before
it are there in full, its own ops in any number, and later ones not at all. That moment may not be
before the last batch that was acknowledged as durable. Without a crash it is the last batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.model.endurance import Leg, LoadRun
from harness.model.load import Contents, Damaged, Held, Version, batch_of, outcomes
from harness.model.verdict import Check
from harness.oracle.rules import Rule, failed, passed, unknown

_MOST_BLOCKS = 8
"""Blocks named per rule: a lost device breaks each in thousands."""


@dataclass(frozen=True, slots=True)
class _Write:
    """What one batch may have left in a block."""

    batch: int
    held: frozenset[Held | None]
    certain: bool


@dataclass(frozen=True, slots=True)
class _Fault:
    rule: Rule
    block: int
    expected: str
    message: str


def judge_leg(blocks: int, base: Contents, leg: Leg) -> Iterator[Check]:
    """Whether what was found after a load on ``base`` is what may be there."""
    where = f"{leg.node}, stream {leg.run.stream}"
    if leg.found is None:
        yield unknown(Rule.LOAD_DURABLE, where, "the device was not read")
        return
    earliest = leg.run.durable if leg.crashed else leg.run.completed
    latest = leg.run.issued if leg.crashed else leg.run.completed
    history = _history(blocks, base, leg.run, latest)
    faults: list[_Fault] = []
    moments = _Moments(earliest, latest)
    for block in range(blocks):
        held = leg.found.get(block)
        fault = _judge_block(block, held, history[block], moments, leg)
        if fault is not None:
            faults.append(fault)
    yield from _told(faults, where, leg.found)
    yield from _outside(blocks, leg.found, where)
    yield from moments.judge(where, leg.found)
    if not faults:
        yield passed(
            Rule.LOAD_DURABLE, where,
            f"{blocks} blocks: batch {earliest} acknowledged, {latest} the last that can be there",
        )  # fmt: skip


def _history(blocks: int, base: Contents, run: LoadRun, latest: int) -> list[list[_Write]]:
    uncertain = frozenset(run.uncertain)
    history = [[_Write(0, frozenset((base.get(block),)), True)] for block in range(blocks)]
    for number in range(1, latest + 1):
        batch = batch_of(run.stream, number, blocks)
        for block, held in outcomes(run.stream, batch).items():
            history[block].append(_Write(number, frozenset(held), number not in uncertain))
    return history


def _judge_block(
    block: int, held: Held | None, history: Sequence[_Write], moments: _Moments, leg: Leg
) -> _Fault | None:
    if isinstance(held, Damaged):
        return _Fault(Rule.LOAD_WHOLE, block, _newest(history), _damage(held))
    matching = [n for n, write in enumerate(history) if held in write.held]
    if not matching:
        return _unexplained(block, held, history, leg)
    allowed = 0
    for n in matching:
        after = next((w.batch for w in history[n + 1 :] if w.certain), None)
        allowed |= moments.between(history[n].batch, after)
    if allowed:
        moments.narrow(block, allowed)
        return None
    missing = next(w for w in history[matching[-1] + 1 :] if w.certain)
    if not leg.crashed:
        return _Fault(Rule.LOAD_CURRENT, block, _text(missing), "an older version than the last")
    return _Fault(
        Rule.LOAD_DURABLE, block, f"{_text(missing)} or later",
        f"an older version than the one of batch {missing.batch}, while everything up to batch"
        f" {leg.run.durable} was acknowledged as durable",
    )  # fmt: skip


def _damage(held: Damaged) -> str:
    return f"not one whole version of this block: {held.what}"


def _unexplained(block: int, held: Version | None, history: Sequence[_Write], leg: Leg) -> _Fault:
    expected = _newest(history)
    if held is None:
        # Zeros are what a block holds that was never written, or was lost.
        return _Fault(Rule.LOAD_DURABLE, block, expected, "zeros, and it was never zeroed")
    if held.stream != leg.run.stream:
        return _Fault(
            Rule.LOAD_DURABLE, block, expected, "a version from before this load began, or foreign"
        )
    return _Fault(Rule.LOAD_FOREIGN, block, expected, "no op that was issued wrote this here")


def _newest(history: Sequence[_Write]) -> str:
    return _text(next(write for write in reversed(history) if write.certain))


def _text(write: _Write) -> str:
    held = " or ".join(sorted("zeros" if h is None else str(h) for h in write.held))
    return held if write.batch else f"{held} (from before the load)"


def _told(faults: Sequence[_Fault], where: str, found: Contents) -> Iterator[Check]:
    for rule in dict.fromkeys(fault.rule for fault in faults):
        broken = [fault for fault in faults if fault.rule is rule]
        more = len(broken) - _MOST_BLOCKS
        for fault in broken[:_MOST_BLOCKS]:
            tail = f"; and {more} more blocks" if more > 0 and fault is broken[0] else ""
            yield failed(
                rule, f"{where}, block {fault.block}", fault.expected,
                _held_text(found.get(fault.block)), fault.message + tail,
            )  # fmt: skip


def _held_text(held: Held | None) -> str:
    if held is None:
        return "zeros"
    return held.what if isinstance(held, Damaged) else str(held)


def _outside(blocks: int, found: Contents, where: str) -> Iterator[Check]:
    for block in sorted(block for block in found if not 0 <= block < blocks)[:_MOST_BLOCKS]:
        yield failed(
            Rule.LOAD_FOREIGN, f"{where}, block {block}", "zeros", _held_text(found[block]),
            "a block outside of the region under load was written",
        )  # fmt: skip


class _Moments:
    """The moments, as batches, at which the device may have stood still; a bit set."""

    def __init__(self, earliest: int, latest: int) -> None:
        self._earliest = earliest
        self._latest = latest
        self._left = self._all = self._bits(earliest, latest)
        self._narrowed: dict[int, int] = {}
        """Distinct set of moments -> a block that allows no others."""

    def between(self, written: int, overwritten: int | None) -> int:
        """Moments at which a block holds what batch ``written`` left in it.

        At the moment of the batch that overwrites it, some ops of that batch may be missing; but
        not when that batch is known to be durable.
        """
        last = self._latest if overwritten is None else overwritten
        if last == overwritten == self._earliest:
            last -= 1
        return self._bits(max(written, self._earliest), min(last, self._latest))

    def _bits(self, first: int, last: int) -> int:
        if last < first:
            return 0
        return ((1 << (last - first + 1)) - 1) << (first - self._earliest)

    def narrow(self, block: int, allowed: int) -> None:
        self._left &= allowed
        if allowed != self._all:
            self._narrowed.setdefault(allowed, block)

    def judge(self, where: str, found: Contents) -> Iterator[Check]:
        """One moment must suit all blocks that are possible one by one."""
        if self._left:
            last = self._earliest + self._left.bit_length() - 1
            yield passed(Rule.LOAD_PREFIX, where, f"the state at batch {last}")
            return
        # Pairs suffice but for zeros, which may stem from more than one batch.
        clash = [
            (one, other)
            for one_set, one in self._narrowed.items()
            for other_set, other in self._narrowed.items()
            if one < other and not one_set & other_set
        ]
        named = clash[0] if clash else tuple(self._narrowed.values())
        texts = ", ".join(
            f"block {block}: {_held_text(found.get(block))}" for block in named[:_MOST_BLOCKS]
        )
        yield failed(
            Rule.LOAD_PREFIX, where,
            f"the state after some batch from {self._earliest} to {self._latest}", texts,
            "a later write is there, an earlier one is not: the state of no moment",
        )  # fmt: skip
