# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from harness.build.profile import DEFAULT_PROFILE
from harness.build.xfstests import ENVIRONMENT
from harness.errors import UsageError
from harness.run.filesystems import FILE_SYSTEMS
from harness.run.options import (
    DEFAULT_BOOT_TIMEOUT_S,
    DEFAULT_BUNDLE,
    DEFAULT_CONFIRM,
    DEFAULT_HEARTBEAT_S,
    DEFAULT_TIMEOUT_S,
    AcceleratorChoice,
    Encryption,
    Engine,
    Guests,
    Impostor,
)
from harness.run.targets import TARGET_NAMES
from harness.target.file import TargetFile

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]
_POSITIVE = click.IntRange(min=1)
# Whole seconds: no nan and nothing that the clock could not count to.
_SECONDS = click.IntRange(min=1, max=24 * 3600)
_TIMES = ", times the patience of the profile"


def parse_shard(_context: click.Context, _parameter: click.Parameter, text: str) -> tuple[int, int]:
    """``i/n`` as numbers; UsageError when it is not a slice."""
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    number, of = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= of:
        raise UsageError(f"no shard {text!r}", hint="--shard i/n, with i from 1 to n")
    return number, of


def parse_duration(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> float | None:
    """``90s``, ``30m`` or ``2h`` in seconds; UsageError when it is no such thing."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,6})([smh])", text)
    seconds = int(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] if match else 0
    if not 1 <= seconds <= 7 * 24 * 3600:
        raise UsageError(f"no duration {text!r}", hint="as in 90s, 30m or 2h; at most a week")
    return float(seconds)


def state_dir_option(command: Command) -> Command:
    """``--state-dir``."""
    return click.option(
        "--state-dir",
        type=click.Path(path_type=Path),
        help="where images and running guests live  [default: $XDG_STATE_HOME/harness]",
    )(command)


profile_option = click.option(
    "--profile",
    default=DEFAULT_PROFILE,
    show_default=True,
    metavar="NAME",
    help="guest profile, or a TOML file",
)
accel_option = click.option(
    "--accel",
    type=click.Choice([c.value for c in AcceleratorChoice]),
    default=AcceleratorChoice.AUTO.value,
    show_default=True,
    help="auto uses KVM only if a guest is seen to boot on it",
)
connect_option = click.option(
    "--connect", metavar="URI", help="libvirt connection  [default: the embedded driver]"
)
encryption_option = click.option(
    "--encryption",
    type=click.Choice([e.value for e in Encryption]),
    default=Encryption.ON.value,
    show_default=True,
    help="off: the target has no key and does not authenticate either",
)
link_delay_option = click.option(
    "--link-delay-ms",
    type=click.IntRange(0, 10_000),
    default=0,
    show_default=True,
    help="what the primary sends leaves it so much later, if it still can",
)
boot_timeout_option = click.option(
    "--boot-timeout-s",
    type=_SECONDS,
    help=f"per pair  [default: {DEFAULT_BOOT_TIMEOUT_S:.0f}{_TIMES}]",
)


def guests_option(default: Guests, about: str) -> Decorator:
    """``--guests``; ``about`` says what for."""
    return click.option(
        "--guests",
        type=click.Choice([g.value for g in Guests]),
        default=default.value,
        show_default=True,
        help=about,
    )


def known_option(command: Command) -> Command:
    """``--known``."""
    return click.option(
        "--known",
        type=click.Path(path_type=Path, resolve_path=True),
        metavar="FILE",
        help="list of known issues: failures on it are counted, but do not make the exit code 1",
    )(command)


def kmod_option(command: Command) -> Command:
    """``--kmod``."""
    return click.option(
        "--kmod",
        type=click.Path(path_type=Path, resolve_path=True),
        metavar="DIR",
        help="test the module in DIR, as the target.toml beside it says",
    )(command)


def kmod_target(kmod: Path | None, target: str | None) -> str:
    """Name of the target; UsageError unless ``target`` and the target file of ``kmod`` agree."""
    if kmod is None:
        return target or TARGET_NAMES[0]
    named = TargetFile.load(kmod).name
    if target not in (None, named):
        raise UsageError(
            f"target {target} is not the one in {kmod}, which is {named}",
            hint="leave --target out: --kmod names it",
        )
    return named


def _with(command: Command, decorators: Sequence[Decorator]) -> Command:
    """``command`` with ``decorators`` applied as if written above it in this order."""
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


def machine_options(command: Command) -> Command:
    """Everything about the guests that a case runs on."""
    return _with(
        command,
        [
            profile_option,
            guests_option(Guests.MICRO,
                          "full: the distribution with its own init, not just its kernel"),
            accel_option,
            connect_option,
            click.option("--engine", type=click.Choice([e.value for e in Engine]),
                         default=Engine.NATIVE.value, show_default=True,
                         help="who carries out the workloads: the guest's agent, or xfstests"),
            click.option("--xfstests", type=click.Path(path_type=Path, resolve_path=True),
                         metavar="DIR", envvar=ENVIRONMENT, show_envvar=True,
                         help="a built xfstests tree, for --engine xfstests"),
            click.option("--bundle", type=click.IntRange(1, 1000), default=DEFAULT_BUNDLE,
                         show_default=True, metavar="N",
                         help="xfstests: N workloads are one test"),
            encryption_option,
            click.option("--defect", metavar="NAME",
                         help="build the module with seeded defects and switch this one on"),
            kmod_option,
            click.option("--impostor", type=click.Choice([i.value for i in Impostor]),
                         help="put this in the backup's place, to see it rejected"),
            link_delay_option,
            click.option("--timeout-s", type=_SECONDS,
                         help=f"per case  [default: {DEFAULT_TIMEOUT_S:.0f}{_TIMES}]"),
            boot_timeout_option,
            click.option("--heartbeat-s", type=click.IntRange(0, 3600),
                         help="a guest without a sign of life for so long hangs; 0: do not ask"
                              f"  [default: {DEFAULT_HEARTBEAT_S:.0f}{_TIMES}]"),
            click.option("--out", type=click.Path(path_type=Path), metavar="DIR",
                         help="run store  [default: reports/ of the checkout]"),
            state_dir_option,
        ],
    )  # fmt: skip


def selection_options(command: Command) -> Command:
    """Which cases, on what."""
    return _with(
        command,
        [
            click.option("--suite", metavar="NAME",
                         help="a suite of `harness suites`, or a TOML file"),
            click.option("--group", metavar="FOLDER/GROUP",
                         help="tests that come with xfstests instead, for --engine xfstests"),
            click.option("--resume", type=click.Path(path_type=Path), metavar="RUN",
                         help="go on with the run in this folder instead"),
            click.option("--fs", multiple=True, default=["ext4"], show_default=True,
                         type=click.Choice(list(FILE_SYSTEMS)), help="may be repeated"),
            click.option("--target", type=click.Choice(TARGET_NAMES),
                         help=f"linear is the control arm  [default: {TARGET_NAMES[0]}]"),
            click.option("--pairs", type=_POSITIVE, default=1, show_default=True,
                         help="pairs of guests at work at once"),
            click.option("--shard", callback=parse_shard, default="1/1", metavar="i/n",
                         help="only the i-th of n slices, by a hash of the workload id"),
            click.option("--sample", type=_POSITIVE, metavar="K", help="K workloads at random"),
            click.option("--seed", type=int, metavar="X",
                         help="shuffle the cases; also seeds --sample"),
            click.option("--limit", type=_POSITIVE, metavar="K", help="the first K workloads"),
            click.option("--duration", callback=parse_duration, metavar="TIME",
                         help="how long suite kmod-endurance goes on: 90s, 30m, 2h"
                              "  [default: 30m]"),
            click.option("--only", multiple=True, metavar="ID", help="may be repeated"),
            click.option("--confirm", type=click.IntRange(0, 100), default=DEFAULT_CONFIRM,
                         show_default=True, metavar="N",
                         help="run a case that failed N times more: flaky if one of them passes"),
            click.option("--fail-fast", is_flag=True, help="stop at the first case not passed"),
            click.option("--time-budget", "time_budget_s", callback=parse_duration, metavar="TIME",
                         help="begin no case after this time: 90s, 30m, 6h"),
            click.option("--time-limit", "time_limit_s", callback=parse_duration, metavar="TIME",
                         help="end the run after this time, whatever is under way"),
            click.option("--max-findings", type=_POSITIVE, metavar="N",
                         help="begin no case once there are N different findings"),
            known_option,
            click.option("--keep-pair", is_flag=True,
                         help="keep the guests until Enter is pressed"),
        ],
    )  # fmt: skip
