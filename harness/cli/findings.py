# SPDX-License-Identifier: Apache-2.0
"""``harness findings``: what runs found, one row a bug."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from harness.cli.known import read_known
from harness.cli.options import known_option
from harness.findings import Finding, KnownIssue, KnownIssues
from harness.model.case import CaseResult, RunInfo
from harness.report.console import known_text, new_console
from harness.report.evidence_text import replay_command
from harness.report.finding_json import SCHEMA, Json, finding_json, known_json, rate_json
from harness.report.finding_tables import findings_table
from harness.report.load import Run, load_run
from harness.report.summary import Summary
from harness.report.xmltext import one_line

_LINE_CHARS = 300


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@known_option
@click.option("--json", "as_json", is_flag=True, help="for scripts: one JSON object")
@click.pass_context
def findings(
    context: click.Context, runs: tuple[Path, ...], known: Path | None, as_json: bool
) -> None:
    """Show what was found in the folders RUN..., together: one row a bug, most frequent first.

    Exit status, as of the runs taken together: 0 no finding that is not known, 1 findings, 2 some
    unknown, 3 infrastructure errors.
    """
    seen = _Seen([load_run(path) for path in runs], read_known(known))
    seen.read()
    if as_json:
        click.echo(json.dumps(seen.as_json(), indent=2))
    else:
        seen.show()
    context.exit(seen.summary.exit_code())


class _Seen:
    """All runs, added up."""

    def __init__(self, runs: Sequence[Run], known: KnownIssues) -> None:
        self.runs = runs
        self.known = known
        self.summary = Summary(
            planned=sum(run.info.planned for run in runs),
            left=sum(run.info.left for run in runs),
            known=known,
        )
        self._info: dict[str, RunInfo] = {}
        """Finding -> the run its smallest case is of, which decides how that is replayed."""

    def read(self) -> None:
        """Add up every result of every run, one at a time."""
        for run in self.runs:
            before = self._smallest()
            for result in run.results():
                self.summary.add(result)
            for finding, result in self._smallest().items():
                if result is not before.get(finding):
                    self._info[finding] = run.info

    def _smallest(self) -> dict[str, CaseResult]:
        return {one.id: one.smallest for one in self.summary.collector.ranked()}

    def replay(self, one: Finding) -> str:
        """The command that runs the smallest case of ``one`` again."""
        return replay_command(one.smallest, self._info[one.id])

    def known_entries(self) -> list[tuple[KnownIssue, int]]:
        """Every entry of the list and how many cases it was about."""
        return [(issue, self.summary.known_cases[issue]) for issue in self.known.issues]

    def show(self) -> None:
        """Print the table and what goes with it."""
        found = self.summary.collector.ranked()
        if found:
            new_console().print(
                findings_table("findings", found, lambda one: known_text(self.summary, one))
            )
            click.echo()
            click.echo("replay the smallest case of each")
            for one in found:
                click.echo(f"  {one.id}  {self.replay(one)}")
            click.echo()
        for line in self._lines():
            click.echo(one_line(line, _LINE_CHARS))

    def _lines(self) -> list[str]:
        summary = self.summary
        lines = []
        for run in self.runs:
            if run.torn_bytes:
                lines.append(
                    f"{run.path}: the last result was cut off after {run.torn_bytes} bytes"
                    " and is missing"
                )
        for issue, cases in self.known_entries():
            seen = f"{cases} cases" if cases else "not seen"
            lines.append(f"known: {issue.what}: {seen}; {issue.reason} ({issue.link},"
                         f" until {issue.expires})")  # fmt: skip
        lines.append(
            f"{len(self.runs)} runs, {summary.done} of {summary.planned} cases"
            if len(self.runs) > 1
            else f"{summary.done} of {summary.planned} cases"
        )
        if summary.missing:
            lines.append(f"{summary.missing} planned cases left no result")
        lines += [summary.counts_text(), summary.rate.text()]
        code = summary.exit_code()
        return [*lines, f"exit code {code}: {summary.meaning(code)}"]

    def as_json(self) -> Json:
        """The same for scripts."""
        summary = self.summary
        return {
            "schema": SCHEMA,
            "runs": [
                {"path": str(run.path), "run": run.info.run_id, "suite": run.info.suite,
                 "torn_bytes": run.torn_bytes}
                for run in self.runs
            ],
            "planned": summary.planned,
            "missing": summary.missing,
            "counts": {outcome.value: count for outcome, count in summary.counts.items()},
            "rate": rate_json(summary.rate),
            "findings": [
                finding_json(one, self.replay(one))
                | {"known_cases": summary.known_by_finding[one.id]}
                for one in summary.collector.ranked()
            ],
            "known": known_json(self.known_entries()),
            "exit_code": summary.exit_code(),
        }  # fmt: skip
