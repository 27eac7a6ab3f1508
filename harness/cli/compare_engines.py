# SPDX-License-Identifier: Apache-2.0
"""``harness compare-engines``: the same cases run by the agent and by xfstests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from harness.cli.options import machine_options, selection_options
from harness.cli.run import execute, make_plan, run_options
from harness.config import state_dir
from harness.errors import EXIT_FINDINGS, EXIT_PASS, EXIT_UNKNOWN, InfraError, UsageError
from harness.findings.agreement import Agreement, accounts, agreement
from harness.report.load import load_run
from harness.report.xmltext import one_line
from harness.run.options import Engine, RunOptions
from harness.vm.live import LiveDir, live_dir

_LINE_CHARS = 300
_MOST_SHOWN = 20


@click.command("compare-engines")
@selection_options
@machine_options
@click.pass_context
def compare_engines(context: click.Context, /, **values: Any) -> None:
    """Run the same cases natively and by xfstests; they must not disagree on any.

    Compared are the verdict, the finding of what fails, and the tree on the primary at each crash
    point. Takes the options of `harness run`; both runs are recorded as usual.

    Exit status: 0 the engines agree, 1 they do not, 2 some cases could not be compared.
    """
    if values.pop("resume") is not None:
        raise UsageError("a comparison cannot be resumed", hint="leave --resume out")
    if values["group"] is not None:
        raise UsageError("only xfstests can run its own tests", hint="--suite instead of --group")
    if values["suite"] is None:
        raise UsageError("which suite?", hint="--suite NAME (`harness suites` lists them)")
    options = run_options(**{**values, "engine": Engine.XFSTESTS.value})
    # Whatever is wrong with either is to be said before hours are spent.
    make_plan(options)
    native = replace(options, engine=Engine.NATIVE, xfstests=None)
    with live_dir(state_dir(options.state_dir)) as live:
        # libvirt's embedded driver has one root in the life of a process.
        runs = [_run(each, live) for each in (native, options)]
    seen = [accounts(load_run(folder).results()) for folder in runs]
    names = str(Engine.NATIVE), str(Engine.XFSTESTS)
    found = agreement(seen[0], seen[1], names)
    for name, folder in zip(names, runs, strict=True):
        click.echo(f"{name}: {folder}")
    for line in _lines(found):
        click.echo(one_line(line, _LINE_CHARS))
    context.exit(exit_code(found))


def exit_code(found: Agreement) -> int:
    """A disagreement before what could not be compared; nothing compared is no agreement."""
    if found.disagreements:
        return EXIT_FINDINGS
    return EXIT_UNKNOWN if found.open or not found.agreed else EXIT_PASS


def _run(options: RunOptions, live: LiveDir) -> Path:
    folders: list[Path] = []
    click.echo(f"engine {options.engine}")
    execute(make_plan(options), options, ended=folders.append, live=live)
    if not folders:
        raise InfraError(f"the run of engine {options.engine} left no record")
    return folders[0]


def _lines(found: Agreement) -> Iterator[str]:
    for each in found.disagreements[:_MOST_SHOWN]:
        yield f"disagreement: {each.case_id}: {each.about}"
    if len(found.disagreements) > _MOST_SHOWN:
        yield f"and {len(found.disagreements) - _MOST_SHOWN} more disagreements"
    for case_id in found.open[:_MOST_SHOWN]:
        yield f"not compared: {case_id}"
    if len(found.open) > _MOST_SHOWN:
        yield f"and {len(found.open) - _MOST_SHOWN} more not compared"
    yield (
        f"{found.agreed} cases agree, {len(found.disagreements)} disagreements,"
        f" {len(found.open)} not compared"
    )
    yield f"exit code {exit_code(found)}"
