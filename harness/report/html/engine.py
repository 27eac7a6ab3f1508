# SPDX-License-Identifier: Apache-2.0
"""Templates to files: everything escaped, every page within its weight, replaced atomically."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.report.html import text
from harness.report.html.svg import DARK, LIGHT, Palette
from harness.report.xmltext import xml_safe

MOST_PAGE_BYTES = 2_000_000
_HERE = Path(__file__).parent
_DETAILS = (1, 4, 16, 64, 256)
"""By how much a page's own limits are divided, until it fits."""

Values = Mapping[str, Any]


@cache
def environment() -> Environment:
    """Jinja2 as all pages use it."""
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    for function in (
        text.seconds, text.moment, text.machine_moment, text.count, text.plural, text.size,
        text.clip, text.slug, text.blocks_of,
    ):  # fmt: skip
        made.filters[function.__name__] = function
    return made


def _shown(value: object) -> object:
    """Every value that a template shows; what HTML cannot hold is spelt out."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return xml_safe(value)
    return value


def sources() -> list[Path]:
    """Every file that has a say in what pages look like."""
    return sorted(
        path
        for path in _HERE.rglob("*")
        if path.suffix in (".py", ".html", ".css", ".svg", ".js")
        and "__pycache__" not in path.parts
    )


class Output:
    """A folder that pages are written into."""

    def __init__(self, root: Path, prefix: str = "") -> None:
        """``prefix`` is where the folder will stand below the top of all pages."""
        self.root = root
        self.prefix = prefix
        self.pages = 0
        self.bytes = 0

    def page(self, name: str, template: str, values: Callable[[int], Values]) -> None:
        """Render ``template``; ``values`` gets a divisor for what it limits, 1 if all is well."""
        depth = (self.prefix + name).count("/")
        written = b""
        for detail in _DETAILS:
            shown = (
                environment().get_template(template).render(root="../" * depth, **values(detail))
            )
            written = shown.encode("utf-8")
            if len(written) <= MOST_PAGE_BYTES:
                break
        else:
            raise AssertionError(f"page {name} has {len(written)} bytes at its shortest")
        self.pages += 1
        self._write(name, written)

    def picture(self, name: str, draw: Callable[[Palette], str]) -> None:
        """Draw ``name``.svg, and ``name``-dark.svg for dark screens."""
        self._write(f"{name}.svg", draw(LIGHT).encode("utf-8"))
        self._write(f"{name}-dark.svg", draw(DARK).encode("utf-8"))

    def data(self, name: str, content: str) -> None:
        """A file that is no page."""
        self._write(name, content.encode("utf-8"))

    def static(self) -> None:
        """Stylesheet and icon."""
        for path in sorted((_HERE / "static").iterdir()):
            self._write(path.name, path.read_bytes())

    def _write(self, name: str, content: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_bytes(content)
        os.replace(temporary, path)
        self.bytes += len(content)


def replace_folder(new: Path, path: Path) -> None:
    """Put the folder ``new`` in the place of ``path``."""
    if path.exists():
        shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.replace(new, path)
