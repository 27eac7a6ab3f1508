# SPDX-License-Identifier: Apache-2.0
"""Pictures as SVG without styles or scripts: every colour is an attribute, so no policy blocks it.

A picture in an ``img`` does not know whether its page is dark, so each is drawn in two palettes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from harness.model.case import Outcome
from harness.report.xmltext import xml_safe

FONT = "system-ui, -apple-system, Segoe UI, Roboto, sans-serif"
_NAMESPACE = "http://www.w3.org/2000/svg"
_CHAR_WIDTH = 0.56
"""Of a letter of the mean text, as a part of the font size; on the safe side."""


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of one scheme; the style sheet has the same."""

    ink: str
    muted: str
    line: str
    paper: str
    quiet: str
    """Where nothing happens."""
    outcomes: Mapping[str, str]
    series: tuple[str, ...]
    """Colours of things that have no colour of their own."""

    def outcome(self, name: str) -> str:
        """The colour of an outcome by its name; of one that is new here, that of a skipped case."""
        return self.outcomes.get(name, self.outcomes[Outcome.SKIPPED])


LIGHT = Palette(
    ink="#1c2127",
    muted="#59636e",
    line="#d5dae0",
    paper="#ffffff",
    quiet="#eceff2",
    outcomes={
        Outcome.PASS: "#4f9d78",
        Outcome.FAIL: "#c8283f",
        Outcome.CONTROL_FAIL: "#8a5a3c",
        Outcome.FLAKY: "#d1603d",
        Outcome.UNKNOWN: "#c98a12",
        Outcome.INFRA: "#7b5cc4",
        Outcome.SKIPPED: "#a3abb5",
    },
    series=(
        "#3f6fa6",
        "#44805b",
        "#8f6420",
        "#765a9f",
        "#2b7b80",
        "#96516f",
        "#686f33",
        "#566b82",
        "#9a5a3c",
        "#5a5a9c",
        "#3a7468",
        "#80656b",
    ),
)
DARK = Palette(
    ink="#e4e8ec",
    muted="#9aa5b1",
    line="#343c45",
    paper="#14181d",
    quiet="#232930",
    outcomes={
        Outcome.PASS: "#4fae83",
        Outcome.FAIL: "#f0566b",
        Outcome.CONTROL_FAIL: "#c08a66",
        Outcome.FLAKY: "#f08a63",
        Outcome.UNKNOWN: "#e0a93a",
        Outcome.INFRA: "#a58be6",
        Outcome.SKIPPED: "#6d7782",
    },
    series=(
        "#6ea2dc",
        "#7cc096",
        "#d3a560",
        "#ab93d6",
        "#63bcc1",
        "#d08eac",
        "#a9b06c",
        "#90a6bd",
        "#d69a7c",
        "#9c9cdb",
        "#78b8aa",
        "#bda3a9",
    ),
)


class Picture:
    """An SVG under construction; lengths are pixels at its natural size."""

    def __init__(self, width: float, height: float, palette: Palette) -> None:
        self.palette = palette
        self.width = width
        self._top = ElementTree.Element(
            "svg",
            {
                "xmlns": _NAMESPACE,
                "width": _n(width),
                "height": _n(height),
                "viewBox": f"0 0 {_n(width)} {_n(height)}",
                "font-family": FONT,
                "font-size": "12",
            },
        )

    def rect(
        self, x: float, y: float, width: float, height: float, fill: str,
        *, title: str = "", radius: float = 0, stroke: str = "",
    ) -> None:  # fmt: skip
        """A filled rectangle."""
        attributes = {"x": _n(x), "y": _n(y), "width": _n(max(width, 0)), "height": _n(height)}
        attributes["fill"] = fill
        if radius:
            attributes["rx"] = _n(radius)
        if stroke:
            attributes["stroke"] = stroke
        self._titled(ElementTree.SubElement(self._top, "rect", attributes), title)

    def line(
        self, x1: float, y1: float, x2: float, y2: float, stroke: str,
        *, width: float = 1, dashed: bool = False,
    ) -> None:  # fmt: skip
        """A straight line."""
        attributes = {"x1": _n(x1), "y1": _n(y1), "x2": _n(x2), "y2": _n(y2), "stroke": stroke}
        attributes["stroke-width"] = _n(width)
        if dashed:
            attributes["stroke-dasharray"] = "3 3"
        ElementTree.SubElement(self._top, "line", attributes)

    def path(self, points: list[tuple[float, float]], stroke: str, width: float = 1.5) -> None:
        """An open line through ``points``."""
        ElementTree.SubElement(
            self._top,
            "polyline",
            {
                "points": " ".join(f"{_n(x)},{_n(y)}" for x, y in points),
                "fill": "none",
                "stroke": stroke,
                "stroke-width": _n(width),
                "stroke-linejoin": "round",
            },
        )

    def dot(self, x: float, y: float, radius: float, fill: str, title: str = "") -> None:
        """A disc."""
        attributes = {"cx": _n(x), "cy": _n(y), "r": _n(radius), "fill": fill}
        self._titled(ElementTree.SubElement(self._top, "circle", attributes), title)

    def hatch(self, x: float, y: float, width: float, height: float, stroke: str) -> None:
        """Slanted lines over a rectangle."""
        at, parts = x - height, []
        while at < x + width:
            left, right = max(at, x), min(at + height, x + width)
            if left < right:
                parts.append(f"M{_n(left)} {_n(y + height - (left - at))}"
                             f"L{_n(right)} {_n(y + height - (right - at))}")  # fmt: skip
            at += 6
        attributes = {"d": "".join(parts) or "M0 0", "stroke": stroke, "stroke-width": "1.2"}
        ElementTree.SubElement(self._top, "path", attributes)

    def text(
        self, x: float, y: float, content: str, fill: str = "",
        *, anchor: str = "start", size: float = 12, bold: bool = False,
    ) -> None:  # fmt: skip
        """Text whose base line begins, ends or has its middle at (x, y)."""
        attributes = {"x": _n(x), "y": _n(y), "fill": fill or self.palette.ink}
        if anchor != "start":
            attributes["text-anchor"] = anchor
        if size != 12:
            attributes["font-size"] = _n(size)
        if bold:
            attributes["font-weight"] = "600"
        ElementTree.SubElement(self._top, "text", attributes).text = xml_safe(content)

    def _titled(self, element: ElementTree.Element, title: str) -> None:
        if title:
            ElementTree.SubElement(element, "title").text = xml_safe(title)

    def __str__(self) -> str:
        return ElementTree.tostring(self._top, encoding="unicode") + "\n"


def fits(content: str, width: float, size: float = 12) -> bool:
    """Whether ``content`` has room in ``width`` pixels."""
    return len(content) * size * _CHAR_WIDTH <= width


def shortened(content: str, width: float, size: float = 12) -> str:
    """``content``, or its beginning, so that it has room in ``width`` pixels."""
    most = int(width / (size * _CHAR_WIDTH))
    if len(content) <= most:
        return content
    return content[: max(0, most - 1)].rstrip() + "…" if most > 2 else ""


def _n(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")
