# SPDX-License-Identifier: Apache-2.0
"""``harness replay``: one case again, with the difference on the terminal."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.options import machine_options
from harness.cli.run import keep_guests, make_plan, run_options
from harness.events import CaseEnded, Event, EventBus
from harness.model.case import CaseId
from harness.report.console import ConsoleReporter, new_console
from harness.run.campaign import case_texts, run_campaign


@click.command()
@click.argument("case")
@click.option("--pause", is_flag=True, help="keep the guests until Enter is pressed")
@machine_options
@click.pass_context
def replay(context: click.Context, /, case: str, pause: bool, **values: Any) -> None:
    """Run CASE (as in ace-seq1/000000012@ext4@rollbaccine) again and show what differs.

    Pass the --defect or --impostor of the original run to see the same thing happen.
    """
    case_id = CaseId.parse(case)
    options = run_options(
        suite=case_id.workload.rpartition("/")[0],
        fs=(case_id.fs,),
        target=case_id.target,
        only=(case_id.workload,),
        keep_pair=pause,
        **values,
    )
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
