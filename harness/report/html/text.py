# SPDX-License-Identifier: Apache-2.0
"""Numbers, times and texts as the pages show them."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.report.xmltext import one_line, xml_safe

_LINE_CHARS = 500
"""Of a line that a console or a tool wrote; browsers get slow with much longer ones."""
BLOCK_BYTES = 4096


def seconds(value: float) -> str:
    """``64 ms``, ``1.2 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if value < 0.0995:
        return f"{value * 1000:.0f} ms"
    if value < 9.95:
        return f"{value:.1f} s"
    if value < 99.5:
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 100:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def moment(unix_s: float) -> str:
    """``2026-11-21 08:35 UTC``."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(_in_range(unix_s)))


def machine_moment(unix_s: float) -> str:
    """The same for the ``datetime`` attribute."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(_in_range(unix_s)))


def _in_range(unix_s: float) -> float:
    # A record made by a host with a wild clock must not keep the others from being shown.
    return min(max(unix_s, 0.0), 4e9)


def count(number: int) -> str:
    """``50,000``."""
    return f"{number:,}"


def plural(number: int, one: str, many: str = "") -> str:
    """``1 case``, ``2 cases``."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def size(number: int) -> str:
    """``4 KiB`` where it is a whole number of them, else bytes."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if number and number % unit == 0:
            return f"{number // unit} {name}"
    return f"{count(number)} bytes" if number != 1 else "1 byte"


def clip(text: str, chars: int = 300) -> str:
    """``text`` on one line of at most ``chars`` characters."""
    return one_line(text[: 4 * chars], chars)


def slug(text: str) -> str:
    """``text`` as part of a file name or id: itself where it is safe, else told apart by a hash."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:80]
    if safe == text and safe:
        return safe
    return f"{safe or 'x'}-{hashlib.blake2b(_bytes(text), digest_size=4).hexdigest()}"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The end of something long."""

    text: str
    left_out: int
    """Lines before it that are not shown."""


def excerpt(lines: Sequence[str], most_lines: int, most_bytes: int) -> Excerpt:
    """The last of ``lines``, safe, within both limits; long lines are cut."""
    kept: list[str] = []
    spent = 0
    for line in reversed(lines[-most_lines:]):
        safe = xml_safe(line[:_LINE_CHARS]) + ("..." if len(line) > _LINE_CHARS else "")
        spent += 6 * len(safe) + 1
        if spent > most_bytes:
            break
        kept.append(safe)
    return Excerpt("\n".join(reversed(kept)), len(lines) - len(kept))


def head(text: str, most_lines: int) -> Excerpt:
    """The first lines of ``text``, safe; ``left_out`` counts those after."""
    lines = text[: 200 * most_lines].splitlines()
    kept = [xml_safe(line[:_LINE_CHARS]) for line in lines[:most_lines]]
    return Excerpt("\n".join(kept), max(0, len(text.splitlines()) - len(kept)))


def ranges_of(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending ``numbers`` as (first, last) of runs without a gap."""
    found: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
    return found


def blocks_of(start: int, end: int) -> str:
    """Which 4 KiB blocks bytes [start, end) lie in: ``block 7``, ``blocks 7 to 9``."""
    first, last = start // BLOCK_BYTES, max(start, end - 1) // BLOCK_BYTES
    return f"block {first}" if first == last else f"blocks {first} to {last}"
