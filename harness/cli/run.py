# SPDX-License-Identifier: Apache-2.0
"""``harness run``: the main job."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ace_workloads.errors import SuiteError
from ace_workloads.registry import load_suite
from ace_workloads.suite import Suite
from harness.build.profile import load_profile
from harness.build.xfstests import ENVIRONMENT, look_at_tree
from harness.cli.known import read_known
from harness.cli.options import kmod_target, machine_options, selection_options
from harness.errors import UsageError
from harness.events import EventBus
from harness.report.console import ConsoleReporter, new_console
from harness.report.load import Run
from harness.run import exercises, minimizing, written
from harness.run.campaign import run_campaign
from harness.run.connection import check_connection
from harness.run.endurance import schedule
from harness.run.endurance.plan import EndurancePlan
from harness.run.options import (
    DEFAULT_BOOT_TIMEOUT_S,
    DEFAULT_HEARTBEAT_S,
    DEFAULT_TIMEOUT_S,
    AcceleratorChoice,
    Encryption,
    Engine,
    Guests,
    Impostor,
    RunOptions,
)
from harness.run.plan import ExercisePlan, ForeignPlan, Plan, WorkloadPlan
from harness.run.resume import resume_run
from harness.run.targets import check_target
from harness.run.xfstests import foreign
from harness.vm.live import LiveDir

_TIMEOUTS = {
    "timeout_s": DEFAULT_TIMEOUT_S,
    "boot_timeout_s": DEFAULT_BOOT_TIMEOUT_S,
    "heartbeat_s": DEFAULT_HEARTBEAT_S,
}

_NATIVE_ONLY = (written.SUITE, exercises.SUITE, schedule.SUITE)


@click.command()
@selection_options
@machine_options
@click.pass_context
def run(context: click.Context, /, **values: Any) -> None:
    """Replay a suite on a pair of guests, crash at every persistence point, judge the backup.

    Exit status: 0 all pass, 1 findings, 2 some unknown, 3 infrastructure error, 64 usage,
    70 internal error, 130 interrupted.
    """
    if (folder := values.pop("resume")) is not None:
        context.exit(_resume(folder, _given(context)))
    if values["group"] is not None:
        if values["suite"] is not None:
            raise UsageError("--suite and --group do not go together", hint="leave one out")
        values["suite"] = foreign.SUITE
    if values["suite"] is None:
        raise UsageError("which suite?", hint="--suite NAME (`harness suites` lists them)")
    options = run_options(**values)
    context.exit(execute(make_plan(options), options))


def _given(context: click.Context) -> dict[str, Any]:
    """The options that were written on the command line, as opposed to those left out."""
    return {
        name: AcceleratorChoice(value) if name == "accel" else value
        for name, value in context.params.items()
        if name != "resume"
        and context.get_parameter_source(name) is not ParameterSource.DEFAULT
    }  # fmt: skip


def _resume(folder: Path, given: dict[str, Any]) -> int:
    resumed = resume_run(folder, given)
    options = resumed.options
    if options.suite == schedule.SUITE:
        raise UsageError(
            f"suite {schedule.SUITE} goes by the clock and cannot be resumed", hint="run it again"
        )
    if options.suite == minimizing.SUITE:
        raise UsageError(f"{folder} was made by harness minimize", hint="start that again")
    load_profile(options.profile)
    check_target(options)
    return execute(resumed.remaining(make_plan(options)), options, resumed.run)


def run_options(**values: Any) -> RunOptions:
    """The options as given on the command line; UsageError for a target or profile there is not."""
    values["duration_s"] = values.pop("duration", None)
    values["fs"] = tuple(dict.fromkeys(values["fs"]))
    values["only"] = tuple(values["only"])
    values["target"] = kmod_target(values["kmod"], values["target"])
    values["accel"] = AcceleratorChoice(values["accel"])
    values["encryption"] = Encryption(values["encryption"])
    values["guests"] = Guests(values["guests"])
    values["engine"] = Engine(values["engine"])
    values["xfstests"] = xfstests_tree(values["engine"], values["xfstests"])
    values["impostor"] = Impostor(values["impostor"]) if values["impostor"] else None
    patience = load_profile(values["profile"]).patience
    for name, default in _TIMEOUTS.items():
        if values[name] is None:
            values[name] = default * patience
    options = RunOptions(**values)
    check_target(options)
    check_connection(options)
    return options


def xfstests_tree(engine: Engine, path: Path | None) -> Path | None:
    """The tree that is needed, looked at before anything is built; None where none is."""
    if engine is Engine.NATIVE:
        return None
    if path is None:
        raise UsageError(
            "--engine xfstests needs an xfstests tree",
            hint=f"--xfstests DIR, or {ENVIRONMENT}=DIR: a tree that was built, or installed",
        )
    return look_at_tree(path).path


def make_plan(options: RunOptions) -> Plan:
    """The cases to run; UsageError when the suite, or a case named, does not exist."""
    if options.engine is Engine.XFSTESTS and options.guests is Guests.FULL:
        raise UsageError(
            "--engine xfstests brings the root tree of the profile along",
            hint="leave --guests full out",
        )
    if options.engine is Engine.XFSTESTS and options.suite in _NATIVE_ONLY:
        raise UsageError(
            f"suite {options.suite} is run by the agent only", hint="leave --engine out"
        )
    if options.group is not None:
        if options.engine is not Engine.XFSTESTS:
            raise UsageError("--group names tests of xfstests", hint="--engine xfstests")
        return ForeignPlan(options)
    if options.suite == written.SUITE:
        return written.WrittenPlan(options)
    if options.suite == exercises.SUITE:
        return ExercisePlan(options)
    if options.suite == schedule.SUITE:
        return EndurancePlan(options)
    if options.duration_s is not None:
        raise UsageError(f"--duration is for suite {schedule.SUITE} only")
    return WorkloadPlan(find_suite(options.suite), options)


def find_suite(name: str) -> Suite:
    """The suite ``name``; UsageError when there is none, or its file is bad."""
    try:
        return load_suite(Path(name) if name.endswith(".toml") else name)
    except SuiteError as error:
        raise UsageError(str(error), hint="`harness suites` lists the suites") from error


def keep_guests(ask: Callable[[str], str]) -> None:
    """Keep the guests until somebody answers; not at all where nobody can."""
    with contextlib.suppress(EOFError):
        ask("guests are kept; press Enter to end them")


def execute(
    plan: Plan,
    options: RunOptions,
    resumed: Run | None = None,
    ended: Callable[[Path], None] = lambda folder: None,
    live: LiveDir | None = None,
) -> int:
    """Run ``plan`` with progress on the terminal and return the exit code; see ``run_campaign``.

    ``ended`` is told the folder of the record; ``live`` is for a process with several runs.
    """
    known = read_known(options.known)
    console = new_console()
    bus = EventBus()
    reporter = ConsoleReporter(console, known=known)
    bus.subscribe(reporter)

    def wait_for_enter() -> None:
        keep_guests(console.input)

    try:
        done = run_campaign(
            plan,
            options,
            bus,
            wait_for_enter if options.keep_pair else None,
            resumed,
            known,
            live,
        )
    finally:
        reporter.close()
    ended(done.folder)
    return done.exit_code
