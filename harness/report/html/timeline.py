# SPDX-License-Identifier: Apache-2.0
"""What both guests did in a case, from what is recorded of it.

Of a case that did not pass, when each guest did what. Of others only the seconds of each phase
over the whole case, and where the crash points were: the order within a crash point is then that in
which the harness works; where there are several, a phase is shared out evenly among them, and the
ops by their number of lines. The page says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.model.case import CaseResult
from harness.model.evidence import CrashEvidence, Moment
from harness.report.html import text
from harness.report.html.steps import before_checkpoint, parsed
from harness.report.html.svg import Palette, Picture, fits

_BEFORE = ("restore", "mount")
_AT_CRASH = ("drain", "snapshot", "recover", "read", "umount", "fsck", "probe")
"""On the backup, in this order."""
_PAUSED = ("pause", "resume")
_LEFT, _RIGHT, _WIDTH = 84, 14, 820
_LANE = 24
_PRIMARY_Y, _BACKUP_Y, _LEGEND_Y = 40, 96, 160
_MOST_CRASHES = 12
_COLUMN = 122


@dataclass(frozen=True, slots=True)
class Span:
    """Something that a guest does for a while."""

    lane: str
    name: str
    start_s: float
    end_s: float
    label: str = ""


@dataclass(frozen=True, slots=True)
class Crash:
    """A crash point: when the primary stops, and when the backup has all it was sent."""

    number: int
    at_s: float
    drained_s: float
    promised: int | None
    applied: int | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """A case as both guests went through it."""

    spans: tuple[Span, ...]
    crashes: tuple[Crash, ...]
    total_s: float
    shared: bool
    """Whether phases had to be shared out among crash points."""
    seen: bool = False
    """Whether it is as it was seen, not put together from phases."""

    @property
    def names(self) -> list[str]:
        """Phases that are to be seen, in order of first appearance."""
        return [n for n in dict.fromkeys(span.name for span in self.spans) if n != "paused"]

    @property
    def width(self) -> int:
        """Of the picture, in pixels."""
        return _WIDTH

    @property
    def height(self) -> int:
        """Of the picture, in pixels."""
        per_row = (_WIDTH - _LEFT) // _COLUMN
        return _LEGEND_Y + 18 * -(-len(self.names) // per_row)

    @property
    def alt(self) -> str:
        """The picture in words."""
        points = "; ".join(
            f"crash point {c.number} after {text.seconds(c.at_s)}, "
            f"promised {_known(c.promised)}, applied {_known(c.applied)}"
            for c in self.crashes
        )
        return f"Time line over {text.seconds(self.total_s)} of work on both guests. {points}"

    def draw(self, palette: Palette) -> str:
        """The picture in one of the palettes."""
        picture = Picture(self.width, self.height, palette)
        colors = {n: palette.series[i % len(palette.series)] for i, n in enumerate(self.names)}
        self._axis(picture)
        for name, y in (("primary", _PRIMARY_Y), ("backup", _BACKUP_Y)):
            picture.text(0, y + 16, name, palette.muted)
            picture.rect(_LEFT, y, _WIDTH - _LEFT - _RIGHT, _LANE, palette.quiet, radius=2)
        for span in self.spans:
            self._span(picture, span, colors)
        for crash in self.crashes:
            self._crash(picture, crash)
        self._legend(picture, colors)
        return str(picture)

    def _x(self, at_s: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * at_s / (self.total_s or 1.0)

    def _axis(self, picture: Picture) -> None:
        palette, step = picture.palette, tick(self.total_s)
        bottom = _BACKUP_Y + _LANE
        number = 0
        while number * step <= self.total_s:
            x = self._x(number * step)
            picture.line(x, _PRIMARY_Y - 4, x, bottom + 6, palette.line)
            label = f"{number * step:.3g} s"
            picture.text(x, bottom + 20, label, palette.muted, anchor="middle", size=11)
            number += 1

    def _span(self, picture: Picture, span: Span, colors: Mapping[str, str]) -> None:
        y = _PRIMARY_Y if span.lane == "primary" else _BACKUP_Y
        left = self._x(span.start_s)
        width = max(1.0, self._x(span.end_s) - left)
        title = f"{span.name}, {text.seconds(span.end_s - span.start_s)}"
        if span.name == "paused":
            picture.hatch(left, y, width, _LANE, picture.palette.line)
            if fits("paused", width - 8, 11):
                muted = picture.palette.muted
                picture.text(left + width / 2, y + 16, "paused", muted, anchor="middle", size=11)
            return
        picture.rect(left, y, width, _LANE, colors[span.name], title=title)
        label = span.label or span.name
        if fits(label, width - 6, 11):
            paper = picture.palette.paper
            picture.text(left + width / 2, y + 16, label, paper, anchor="middle", size=11)

    def _crash(self, picture: Picture, crash: Crash) -> None:
        palette = picture.palette
        red, x = palette.outcomes["fail"], self._x(crash.at_s)
        picture.line(x, 18, x, _BACKUP_Y + _LANE, red, width=1.5, dashed=True)
        end = x > _WIDTH - 150
        label = f"crash {crash.number}"
        if crash.promised is not None:
            label += f": promised {crash.promised}"
        anchor = "end" if end else "start"
        room = (_WIDTH - _LEFT - _RIGHT) / max(1, len(self.crashes))
        label = label if fits(label, room) else str(crash.number)
        picture.text(x + (-5 if end else 5), 14, label, red, anchor=anchor, bold=True)
        if crash.applied is not None and fits(f"applied {crash.applied}", room - 20, 11):
            at = self._x(crash.drained_s)
            picture.dot(at, _BACKUP_Y - 6, 3, palette.ink)
            picture.text(at + 6, _BACKUP_Y - 2, f"applied {crash.applied}", size=11)

    def _legend(self, picture: Picture, colors: Mapping[str, str]) -> None:
        spent: dict[str, float] = {}
        for span in self.spans:
            if span.lane == "primary" or span.name != "compare":
                spent[span.name] = spent.get(span.name, 0.0) + span.end_s - span.start_s
        per_row = (_WIDTH - _LEFT) // _COLUMN
        for place, name in enumerate(self.names):
            x = _LEFT + _COLUMN * (place % per_row)
            y = _LEGEND_Y + 18 * (place // per_row)
            picture.rect(x, y - 9, 10, 10, colors[name], radius=2)
            label = f"{name} {text.seconds(spent[name])}"
            picture.text(x + 15, y, label, picture.palette.ink, size=11)


def tick(total_s: float) -> float:
    """A round number of seconds of which five to ten fit into ``total_s``."""
    step = 0.001
    while True:
        for factor in (1, 2, 5):
            if total_s / (step * factor) <= 9:
                return step * factor
        step *= 10


def timeline(result: CaseResult) -> Timeline | None:
    """The time line of ``result``; None where no times are recorded, and for rounds."""
    evidence, phases = result.evidence, result.phases_s
    if evidence is None or evidence.round is not None:
        return None
    crashes = evidence.crashes[:_MOST_CRASHES]
    spans = [
        Span(moment.guest, moment.what, moment.start_s, moment.end_s, _lines_of(moment))
        for moment in sorted(evidence.moments, key=lambda moment: moment.start_s)
    ]
    seen = bool(spans)
    if not seen:
        spans = list(_spans(result, phases, crashes))
    total = max((span.end_s for span in spans), default=0.0)
    if total <= 0:
        return None
    shared = not seen and len(crashes) > 1
    return Timeline(tuple(spans), tuple(_crash_points(crashes, spans)), total, shared, seen)


def _lines_of(moment: Moment) -> str:
    return _lines(*moment.lines) if moment.lines else ""


def _spans(
    result: CaseResult, phases: Mapping[str, float], crashes: tuple[CrashEvidence, ...]
) -> Iterator[Span]:
    at = 0.0

    def span(lane: str, name: str, length: float, label: str = "") -> Iterator[Span]:
        if length > 0:
            yield Span(lane, name, at, at + length, label)

    def share(name: str) -> float:
        return max(0.0, phases.get(name, 0.0)) / len(crashes)

    for name in _BEFORE:
        length = max(0.0, phases.get(name, 0.0))
        yield from span("primary", name, length)
        at += length
    ops = max(0.0, phases.get("ops", 0.0))
    done, lines = 0, max(1, len(result.jlang.splitlines()))
    steps = parsed(result)
    for crash in crashes:
        line = min(max(before_checkpoint(steps, crash.line), done), lines)
        length = ops * (line - done) / lines
        yield from span("primary", "ops", length, _lines(done + 1, line))
        at += length
        done = line
        inside = [(name, share(name)) for name in _AT_CRASH]
        pause, resume = (share(name) for name in _PAUSED)
        stopped = pause + resume + sum(length for _, length in inside)
        yield from span("primary", "paused", stopped)
        at += pause
        for name, length in inside:
            yield from span("backup", name, length)
            at += length
        at += resume
    length = ops * (lines - done) / lines
    yield from span("primary", "ops", length, _lines(done + 1, lines))
    at += length
    for lane in ("primary", "backup"):
        yield from span(lane, "compare", max(0.0, phases.get("compare", 0.0)))


def _lines(first: int, last: int) -> str:
    return f"line {first}" if first >= last else f"lines {first} to {last}"


def _crash_points(crashes: tuple[CrashEvidence, ...], spans: list[Span]) -> Iterator[Crash]:
    pauses = [span for span in spans if span.name == "paused"]
    drains = [span for span in spans if span.name in ("drain", "snapshot")]
    for number, crash in enumerate(crashes):
        if number >= len(pauses):
            return
        at = pauses[number].start_s
        inside = [s.end_s for s in drains if pauses[number].start_s <= s.start_s and
                  s.end_s <= pauses[number].end_s + 1e-9]  # fmt: skip
        drain = crash.drain
        yield Crash(
            crash.checkpoint,
            at,
            min(inside, default=at),
            None if drain is None else drain.promised,
            None if drain is None else drain.applied,
        )


def _known(value: int | None) -> str:
    return "not known" if value is None else str(value)
