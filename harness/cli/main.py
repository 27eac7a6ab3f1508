# SPDX-License-Identifier: Apache-2.0
"""The command line: one group, and the only place where errors become exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from harness import __version__
from harness.cli.ace import ace
from harness.cli.check import check
from harness.cli.clean import clean
from harness.cli.compare_engines import compare_engines
from harness.cli.diff import diff
from harness.cli.doctor import doctor
from harness.cli.findings import findings
from harness.cli.minimize import minimize
from harness.cli.pair import pair
from harness.cli.replay import replay
from harness.cli.report import report
from harness.cli.run import run
from harness.cli.suites import suites
from harness.errors import (
    EXIT_BROKEN_PIPE,
    EXIT_INTERNAL,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    HarnessError,
)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 all pass, 1 findings, 2 some unknown, 3 infrastructure error, "
    "64 usage, 70 internal error, 130 interrupted.",
)
@click.version_option(__version__, prog_name="harness")
def harness() -> None:
    """Find out whether replicated block storage can be trusted after a crash."""


_COMMANDS = (
    run,
    replay,
    minimize,
    check,
    report,
    findings,
    diff,
    compare_engines,
    suites,
    ace,
    doctor,
    pair,
    clean,
)
for _command in _COMMANDS:
    harness.add_command(_command)


def run_command_line(arguments: Sequence[str]) -> int:
    """Run ``harness ARGUMENTS`` and return the exit code; errors go to standard error."""
    try:
        # Not main(): it takes a reader that left a pipe for an error of its own, status 1.
        with harness.make_context("harness", list(arguments)) as context:
            result = harness.invoke(context)
    except HarnessError as error:
        _complain(str(error), error.hint)
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except (KeyboardInterrupt, EOFError, click.Abort):
        _complain("interrupted", None)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has seen enough; nothing may be flushed into it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except Exception:
        _complain("internal error, please report it with the lines below", None)
        traceback.print_exc()
        return EXIT_INTERNAL
    return result if isinstance(result, int) else 0


def _complain(message: str, hint: str | None) -> None:
    click.echo(f"harness: {message}", err=True)
    if hint:
        click.echo(f"  [{hint}]", err=True)
