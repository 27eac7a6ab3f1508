# SPDX-License-Identifier: Apache-2.0
"""``harness ace import``: workloads that another generator wrote."""

from __future__ import annotations

import re
from pathlib import Path

import click

from ace_workloads.registry import SUITE_NAMES
from harness.errors import EXIT_FINDINGS, UsageError
from harness.export.jlang_files import Imported, import_folder, shown

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@click.command("import")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="of the suite  [default: that of DIR]")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE",
    help="the suite's TOML file; its text, FILE with .jlang, goes beside it  [default: NAME.toml]",
)  # fmt: skip
@click.option("--keep", is_flag=True, help="also what repeats another or cannot be carried out")
@click.option("--show", type=click.IntRange(min=0), default=10, show_default=True, metavar="N",
              help="how many faults to print")  # fmt: skip
@click.pass_context
def import_(
    context: click.Context, folder: Path, name: str | None, out: Path | None, keep: bool, show: int
) -> None:
    """Make a suite of the J-lang files below DIR, such as CrashMonkey's ace writes.

    `harness run --suite FILE` runs it. A workload's index is the number of its file: j-lang12
    becomes NAME/000000012. Where names have no number of their own, files are counted. Repeated
    texts and workloads that can only fail are left out. Exit status 1 if a file is not understood.
    """
    name = name or re.sub(r"[^a-z0-9._-]+", "-", folder.resolve().name.lower()).strip("-._")
    if not _NAME.fullmatch(name) or name in SUITE_NAMES:
        raise UsageError(
            f"{shown(name)!r} is no name for a suite of your own",
            hint="--name: lower-case letters, digits, dots and dashes, and no name of `suites`",
        )
    out = out or Path(f"{name}.toml")
    if out.suffix != ".toml":
        raise UsageError(f"{shown(str(out))} is no suite file", hint="--out FILE.toml")
    done = import_folder(folder, out, name, keep=keep)
    for line in _report(done, folder, out, show):
        click.echo(line)
    context.exit(EXIT_FINDINGS if done.malformed else 0)


def _report(done: Imported, folder: Path, out: Path, show: int) -> list[str]:
    rows = [
        (done.files, f"files below {shown(str(folder))}"),
        (done.others, "are not J-lang"),
        (done.malformed, "are not understood"),
        (done.not_executable, "cannot be carried out, left out"),
        (done.duplicates, "repeat the text of another, left out"),
        (done.written, f"workloads in {shown(str(out))}"),
    ]
    lines = [f"{count:>9,}  {what}" for count, what in rows]
    if done.renumbered:
        lines.append("their names do not have a number each: counted from 1 in the order of names")
    lines += map(str, done.faults[:show])
    more = done.malformed + done.not_executable - len(done.faults[:show])
    if more > 0:
        lines.append(f"and {more:,} more")
    return lines
