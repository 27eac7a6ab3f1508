# SPDX-License-Identifier: Apache-2.0
"""Pictures over runs: verdicts, rate and where the time went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.html import text
from harness.report.html.digest import RunDigest
from harness.report.html.svg import Palette, Picture

_ORDER = ("pass", "skipped", "unknown", "infra", "flaky", "control-fail", "fail")
"""From the bottom of a bar to its top."""
_LEFT, _RIGHT = 52, 8
MOST_RUNS = 60


@dataclass(frozen=True, slots=True)
class Trend:
    """Verdicts and rate of runs, oldest first."""

    runs: Sequence[RunDigest]
    width = 820
    height = 216

    @property
    def alt(self) -> str:
        """The picture in words."""
        last = self.runs[-1]
        bad = sum(run.bad > 0 for run in self.runs)
        return (
            f"Verdicts and rate of the last {text.plural(len(self.runs), 'run')}, oldest first: "
            f"{bad} with cases that did not pass. The newest: "
            + ", ".join(f"{number} {name}" for name, number in last.counts.items())
            + f", {last.rate:.2f} cases per second. The table below has the numbers."
        )

    def draw(self, palette: Palette) -> str:
        """The picture in one of the palettes."""
        picture = Picture(self.width, self.height, palette)
        room = self.width - _LEFT - _RIGHT
        pitch = min(48.0, room / len(self.runs))
        self._verdicts(picture, pitch, 20, 130)
        self._rates(picture, pitch, 160, 190)
        for at, run in enumerate(self.runs):
            every = max(1, round(84 / pitch))
            if at % every == 0:
                day = text.moment(run.info.started_unix_s)[5:10]
                x = _LEFT + pitch * (at + 0.5)
                picture.text(x, self.height - 6, day, palette.muted, anchor="middle", size=11)
        return str(picture)

    def _verdicts(self, picture: Picture, pitch: float, top: float, bottom: float) -> None:
        palette = picture.palette
        most = max((run.done for run in self.runs), default=0) or 1
        picture.text(0, 12, "cases", palette.muted, size=11)
        for part in (0, 0.5, 1):
            y = bottom - (bottom - top) * part
            picture.line(_LEFT, y, self.width - _RIGHT, y, palette.line)
            label = text.count(round(most * part))
            picture.text(_LEFT - 6, y + 4, label, palette.muted, anchor="end", size=11)
        for at, run in enumerate(self.runs):
            y = bottom
            for name, height in _heights(run, (bottom - top) * run.done / most):
                y -= height
                x = _LEFT + pitch * at + pitch * 0.12
                title = f"{run.info.run_id}: {run.counts[name]} {name}"
                picture.rect(x, y, pitch * 0.76, height, palette.outcome(name), title=title)

    def _rates(self, picture: Picture, pitch: float, top: float, bottom: float) -> None:
        palette = picture.palette
        most = max((run.rate for run in self.runs), default=0.0) or 1.0
        picture.text(0, top - 8, "cases per second", palette.muted, size=11)
        picture.line(_LEFT, bottom, self.width - _RIGHT, bottom, palette.line)
        picture.text(_LEFT - 6, top + 6, f"{most:.2g}", palette.muted, anchor="end", size=11)
        picture.text(_LEFT - 6, bottom + 4, "0", palette.muted, anchor="end", size=11)
        points = [
            (_LEFT + pitch * (at + 0.5), bottom - (bottom - top) * run.rate / most)
            for at, run in enumerate(self.runs)
        ]
        picture.path(points, palette.series[0])
        for (x, y), run in zip(points, self.runs, strict=True):
            picture.dot(x, y, 2.5, palette.series[0], f"{run.info.run_id}: {run.rate:.2f}")


def _heights(run: RunDigest, height: float) -> list[tuple[str, float]]:
    """Outcomes from the bottom up, each with its part of ``height``.

    One case in fifty thousand is what the picture is for: it takes three pixels, from the others.
    """
    names = [name for name in _ORDER if run.counts.get(name)]
    names += sorted(name for name, number in run.counts.items() if number and name not in _ORDER)
    least = {name: 1.0 if name == "pass" else 3.0 for name in names}
    free = max(0.0, height - sum(least.values()))
    return [(name, least[name] + free * run.counts[name] / max(1, run.done)) for name in names]


@dataclass(frozen=True, slots=True)
class Phases:
    """Where the time of a run went."""

    phases: Sequence[tuple[str, float]]
    """The longest first."""
    width = 560

    @property
    def height(self) -> int:
        """In pixels."""
        return 22 * len(self.phases) + 4

    @property
    def alt(self) -> str:
        """The picture in words."""
        total = sum(spent for _, spent in self.phases) or 1.0
        said = (f"{name} {100 * spent / total:.0f} %" for name, spent in self.phases)
        return "Time by phase: " + ", ".join(said)

    def draw(self, palette: Palette) -> str:
        """The picture in one of the palettes."""
        picture = Picture(self.width, self.height, palette)
        total = sum(spent for _, spent in self.phases) or 1.0
        most = max((spent for _, spent in self.phases), default=0.0) or 1.0
        for at, (name, spent) in enumerate(self.phases):
            y = 22 * at + 2
            picture.text(0, y + 13, name[:14], palette.ink)
            picture.rect(96, y, max(1.0, 300 * spent / most), 17, palette.series[0], radius=2)
            said = f"{text.seconds(spent)}, {100 * spent / total:.0f} %"
            picture.text(102 + 300 * spent / most, y + 13, said, palette.muted, size=11)
        return str(picture)


def trend_of(runs: Sequence[RunDigest]) -> Trend:
    """The picture of the newest of ``runs``."""
    return Trend(runs[-MOST_RUNS:])
