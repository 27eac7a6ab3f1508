# SPDX-License-Identifier: Apache-2.0
"""``harness ace export``: workloads as files that something else runs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import click

from ace_workloads.suite import Shard, Suite, shard_of
from ace_workloads.workload import Workload
from harness.cli.ace_suite import load, usage_errors, with_shard, with_suite
from harness.errors import InfraError, UsageError
from harness.export.tree import export_tests, group_name

_COUNT = click.IntRange(min=1)


@click.command()
@with_suite
@with_shard
@click.option("--sample", type=_COUNT, metavar="K", help="K workloads at random")
@click.option("--seed", type=int, default=0, show_default=True, metavar="X", help="of --sample")
@click.option("--limit", type=_COUNT, metavar="K", help="the first K workloads")
@click.option(
    "--format", "form", type=click.Choice(["jlang", "xfstests"]), default="jlang", show_default=True
)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="where the files go")
@click.option("--stdout", "to_stdout", is_flag=True, help="jlang: everything to standard output")
@click.option("--bundle", type=_COUNT, metavar="N", help="xfstests: N workloads to a test")
@click.option("--group", metavar="NAME", help="xfstests: folder of the tests  [default: SUITE]")
def export(
    suite: str, mode: str, shard: Shard, sample: int | None, seed: int, limit: int | None,
    form: str, out: Path | None, to_stdout: bool, bundle: int | None, group: str | None,
) -> None:  # fmt: skip
    """Write SUITE's workloads as text, or as tests of xfstests.

    jlang: with --out, workload ace-seq2/000000001 becomes the file ace-seq2/000000001.jlang below
    DIR; with --stdout, a line `# workload ID` precedes each.

    xfstests: DIR is an xfstests tree, or an empty folder to be copied over one; it gets tests/NAME
    and common/ace, ace-judge and ace-play, to be run by `./check -g NAME/auto`. A test has the
    number of its workload; with --bundle it has N of them, which saves what check costs for each.
    """
    if form == "jlang" and (bundle is not None or group is not None):
        raise UsageError("--bundle and --group are for --format xfstests")
    if form == "xfstests" and to_stdout:
        raise UsageError("tests are files", hint="--out DIR")
    if to_stdout == (out is not None):
        raise UsageError("export goes to one place", hint="give either --out DIR or --stdout")
    source = load(suite, mode)
    workloads = _chosen(source, shard, sample, seed, limit)
    if out is None:
        for workload in workloads:
            click.echo(f"# workload {workload.id}\n{workload.jlang()}")
    elif form == "xfstests":
        _export_tests(source, workloads, out, bundle, group)
    else:
        written = 0
        for workload in workloads:
            _write(out, workload, form)
            written += 1
        click.echo(f"{written} workloads below {out}", err=True)


def _chosen(
    suite: Suite, shard: Shard, sample: int | None, seed: int, limit: int | None
) -> Iterator[Workload]:
    with usage_errors():
        if sample is None:
            yield from islice(suite.iter(shard), limit)
            return
        number, of = shard
        sampled = suite.sample(sample, seed)
        yield from islice((w for w in sampled if shard_of(w.id, of) == number), limit)


def _export_tests(
    suite: Suite, workloads: Iterator[Workload], out: Path, bundle: int | None, group: str | None
) -> None:
    name = group_name(group or suite.name)
    done = export_tests(workloads, out, name, bundle=bundle, size=suite.addresses.size())
    tests = f"{done.tests} tests with {done.workloads} workloads"
    click.echo(f"{tests} in {done.folder}, common/ace, ace-judge and ace-play beside it", err=True)
    if done.left_out:
        left_out = f"{done.left_out} workloads cannot be run and were left out, the first is"
        click.echo(f"{left_out} {done.first_left_out}", err=True)


def _write(folder: Path, workload: Workload, form: str) -> None:
    path = folder / f"{workload.id}.{form}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(workload.jlang(), encoding="utf-8")
    except OSError as error:
        raise InfraError(f"cannot write {path}: {error.strerror}") from error
