# SPDX-License-Identifier: Apache-2.0
"""Skeletons by verdict: op x op where there are pairs, else a list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.report.html import text
from harness.report.html.digest import BAD, RunDigest

_MOST_OPS = 40
_SHADES = 4


@dataclass(frozen=True, slots=True)
class Cell:
    """Cases of one row and column."""

    total: int
    bad: int
    worst: str
    link: str
    title: str

    @property
    def shade(self) -> int:
        """0 (none is bad) to 4 (all are)."""
        if not self.bad:
            return 0
        return min(_SHADES, 1 + (_SHADES - 1) * self.bad // self.total)


@dataclass(frozen=True, slots=True)
class Matrix:
    """First op down, second op across."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]
    longer: bool
    """Whether workloads go on after the second op; those are counted by their first two."""


@dataclass(frozen=True, slots=True)
class SkeletonRow:
    """One skeleton in a list."""

    name: str
    total: int
    counts: Mapping[str, int]
    bad: int
    link: str


def link_to(digest: RunDigest, skeleton: str, outcome: str) -> str:
    """Where the cases of ``skeleton`` with ``outcome`` are listed, relative to the run."""
    page = digest.places.get(outcome, {}).get(skeleton)
    return "" if page is None else f"{list_name(outcome, page)}#s-{text.slug(skeleton)}"


def list_name(outcome: str, page: int) -> str:
    """File name of a page of the list of cases with one outcome."""
    return f"cases-{outcome}-{page:03}.html"


def matrix(digest: RunDigest) -> Matrix | None:
    """The matrix of a run; None where its workloads have one op, or ops of too many kinds."""
    found: dict[tuple[str, str], list[str]] = {}
    for name in digest.skeletons:
        ops = name.split("-")
        if len(ops) < 2:
            return None
        found.setdefault((ops[0], ops[1]), []).append(name)
    rows = tuple(sorted({first for first, _ in found}))
    columns = tuple(sorted({second for _, second in found}))
    if not found or max(len(rows), len(columns)) > _MOST_OPS:
        return None
    cells = {key: _cell(digest, names) for key, names in found.items()}
    longer = any(name.count("-") > 1 for name in digest.skeletons)
    return Matrix(rows, columns, cells, longer)


def _cell(digest: RunDigest, names: list[str]) -> Cell:
    counts: dict[str, int] = {}
    for name in names:
        for outcome, number in digest.skeletons[name].items():
            counts[outcome] = counts.get(outcome, 0) + number
    worst = next((o for o in (*BAD, "skipped", "pass") if counts.get(o)), "pass")
    bad = sum(counts.get(outcome, 0) for outcome in BAD)
    link = next((link for n in names if (link := link_to(digest, n, worst))), "")
    said = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items()))
    return Cell(sum(counts.values()), bad, worst, link, said)


def skeleton_rows(digest: RunDigest, most: int) -> tuple[list[SkeletonRow], int]:
    """Skeletons, those with most bad cases first, and how many more there are."""
    rows = [
        SkeletonRow(name, sum(counts.values()), counts, bad, _first_link(digest, name, counts))
        for name, counts in digest.skeletons.items()
        for bad in (sum(counts.get(outcome, 0) for outcome in BAD),)
    ]
    rows.sort(key=lambda row: (-row.bad, row.name))
    return rows[:most], max(0, len(rows) - most)


def _first_link(digest: RunDigest, name: str, counts: Mapping[str, int]) -> str:
    outcomes = [*BAD, *(o for o in counts if o not in BAD)]
    return next((link for o in outcomes if (link := link_to(digest, name, o))), "")
