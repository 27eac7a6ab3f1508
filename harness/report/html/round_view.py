# SPDX-License-Identifier: Apache-2.0
"""A round of an endurance run as its page shows it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from harness.model.endurance import Leg, MemorySample, Rejoin, RoundEvidence
from harness.model.load import Damaged
from harness.report.html import text
from harness.report.html.svg import Palette, Picture
from harness.report.html.timeline import tick

_LOGGED = re.compile(r"([0-9]+(?:\.[0-9]+)?) (.*)", re.DOTALL)
_LEFT, _RIGHT, _WIDTH = 84, 20, 820
_ROW = 34
_MOST_EVENTS = 400
_MOST_DAMAGED = 200


@dataclass(frozen=True, slots=True)
class Logged:
    """Something that was done, or seen."""

    number: int
    at_s: float
    said: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LegView:
    """A load and what was found after it."""

    leg: Leg
    held: int
    """Blocks that held something."""
    changed: int
    """Blocks that are not what they were when the leg began; -1 where nothing could be read."""
    damaged: list[tuple[int, str]]
    errors: list[str]


@dataclass(frozen=True, slots=True)
class RoundView:
    """A round, ready to be shown."""

    events: tuple[Logged, ...]
    nodes: tuple[str, ...]
    legs: tuple[LegView, ...]
    rejoins: tuple[Rejoin, ...]
    comparisons: tuple[tuple[str, bool, list[tuple[int, int]]], ...]
    """(after what, whether both were equal, blocks that differed)"""
    refusals: tuple[str, ...]
    after_deposition: int | None
    memory: tuple[MemorySample, ...]
    blocks: int

    @classmethod
    def of(cls, seen: RoundEvidence) -> RoundView:
        """The view of ``seen``."""
        nodes = sorted({leg.node for leg in seen.legs} | {r.node for r in seen.rejoins}
                       | {m.node for m in seen.memory})  # fmt: skip
        nodes = nodes[:4] or ["node1", "node2"]
        compared = tuple(
            (
                text.clip(c.after),
                c.primary is not None and c.primary == c.backup,
                text.ranges_of((c.differing or ())[:64]),
            )
            for c in seen.comparisons[:100]
        )
        return cls(
            tuple(_logged(n, line, nodes) for n, line in enumerate(seen.log[:_MOST_EVENTS], 1)),
            tuple(nodes),
            tuple(_legs(seen)),
            seen.rejoins[:100],
            compared,
            tuple(text.clip(each, 600) for each in seen.refusals[:100]),
            seen.after_deposition,
            seen.memory[-40:],
            seen.blocks,
        )

    def limited(self, detail: int) -> RoundView:
        """With fewer lines of each, for a page that would be too long."""
        if detail == 1:
            return self
        most = max(4, _MOST_DAMAGED // detail)
        legs = tuple(
            replace(leg, damaged=leg.damaged[:most], errors=leg.errors[:most])
            for leg in self.legs[:most]
        )
        return replace(self, events=self.events[:most], legs=legs, rejoins=self.rejoins[:most],
                       refusals=self.refusals[:most], memory=self.memory[-most:],
                       comparisons=self.comparisons[:most])  # fmt: skip

    @property
    def total_s(self) -> float:
        """When the last thing was logged."""
        return max((event.at_s for event in self.events), default=0.0)

    @property
    def width(self) -> int:
        """Of the picture, in pixels."""
        return _WIDTH

    @property
    def height(self) -> int:
        """Of the picture, in pixels."""
        return 30 + _ROW * (len(self.nodes) + 1) + 24

    @property
    def alt(self) -> str:
        """The picture in words."""
        return (
            f"Time line of the round over {text.seconds(self.total_s)}, "
            f"{text.plural(len(self.events), 'event')} on {', '.join(self.nodes)}; "
            "the list below has them all."
        )

    def draw(self, palette: Palette) -> str:
        """The picture in one of the palettes."""
        picture = Picture(self.width, self.height, palette)
        lanes = {node: 26 + _ROW * i for i, node in enumerate((*self.nodes, ""))}
        total, room = self.total_s or 1.0, _WIDTH - _LEFT - _RIGHT
        bottom = 26 + _ROW * len(lanes)
        number, step = 0, tick(total)
        while number * step <= total:
            x = _LEFT + room * number * step / total
            picture.line(x, 12, x, bottom, palette.line)
            label = f"{number * step:.3g} s"
            picture.text(x, bottom + 14, label, palette.muted, anchor="middle", size=11)
            number += 1
        for node, y in lanes.items():
            picture.text(0, y + 4, node or "the pair", palette.muted)
            picture.line(_LEFT, y, _WIDTH - _RIGHT, y, palette.line, width=2)
        last: dict[float, float] = {}
        for event in self.events:
            x = _LEFT + room * event.at_s / total
            for node in event.nodes or ("",):
                y = lanes[node]
                color = palette.outcomes["fail"] if _is_trouble(event.said) else palette.series[0]
                picture.dot(x, y, 4, color, f"{event.at_s:.2f} s: {event.said[:200]}")
                if x - last.get(y, -99.0) > 16:
                    picture.text(
                        x, y - 8, str(event.number), palette.muted, anchor="middle", size=10
                    )
                    last[y] = x
        return str(picture)


def _is_trouble(said: str) -> bool:
    return said.startswith(("stuck", "kill", "cut", "pause", "suspend", "depose"))


def _logged(number: int, line: str, nodes: list[str]) -> Logged:
    match = _LOGGED.match(line)
    at, said = (min(float(match[1]), 1e7), match[2]) if match else (0.0, line)
    said = text.clip(said, 400)
    return Logged(number, at, said, tuple(node for node in nodes if node in said))


def _legs(seen: RoundEvidence) -> list[LegView]:
    views = []
    base = seen.base
    for leg in seen.legs[:100]:
        found = leg.found
        if found is None:
            views.append(LegView(leg, 0, -1, [], _errors(leg)))
            continue
        changed = sum(found.get(block) != base.get(block) for block in {*found, *base})
        damaged = [
            (block, text.clip(held.what, 200))
            for block, held in sorted(found.items())
            if isinstance(held, Damaged)
        ]
        views.append(LegView(leg, len(found), changed, damaged[:_MOST_DAMAGED], _errors(leg)))
        base = found
    return views


def _errors(leg: Leg) -> list[str]:
    said = (*leg.run.errors, *leg.run.mismatches)
    return [text.clip(each, 300) for each in said[:_MOST_DAMAGED]]
