# SPDX-License-Identifier: Apache-2.0
"""Text that any XML 1.0 parser takes, whatever bytes a guest put into it, and of known size."""

from __future__ import annotations

import re

# XML 1.0 cannot hold these, not even as a character reference (C0, surrogates, U+FFFE/F), or
# readers trip over them (C1, noncharacters). CR would come back as LF.
_PLANE_ENDS = "".join(f"{chr(end - 1)}{chr(end)}" for end in range(0x1FFFF, 0x110000, 0x10000))
_UNSAFE = re.compile(
    f"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff{_PLANE_ENDS}]"
)
_ESCAPED = "&<>\"'"
_ESCAPE_BYTES = 6
"""At least as many bytes as the escape of any of these takes: ``&quot;``."""


def xml_safe(text: str) -> str:
    """``text`` with every character that XML cannot hold spelt out as ``\\x00`` or ``\\udc80``."""
    return _UNSAFE.sub(_spell, text)


def _spell(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def one_line(text: str, limit_chars: int) -> str:
    """``text``, safe, on one line, with an ellipsis where it was longer than ``limit_chars``."""
    line = " ".join(xml_safe(text).split())
    return line if len(line) <= limit_chars else line[: limit_chars - 3] + "..."


def cut_middle(text: str, limit_bytes: int, note: str) -> str:
    """``text``, safe, or its two ends around ``note`` where it is longer than ``limit_bytes``.

    The limit counts what is written into the file, escapes included, without the note.
    """
    half = limit_bytes // 2
    if len(text) <= limit_bytes:
        safe = xml_safe(text)
        if _written_bytes(safe) <= limit_bytes:
            return safe
    # A character takes a byte or more, so no more of them than this can stay.
    head, tail = xml_safe(text[:half]), xml_safe(text[-half:])
    return f"{_fit(head, half)}\n{note}\n{_fit(tail[::-1], half)[::-1]}"


def _written_bytes(safe: str) -> int:
    return len(safe.encode()) + (_ESCAPE_BYTES - 1) * sum(map(safe.count, _ESCAPED))


def _fit(safe: str, limit_bytes: int) -> str:
    spent = 0
    for index, character in enumerate(safe):
        spent += _ESCAPE_BYTES if character in _ESCAPED else len(character.encode())
        if spent > limit_bytes:
            return safe[:index]
    return safe
