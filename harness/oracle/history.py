# SPDX-License-Identifier: Apache-2.0
"""Values over time, and the bytes of a file over time; time is the line number of a step."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

from harness.model.content import RECORD_BYTES, ZERO, Content, Segment, pattern

T = TypeVar("T")

END = 1 << 62
"""Beyond every file offset: the end of ranges that reach as far as the file does."""


class History(Generic[T]):
    """Every value one thing has had, each from its line on."""

    __slots__ = ("_lines", "_values")

    def __init__(self, line: int, value: T) -> None:
        self._lines = [line]
        self._values = [value]

    def set(self, line: int, value: T) -> None:
        """From ``line`` on it is ``value``; lines must not go backwards."""
        if line == self._lines[-1]:
            self._values[-1] = value
        elif value != self._values[-1]:
            self._lines.append(line)
            self._values.append(value)

    def at(self, line: int) -> T:
        """The value in force right after ``line``; the first one for anything earlier."""
        return self._values[max(bisect_right(self._lines, line) - 1, 0)]

    def now(self) -> T:
        """The latest value."""
        return self._values[-1]

    def since(self, line: int) -> tuple[tuple[int, T], ...]:
        """(line, value) in force right after ``line``, then every later one."""
        first = max(bisect_right(self._lines, line) - 1, 0)
        return tuple(zip(self._lines[first:], self._values[first:], strict=True))

    def changed_after(self, line: int) -> bool:
        """Whether any value was set later than ``line``."""
        return self._lines[-1] > line


@dataclass(frozen=True, slots=True)
class Change:
    """Bytes [start, end) became data of write ``value`` (a line number), or zeros, at ``line``."""

    line: int
    start: int
    end: int
    value: int


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes [start, end) as they were right after ``line`` are on stable storage."""

    line: int
    start: int = 0
    end: int = END


@dataclass(frozen=True, slots=True)
class Region:
    """Bytes [start, end) with one common history."""

    start: int
    end: int
    legal: tuple[int, ...]
    """What a byte may be after a crash: zeros or the data of a write; the latest value is last."""
    promised: bool
    """On stable storage and not changed since, so that ``legal`` has one value."""

    @property
    def length(self) -> int:
        return self.end - self.start


def regions(changes: Sequence[Change], spans: Sequence[Span], size: int) -> Iterator[Region]:
    """Cut bytes [0, size) into ranges of one history, in order."""
    cuts = {0, size}
    for start, end in [(c.start, c.end) for c in changes] + [(s.start, s.end) for s in spans]:
        cuts.update(cut for cut in (start, end) if 0 < cut < size)
    for start, end in pairwise(sorted(cuts)):
        floor = max((s.line for s in spans if s.start <= start < s.end), default=0)
        history = [c for c in changes if c.start <= start < c.end]
        settled = ZERO
        later: list[int] = []
        for change in history:
            if change.line <= floor:
                settled = change.value
            else:
                later.append(change.value)
        yield Region(start, end, (settled, *later), floor > 0 and not later)


def content_of(changes: Sequence[Change], size: int) -> Content:
    """What the file reads as when every change is there; neighbours of one write are joined."""
    return joined(Segment(r.length, r.legal[-1]) for r in regions(changes, (), size))


def joined(segments: Iterable[Segment]) -> Content:
    """``segments`` with neighbours of the same write (or zeros) made one, empty ones dropped."""
    result: list[Segment] = []
    for segment in segments:
        if segment.length <= 0:
            continue
        if result and result[-1].line == segment.line:
            before = result.pop()
            segment = Segment(
                before.length + segment.length, segment.line, before.raw + segment.raw
            )
        result.append(segment)
    return tuple(result)


@dataclass(frozen=True, slots=True)
class BadRange:
    """Bytes [start, end) of a recovered file that are none of what ``region`` allows."""

    start: int
    end: int
    region: Region
    found: int
    """Line of the write found there, 0 for zeros, -1 for bytes of no write at this offset."""


def bad_ranges(found: Content, legal: Iterable[Region]) -> list[BadRange]:
    """Every range of ``found`` that its region does not allow; both in offset order from 0.

    Compared by bytes, not by line numbers: where two writes meet inside a record the bytes of
    both can be equal, and the reader may ascribe them to either.
    """
    bad: list[BadRange] = []
    pieces = _pieces(found)
    piece = next(pieces, None)
    for region in legal:
        while piece is not None and piece[0] < region.end:
            start, segment = piece
            end = start + segment.length
            low, high = max(start, region.start), min(end, region.end)
            if low < high and segment.line not in region.legal:
                bad += _bad_bytes(segment, start, low, high, region)
            if end > region.end:
                break
            piece = next(pieces, None)
    return _merged(bad)


def _pieces(content: Content) -> Iterator[tuple[int, Segment]]:
    offset = 0
    for segment in content:
        yield offset, segment
        offset += segment.length


def bytes_of(value: int, offset: int, length: int) -> bytes:
    """``length`` bytes at ``offset`` of write ``value``, or zeros."""
    return bytes(length) if value == ZERO else pattern(value, offset, length)


def _bad_bytes(segment: Segment, start: int, low: int, high: int, region: Region) -> list[BadRange]:
    if segment.line >= 0:
        found = bytes_of(segment.line, low, high - low)
    else:
        found = segment.raw[low - start : high - start]
    allowed = [bytes_of(value, low, high - low) for value in region.legal]
    if found in allowed:
        return []
    wrong = [
        low + i
        for i, byte in enumerate(found)
        if all(candidate[i] != byte for candidate in allowed)
    ]
    if not wrong and len(found) == high - low:
        return []
    # A stray equal byte inside a wrong range is chance, not evidence of a correct byte.
    first, last = (wrong[0], wrong[-1] + 1) if wrong else (low, high)
    if segment.line >= 0:
        # Data of a write comes in records, of which any two have some bytes in common.
        first = max(low, first - first % RECORD_BYTES)
        last = min(high, last + -last % RECORD_BYTES)
    return [BadRange(first, last, region, segment.line)]


def _merged(bad: Sequence[BadRange]) -> list[BadRange]:
    result: list[BadRange] = []
    for item in bad:
        if result:
            last = result[-1]
            same = (last.end, last.found, last.region.legal, last.region.promised) == (
                item.start,
                item.found,
                item.region.legal,
                item.region.promised,
            )
            if same:
                result[-1] = BadRange(last.start, item.end, last.region, last.found)
                continue
        result.append(item)
    return result
