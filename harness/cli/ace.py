# SPDX-License-Identifier: Apache-2.0
"""``harness ace``: look at workloads without running them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ace_workloads.digest import digest_texts
from ace_workloads.errors import SuiteError
from ace_workloads.listing import describe_op, describe_persist
from ace_workloads.ops import Mode
from ace_workloads.registry import load_suite, load_workload
from ace_workloads.suite import Shard, Suite
from ace_workloads.workload import Workload
from harness.errors import InfraError, UsageError

_Command = Callable[..., Any]


@click.group()
def ace() -> None:
    """Count, export and show workloads. SUITE is a name from `harness suites`, or a TOML file."""


def _parse_shard(_context: click.Context, _parameter: click.Parameter, text: str) -> Shard:
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    number, of = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= of:
        raise UsageError(f"no shard {text!r}", hint="--shard i/n, with i from 1 to n")
    return number, of


def _with_suite(command: _Command) -> _Command:
    mode = click.option(
        "--mode",
        type=click.Choice([mode.value for mode in Mode]),
        default=Mode.CLEAN.value,
        show_default=True,
        help="clean, or the published generator's output with its quirks",
    )
    return click.argument("suite")(mode(command))


_with_shard = click.option(
    "--shard", callback=_parse_shard, default="1/1", metavar="i/n", help="only the i-th of n slices"
)


@contextmanager
def _usage_errors() -> Iterator[None]:
    try:
        yield
    except SuiteError as error:
        raise UsageError(str(error), hint="`harness suites` lists the suites") from error


def _load(suite: str, mode: str) -> Suite:
    with _usage_errors():
        return load_suite(suite, mode=Mode(mode))


@ace.command()
@_with_suite
def count(suite: str, mode: str) -> None:
    """Print the number of workloads in SUITE."""
    click.echo(_load(suite, mode).count())


@ace.command()
@_with_suite
@_with_shard
@click.option("--distinct", is_flag=True, help="count different texts too (keeps their digests)")
def digest(suite: str, mode: str, shard: Shard, distinct: bool) -> None:
    """Print size and order-free digest of SUITE's canonical texts.

    The sum digest is the sum of the sha256 of all texts modulo 2^256: it does not depend on the
    order, and the digests of all shards add up to the suite's.
    """
    result = digest_texts(_load(suite, mode).texts(shard), distinct=distinct)
    click.echo(f"workloads        {result.workloads}")
    if result.distinct is not None:
        click.echo(f"distinct         {result.distinct}")
    click.echo(f"canonical bytes  {result.canonical_bytes}")
    click.echo(f"sum digest       {result.sum_digest}")


@ace.command()
@_with_suite
@_with_shard
@click.option("--format", "form", type=click.Choice(["jlang"]), default="jlang", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="folder for one file per workload")
@click.option("--stdout", "to_stdout", is_flag=True, help="everything to standard output")
def export(
    suite: str, mode: str, shard: Shard, form: str, out: Path | None, to_stdout: bool
) -> None:
    """Write SUITE's workloads as text.

    With --out, workload ace-seq2/000000001 becomes the file ace-seq2/000000001.jlang below the
    folder. With --stdout, a line `# workload ID` precedes each.
    """
    if to_stdout == (out is not None):
        raise UsageError("export goes to one place", hint="give either --out DIR or --stdout")
    workloads = _load(suite, mode).iter(shard)
    if out is None:
        for workload in workloads:
            click.echo(f"# workload {workload.id}\n{workload.jlang()}")
        return
    written = 0
    for workload in workloads:
        _write(out, workload, form)
        written += 1
    click.echo(f"{written} workloads below {out}", err=True)


def _write(folder: Path, workload: Workload, form: str) -> None:
    path = folder / f"{workload.id}.{form}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(workload.jlang(), encoding="utf-8")
    except OSError as error:
        raise InfraError(f"cannot write {path}: {error.strerror}") from error


@ace.command()
@click.argument("workload_id", metavar="ID")
@click.option(
    "--suite-file", type=click.Path(path_type=Path), help="the TOML file of a suite of your own"
)
def show(workload_id: str, suite_file: Path | None) -> None:
    """Print the workload with this ID: core ops, persistence ops and steps."""
    with _usage_errors():
        workload = load_workload(workload_id, suite_file=suite_file)
    click.echo(f"id        {workload.id}")
    click.echo(f"content   {workload.content_hash}")
    click.echo(f"skeleton  {workload.skeleton}")
    for op, persist in zip(workload.core, workload.persist, strict=True):
        words = [describe_op(op), describe_persist(persist)]
        click.echo(f"op        {'; '.join(filter(None, words))}")
    click.echo("")
    click.echo(workload.canonical_text, nl=False)
