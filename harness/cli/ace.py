# SPDX-License-Identifier: Apache-2.0
"""``harness ace``: look at workloads without running them."""

from __future__ import annotations

from pathlib import Path

import click

from ace_workloads.digest import digest_texts
from ace_workloads.listing import describe_op, describe_persist
from ace_workloads.registry import load_workload
from ace_workloads.suite import Shard
from harness.cli.ace_export import export
from harness.cli.ace_import import import_
from harness.cli.ace_suite import load, usage_errors, with_shard, with_suite


@click.group()
def ace() -> None:
    """Count, show, export, import workloads. SUITE is one of `harness suites`, or a TOML file."""


ace.add_command(export)
ace.add_command(import_)


@ace.command()
@with_suite
def count(suite: str, mode: str) -> None:
    """Print the number of workloads in SUITE."""
    click.echo(load(suite, mode).count())


@ace.command()
@with_suite
@with_shard
@click.option("--distinct", is_flag=True, help="count different texts too (keeps their digests)")
def digest(suite: str, mode: str, shard: Shard, distinct: bool) -> None:
    """Print size and order-free digest of SUITE's canonical texts.

    The sum digest is the sum of the sha256 of all texts modulo 2^256: it does not depend on the
    order, and the digests of all shards add up to the suite's.
    """
    result = digest_texts(load(suite, mode).texts(shard), distinct=distinct)
    click.echo(f"workloads        {result.workloads}")
    if result.distinct is not None:
        click.echo(f"distinct         {result.distinct}")
    click.echo(f"canonical bytes  {result.canonical_bytes}")
    click.echo(f"sum digest       {result.sum_digest}")


@ace.command()
@click.argument("workload_id", metavar="ID")
@click.option(
    "--suite-file", type=click.Path(path_type=Path), help="the TOML file of a suite of your own"
)
def show(workload_id: str, suite_file: Path | None) -> None:
    """Print the workload with this ID: core ops, persistence ops and steps."""
    with usage_errors():
        workload = load_workload(workload_id, suite_file=suite_file)
    click.echo(f"id        {workload.id}")
    click.echo(f"content   {workload.content_hash}")
    click.echo(f"skeleton  {workload.skeleton}")
    for op, persist in zip(workload.core, workload.persist, strict=True):
        words = [describe_op(op), describe_persist(persist)]
        click.echo(f"op        {'; '.join(filter(None, words))}")
    click.echo("")
    click.echo(workload.canonical_text, nl=False)
