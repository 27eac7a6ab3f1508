# SPDX-License-Identifier: Apache-2.0
"""``harness doctor``: can this host run the harness, and if not, what mends it?"""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness.cli.options import connect_option, guests_option, profile_option, state_dir_option
from harness.cli.run import find_suite
from harness.run import exercises
from harness.run.doctor import Checkup, Health, Patient, examine
from harness.run.endurance import schedule
from harness.run.options import Guests

_WIDTH = 20
_FEW_CASES = 100


@click.command()
@click.option(
    "--suite",
    default="ace-seq1",
    show_default=True,
    metavar="NAME",
    help="what is to be run, for the disk it needs",
)
@profile_option
@guests_option(Guests.MICRO, "what is to be booted, for what it needs")
@click.option(
    "--pairs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="pairs of guests at work at once, for the memory they need",
)
@connect_option
@click.option("--no-probe", is_flag=True, help="do not boot a guest to see whether KVM works")
@click.option("--json", "as_json", is_flag=True, help="for programs")
@state_dir_option
@click.pass_context
def doctor(
    context: click.Context,
    /,
    suite: str,
    profile: str,
    guests: str,
    pairs: int,
    connect: str | None,
    no_probe: bool,
    as_json: bool,
    state_dir: Path | None,
) -> None:
    """Check that this host can run the harness; exit status 0 if it can, 1 if not."""
    few = suite in (exercises.SUITE, schedule.SUITE)
    cases = _FEW_CASES if few else find_suite(suite).count()
    patient = Patient(profile, cases, pairs, state_dir, connect, Guests(guests), not no_probe)
    seen: list[Checkup] = []
    for checkup in examine(patient):
        seen.append(checkup)
        if not as_json:
            _show(checkup)
    ready = all(checkup.health is not Health.BAD for checkup in seen)
    if as_json:
        checks = [
            {"name": c.name, "health": c.health.value, "found": c.found, "way_out": c.way_out}
            for c in seen
        ]
        click.echo(json.dumps({"ready": ready, "checks": checks}, indent=2))
    else:
        click.echo("ready" if ready else "not ready: mend what is marked bad")
    context.exit(0 if ready else 1)


def _show(checkup: Checkup) -> None:
    click.echo(f"{checkup.health.value:4}  {checkup.name:{_WIDTH}}{checkup.found}")
    if checkup.way_out and checkup.health is not Health.GOOD:
        click.echo(f"{'':6}{'':{_WIDTH}}-> {checkup.way_out}")
