# SPDX-License-Identifier: Apache-2.0
"""``harness clean``: remove what killed runs left behind, and on request what was built."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from harness.build.cache import prune
from harness.build.container import engine
from harness.cli.options import state_dir_option
from harness.config import StateDir
from harness.config import state_dir as find_state_dir
from harness.errors import InfraError, UsageError
from harness.run.connection import clean_host
from harness.vm.libvirt import is_embedded
from harness.vm.live import sweep

_DAY_S = 24 * 3600
_GIB = 1 << 30


@click.command()
@click.option(
    "--cache",
    is_flag=True,
    help="also remove built images, modules and root trees; with --connect, their copies there",
)
@click.option(
    "--unused",
    type=click.IntRange(1, 3650),
    metavar="DAYS",
    help="also remove what was built and has not been used for so long",
)
@click.option(
    "--connect", metavar="URI", help="clean up on the host of this libvirt connection instead"
)
@click.option(
    "--everywhere",
    is_flag=True,
    help="with --connect: also what was started from other hosts, be it alive or not",
)
@state_dir_option
def clean(
    cache: bool,
    unused: int | None,
    connect: str | None,
    everywhere: bool,
    state_dir: Path | None,
) -> None:
    """End guests of killed runs and remove their files; running ones are left alone."""
    state = find_state_dir(state_dir)
    if connect is not None and not is_embedded(connect):
        if unused is not None:
            raise UsageError("--unused is for this host", hint="there, --cache removes all copies")
        _clean_there(connect, state, everywhere, cache)
        return
    if everywhere:
        raise UsageError("--everywhere is for another host", hint="--connect URI")
    click.echo(f"{sweep(state)} left-over guests ended")
    with engine() as found:
        if found is not None:
            left = found.clean(state.cache, images=cache)
            click.echo(f"{left.containers} left-over containers and {left.images} images removed")
    if cache:
        try:
            shutil.rmtree(state.cache)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise InfraError(f"cannot remove {state.cache}: {error}") from error
        click.echo(f"removed {state.cache}")
    elif unused is not None:
        gone = prune(state.cache, unused * _DAY_S)
        click.echo(
            f"{gone.artefacts} built things not used for {unused} days removed,"
            f" {gone.freed_bytes / _GIB:.1f} GiB; {gone.kept} stay"
        )


def _clean_there(uri: str, state: StateDir, everywhere: bool, cache: bool) -> None:
    done = clean_host(uri, state, everywhere=everywhere, shared=cache)
    click.echo(f"{done.guests} left-over guests ended, {done.volumes} volumes removed")
    if done.others:
        click.echo(
            f"{done.others} guests that were started from other hosts are left alone;"
            " --everywhere ends them too"
        )
