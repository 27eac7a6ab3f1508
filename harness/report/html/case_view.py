# SPDX-License-Identifier: Apache-2.0
"""The page of a case that did not pass: everything recorded that helps to understand it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.findings import Finding, signature
from harness.model.case import CaseResult, Outcome, RunInfo
from harness.model.comparison import CrashComparison, FileRange, Mark, NameRow
from harness.model.evidence import CaseEvidence, CrashEvidence, ToolResult
from harness.model.verdict import Check
from harness.report.evidence_text import replay_command, rerun_lines
from harness.report.html import filemap, round_view, text, timeline
from harness.report.html.engine import Output, Values
from harness.report.html.scan import page_name
from harness.report.html.steps import before_checkpoint, parsed, step_views
from harness.report.summary import deciding_checks, headline

Compare = Callable[[CaseResult], tuple[CrashComparison, ...]]
"""What the oracle makes of the trees of a case; ValueError where it cannot tell."""

_MOST_CHECKS = 100
_MOST_ROWS = 300
_MOST_RANGES = 100
_MOST_MAPS = 12
_MOST_CRASHES = 50
_MOST_STEPS = 1000
_MOST_LINES = 400
_MOST_TEXT_BYTES = 400_000


@dataclass(frozen=True, slots=True)
class RangeView:
    """Bytes of a file, in words."""

    bytes: str
    blocks: str
    expected: str
    found: str
    mark: Mark
    promised: bool


@dataclass(frozen=True, slots=True)
class RowView:
    """A name in both trees."""

    row: NameRow
    path: str
    ranges: list[RangeView]
    more_ranges: int
    picture: str
    """Of the file's bytes, relative to the page; empty for none."""
    alt: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class CrashView:
    """A crash point."""

    place: int
    """Among those of the case, from 1; the same as ``number`` in any sound record."""
    number: int
    after: str
    crash: CrashEvidence
    rows: list[RowView]
    more_rows: int
    elsewhere: tuple[Check, ...]
    recovered: bool
    compared: bool
    tools: list[tuple[str, str, text.Excerpt]]
    """(which, what it came to, what it said)"""
    broken: int
    """Names, and the file system as a whole."""
    same: bool
    """Whether every name is as on the primary."""


def write_case(
    out: Output,
    result: CaseResult,
    info: RunInfo,
    compare: Compare,
    finding: Finding | None,
) -> None:
    """Write the page of ``result`` and its pictures."""
    name = page_name(str(result.case_id))
    base = name.removesuffix(".html")
    comparisons, trouble = _compared(result, compare)
    pictures = _draw_files(out, base, comparisons)
    line = timeline.timeline(result)
    if line is not None:
        out.picture(f"{base}-time", line.draw)
    round_ = None if result.evidence is None else result.evidence.round
    seen = None if round_ is None else round_view.RoundView.of(round_)
    if seen is not None:
        out.picture(f"{base}-time", seen.draw)

    def values(detail: int) -> Values:
        return {
            "result": result,
            "info": info,
            "finding": finding,
            "signature": str(signature(result) or ""),
            "headline": text.clip(headline(result), 600),
            "replay": replay_command(result, info),
            "checks": deciding_checks(result)[: _MOST_CHECKS // detail],
            "all_checks": len(deciding_checks(result)),
            "steps": step_views(result)[: _MOST_STEPS // detail],
            "crashes": _crash_views(result, comparisons, pictures, detail),
            "trouble": trouble,
            "timeline": line,
            "round": seen and seen.limited(detail),
            "picture": f"{base.rsplit('/', 1)[-1]}-time",
            "phases": sorted(result.phases_s.items(), key=lambda item: -item[1])[:40],
            "devices": _devices(result.evidence),
            "consoles": _consoles(result, detail),
            "attempts": [text.head(each, 60 // detail + 1) for each in result.attempts[:10]],
            "reruns": [
                text.head("\n".join(rerun_lines(each)), 60 // detail + 1)
                for each in result.reruns[:10]
            ],
            "control": result.outcome is Outcome.CONTROL_FAIL,
            "run_page": "../" * name.count("/") + "index.html",
        }

    out.page(name, "case.html", values)


def _compared(result: CaseResult, compare: Compare) -> tuple[dict[int, CrashComparison], str]:
    if result.evidence is None or not result.evidence.crashes:
        return {}, ""
    try:
        return {seen.checkpoint: seen for seen in compare(result)}, ""
    except ValueError as error:
        return {}, text.clip(str(error))


def _draw_files(
    out: Output, base: str, comparisons: dict[int, CrashComparison]
) -> dict[tuple[int, str], filemap.FileMap]:
    """A picture of every file that is not as it was on the primary."""
    drawn: dict[tuple[int, str], filemap.FileMap] = {}
    for number, seen in comparisons.items():
        for row in seen.rows:
            if row.ranges and row.mark is not Mark.SAME and len(drawn) < _MOST_MAPS:
                made = filemap.FileMap.of(row, f"{base}-file{len(drawn) + 1}")
                out.picture(made.name, made.draw)
                drawn[number, row.path] = made
    return drawn


def _crash_views(
    result: CaseResult,
    comparisons: dict[int, CrashComparison],
    pictures: dict[tuple[int, str], filemap.FileMap],
    detail: int,
) -> list[CrashView]:
    evidence = result.evidence
    if evidence is None:
        return []
    steps, lines = parsed(result), result.jlang.splitlines()
    views = []
    for place, crash in enumerate(evidence.crashes[:_MOST_CRASHES], 1):
        seen = comparisons.get(crash.checkpoint)
        line = before_checkpoint(steps, crash.line)
        code = text.clip(lines[line - 1]) if 0 < line <= len(lines) else ""
        rows = [] if seen is None else sorted(seen.rows, key=lambda row: row.path)
        shown = rows[: _MOST_ROWS // detail]
        views.append(
            CrashView(
                place,
                crash.checkpoint,
                f"line {line}" + (f", {code}" if code else ""),
                crash,
                [_row(row, pictures.get((crash.checkpoint, row.path)), detail) for row in shown],
                len(rows) - len(shown),
                () if seen is None else seen.elsewhere,
                crash.recovered is not None,
                seen is not None,
                list(_tools(crash, detail)),
                sum(row.mark is Mark.BROKEN for row in rows)
                + (0 if seen is None else bool(seen.elsewhere)),
                all(row.mark is Mark.SAME for row in rows),
            )
        )
    return views


def _row(row: NameRow, picture: filemap.FileMap | None, detail: int) -> RowView:
    most = _MOST_RANGES // detail
    shown = row.ranges if row.mark is not Mark.SAME else ()
    return RowView(
        row,
        text.clip(row.path, 200) or "/",
        [_range(each) for each in shown[:most]],
        max(0, len(shown) - most),
        "" if picture is None else picture.name.rsplit("/", 1)[-1],
        "" if picture is None else picture.alt,
        0 if picture is None else picture.width,
        0 if picture is None else picture.height,
    )


def _range(item: FileRange) -> RangeView:
    expected = " or ".join(filemap.held(value) for value in item.expected)
    return RangeView(
        f"{text.count(item.start)} to {text.count(item.end - 1)}",
        text.blocks_of(item.start, item.end),
        text.clip(expected) or "the end of the file",
        "the end of the file" if item.found is None else filemap.held(item.found),
        item.mark,
        item.promised,
    )


def _tools(crash: CrashEvidence, detail: int) -> Iterable[tuple[str, str, text.Excerpt]]:
    most = max(2, 80 // detail)
    drain = crash.drain
    if drain is not None:
        state = "quiesced" if drain.quiesced else "not quiesced"
        said = f"{state}; promised {_index(drain.promised)}, applied {_index(drain.applied)}"
        yield "drain", said, text.head(drain.status, most)
    for name, tool in (("mount", crash.mount), ("fsck", crash.fsck), ("use", crash.probe)):
        yield name, _came_to(tool), text.head("" if tool is None else tool.output, most)


def _index(value: int | None) -> str:
    return "not known" if value is None else str(value)


def _came_to(tool: ToolResult | None) -> str:
    if tool is None:
        return "not run"
    return "ok" if tool.ok else f"failed, status {tool.status}"


def _devices(evidence: CaseEvidence | None) -> dict[str, Any] | None:
    if evidence is None or evidence.round is not None:
        return None
    primary, backup = evidence.primary_device, evidence.backup_device
    if primary is None and backup is None:
        return None
    return {
        "primary": primary,
        "backup": backup,
        "equal": primary == backup,
        "ranges": text.ranges_of((evidence.differing_blocks or ())[:64]),
        "looked": evidence.differing_blocks is not None,
        "notes": evidence.block_notes,
    }


def _consoles(result: CaseResult, detail: int) -> list[tuple[str, str, text.Excerpt, bool]]:
    """(guest, what it is, text, whether it is a kernel report), reports first."""
    found = []
    each = _MOST_TEXT_BYTES // detail // max(1, 2 * len(result.console))
    if result.evidence is not None:
        for guest, reports in result.evidence.console.items():
            said = [line for report in reports for line in report[:200_000].splitlines()]
            if said:
                shown = text.head("\n".join(said[:2000]), 120 // detail + 1)
                found.append((text.clip(guest, 60), "kernel reports", shown, True))
    for guest, lines in result.console.items():
        if lines:
            shown = text.excerpt(_split(lines), max(1, _MOST_LINES // detail), each)
            found.append((text.clip(guest, 60), "last lines", shown, False))
    return found


def _split(lines: Sequence[str]) -> list[str]:
    # A recorded line may hold line ends of its own, such as a lone CR.
    return [part for line in lines for part in (line.splitlines() or [""])]
