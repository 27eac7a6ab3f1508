# SPDX-License-Identifier: Apache-2.0
"""``harness replay``: one case again, with the difference on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ace_workloads.written import SUITE as WRITTEN
from harness.cli.options import machine_options
from harness.cli.run import keep_guests, make_plan, run_options
from harness.errors import UsageError
from harness.events import CaseEnded, Event, EventBus
from harness.model.case import CaseId
from harness.report.console import ConsoleReporter, new_console
from harness.run.campaign import case_texts, run_campaign
from harness.run.filesystems import FILE_SYSTEMS
from harness.run.targets import TARGET_NAMES


@click.command()
@click.argument("case", required=False)
@click.option(
    "--workload",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="run the workload of this J-lang file instead of a CASE",
)
@click.option("--fs", type=click.Choice(list(FILE_SYSTEMS)), help="of --workload  [default: ext4]")
@click.option(
    "--target",
    metavar="NAME",
    help=f"of --workload  [default: {TARGET_NAMES[0]}, or that of --kmod]",
)
@click.option("--pause", is_flag=True, help="keep the guests until Enter is pressed")
@machine_options
@click.pass_context
def replay(
    context: click.Context,
    /,
    case: str | None,
    workload: Path | None,
    fs: str | None,
    target: str | None,
    pause: bool,
    **values: Any,
) -> None:
    """Run CASE (as in ace-seq1/000000012@ext4@rollbaccine) again and show what differs.

    Pass the --defect or --impostor of the original run to see the same thing happen.
    """
    chosen = _chosen(case, workload, fs, target)
    options = run_options(keep_pair=pause, **chosen, **values)
    console = new_console()
    bus = EventBus()
    reporter = ConsoleReporter(console)
    shown: list[str] = []

    def remember(event: Event) -> None:
        if isinstance(event, CaseEnded):
            texts = case_texts(event.result)
            shown.append(f"workload\n{event.result.jlang}\n{texts.expected}\n{texts.diff}")

    bus.subscribe(reporter)
    bus.subscribe(remember)

    def show_and_wait() -> None:
        console.print("\n".join(shown), markup=False, highlight=False)
        if pause:
            keep_guests(console.input)

    try:
        ended = run_campaign(make_plan(options), options, bus, show_and_wait)
    finally:
        reporter.close()
    context.exit(ended.exit_code)


def _chosen(
    case: str | None, workload: Path | None, fs: str | None, target: str | None
) -> dict[str, Any]:
    """What to run, as options of a run; UsageError unless it is exactly one thing."""
    if (case is None) == (workload is None):
        raise UsageError("which case?", hint="give either a CASE or --workload FILE")
    if workload is not None:
        return {
            "suite": WRITTEN, "workload": workload, "only": (), "fs": (fs or "ext4",),
            "target": target,
        }  # fmt: skip
    if fs is not None or target is not None:
        raise UsageError("--fs and --target go with --workload", hint="a CASE names both itself")
    case_id = CaseId.parse(case or "")
    suite = case_id.workload.rpartition("/")[0]
    if suite == WRITTEN:
        raise UsageError(
            f"case {case_id} is in no suite",
            hint="harness replay --workload FILE, with the workload.jlang of its folder",
        )
    return {
        "suite": suite, "fs": (case_id.fs,), "target": case_id.target,
        "only": (case_id.workload,),
    }  # fmt: skip
