# SPDX-License-Identifier: Apache-2.0
"""Reads pages as a strict browser under a strict policy would, and says what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

MOST_BYTES = 2_000_000
_VOID = {"meta", "link", "img", "br", "source", "hr", "input", "wbr", "col"}
_LANDMARKS = ("header", "main", "nav")
_NEVER = ("script", "style", "iframe", "object", "embed", "form", "base")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass
class Page(HTMLParser):
    """One page, parsed."""

    path: Path
    faults: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    """Every href, src and candidate of a srcset."""
    tags: dict[str, int] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    title: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []
        self._headings: list[int] = []
        self._tables: list[dict[str, bool]] = []
        self._labels: list[str] = []
        raw = self.path.read_bytes()
        if len(raw) > MOST_BYTES:
            self.faults.append(f"{len(raw)} bytes")
        text = raw.decode("utf-8")
        if found := _CONTROL.search(text):
            self.faults.append(f"character {found.group()!r}")
        self.feed(text)
        self.close()
        self._conclude()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags[tag] = self.tags.get(tag, 0) + 1
        if len(values) != len(attrs):
            self.faults.append(f"{tag} has an attribute twice")
        if tag in _NEVER:
            self.faults.append(f"element {tag}")
        for name, value in values.items():
            self._attribute(tag, name, value)
        if tag == "img" and not values.get("alt"):
            self.faults.append("picture without alt")
        if tag == "th" and not values.get("scope"):
            self.faults.append("th without scope")
        if tag == "table":
            self._tables.append({"caption": False, "th": False})
        elif tag in ("caption", "th") and self._tables:
            self._tables[-1][tag] = True
        if re.fullmatch("h[1-6]", tag):
            self._headings.append(int(tag[1]))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")
        if tag == "table":
            seen = self._tables.pop()
            self.faults += [f"table without {part}" for part, there in seen.items() if not there]

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "title":
            self.title += data
        self.words.append(data)

    def _attribute(self, tag: str, name: str, value: str) -> None:
        if name == "style" or name.startswith("on") or value.lower().startswith("javascript:"):
            self.faults.append(f"{tag} {name}={value[:40]!r}")
        if name == "id":
            if value in self.ids:
                self.faults.append(f"id {value!r} twice")
            self.ids.add(value)
        if name in ("href", "src"):
            self.links.append(value)
        if name == "srcset":
            self.links += [part.split()[0] for part in value.split(",")]
        if name in ("aria-labelledby", "aria-describedby"):
            self._labels += value.split()

    def _conclude(self) -> None:
        if self._open:
            self.faults.append(f"never closed: {self._open}")
        self.faults += [f"no {tag}" for tag in _LANDMARKS if not self.tags.get(tag)]
        if self.tags.get("main", 0) > 1:
            self.faults.append("more than one main")
        if self._headings.count(1) != 1 or self._headings[:1] != [1]:
            self.faults.append(f"headings {self._headings[:4]}")
        for before, after in pairwise(self._headings):
            if after > before + 1:
                self.faults.append(f"h{after} after h{before}")
        if not self.title.strip():
            self.faults.append("no title")
        self.faults += [f"label {name!r} does not exist" for name in self._labels
                        if name not in self.ids]  # fmt: skip

    @property
    def text(self) -> str:
        """Everything a reader sees."""
        return " ".join("".join(self.words).split())


def pages(root: Path) -> Iterator[Page]:
    """Every page below ``root``."""
    for path in sorted(root.rglob("*.html")):
        yield Page(path)


def site_faults(root: Path) -> list[str]:
    """What is wrong with the pages and pictures below ``root``, links between them included."""
    found = []
    ids = cache(lambda path: Page(path).ids)
    for page in pages(root):
        name = page.path.relative_to(root)
        found += [f"{name}: {fault}" for fault in page.faults]
        for link in page.links:
            found += [f"{name}: {fault}" for fault in _link_faults(root, page, link, ids)]
    for path in sorted(root.rglob("*.svg")):
        found += [f"{path.relative_to(root)}: {fault}" for fault in picture_faults(path)]
    return found


def _link_faults(root: Path, page: Page, link: str, ids: object) -> Iterator[str]:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc or parts.path.startswith("/"):
        yield f"leads out: {link}"
        return
    target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
    if not target.is_relative_to(root.resolve()) or not target.is_file():
        yield f"leads nowhere: {link}"
    elif parts.fragment and callable(ids):
        there = page.ids if target == page.path else ids(target)
        if unquote(parts.fragment) not in there:
            yield f"no such place: {link}"


def picture_faults(path: Path) -> Iterator[str]:
    """What keeps an SVG from being shown, or from being shown under the policy."""
    if path.stat().st_size > MOST_BYTES:
        yield f"{path.stat().st_size} bytes"
    for element in ElementTree.parse(path).iter():
        tag = element.tag.rpartition("}")[2]
        if tag in ("script", "style", "foreignObject", "image", "use", "a"):
            yield f"element {tag}"
        for name in element.attrib:
            if name == "style" or name.startswith("on") or name.endswith("href"):
                yield f"{tag} {name}"
