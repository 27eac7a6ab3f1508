# SPDX-License-Identifier: Apache-2.0
"""``harness minimize``: the smallest workload that fails like a case, and a script for others."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from ace_workloads.errors import SuiteError
from ace_workloads.registry import load_suite, load_workload
from ace_workloads.workload import Workload
from ace_workloads.written import SUITE as WRITTEN
from harness import __version__
from harness.cli.options import machine_options, parse_duration
from harness.cli.run import run_options
from harness.errors import (
    EXIT_INTERRUPTED,
    EXIT_PASS,
    EXIT_UNKNOWN,
    HarnessError,
    InfraError,
    UsageError,
)
from harness.events import CaseRetried, Event, EventBus, PairLost, PhaseNote, RunStarted, Warned
from harness.findings import signature
from harness.findings.root import bad_crash
from harness.minimize.candidate import Candidate
from harness.minimize.reproducer import Reproducer
from harness.model.case import CaseId, CaseResult
from harness.report.evidence_text import option_words
from harness.report.summary import deciding_checks
from harness.run import exercises
from harness.run.campaign import run_campaign
from harness.run.endurance import schedule
from harness.run.filesystems import FILE_SYSTEMS
from harness.run.minimizing import SUITE, MinimizePlan, Way
from harness.run.options import Engine, RunOptions

_LINE_CHARS = 200
_MOST_CHECKS = 6


@click.command()
@click.argument("case")
@click.option(
    "--tries",
    type=click.IntRange(1, 20),
    default=3,
    show_default=True,
    help="runs of the case, and of the smallest one at the end",
)
@click.option(
    "--max-candidates",
    type=click.IntRange(1, 10_000),
    default=200,
    show_default=True,
    metavar="N",
    help="try so many smaller workloads at most",
)
@click.option(
    "--time-budget",
    "time_budget_s",
    callback=parse_duration,
    metavar="TIME",
    help="try no further one after this time: 90s, 30m, 6h",
)
@click.option(
    "--suite-file", type=click.Path(path_type=Path), help="the TOML file of a suite of your own"
)
@machine_options
@click.pass_context
def minimize(
    context: click.Context,
    /,
    case: str,
    tries: int,
    max_candidates: int,
    suite_file: Path | None,
    **values: Any,
) -> None:
    """Find the smallest workload that fails like CASE (as in ace-seq2/000000012@ext4@rollbaccine).

    Pass the --defect or --impostor of the run that failed. Every smaller workload is really run.
    The result, as a workload for `harness replay --workload` and as a shell script that needs no
    harness, is in the folder of the run. Ctrl-C ends the search with the smallest one so far.

    Exit status: 0 a failing workload was written, 2 the case did not fail, 3 infrastructure error,
    64 usage, 70 internal error, 130 interrupted.
    """
    case_id = CaseId.parse(case)
    workload, append_bytes = _load(case_id, suite_file)
    options = run_options(
        suite=SUITE,
        fs=(case_id.fs,),
        target=case_id.target,
        only=(str(case_id),),
        **values,
    )
    if options.engine is not Engine.NATIVE:
        raise UsageError(
            "what is smaller is tried by the agent, one after the other",
            hint="leave --engine out: both engines find the same",
        )
    start = Candidate.of(workload, append_bytes)
    plan = MinimizePlan(
        start, case_id.fs, case_id.target, tries=tries, most=max_candidates, told=_tell
    )
    context.exit(_run(plan, start, options))


def _load(case_id: CaseId, suite_file: Path | None) -> tuple[Workload, int]:
    """The workload of the case, and what an append is in its suite."""
    suite, _, _ = case_id.workload.rpartition("/")
    if suite in (exercises.SUITE, schedule.SUITE, WRITTEN):
        raise UsageError(
            f"case {case_id} has no core ops to leave out",
            hint="cases of the suites of `harness ace` can be minimized",
        )
    if case_id.fs not in FILE_SYSTEMS:
        known = ", ".join(FILE_SYSTEMS)
        raise UsageError(f"no file system {case_id.fs!r}", hint=f"known file systems: {known}")
    try:
        workload = load_workload(case_id.workload, suite_file=suite_file)
        return workload, load_suite(suite_file or suite).bounds.append_bytes
    except SuiteError as error:
        raise UsageError(str(error), hint="`harness suites` lists the suites") from error


def _run(plan: MinimizePlan, start: Candidate, options: RunOptions) -> int:
    bus = EventBus()
    folder: list[Path] = []

    def show(event: Event) -> None:
        match event:
            case RunStarted(folder=path):
                folder.append(path)
                click.echo(f"minimizing {options.only[0]}, recorded in {path}")
            case PhaseNote(text=text):
                _say(text)
            case CaseRetried(reason=text) | PairLost(reason=text):
                _say(f"tried again: {text}")
            case Warned(text=text):
                _say(f"warning: {text}")

    bus.subscribe(plan.hear)
    bus.subscribe(show)
    try:
        code = run_campaign(plan, options, bus).exit_code
    except HarnessError:
        if folder:
            _conclude(plan, start, options, folder[0])
        raise
    plan.finish()
    return _conclude(plan, start, options, folder[0], interrupted=code == EXIT_INTERRUPTED)


def _conclude(
    plan: MinimizePlan,
    start: Candidate,
    options: RunOptions,
    folder: Path,
    *,
    interrupted: bool = False,
) -> int:
    """Say and write down how far it came; the exit code."""
    progress, search = plan.progress, plan.search
    if progress.example is None or progress.way is None:
        if interrupted:
            click.echo("interrupted before the case had failed")
            return EXIT_INTERRUPTED
        click.echo(f"did not fail in {progress.original.runs} runs: nothing to minimize")
        click.echo("  [are --defect, --impostor and --profile those of the run that failed?]")
        return EXIT_UNKNOWN
    click.echo("")
    click.echo(f"the case failed in {progress.original}: {progress.way}")
    known = f", {search.known} more known from before" if search.known else ""
    click.echo(f"{search.asked} candidates tried{known}; {progress.runs} runs in all")
    if progress.others:
        click.echo(f"{progress.others} runs failed in another way and do not count")
    if progress.unjudged:
        click.echo(f"{progress.unjudged} runs came to no verdict and count as not failed")
    if not search.complete:
        click.echo("the search was not finished: there may be a smaller one")
    before, after = start.parts, search.best.parts
    smaller = "the smallest" if search.complete else "the smallest so far"
    click.echo(f"{smaller} that fails this way: {after} core ops, {before} at first")
    for line in search.best.lines():
        click.echo(f"  {line}")
    if progress.minimal is not None:
        click.echo(f"it failed in {progress.minimal}")
    _write(plan, options, folder, progress.way, progress.example)
    return EXIT_INTERRUPTED if interrupted else EXIT_PASS


def _write(
    plan: MinimizePlan, options: RunOptions, folder: Path, way: Way, example: CaseResult
) -> None:
    short = plan.best.id.rpartition("/")[2]
    workload = folder / f"minimal-{short}.jlang"
    script = folder / f"reproduce-{short}.sh"
    words = ["harness", "replay", "--workload", str(workload), "--fs", options.fs[0]]
    words += ["--target", options.target, *option_words(options.recorded())]
    command = shlex.join(words)
    text = reproducer(script.name, plan, options, way, example, command).text()
    try:
        workload.write_text(plan.best.jlang(), encoding="utf-8")
        script.write_text(text, encoding="utf-8")
        script.chmod(0o755)
    except OSError as error:
        raise InfraError(f"cannot write {error.filename}: {error.strerror}") from error
    click.echo(f"workload: {workload}")
    click.echo(f"script:   {script}")
    click.echo(f"replay:   {command}")


def reproducer(
    name: str,
    plan: MinimizePlan,
    options: RunOptions,
    way: Way,
    example: CaseResult,
    command: str,
) -> Reproducer:
    """The script for a run of the smallest workload that failed."""
    fs = FILE_SYSTEMS[options.fs[0]]
    crash = bad_crash(example)
    checks = deciding_checks(example)[:_MOST_CHECKS]
    rate = plan.progress.minimal or plan.progress.original
    return Reproducer(
        name=name,
        steps=plan.best.steps,
        line=None if crash is None else crash.line,
        fs=fs.name,
        mkfs=fs.mkfs,
        mount_options=fs.mount_options,
        fsck=fs.fsck,
        device_bytes=fs.device_bytes,
        title=f"{way.violation}: {way.object}, after {way.persistence}, on {options.target}",
        expected=_texts([f"{check.path or check.rule}: {check.expected}" for check in checks]),
        found=_texts(
            [f"{check.path or check.rule}: {check.found} ({check.message})" for check in checks]
        ),
        origin=(
            f"Made by harness {__version__} of case {options.only[0]}; failed in {rate}.",
            f"Signature: {signature(example)}",
            f"With the harness: {command}",
            "",
        ),
    )


def _texts(lines: list[str]) -> tuple[str, ...]:
    return tuple(" ".join(line.split()) for line in lines)


def _tell(what: str, result: CaseResult) -> None:
    if result.verdict is None:
        came_to = f"no verdict: {result.infra_error}"
    else:
        sign = signature(result)
        came_to = str(result.outcome) if sign is None else f"{result.outcome} {sign}"
    _say(f"{what} -> {came_to} ({result.elapsed_s:.1f} s)")


def _say(text: str) -> None:
    line = "".join(c if c.isprintable() else " " for c in text)
    click.echo(line if len(line) <= _LINE_CHARS else f"{line[:_LINE_CHARS]}...")
