# SPDX-License-Identifier: Apache-2.0
"""File content as the writes it came from.

Every write of a workload stores *self-describing* bytes: the record stream of its line number.
Record ``r`` of line ``n`` is the 32 bytes ``step nnnn byte oooooooooooo ...\\n`` with ``o = 32 r``,
and a write to file bytes [a, b) stores bytes [a, b) of that stream. Recovered content can thus be
told apart, byte for byte, into zeros, data of a known write at its right place, and anything else
(garbage, or data that landed in the wrong place). The encoding is lossless.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

RECORD_BYTES = 32
_PAGE_BYTES = 4096
ZERO = 0
"""``Segment.line`` of a run of zero bytes (line numbers start at 1)."""
RAW = -1
"""``Segment.line`` of bytes that are neither zero nor of a known write."""
_SHORT_MATCH_BYTES = RECORD_BYTES
"""Fewer bytes than this beside raw ones are a coincidence, not the remains of a write: most of a
record that landed at another offset equals the record that belongs there."""


@dataclass(frozen=True, slots=True)
class Segment:
    """``length`` bytes: of write ``line``, zeros (line 0), or ``raw`` bytes (line -1)."""

    length: int
    line: int
    raw: bytes = b""


Content = tuple[Segment, ...]


def pattern(line: int, offset: int, length: int) -> bytes:
    """Bytes [offset, offset + length) of the record stream of ``line``."""
    if length <= 0:
        return b""
    first = offset // RECORD_BYTES
    last = (offset + length - 1) // RECORD_BYTES
    head = offset - first * RECORD_BYTES
    return _records(line, first, last + 1)[head : head + length]


@lru_cache(maxsize=256)
def _records(line: int, first: int, end: int) -> bytes:
    return b"".join(
        b"step %04d byte %012d ...\n" % (line, r * RECORD_BYTES) for r in range(first, end)
    )


def encode(raw: bytes, lines: Sequence[int]) -> Content:
    """File content (from offset 0) as segments of zeros, of the writes ``lines``, and of raw bytes.

    Lossless: ``decode`` gives ``raw`` back. Canonical for given ``lines``: equal bytes give equal
    segments. Streams of two lines differ only in the digits of the line number, so a segment may
    reach into the next write's record up to there: compare bytes, or contents encoded alike, and
    never segments written by hand.
    """
    streams = [(line, pattern(line, 0, len(raw))) for line in lines]
    streams.append((ZERO, bytes(len(raw))))
    found: list[Segment] = []
    at = 0
    while at < len(raw):
        length, line = max(
            ((_match_length(raw, stream, at), line) for line, stream in streams),
            key=lambda match: match[0],
        )
        if length < RECORD_BYTES:
            # Not even a record: if that goes on, do not look at garbage byte by byte.
            known = _next_known_record(raw, streams, at)
            if known - at >= 2 * RECORD_BYTES:
                length, line = known - at, RAW
        if not length:
            length, line = 1, RAW
        end = at + length
        found.append(Segment(length, line, raw[at:end] if line == RAW else b""))
        at = end
    return _absorb_coincidences(found, raw)


def restate_filled(raw: bytes, lines: Sequence[int]) -> bytes:
    """``raw`` with what the tests of xfstests store through a mapping as record streams.

    The program they use can only fill: page ``p`` of the file, as far as line ``n`` stores to it,
    holds the byte 1 + (17 n + p) mod 251. A run shorter than a record is left as it is, since the
    streams have such runs too.
    """
    if not lines:
        return raw
    restated = bytearray(raw)
    for start in range(0, len(raw), _PAGE_BYTES):
        page = raw[start : start + _PAGE_BYTES]
        for line in lines:
            fill = bytes([1 + (17 * line + start // _PAGE_BYTES) % 251])
            for run in re.finditer(b"%b{%d,}" % (re.escape(fill), RECORD_BYTES), page):
                at, end = start + run.start(), start + run.end()
                restated[at:end] = pattern(line, at, end - at)
    return bytes(restated)


def decode(content: Content) -> bytes:
    """The bytes of a whole file from its segments."""
    parts: list[bytes] = []
    offset = 0
    for segment in content:
        if segment.line == RAW:
            parts.append(segment.raw)
        elif segment.line == ZERO:
            parts.append(bytes(segment.length))
        else:
            parts.append(pattern(segment.line, offset, segment.length))
        offset += segment.length
    return b"".join(parts)


def _next_known_record(raw: bytes, streams: Sequence[tuple[int, bytes]], at: int) -> int:
    """First record boundary from ``at`` on where a stream has the same record; else the end."""
    start = -(-at // RECORD_BYTES) * RECORD_BYTES
    while start < len(raw):
        record = raw[start : start + RECORD_BYTES]
        if any(stream[start : start + RECORD_BYTES] == record for _, stream in streams):
            return start
        start += RECORD_BYTES
    return len(raw)


def _match_length(raw: bytes, stream: bytes, at: int) -> int:
    """How many bytes from ``at`` on are equal: steps double while they match, then halve."""
    start, step = at, RECORD_BYTES
    while start < len(raw) and raw[start : start + step] == stream[start : start + step]:
        start = min(start + step, len(raw))
        step *= 2
    while step:
        end = start + step
        if end <= len(raw) and raw[start:end] == stream[start:end]:
            start = end
        step //= 2
    return start - at


def _absorb_coincidences(found: Sequence[Segment], raw: bytes) -> Content:
    """Join raw bytes with each other and with short matches beside them."""
    joined: list[Segment] = []
    at = 0
    for index, segment in enumerate(found):
        beside_raw = bool(joined and joined[-1].line == RAW) or (
            index + 1 < len(found) and found[index + 1].line == RAW
        )
        end = at + segment.length
        if segment.line == RAW or (beside_raw and segment.length < _SHORT_MATCH_BYTES):
            start = at
            if joined and joined[-1].line == RAW:
                start -= joined.pop().length
            joined.append(Segment(end - start, RAW, raw[start:end]))
        else:
            joined.append(segment)
        at = end
    return tuple(joined)
