# SPDX-License-Identifier: Apache-2.0
"""The bytes of one file, expected above and recovered below, with its 4 KiB blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.model.comparison import FileRange, Mark, NameRow
from harness.report.html import text
from harness.report.html.svg import Palette, Picture, fits, shortened

_LEFT, _RIGHT = 84, 14
_WIDTH = 820
_BAR = 26
_TOP = 22
_MOST_NUMBERED = 40
_MOST_DRAWN = 400


def held(value: int) -> str:
    """What bytes are, in words."""
    if value == 0:
        return "zeros"
    return f"data of line {value}" if value > 0 else "data of no write at this place"


@dataclass(frozen=True, slots=True)
class FileMap:
    """The picture of one file."""

    name: str
    row: NameRow
    end: int
    """Bytes from the left edge to the right one."""
    alt: str
    width = _WIDTH
    height = 142

    @classmethod
    def of(cls, row: NameRow, name: str) -> FileMap:
        """The picture ``name`` of the file in ``row``."""
        end = max((item.end for item in row.ranges), default=1)
        return cls(name, row, end, _alt(row))

    def draw(self, palette: Palette) -> str:
        """The picture in one of the palettes."""
        picture = Picture(self.width, self.height, palette)
        upper, lower = _TOP + 8, _TOP + 8 + _BAR + 22
        picture.text(0, upper + 17, "expected", palette.muted)
        picture.text(0, lower + 17, "recovered", palette.muted)
        self._blocks(picture, upper, lower + _BAR)
        for item in self.row.ranges[:_MOST_DRAWN]:
            latest = item.expected[-1] if item.expected else None
            self._piece(picture, item, upper, latest, "")
            self._piece(picture, item, lower, item.found, str(item.mark))
        bad = [item for item in self.row.ranges if item.mark is Mark.BROKEN]
        for item in bad[:_MOST_DRAWN]:
            self._bracket(picture, item, upper + _BAR + 4, lower - 4)
        if bad:
            self._label(picture, bad[0], lower + _BAR + 20)
        return str(picture)

    def _x(self, offset: int) -> float:
        return _LEFT + (self.width - _LEFT - _RIGHT) * offset / max(1, self.end)

    def _blocks(self, picture: Picture, top: float, bottom: float) -> None:
        palette = picture.palette
        blocks = -(-self.end // text.BLOCK_BYTES)
        every = 1
        while blocks / every > _MOST_NUMBERED:
            every *= 2
        picture.text(0, _TOP - 6, "4 KiB block", palette.muted, size=11)
        for block in range(0, blocks, every):
            start = block * text.BLOCK_BYTES
            x = self._x(start)
            picture.line(x, top - 5, x, bottom + 3, palette.line)
            middle = (x + self._x(min(start + every * text.BLOCK_BYTES, self.end))) / 2
            if fits(str(block), self._x(text.BLOCK_BYTES * every) - _LEFT, 11) or block == 0:
                picture.text(middle, _TOP - 6, str(block), palette.muted, anchor="middle", size=11)

    def _piece(
        self, picture: Picture, item: FileRange, top: float, value: int | None, mark: str
    ) -> None:
        palette = picture.palette
        left = self._x(item.start)
        width = max(1.5, self._x(item.end) - left)
        if value is None:
            picture.rect(left, top + _BAR / 2 - 0.5, width, 1, palette.line)
            return
        fill = palette.quiet
        if value > 0:
            fill = palette.series[(value - 1) % len(palette.series)]
        stroke = palette.line if value <= 0 else ""
        picture.rect(left, top, width, _BAR, fill, stroke=stroke, title=self._title(item, value))
        if value < 0:
            picture.hatch(left, top, width, _BAR, palette.outcomes["fail"])
        label = "zeros" if value == 0 else f"line {value}" if value > 0 else "foreign"
        ink = palette.paper if value > 0 else palette.ink
        if fits(label, width - 6, 11):
            picture.text(left + width / 2, top + 17, label, ink, anchor="middle", size=11)
        if mark == Mark.BROKEN:
            color = palette.outcomes["fail"]
            picture.rect(left, top - 1, width, 2.5, color)
            picture.rect(left, top + _BAR - 1.5, width, 2.5, color)

    def _title(self, item: FileRange, value: int) -> str:
        return f"bytes {item.start} to {item.end - 1}: {held(value)}"

    def _bracket(self, picture: Picture, item: FileRange, top: float, bottom: float) -> None:
        color = picture.palette.outcomes["fail"]
        left = self._x(item.start)
        width = max(2.0, self._x(item.end) - left)
        picture.rect(left, top, width, bottom - top, color, radius=2)
        if fits("differs", width - 6, 11):
            ink = picture.palette.paper
            x, y = left + width / 2, (top + bottom) / 2 + 4
            picture.text(x, y, "differs", ink, anchor="middle", size=11)

    def _label(self, picture: Picture, item: FileRange, y: float) -> None:
        found = "missing" if item.found is None else held(item.found)
        said = (
            f"{text.blocks_of(item.start, item.end)}, bytes {item.start} to {item.end - 1}: {found}"
        )
        said = shortened(said, self.width - _RIGHT)
        x = self._x(item.start)
        anchor = "start"
        if not fits(said, self.width - x):
            x, anchor = min(self._x(item.end), self.width - _RIGHT), "end"
        if anchor == "end" and not fits(said, x):
            x, anchor = 0, "start"
        color = picture.palette.outcomes["fail"]
        picture.text(x, y, said, color, anchor=anchor, bold=True)


def _alt(row: NameRow) -> str:
    broken = list(_said(row, Mark.BROKEN))
    other = list(_said(row, Mark.OPEN))
    parts = [f"The bytes of {text.clip(row.path, 80) or '/'}, expected and recovered."]
    if broken:
        parts.append(f"Broken: {'; '.join(broken[:4])}.")
    if other:
        parts.append(f"Different, and legal: {'; '.join(other[:4])}.")
    return " ".join(parts)


def _said(row: NameRow, mark: Mark) -> Iterator[str]:
    for item in row.ranges:
        if item.mark is mark:
            found = "end of file" if item.found is None else held(item.found)
            blocks = text.blocks_of(item.start, item.end)
            yield f"{blocks}, bytes {item.start} to {item.end - 1}, found {found}"
