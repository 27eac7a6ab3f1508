# SPDX-License-Identifier: Apache-2.0
"""``harness diff``: what changed between two runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from harness.errors import EXIT_FINDINGS, EXIT_PASS, EXIT_UNKNOWN
from harness.findings.compare import Change, Changed, Comparison, RunCases, compare
from harness.model.case import RunInfo
from harness.report.console import new_console
from harness.report.finding_json import SCHEMA, comparison_json
from harness.report.finding_tables import changes_table
from harness.report.load import Run, load_run
from harness.report.xmltext import one_line
from harness.run.resume import FREE, differences

_LINE_CHARS = 300
_MOST_CASES = 5
_INCIDENTAL = (FREE | {"out"}) - {"accel", "timeout_s", "confirm"}
"""Options that do not change what a run finds."""


@click.command()
@click.argument("run_a", type=click.Path(path_type=Path), metavar="RUN_A")
@click.argument("run_b", type=click.Path(path_type=Path), metavar="RUN_B")
@click.option("--json", "as_json", is_flag=True, help="for scripts: one JSON object")
@click.pass_context
def diff(context: click.Context, run_a: Path, run_b: Path, as_json: bool) -> None:
    """Show which findings of RUN_B are new, which of RUN_A are fixed, and which are in both.

    A finding is fixed only if a case that showed it was run again and passed.

    Exit status: 0 nothing new in RUN_B, 1 new findings, 2 nothing new, but no case came to a
    verdict in both runs.
    """
    a, b = load_run(run_a), load_run(run_b)
    comparison = compare(RunCases.of(a.results()), RunCases.of(b.results()))
    if as_json:
        head = {"schema": SCHEMA, "a": _named(a), "b": _named(b)}
        other = {"circumstances": list(_circumstances(a.info, b.info))}
        click.echo(json.dumps(head | other | comparison_json(comparison), indent=2))
    else:
        _show(a, b, comparison)
    context.exit(exit_code(comparison))


def exit_code(comparison: Comparison) -> int:
    """New findings before "nothing could be compared"."""
    if comparison.has_new:
        return EXIT_FINDINGS
    return EXIT_PASS if comparison.compared else EXIT_UNKNOWN


def _named(run: Run) -> dict[str, str]:
    return {"path": str(run.path), "run": run.info.run_id, "suite": run.info.suite}


def _show(a: Run, b: Run, comparison: Comparison) -> None:
    if comparison.findings:
        new_console().print(changes_table(comparison.findings))
        click.echo()
    for line in _lines(a, b, comparison):
        click.echo(one_line(line, _LINE_CHARS))


def _lines(a: Run, b: Run, comparison: Comparison) -> Iterator[str]:
    for name, run in (("A", a), ("B", b)):
        yield f"{name}: {run.path}"
        if run.torn_bytes:
            yield f"{name}: the last result was cut off after {run.torn_bytes} bytes and is missing"
    for line in _circumstances(a.info, b.info):
        yield f"not the same in both: {line}"
    for (before, after), cases in comparison.turned.items():
        listed = ", ".join(map(str, cases[:_MOST_CASES]))
        more = ", ..." if len(cases) > _MOST_CASES else ""
        yield f"{before} -> {after}: {len(cases)} cases: {listed}{more}"
    if comparison.other_workload:
        yield f"{len(comparison.other_workload)} cases have another workload in B: not compared"
    yield (
        f"{comparison.compared} cases compared, {len(comparison.only_a)} only in A,"
        f" {len(comparison.only_b)} only in B"
    )
    yield _total(comparison.findings)
    code = exit_code(comparison)
    if code == EXIT_UNKNOWN:
        yield f"exit code {code}: no case came to a verdict in both runs"
    else:
        yield f"exit code {code}: {'new findings' if code else 'no new finding'}"


def _total(found: tuple[Changed, ...]) -> str:
    total = Counter(each.change for each in found)
    always = (Change.NEW, Change.FIXED, Change.STILL)
    shown = [change for change in Change if change in always or total[change]]
    return ", ".join(f"{total[change]} {change}" for change in shown)


def _circumstances(a: RunInfo, b: RunInfo) -> Iterator[str]:
    yield from differences({"suite": a.suite}, {"suite": b.suite})
    yield from differences(_options(a), _options(b))
    yield from differences(a.versions, b.versions)
    yield from differences(a.kernels, b.kernels)


def _options(info: RunInfo) -> Mapping[str, str]:
    return {
        f"--{name.replace('_', '-')}": str(value)
        for name, value in info.options.items()
        if name not in _INCIDENTAL
    }
