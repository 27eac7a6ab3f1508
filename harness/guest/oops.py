# SPDX-License-Identifier: Apache-2.0
"""Kernel reports (panic, oops, hung task, lockdep, I/O error ...) on a guest's serial console."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.guest.oops_rules import RULES, ReportKind, Rule

MOST_LINES = 200
"""Lines kept of one report; a stall dumps every CPU and the first ones tell."""

# A user program that left its line unfinished may stand before the time stamp.
_STAMP = re.compile(r"^.*?\[ *\d+\.\d{6}\](\[ *[TC]\d+\])? ")
_LEVEL = re.compile(r"^<\d+>")
_AT = re.compile(r"RIP: \w+:([\w.]+)\+0x")
_LOCATED = (ReportKind.OOPS, ReportKind.GPF)
_LINE_BYTES = 4096
"""More than the kernel prints on one line; what is longer is no message of its."""

# What differs between two occurrences of one report, in this order.
_VARIABLE = (
    (re.compile(r" \((Not tainted|Tainted: [^)]*)\)"), ""),
    (re.compile(r":? [0-9a-f]{4} \[#\d+\].*"), ""),
    (re.compile(r"\+0x[0-9a-f]+/0x[0-9a-f]+"), ""),
    (re.compile(r"CPU: \d+ PID: \d+ at "), ""),
    (re.compile(r"CPU#\d+"), "CPU#N"),
    (re.compile(r":\d+(?=\]| blocked )"), ""),
    (re.compile(r"/\d+(?=/0x)"), "/N"),
    (re.compile(r"table: \d+:\d+"), "table: N:N"),
    (re.compile(r"\b0x[0-9a-f]+\b|\b[0-9a-f]{16}\b"), "HEX"),
    (re.compile(r"(?<![\w./:%-])\d+(?=s?\b)(?!\.\w)"), "N"),
)


@dataclass(frozen=True, slots=True)
class KernelReport:
    """One report as far as it was on the console."""

    kind: ReportKind
    title: str
    """Its first line without what differs from one time to the next: equal titles, one cause."""
    excerpt: tuple[str, ...]
    """Its lines without time stamps, at most ``MOST_LINES``."""
    position: int
    """Byte offset of its first line since the scanner began."""
    truncated: bool
    """Its end was not seen: the console stopped (or was looked at) before, or it was too long."""

    def __str__(self) -> str:
        """Title and lines, as stored with the evidence of a case."""
        cut = " (truncated)" if self.truncated else ""
        return "\n".join((f"{self.kind}: {self.title}{cut}", *self.excerpt))


def scan(text: str) -> tuple[KernelReport, ...]:
    """All kernel reports in ``text``, a console log that will not grow."""
    return Scanner().feed(text.encode())


class Scanner:
    """Reads a console that grows, in pieces cut anywhere.

    Each report is given out once, by the ``feed`` that brought its beginning: what is known of it
    then, marked truncated unless its end was there as well. Holding it back until its end would
    put it down to a later case, or to none if the guest died in the middle of it.
    """

    def __init__(self) -> None:
        self._rest = b""
        """An unfinished last line."""
        self._position = 0
        """Offset of the first byte of ``_rest``."""
        self._early: _Draft | None = None
        """The report that ``_rest`` was seen to begin."""
        self._open: _Draft | None = None
        """The report that following lines belong to."""

    def feed(self, data: bytes) -> tuple[KernelReport, ...]:
        """Reports that begin in ``data``, together with any unfinished line before it."""
        begun: list[_Draft] = []
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            begun += self._whole_line(_message(line))
            self._position += len(line) + 1
        self._rest = rest
        if self._early is None:
            # Perhaps the last words of this guest: what they begin is not waited for.
            self._early = self._begin(_message(rest))
            if self._early is not None:
                begun.append(self._early)
        return tuple(draft.report() for draft in begun)

    def _whole_line(self, message: str) -> list[_Draft]:
        draft = self._begin(message)
        if self._early is not None:
            # Given out already, for the part of this line that was there then.
            self._early = None
            return []
        if draft is not None:
            draft.ended = draft.rule.end is None
            return [draft]
        if self._open is not None and self._open.closed_by(message):
            self._open = None
        return []

    def _begin(self, message: str) -> _Draft | None:
        rule = next((rule for rule in RULES if rule.start.match(message)), None)
        if rule is None or (rule.part and self._open is not None):
            return None
        draft = _Draft(rule, self._position, [message])
        if rule.end is not None:
            self._open = draft
        return draft


@dataclass(slots=True)
class _Draft:
    """A report while its lines come in."""

    rule: Rule
    position: int
    lines: list[str]
    ended: bool = False

    def closed_by(self, message: str) -> bool:
        """Take in the next line; whether it is the last."""
        self.lines.append(message)
        self.ended = self.rule.end is not None and bool(self.rule.end.match(message))
        return self.ended or len(self.lines) == MOST_LINES

    def report(self) -> KernelReport:
        """What is known by now."""
        return KernelReport(
            self.rule.kind,
            _title(self.rule.kind, self.lines),
            tuple(self.lines),
            self.position,
            truncated=not self.ended,
        )


def _message(line: bytes) -> str:
    text = line[:_LINE_BYTES].decode(errors="replace").rstrip("\r")
    return _LEVEL.sub("", _STAMP.sub("", text, count=1))


def _title(kind: ReportKind, lines: list[str]) -> str:
    title = lines[0]
    for pattern, replacement in _VARIABLE:
        title = pattern.sub(replacement, title)
    if kind in _LOCATED:
        found = next(filter(None, map(_AT.search, lines)), None)
        if found is not None:
            title += f" in {found[1]}"
    return title
