# SPDX-License-Identifier: Apache-2.0
"""How the commands of ``harness ace`` are told which workloads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from ace_workloads.errors import SuiteError
from ace_workloads.ops import Mode
from ace_workloads.registry import load_suite
from ace_workloads.suite import Suite
from harness.cli.options import parse_shard
from harness.errors import UsageError

_Command = Callable[..., Any]


def with_suite(command: _Command) -> _Command:
    """SUITE and ``--mode``."""
    mode = click.option(
        "--mode",
        type=click.Choice([mode.value for mode in Mode]),
        default=Mode.CLEAN.value,
        show_default=True,
        help="clean, or the published generator's output with its quirks",
    )
    return click.argument("suite")(mode(command))


with_shard = click.option(
    "--shard", callback=parse_shard, default="1/1", metavar="i/n", help="only the i-th of n slices"
)


@contextmanager
def usage_errors() -> Iterator[None]:
    """What a suite complains about is the user's to mend."""
    try:
        yield
    except SuiteError as error:
        raise UsageError(str(error), hint="`harness suites` lists the suites") from error


def load(suite: str, mode: str) -> Suite:
    """The suite; UsageError when there is none."""
    with usage_errors():
        return load_suite(suite, mode=Mode(mode))
