# SPDX-License-Identifier: Apache-2.0
"""Findings and comparisons of runs as tables for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from harness.findings import Finding
from harness.findings.compare import Change, Changed
from harness.model.case import Outcome
from harness.report.xmltext import one_line

STYLE: Mapping[Outcome, str] = {
    Outcome.PASS: "green",
    Outcome.FAIL: "bold red",
    Outcome.CONTROL_FAIL: "magenta",
    Outcome.FLAKY: "bold magenta",
    Outcome.UNKNOWN: "yellow",
    Outcome.SKIPPED: "dim",
    Outcome.INFRA: "bold yellow",
}
_CHANGE_STYLE: Mapping[Change, str] = {
    Change.NEW: "bold red",
    Change.STILL: "red",
    Change.CHANGED: "magenta",
    Change.FIXED: "green",
    Change.NOT_RUN: "dim",
}
_CELL_CHARS = 80


def plain_table(title: str, *columns: str) -> Table:
    """A table without lines; ``>`` before a column's name aligns it right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in columns:
        table.add_column(
            name.lstrip(">"), justify="right" if name.startswith(">") else "left", overflow="fold"
        )
    return table


def cell(text: str) -> Text:
    """``text``, which may come from a guest, as one line without markup."""
    return Text(one_line(text, _CELL_CHARS))


def findings_table(
    title: str,
    found: Sequence[Finding],
    known: Callable[[Finding], str] = lambda _: "",
    most: int | None = None,
) -> Table:
    """One row a finding; ``known`` says how many of its cases are known, if any are."""
    with_known = any(known(one) for one in found)
    head = (">cases", "known") if with_known else (">cases",)
    table = plain_table(title, *head, "outcome", "finding", "what", "seen as", "smallest case")
    for one in found[:most]:
        row = [Text(str(one.cases)), cell(known(one))] if with_known else [Text(str(one.cases))]
        table.add_row(
            *row,
            Text(one.outcome.value, STYLE[one.outcome]),
            Text(one.id),
            cell(one.title),
            _seen_as(one),
            Text(str(one.smallest.case_id)),
        )
    left = len(found) - len(found[:most])
    if left:
        table.add_row(*[""] * len(head), "", "", f"and {left} more findings", "", "")
    return table


def _seen_as(one: Finding) -> Text:
    first = next(iter(one.signatures))
    others = len(one.signatures) - 1
    return cell(str(first) + (f" and {others} more" if others else ""))


def changes_table(changes: Sequence[Changed]) -> Table:
    """What became of each finding from run A to run B, one row each."""
    columns = (">in A", ">in B", "outcome", "finding", "what", "smallest case")
    table = plain_table("findings of A and B", "change", *columns)
    for each in changes:
        one = each.finding
        table.add_row(
            Text(each.change.value, _CHANGE_STYLE[each.change]),
            Text(str(each.cases_a)),
            Text(str(each.cases_b)),
            Text(one.outcome.value, STYLE[one.outcome]),
            Text(one.id),
            cell(one.title),
            Text(str(one.smallest.case_id)),
        )
    return table
