# SPDX-License-Identifier: Apache-2.0
"""``harness pair``: two guests that stay up while a module is worked on."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from harness.build.furnish import ROOT_PASSWORD
from harness.build.profile import load_profile
from harness.cli.options import (
    accel_option,
    boot_timeout_option,
    encryption_option,
    guests_option,
    kmod_option,
    kmod_target,
    link_delay_option,
    profile_option,
    state_dir_option,
)
from harness.cli.pair_view import next_steps, status_view
from harness.cli.shell import run_shell
from harness.config import StateDir
from harness.config import state_dir as find_state_dir
from harness.errors import EXIT_FINDINGS, EXIT_PASS, InfraError, UsageError
from harness.report.console import new_console
from harness.run.devpair.client import ask, end, find_pair
from harness.run.devpair.keeper import Keeper, stale_folder
from harness.run.devpair.launch import keep_on_leash, launch
from harness.run.devpair.options import DEFAULT_BYTES, DEFAULT_NAME, SUITE, PairOptions
from harness.run.devpair.wire import Json
from harness.run.options import (
    DEFAULT_BOOT_TIMEOUT_S,
    AcceleratorChoice,
    Encryption,
    Guests,
    RunOptions,
)
from harness.run.targets import TARGET_NAMES, check_target
from harness.vm.live import LiveDir, find_name, sweep

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,20}")
_UNITS = {"M": 1 << 20, "G": 1 << 30}
_LEAST_BYTES, _MOST_BYTES = 16 << 20, 64 << 30
_COMMAND_S = 600
_ROLES = click.Choice(["primary", "backup"])
Command = Callable[..., Any]


@click.group()
def pair() -> None:
    """Keep two guests with a target up, and replace its module as you change it.

    `pair up`, edit, `pair reload`, try, look at `pair status` and `pair log`, `pair down`.
    """


def _name(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    if not _NAME.fullmatch(text):
        raise UsageError(f"no name for a pair: {text!r}", hint="small letters, digits, - and _")
    return text


def _size(_context: click.Context, _parameter: click.Parameter, text: str | None) -> int:
    if text is None:
        return DEFAULT_BYTES
    match = re.fullmatch(r"([0-9]{1,6})([MG])", text)
    size = int(match[1]) * _UNITS[match[2]] if match else 0
    if not _LEAST_BYTES <= size <= _MOST_BYTES:
        raise UsageError(f"no size {text!r}", hint="as in 256M or 2G; from 16M to 64G")
    return size


def _pair_options(command: Command) -> Command:
    """Which pair is meant."""
    name = click.option("--name", default=DEFAULT_NAME, show_default=True, callback=_name,
                        help="which pair, if there are several")  # fmt: skip
    return name(state_dir_option(command))


def _say(text: str) -> None:
    click.echo(text, err=True)


@pair.command()
@profile_option
@click.option("--target", type=click.Choice(TARGET_NAMES), help="default: rollbaccine")
@kmod_option
@guests_option(
    Guests.FULL, "full: a distribution to log in to; micro: up in seconds, without a shell"
)
@click.option(
    "--size",
    "device_bytes",
    callback=_size,
    metavar="SIZE",
    help="of the device: 256M, 2G  [default: 256M]",
)
@encryption_option
@link_delay_option
@accel_option
@boot_timeout_option
@click.option("--foreground", is_flag=True, help="stay, until Ctrl-C or `pair down`")
@_pair_options
@click.pass_context
def up(context: click.Context, /, name: str, device_bytes: int, foreground: bool,
       **values: Any) -> None:  # fmt: skip
    """Boot two guests, build the module, set the target up, and keep all that until `pair down`."""
    options = PairOptions(_run_options(**values), name, device_bytes)
    state = find_state_dir(options.run.state_dir)
    if find_name(state, f"pair {name}") is not None:
        raise UsageError(
            f"pair {name!r} is up already",
            hint="`harness pair status` shows it, `harness pair down` ends it,"
            " --name NAME makes another one",
        )
    if not foreground:
        status = launch(options, _say)
        click.echo(next_steps(status))
        context.exit(EXIT_PASS)

    def on_ready(status: Json) -> None:
        click.echo(next_steps(status))
        click.echo("Ctrl-C ends it")

    Keeper(options, _say).keep(lambda live: None, on_ready)


def _run_options(**values: Any) -> RunOptions:
    patience = load_profile(values["profile"]).patience
    target, kmod = values["target"], values["kmod"]
    values["target"] = kmod_target(kmod, target)
    values["accel"] = AcceleratorChoice(values["accel"])
    values["encryption"] = Encryption(values["encryption"])
    values["guests"] = Guests(values["guests"])
    if values["boot_timeout_s"] is None:
        values["boot_timeout_s"] = DEFAULT_BOOT_TIMEOUT_S * patience
    options = RunOptions(suite=SUITE, **values)
    check_target(options)
    return options


@pair.command(hidden=True)
@click.option("--leash", type=int, required=True)
@click.pass_context
def keep(context: click.Context, leash: int) -> None:
    """The process that keeps a pair; started by `pair up`."""
    context.exit(keep_on_leash(leash))


def _find(name: str, state_dir: Path | None) -> LiveDir:
    return find_pair(find_state_dir(state_dir), name)


@pair.command()
@click.option("--json", "as_json", is_flag=True, help="for scripts: one JSON object")
@_pair_options
@click.pass_context
def status(context: click.Context, as_json: bool, name: str, state_dir: Path | None) -> None:
    """Show guests, link, target and modules; exit status 0 if the target is connected, 1 if not."""
    state = find_state_dir(state_dir)
    if find_name(state, f"pair {name}") is None:
        # Not an error: it is an answer to the question.
        if as_json:
            click.echo(json.dumps({"name": name, "up": False, "connected": False}, indent=2))
        else:
            click.echo(_nothing(state, name))
        context.exit(EXIT_FINDINGS)
    seen = ask(find_pair(state, name), "status", _say)
    if as_json:
        click.echo(json.dumps({**seen, "up": True}, indent=2))
    else:
        status_view(new_console(), seen, time.time())
    context.exit(EXIT_PASS if seen["connected"] else EXIT_FINDINGS)


def _nothing(state: StateDir, name: str) -> str:
    if stale_folder(state, name) is None:
        return f"no pair {name!r} is up"
    return f"pair {name!r} was killed; `harness clean` or the next `harness pair up` tidies up"


def _verb(command: str, text: str) -> None:
    """A command without arguments that asks the keeper for one thing."""

    @_pair_options
    def plain(name: str, state_dir: Path | None) -> None:
        click.echo(ask(_find(name, state_dir), command, _say))

    pair.command(command, help=text)(plain)


def _verb_on_guest(command: str, text: str) -> None:
    @click.argument("role", type=_ROLES)
    @_pair_options
    def on_guest(role: str, name: str, state_dir: Path | None) -> None:
        click.echo(ask(_find(name, state_dir), command, _say, role=role))

    pair.command(command, help=text)(on_guest)


_verb("cut", "Pull the cable of the link.")
_verb("heal", "Put the cable of the link back.")
_verb("reload", "Build the module; if that succeeds, put it in the place of the one loaded. "
      "The target is a fresh one afterwards, what was on it is gone.")  # fmt: skip
_verb_on_guest("kill", "Take the power of the guest ROLE away.")
_verb_on_guest("start", "Boot the guest ROLE again, on its own disk and with empty memory, and "
               "let its node join the other one.")  # fmt: skip
_verb_on_guest("promote", "Make the node in guest ROLE the primary; the other one, if it can be "
               "reached, is demoted first.")  # fmt: skip


@pair.command()
@_pair_options
def down(name: str, state_dir: Path | None) -> None:
    """End both guests; also tidies up after a pair whose keeper was killed."""
    state = find_state_dir(state_dir)
    live = find_name(state, f"pair {name}")
    if live is not None:
        end(live, _say)
        click.echo(f"pair {name!r} is down")
        return
    if stale_folder(state, name) is None:
        click.echo(f"no pair {name!r} is up")
        return
    click.echo(f"pair {name!r} was killed: {sweep(state)} left-over guests ended")


@pair.command(context_settings={"ignore_unknown_options": True})
@click.argument("role", type=_ROLES)
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND...")
@click.option(
    "--timeout-s",
    type=click.IntRange(1, 24 * 3600),
    default=_COMMAND_S,
    show_default=True,
    help="it is killed if it has not ended by then",
)
@_pair_options
@click.pass_context
def run(context: click.Context, role: str, words: tuple[str, ...], timeout_s: int, name: str,
        state_dir: Path | None) -> None:  # fmt: skip
    """Run a command in the guest ROLE; its output (64 KiB at most) and its exit status.

    Not through a shell. As in: harness pair run primary -- mkfs.ext4 /dev/mapper/replicated
    """
    done = ask(_find(name, state_dir), "run", _say, role=role, words=words, timeout_s=timeout_s)
    click.echo(done["output"], nl=False)
    context.exit(int(done["status"]))


@pair.command()
@click.argument("role", type=_ROLES)
@click.option(
    "-n",
    "--lines",
    "count",
    type=click.IntRange(1),
    default=40,
    show_default=True,
    help="how many of the last lines",
)
@click.option("--all", "whole", is_flag=True, help="all of it")
@click.option("--path", "only_path", is_flag=True, help="where the file is, for tail -f")
@_pair_options
def log(role: str, count: int, whole: bool, only_path: bool, name: str,
        state_dir: Path | None) -> None:  # fmt: skip
    """Show the console of the guest ROLE: what its kernel says, of all its boots."""
    seen = ask(_find(name, state_dir), "status", _say)
    console = Path(seen["guests"][role]["console"])
    if only_path:
        click.echo(str(console))
        return
    try:
        text = console.read_bytes().decode(errors="replace")
    except OSError as error:
        raise InfraError(f"cannot read {console}: {error.strerror}") from error
    shown = [_printable(line) for line in text.splitlines()]
    click.echo("\n".join(shown if whole else shown[-count:]))


def _printable(line: str) -> str:
    """Without what a terminal would obey."""
    return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in line)


@pair.command()
@click.argument("role", type=_ROLES)
@_pair_options
def shell(role: str, name: str, state_dir: Path | None) -> None:
    """Log in to the guest ROLE at its serial console; Ctrl-] ends that. Full guests only."""
    live = _find(name, state_dir)
    guest = ask(live, "status", _say)["guests"][role]
    if guest["power"] != "on":
        raise UsageError(f"guest {role} is {guest['power']}", hint=f"harness pair start {role}")
    if guest["console_socket"] is None:
        raise UsageError(
            f"guest {role} is a micro-guest: it has no shell",
            hint=f"`harness pair run {role} -- COMMAND...`, or `harness pair up --guests full`",
        )

    def resize(rows: int, columns: int) -> None:
        words = ["stty", "-F", "/dev/ttyS0", "rows", str(rows), "columns", str(columns)]
        ask(live, "run", _say, role=role, words=words, timeout_s=10)

    said = f"User root, password {ROOT_PASSWORD}"
    run_shell(Path(guest["console_socket"]), resize, said)
