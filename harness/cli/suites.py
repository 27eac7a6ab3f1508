# SPDX-License-Identifier: Apache-2.0
"""``harness suites``: what there is to run."""

from __future__ import annotations

import sys

import click
from rich.console import Console
from rich.table import Table

from ace_workloads.ops import Mode
from ace_workloads.registry import SUITE_NAMES, load_suite
from harness.run import exercises
from harness.run.endurance import schedule

_COLUMNS = ("suite", "workloads", "original", "covers")


@click.command()
def suites() -> None:
    """List the suites: name, number of workloads, what they cover.

    WORKLOADS is what runs by default (clean mode), ORIGINAL what the published generator makes of
    the same bounds, repetitions and workloads that cannot execute included.
    """
    rows = [_row(name) for name in SUITE_NAMES]
    rows.append((exercises.SUITE, str(len(exercises.EXERCISES)), "0", exercises.COVERS))
    rows.append((schedule.SUITE, "0", "0", schedule.COVERS))
    if _on_terminal():
        Console().print(_table(rows))
        return
    click.echo("\t".join(_COLUMNS))
    for row in rows:
        click.echo("\t".join(row))


def _on_terminal() -> bool:
    return sys.stdout.isatty()


def _row(name: str) -> tuple[str, str, str, str]:
    clean, original = (load_suite(name, mode=mode) for mode in (Mode.CLEAN, Mode.ORIGINAL))
    return name, str(clean.count()), str(original.count()), clean.covers


def _table(rows: list[tuple[str, str, str, str]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in _COLUMNS:
        numeric = column in ("workloads", "original")
        table.add_column(column, justify="right" if numeric else "left", no_wrap=numeric)
    for name, clean, original, covers in rows:
        table.add_row(name, f"{int(clean):,}", f"{int(original):,}", covers)
    return table
