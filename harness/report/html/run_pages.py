# SPDX-License-Identifier: Apache-2.0
"""What a run has of its own: case pages, lists of all cases, pictures. And its front page."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from harness.findings import failure_rate
from harness.model.case import Outcome, RunInfo
from harness.report.html import text
from harness.report.html.case_view import Compare, write_case
from harness.report.html.charts import Phases
from harness.report.html.digest import BAD, Change, Lane, RunDigest
from harness.report.html.engine import Output, Values
from harness.report.html.matrix import list_name, matrix, skeleton_rows
from harness.report.html.scan import Row, Scan, choose, finding_digest, reference, scan
from harness.report.load import Run
from harness.report.summary import EXIT_MEANING

ROWS_PER_PAGE = 1000
_MOST_FINDINGS = 200
_MOST_SKELETONS = 60
_NOT_ON_A_COMMAND_LINE = ("suite", "out", "state_dir", "resume", "connect")
_WITH_A_UNIT = {"time_budget_s": "time-budget", "duration_s": "duration"}
"""Options that are recorded in seconds and given with a unit."""


def write_run(
    out: Output, run: Run, folder: str, key: str, compare: Compare, most: int, *, passes: bool
) -> RunDigest:
    """Read the record of ``run`` and write all that depends on nothing else; returns its digest.

    ``most`` limits the case pages; of cases that passed there are pages only with ``passes``.
    """
    seen = scan(run)
    chosen = choose(seen, most, passes=passes)
    named = {row.id for row in chosen}
    findings = {finding.id: finding for finding in seen.findings}
    for row in chosen:
        write_case(out, run.at(row.place), run.info, compare, findings.get(row.finding))
    places, pages = _write_lists(out, run, seen, named)
    phases = sorted(seen.phases_s.items(), key=lambda item: -item[1])[:14]
    if phases:
        out.picture("phases", Phases([(text.clip(n, 40), s) for n, s in phases]).draw)
    return RunDigest(
        key=key,
        info=run.info,
        folder=folder,
        torn_bytes=run.torn_bytes,
        counts=seen.counts,
        flaky=seen.flaky,
        case_time_s=seen.case_time_s,
        wall_s=max(0.0, seen.ended_unix_s - seen.begun_unix_s),
        phases_s=dict(phases),
        skeletons=seen.skeletons(),
        places=places,
        list_pages=pages,
        findings=tuple(finding_digest(seen, f, named.__contains__) for f in seen.findings),
        slowest=tuple(reference(row, named.__contains__) for row in seen.slowest()),
        case_pages=len(chosen),
        without_page=sum(row.id not in named for row in seen.bad()),
    )


def _write_lists(
    out: Output, run: Run, seen: Scan, named: set[str]
) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """Lists of all cases by outcome; returns where skeletons begin, and how many pages."""
    places: dict[str, dict[str, int]] = {}
    pages: dict[str, int] = {}
    by_outcome: dict[str, list[Row]] = {}
    for row in seen.rows.values():
        by_outcome.setdefault(row.outcome, []).append(row)
    for outcome, rows in by_outcome.items():
        rows.sort(key=lambda row: (row.skeleton, row.id))
        of = pages[outcome] = -(-len(rows) // ROWS_PER_PAGE)
        places[outcome] = {}
        for page in range(1, of + 1):
            part = rows[(page - 1) * ROWS_PER_PAGE : page * ROWS_PER_PAGE]
            for row in part:
                places[outcome].setdefault(row.skeleton, page)
            _write_list(out, run, outcome, part, (page, of, len(rows)), named)
    return places, pages


def _write_list(
    out: Output, run: Run, outcome: str, rows: list[Row], place: tuple[int, int, int],
    named: set[str],
) -> None:  # fmt: skip
    page, of, total = place
    groups = [
        (skeleton, [reference(row, named.__contains__) for row in group])
        for skeleton, group in groupby(rows, key=lambda row: row.skeleton)
    ]

    def values(_detail: int) -> Values:
        return {
            "info": run.info,
            "outcome": outcome,
            "groups": groups,
            "page": page,
            "pages": [(number, list_name(outcome, number)) for number in range(1, of + 1)],
            "total": total,
            "first": (page - 1) * ROWS_PER_PAGE + 1,
            "last": (page - 1) * ROWS_PER_PAGE + len(rows),
            "bad": outcome in BAD,
        }

    out.page(list_name(outcome, page), "list.html", values)


def write_front(out: Output, name: str, run: RunDigest, lane: Lane, change: Change) -> None:
    """The front page of a run, ``name`` below the top of all pages."""
    seen_new = {finding.id for finding in change.new}

    def values(detail: int) -> Values:
        rows, more = skeleton_rows(run, _MOST_SKELETONS // detail + 1)
        return {
            "run": run,
            "info": run.info,
            "lane": lane,
            "change": change,
            "new": seen_new,
            "findings": run.findings[: _MOST_FINDINGS // detail],
            "matrix": matrix(run),
            "skeletons": rows,
            "more_skeletons": more,
            "lists": [
                (o, run.counts[o], list_name(o, 1)) for o in _outcomes(run) if run.counts.get(o)
            ],
            "share": bars(run),
            "phases": Phases(list(run.phases_s.items())),
            "bound": _bound(run),
            "ended": _ended(run),
            "command": run_command(run.info),
            "environment": _environment(run.info, detail),
            "warnings": [text.clip(each, 600) for each in run.info.warnings[: 50 // detail]],
            "lane_page": lane_page(lane),
        }

    out.page(name, "run.html", values)


def lane_page(lane: Lane) -> str:
    """The page of ``lane`` below the top of all pages."""
    return f"lanes/{text.slug(lane.name)}.html"


def _outcomes(run: RunDigest) -> list[str]:
    return [*BAD, *sorted(name for name in run.counts if name not in BAD)]


def bars(run: RunDigest) -> list[tuple[str, int, int]]:
    """(outcome, cases, share in steps of 2 %, at least one), the worst first."""
    total = max(1, run.done)
    return [
        (name, run.counts[name], max(1, round(50 * run.counts[name] / total)))
        for name in _outcomes(run)
        if run.counts.get(name)
    ]


def _bound(run: RunDigest) -> str:
    judged = sum(run.counts.get(o, 0) for o in (Outcome.PASS, Outcome.FAIL, Outcome.CONTROL_FAIL))
    failed = judged - run.counts.get(Outcome.PASS, 0)
    return failure_rate(failed, judged).text() if judged else ""


def _ended(run: RunDigest) -> str:
    if run.info.exit_code is None:
        return "not ended: it goes on, or was killed"
    meaning = EXIT_MEANING.get(run.info.exit_code, "")
    return f"exit code {run.info.exit_code}" + (f": {meaning}" if meaning else "")


def run_command(info: RunInfo) -> str:
    """The command that makes such a run again."""
    words = ["harness", "run", "--suite", info.suite]
    for name, value in info.options.items():
        if name in _NOT_ON_A_COMMAND_LINE or value in (None, False, (), [], "", 0, "auto", "1/1"):
            continue
        option = "--" + _WITH_A_UNIT.get(name, name.replace("_", "-"))
        if value is True:
            words.append(option)
            continue
        unit = "s" if name in _WITH_A_UNIT else ""
        for each in value if isinstance(value, tuple | list) else (value,):
            said = f"{each:g}" if isinstance(each, float) else str(each)
            words += [option, said + unit]
    return shlex.join(text.clip(word) for word in words)


def _environment(info: RunInfo, detail: int) -> list[tuple[str, Sequence[tuple[str, str]]]]:
    most = 60 // detail
    tables: list[tuple[str, dict[str, Any]]] = [
        ("Kernels", dict(info.kernels)),
        ("Versions", dict(info.versions)),
        ("Host", dict(info.host)),
        ("Options", {k: v for k, v in info.options.items() if v not in (None, False, (), [])}),
    ]
    return [
        (title, [(text.clip(str(k), 80), text.clip(_value(v))) for k, v in rows.items()][:most])
        for title, rows in tables
        if rows
    ]


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
