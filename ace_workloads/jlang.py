# SPDX-License-Identifier: Apache-2.0
"""J-lang: the line-per-step text form of a workload, read and written.

A file is a constant header and a ``# run`` section; only the run section carries information.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from ace_workloads.names import from_jlang, is_known, to_jlang
from ace_workloads.ops import Step, Verb

DEFINED_NAMES = (
    "", "A", "A/C", "B", "foo", "bar", "A/foo", "A/bar", "B/foo", "B/bar", "A/C/foo", "A/C/bar",
)  # fmt: skip
"""Disk names every header declares, in the order the original writes them."""

_RUN_MARK = "# run"
_ONE_NAME = frozenset(
    {Verb.CLOSE, Verb.RMDIR, Verb.UNLINK, Verb.REMOVE, Verb.FSETXATTR, Verb.REMOVEXATTR,
     Verb.FSYNC, Verb.FDATASYNC}
)  # fmt: skip
_TWO_NAMES = frozenset({Verb.LINK, Verb.SYMLINK, Verb.RENAME})
_WITH_MODE = frozenset({Verb.OPENDIR, Verb.MKDIR, Verb.MKNOD})
_EXTENT = frozenset({Verb.WRITE, Verb.DWRITE, Verb.MMAPWRITE})


class JlangError(ValueError):
    """A text that is not J-lang; the message names the line."""


@lru_cache(maxsize=4096)
def format_step(step: Step) -> str:
    """The J-lang line of ``step``, without the line end."""
    verb, name = step.verb, to_jlang(step.path)
    if verb in _ONE_NAME:
        return f"{verb} {name}"
    if verb in _TWO_NAMES:
        return f"{verb} {name} {to_jlang(step.path2)}"
    if verb in _WITH_MODE:
        return f"{verb} {name} {step.mode:04o}"
    if verb in _EXTENT:
        return f"{verb} {name} {step.offset} {step.length}"
    if verb is Verb.OPEN:
        return f"{verb} {name} {step.flags} {step.mode:04o}"
    if verb is Verb.FALLOC:
        return f"{verb} {name} {step.flags} {step.offset} {step.length}"
    if verb is Verb.TRUNCATE:
        return f"{verb} {name} {step.length}"
    if verb is Verb.CHECKPOINT:
        return f"{verb} {int(step.last)}"
    return str(verb)


def run_section(steps: Iterable[Step]) -> str:
    """The canonical text of a workload: one line per step, each ended by a newline."""
    return "".join([format_step(step) + "\n" for step in steps])


def content_hash(steps: Iterable[Step]) -> str:
    """sha256 of the run section, 64 hex digits: what a workload is, whatever its number."""
    return hashlib.sha256(run_section(steps).encode()).hexdigest()


def document(steps: Iterable[Step]) -> str:
    """A whole J-lang file: header, then the run section.

    The header differs from the original's constant one only by names the original never uses
    (such as ``B/C``, which a directory rename can make), added at the end of its first section.
    """
    steps = tuple(steps)
    used = {path for step in steps for path in (step.path, step.path2)}
    extra = sorted(used.difference(DEFINED_NAMES))
    names = "\n".join(["test", *DEFINED_NAMES[1:], *extra])
    header = f"# define\n{names}\n\n# declare\nlocal_checkpoint\n\n# setup\n"
    return f"{header}\n\n{_RUN_MARK}\n{run_section(steps)}"


def parse_run_section(text: str) -> tuple[Step, ...]:
    """Steps of a J-lang text: a whole file, or the lines of its run section alone.

    Raises:
        JlangError: a line is not J-lang, or uses a name that does not exist.
    """
    lines = text.splitlines()
    start = lines.index(_RUN_MARK) + 1 if _RUN_MARK in lines else 0
    steps = []
    for number, line in enumerate(lines[start:], start + 1):
        if line.strip():
            try:
                steps.append(parse_line(line.strip()))
            except ValueError as error:
                raise JlangError(f"line {number}: {error}") from error
    return tuple(steps)


@lru_cache(maxsize=4096)
def parse_line(line: str) -> Step:
    """The step a J-lang line stands for; ValueError if there is none."""
    word, *arguments = line.split()
    try:
        verb = Verb(word)
    except ValueError:
        raise ValueError(f"unknown verb in {line!r}") from None
    fields = _fields(verb)
    if len(arguments) != len(fields):
        raise ValueError(f"{verb} takes {len(fields)} arguments, not {len(arguments)}: {line!r}")
    pairs = zip(fields, arguments, strict=True)
    values: dict[str, Any] = {name: _READ[name](text) for name, text in pairs}
    return Step(verb=verb, **values)


def _fields(verb: Verb) -> tuple[str, ...]:
    if verb in _ONE_NAME:
        return ("path",)
    if verb in _TWO_NAMES:
        return ("path", "path2")
    if verb in _WITH_MODE:
        return ("path", "mode")
    if verb in _EXTENT:
        return ("path", "offset", "length")
    special = {
        Verb.OPEN: ("path", "flags", "mode"),
        Verb.FALLOC: ("path", "flags", "offset", "length"),
        Verb.TRUNCATE: ("path", "length"),
        Verb.CHECKPOINT: ("last",),
    }
    return special.get(verb, ())


def _read_path(text: str) -> str:
    path = from_jlang(text)
    if not is_known(path):
        raise ValueError(f"no such name: {text!r}")
    return path


def _read_mode(text: str) -> int:
    return int(text, 8)


def _read_last(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(f"checkpoint takes 0 or 1, not {text!r}")
    return text == "1"


_READ: dict[str, Callable[[str], str | int | bool]] = {
    "path": _read_path,
    "path2": _read_path,
    "flags": str,
    "mode": _read_mode,
    "offset": int,
    "length": int,
    "last": _read_last,
}
