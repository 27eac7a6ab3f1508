# SPDX-License-Identifier: Apache-2.0
"""Load streams: block I/O as a pure function of a number, and what a device holds of them.

The agent computes the same (``vm_images/agent/stream.c``), so that nothing but a few numbers has to
be recorded to know every byte that was ever written. The unit is the 4 KiB block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

_MASK = (1 << 64) - 1
_HOT_BLOCKS = 64
_REMEMBERED = 1 << 14


class Kind(StrEnum):
    """What the ops of a batch do."""

    WRITE = "write"
    ZERO = "zero"
    DISCARD = "discard"


class Flush(StrEnum):
    """When a batch flushes."""

    NONE = "none"
    AFTER = "after"
    """Once all its ops have completed: the batch is durable."""
    AMONG = "among"
    """While its writes are under way: what came before the batch is durable."""
    EACH = "each"
    """Every write is synchronous: the batch is durable."""


@dataclass(frozen=True, slots=True)
class Op:
    """One write or zeroing."""

    start: int
    """First block."""
    count: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Ops that are under way together; the next batch begins when all have completed."""

    number: int
    """From 1."""
    kind: Kind
    flush: Flush
    ops: tuple[Op, ...]


class Version(NamedTuple):
    """What a block holds: which op of which batch of which stream wrote it."""

    stream: int
    batch: int
    op: int

    def __str__(self) -> str:
        return f"{self.stream}/{self.batch}/{self.op}"


@dataclass(frozen=True, slots=True)
class Damaged:
    """A block that holds no version of itself: torn, misplaced, foreign or unreadable."""

    what: str


Held = Version | Damaged
Contents = Mapping[int, Held]
"""Block -> what it holds; blocks of zeros are left out."""


def _random(state: int) -> Iterator[int]:
    while True:
        state = (state + 0x9E3779B97F4A7C15) & _MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        yield z ^ (z >> 31)


def _op(random: int, blocks: int, length: int) -> Op:
    among = _HOT_BLOCKS if not random >> 12 & 3 and blocks > _HOT_BLOCKS else blocks
    start = (random >> 16) % among
    return Op(start, min(length, blocks - start))


@lru_cache(_REMEMBERED)
def batch_of(stream: int, number: int, blocks: int) -> Batch:
    """Batch ``number`` of ``stream`` over a region of ``blocks`` blocks."""
    draw = _random((stream + number * 0xD1B54A32D192ED03) & _MASK)
    head = next(draw)
    kind = {0: Kind.ZERO, 1: Kind.DISCARD}.get(head & 63, Kind.WRITE)
    chosen = head >> 8 & 7
    flush = (Flush.AFTER, Flush.AMONG, Flush.EACH)[chosen] if chosen < 3 else Flush.NONE
    if kind is not Kind.WRITE:
        random = next(draw)
        flush = Flush.NONE if flush is Flush.NONE else Flush.AFTER
        return Batch(number, kind, flush, (_op(random, blocks, 1 + (random >> 4 & 63)),))
    ops = []
    for _ in range(1 + (head >> 16 & 7)):
        random = next(draw)
        size = random & 15
        length = 1
        if size == 0:
            length = 1 + (random >> 4 & 31)
        elif size < 4:
            length = 1 + (random >> 4 & 3)
        ops.append(_op(random, blocks, length))
    return Batch(number, kind, flush, tuple(ops))


def outcomes(stream: int, batch: Batch) -> dict[int, set[Version | None]]:
    """Block -> what it may hold after ``batch``, None being zeros.

    More than one version where ops of the batch overlap: nothing says which of them is last.
    """
    found: dict[int, set[Version | None]] = {}
    for number, op in enumerate(batch.ops):
        held = Version(stream, batch.number, number) if batch.kind is Kind.WRITE else None
        for block in range(op.start, op.start + op.count):
            found.setdefault(block, set()).add(held)
    return found
