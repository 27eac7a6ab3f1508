# SPDX-License-Identifier: Apache-2.0
"""Pages over several runs: the index, a page per lane, the findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from harness.model.case import Outcome
from harness.report.html import text
from harness.report.html.charts import trend_of
from harness.report.html.digest import Change, FindingDigest, Lane, RunDigest, change_of
from harness.report.html.engine import Output, Values
from harness.report.html.run_pages import bars, lane_page

_STRIP = 24
_MOST_RUNS = 100
_MOST_FINDINGS = 500
_MOST_SEEN = 200


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run in a table."""

    run: RunDigest
    page: str
    """Its front page below the top of all pages."""
    change: Change
    share: list[tuple[str, int, int]]


@dataclass(frozen=True, slots=True)
class LaneRow:
    """A lane in a table: its newest run, and the ones before as a strip."""

    lane: Lane
    page: str
    newest: RunRow
    strip: list[RunRow]


@dataclass(slots=True)
class Seen:
    """A finding in all runs that saw it, oldest first."""

    id: str
    sightings: list[tuple[Lane, RunDigest, FindingDigest]] = field(default_factory=list)

    @property
    def last(self) -> tuple[Lane, RunDigest, FindingDigest]:
        """Where it was seen last."""
        return self.sightings[-1]

    @property
    def cases(self) -> int:
        """In all runs together."""
        return sum(finding.cases for _, _, finding in self.sightings)

    @property
    def open_in(self) -> list[Lane]:
        """Lanes whose newest run shows it."""
        lanes = {id(lane): lane for lane, _, _ in self.sightings}
        return [lane for lane in lanes.values() if any(f.id == self.id for f in lane.last.findings)]

    @property
    def smallest(self) -> tuple[RunDigest, FindingDigest]:
        """The run with the smallest case of all, the newest of equals; one with a page if any."""

        def rank(seen: tuple[Lane, RunDigest, FindingDigest]) -> tuple[object, ...]:
            case = seen[2].smallest
            return (not case.page, case.skeleton.count("-"), -seen[1].info.started_unix_s)

        _, run, finding = min(self.sightings, key=rank)
        return run, finding


def finding_page(finding: str) -> str:
    """The page of a finding below the top of all pages."""
    return f"findings/{text.slug(finding)}.html"


def rows_of(lane: Lane) -> list[RunRow]:
    """All runs of ``lane``, oldest first."""
    rows = []
    before: RunDigest | None = None
    for run in lane.runs:
        page = f"{run.page_folder}index.html"
        rows.append(RunRow(run, page, change_of(run, before), bars(run)))
        before = run
    return rows


def write_lanes(top: Output, lanes: Sequence[Lane]) -> None:
    """A page per lane, with the pictures of its trend."""
    for lane in lanes:
        name = lane_page(lane)
        trend = trend_of(lane.runs)
        top.picture(name.removesuffix(".html"), trend.draw)
        rows = rows_of(lane)[::-1]

        def values(
            detail: int, lane: Lane = lane, rows: list[RunRow] = rows, name: str = name
        ) -> Values:
            return {
                "lane": lane,
                "rows": rows[: 500 // detail],
                "more": max(0, len(rows) - 500 // detail),
                "trend": trend_of(lane.runs),
                "picture": name.removesuffix(".html").rsplit("/", 1)[-1],
            }

        top.page(name, "lane.html", values)


def all_findings(lanes: Sequence[Lane]) -> list[Seen]:
    """Every finding of every run; those that are open first, then the newest."""
    found: dict[str, Seen] = {}
    runs = [(lane, run) for lane in lanes for run in lane.runs]
    runs.sort(key=lambda item: (item[1].info.started_unix_s, item[1].info.run_id))
    for lane, run in runs:
        for finding in run.findings:
            seen = found.setdefault(finding.id, Seen(finding.id))
            seen.sightings.append((lane, run, finding))
    return sorted(
        found.values(),
        key=lambda seen: (
            not seen.open_in,
            not Outcome(seen.last[2].outcome).is_finding,
            -seen.last[1].info.started_unix_s,
            -seen.last[2].cases,
        ),
    )


def write_findings(top: Output, lanes: Sequence[Lane]) -> None:
    """The list of findings, and a page for each."""
    found = all_findings(lanes)

    def values(detail: int) -> Values:
        most = _MOST_FINDINGS // detail
        return {"findings": found[:most], "more": max(0, len(found) - most)}

    top.page("findings/index.html", "findings.html", values)
    for seen in found:
        top.page(finding_page(seen.id), "finding.html", partial(_finding, seen))


def _finding(seen: Seen, detail: int) -> Values:
    lane, run, finding = seen.last
    first = seen.sightings[0]
    small_run, small = seen.smallest
    return {
        "seen": seen,
        "finding": finding,
        "lane": lane,
        "run": run,
        "run_folder": run.page_folder,
        "first": first,
        "first_folder": first[1].page_folder,
        "small": small.smallest,
        "small_folder": small_run.page_folder,
        "small_run": small_run,
        "others": (finding.smallest, *finding.others)[: 101 // detail],
        "sightings": [(a, b, c, b.page_folder) for a, b, c in seen.sightings[::-1]][
            : _MOST_SEEN // detail
        ],
        "open_in": seen.open_in,
    }


def write_index(top: Output, lanes: Sequence[Lane], unreadable: list[tuple[str, str]]) -> None:
    """The first page."""
    table = []
    recent: list[tuple[Lane, RunRow]] = []
    for lane in lanes:
        rows = rows_of(lane)
        table.append(LaneRow(lane, lane_page(lane), rows[-1], rows[-_STRIP:]))
        recent += [(lane, row) for row in rows]
    recent.sort(key=lambda item: (-item[1].run.info.started_unix_s, item[1].run.info.run_id))
    opened = [seen for seen in all_findings(lanes) if seen.open_in]

    def values(detail: int) -> Values:
        return {
            "lanes": table[: 300 // detail],
            "more_lanes": max(0, len(table) - 300 // detail),
            "recent": recent[: _MOST_RUNS // detail],
            "runs": len(recent),
            "findings": opened[: 50 // detail],
            "more_findings": max(0, len(opened) - 50 // detail),
            "unreadable": [(text.clip(a), text.clip(b)) for a, b in unreadable[:50]],
        }

    top.page("index.html", "index.html", values)
