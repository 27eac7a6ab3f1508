# SPDX-License-Identifier: Apache-2.0
"""``harness clean``: remove what killed runs left behind, and on request what was built."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from harness.cli.options import state_dir_option
from harness.config import state_dir as find_state_dir
from harness.errors import InfraError
from harness.vm.live import sweep


@click.command()
@click.option("--cache", is_flag=True, help="also remove built images, modules and root trees")
@state_dir_option
def clean(cache: bool, state_dir: Path | None) -> None:
    """End guests of killed runs and remove their files; running ones are left alone."""
    state = find_state_dir(state_dir)
    click.echo(f"{sweep(state)} left-over guests ended")
    if cache:
        try:
            shutil.rmtree(state.cache)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise InfraError(f"cannot remove {state.cache}: {error}") from error
        click.echo(f"removed {state.cache}")
