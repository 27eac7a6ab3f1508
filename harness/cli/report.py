# SPDX-License-Identifier: Apache-2.0
"""``harness report``: runs as static pages, and a server to look at them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ace_workloads.jlang import parse_run_section
from harness.config import reports_dir
from harness.model.case import CaseResult
from harness.model.comparison import CrashComparison
from harness.report.html.text import size

_HTML = "html"
_MOST_CASE_PAGES = 5000


@click.group()
def report() -> None:
    """Show runs as static pages that need no script, as Jenkins publishes them."""


def _out_option(command: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--out",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="folder of the pages  [default: html/ in the run store]",
    )(command)


def _store_option(command: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--store",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="run store  [default: reports/ of the checkout]",
    )(command)


@report.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path), metavar="[RUN...]")
@_out_option
@_store_option
@click.option("--passes", is_flag=True, help="pages for cases that passed, too")
@click.option(
    "--most-case-pages",
    type=click.IntRange(min=0),
    default=_MOST_CASE_PAGES,
    show_default=True,
    metavar="N",
    help="per run; of each finding the smallest cases first",
)
def build(
    runs: Sequence[Path],
    out: Path | None,
    store: Path | None,
    passes: bool,
    most_case_pages: int,
) -> None:
    """Make the pages of each RUN, such as reports/ace-seq1/latest, or of all in the run store.

    A run whose record has not changed is not rendered again, and one that was shown before stays in
    the pages when its record is gone.
    """
    from harness.report.html.site import Wanted, find_runs
    from harness.report.html.site import build as build_pages

    folder = reports_dir(store)
    wanted = Wanted(
        [path.resolve() for path in runs] or find_runs(folder),
        out or folder / _HTML,
        most_case_pages,
        passes,
        strict=bool(runs),
    )
    built = build_pages(wanted, compare)
    for path, why in built.unreadable:
        click.echo(f"not shown: {path}: {why}", err=True)
    click.echo(
        f"{len(built.rendered)} runs rendered, {built.unchanged} unchanged; "
        f"{built.pages} pages, {size(built.bytes)} written"
    )
    click.echo(built.index)


@report.command()
@_out_option
@_store_option
@click.option("--host", default="127.0.0.1", show_default=True, help="address to listen on")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8010, show_default=True, help="0: any free one"
)
def serve(out: Path | None, store: Path | None, host: str, port: int) -> None:
    """Serve the pages that `harness report build` has made, under the policy Jenkins has."""
    from harness.report.html.serve import listen

    folder = out or reports_dir(store) / _HTML
    with listen(folder, host, port) as server:
        click.echo(server.url)
        server.serve_forever()


def compare(result: CaseResult) -> tuple[CrashComparison, ...]:
    """Both trees of every crash point of ``result``; ValueError where the oracle cannot tell."""
    from harness.oracle.compare import compare_crash

    if result.evidence is None:
        return ()
    try:
        steps = parse_run_section(result.jlang)
        return tuple(
            compare_crash(steps, result.case_id.fs, crash) for crash in result.evidence.crashes
        )
    except ValueError as error:
        raise ValueError(f"the recorded workload cannot be read: {error}") from error
    except Exception as error:
        # Evidence of another version, or damaged: the rest of the page still has much to say.
        raise ValueError(f"the oracle failed: {type(error).__name__}: {error}") from error
