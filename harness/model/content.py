# SPDX-License-Identifier: Apache-2.0
"""File content as the writes it came from.

Every write of a workload stores *self-describing* bytes: the record stream of its line number.
Record ``r`` of line ``n`` is the 32 bytes ``step nnnn byte oooooooooooo ...\\n`` with ``o = 32 r``,
and a write to file bytes [a, b) stores bytes [a, b) of that stream. Recovered content can thus be
told apart, byte for byte, into zeros, data of a known write at its right place, and anything else
(garbage, or data that landed in the wrong place). The encoding is lossless.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

RECORD_BYTES = 32
ZERO = 0
"""``Segment.line`` of a run of zero bytes (line numbers start at 1)."""


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
    return b"".join(b"step %04d byte %012d ...\n" % (line, r * RECORD_BYTES) for r in range(first, end))
