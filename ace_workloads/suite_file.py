# SPDX-License-Identifier: Apache-2.0
"""Suites from TOML: the keys are the fields of ``Bounds``, each checked before it is believed.

A table ``[original]`` overrides keys in original mode. A key ``workloads`` instead of bounds lists
workloads one by one (see ``listing``); ``jlang`` names a file beside this one that has their texts
(see ``imported``).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any

from ace_workloads.bounds import FALLOC_MODES, Bounds, Cut, Extent, Pairs, Reach
from ace_workloads.errors import SuiteError
from ace_workloads.imported import Texts
from ace_workloads.jlang import DEFINED_NAMES
from ace_workloads.listing import parse_entry
from ace_workloads.names import is_file
from ace_workloads.ops import Mode, OpKind, Verb
from ace_workloads.space import Ops, Persists

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_FILES = tuple(name for name in DEFINED_NAMES if is_file(name))
_DIRS = tuple(name for name in DEFINED_NAMES if name and not is_file(name))
_PERSIST = (Verb.FSYNC, Verb.FDATASYNC, Verb.SYNC)

Check = Callable[[Any], Any]
"""Turns a TOML value into a field value; ValueError says what was expected instead."""


@dataclass(frozen=True, slots=True)
class SuiteFile:
    """What a TOML file says, for one mode."""

    name: str
    covers: str
    bounds: Bounds
    entries: tuple[tuple[Ops, Persists], ...] = ()
    """Listed workloads; empty if the bounds are what counts."""
    texts: Texts | None = None
    """Workloads by their texts; None if the bounds are what counts."""


def read_suite_file(path: Path, mode: Mode) -> SuiteFile:
    """Read and check a suite.

    Raises:
        SuiteError: unreadable, not TOML, or a key or value that does not make sense.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"cannot read suite {path}: {error}") from error
    return parse_suite(text, mode, source=str(path), folder=path.parent)


def parse_suite(text: str, mode: Mode, *, source: str, folder: Path | None = None) -> SuiteFile:
    """Like ``read_suite_file``, from text; ``source`` is what messages call it.

    ``folder`` is where a file named in it is looked for.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SuiteError(f"{source}: not TOML: {error}") from error
    overrides = table.pop("original", {})
    if not isinstance(overrides, dict):
        raise SuiteError(f"{source}: original = {overrides!r}: expected a table")
    checked = _checked(table, {**_HEADING, **_FIELDS, **_LISTS}, source)
    # checked in either mode: a mistake must not wait for the day it is used
    original = _checked(overrides, _FIELDS, f"{source}: [original]")
    name, covers = checked.pop("name", None), checked.pop("covers", "")
    if name is None:
        raise SuiteError(f"{source}: name is missing")
    if "jlang" in checked or "sha256" in checked:
        return _with_texts(name, covers, checked, mode, source, folder)
    entries = checked.pop("workloads", ())
    if entries:
        _only(checked, ("append_bytes",), source)
        return SuiteFile(name, covers, _bounds_of_list(entries, checked), entries)
    if "length" not in checked:
        raise SuiteError(f"{source}: length is missing: the number of core ops, 1 to 4")
    plain, overridden = Bounds(**checked), Bounds(**{**checked, **original})
    for bounds in (plain, overridden):
        _check_together(bounds, source)
    return SuiteFile(name, covers, plain if mode is Mode.CLEAN else overridden)


def _checked(table: Mapping[str, Any], checks: Mapping[str, Check], source: str) -> dict[str, Any]:
    values = {}
    for key, value in table.items():
        if key not in checks:
            near = get_close_matches(key, checks, n=1)
            hint = f", did you mean {near[0]}?" if near else ""
            raise SuiteError(f"{source}: {key} = {value!r}: no such key{hint}")
        try:
            values[key] = checks[key](value)
        except ValueError as error:
            raise SuiteError(f"{source}: {key} = {value!r}: {error}") from error
    return values


def _with_texts(
    name: str, covers: str, checked: dict[str, Any], mode: Mode, source: str, folder: Path | None
) -> SuiteFile:
    file, sha256 = checked.pop("jlang", None), checked.pop("sha256", None)
    if file is None or sha256 is None or folder is None:
        raise SuiteError(f"{source}: jlang and sha256 go together, in a file")
    if mode is not Mode.CLEAN:
        raise SuiteError(f"{source}: workloads by their texts have no {mode} mode")
    for key, value in checked.items():
        raise SuiteError(f"{source}: {key} = {value!r}: does not go with jlang")
    bounds = Bounds(
        length=1, first_files=_FILES, second_files=(), first_dirs=_DIRS, second_dirs=()
    )  # fmt: skip
    return SuiteFile(name, covers, bounds, texts=Texts.load(folder / file, sha256))


def _only(checked: Mapping[str, Any], allowed: tuple[str, ...], source: str) -> None:
    for key, value in checked.items():
        if key not in allowed:
            raise SuiteError(f"{source}: {key} = {value!r}: does not go with workloads")


def _bounds_of_list(entries: tuple[tuple[Ops, Persists], ...], checked: dict[str, Any]) -> Bounds:
    """Bounds that know every name; the enumeration they would allow is not used."""
    return Bounds(
        length=max(len(ops) for ops, _ in entries),
        first_files=_FILES,
        second_files=(),
        first_dirs=_DIRS,
        second_dirs=(),
        **checked,
    )


def _check_together(bounds: Bounds, source: str) -> None:
    for key in ("files", "dirs"):
        first, second = getattr(bounds, f"first_{key}"), getattr(bounds, f"second_{key}")
        both = sorted(set(first) & set(second))
        if both:
            raise SuiteError(f"{source}: second_{key} = {list(second)!r}: {both[0]} is in both")
    if bounds.append_first and bounds.reuse:
        raise SuiteError(f"{source}: append_first = True: does not go with reuse = True")
    for skeleton in bounds.exclude:
        if len(skeleton.split(",")) != bounds.length:
            value = f"exclude = {list(bounds.exclude)!r}"
            raise SuiteError(f"{source}: {value}: {skeleton} does not have {bounds.length} ops")


# -- checks of single values ---------------------------------------------------------------------


def _entries(value: Any) -> tuple[tuple[Ops, Persists], ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("expected a list of workloads")
    entries = []
    for lines in value:
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise ValueError(f"expected a list of lines, not {lines!r}")
        entry = parse_entry(lines)
        if entry in entries:
            raise ValueError(f"the same workload twice: {lines!r}")
        entries.append(entry)
    return tuple(entries)


def _file_name(value: Any) -> str:
    if not isinstance(value, str) or value in ("", ".", "..") or set(value) & set("/\n\0"):
        raise ValueError("expected the name of a file beside this one")
    return value


def _digest(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError("expected 64 hex digits")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError("expected lower-case letters, digits, dots and dashes")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\n" in value:
        raise ValueError("expected one line of text")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _length(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 4:
        raise ValueError("expected a number of core ops from 1 to 4")
    return value


def _append_bytes(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 4096 or value % 4096:
        raise ValueError("expected a multiple of 4096")
    return value


def _choice(values: type[StrEnum]) -> Check:
    def check(value: Any) -> StrEnum:
        if value not in tuple(values):
            raise ValueError(f"expected one of {', '.join(values)}")
        return values(value)

    return check


def _some(values: tuple[str, ...], *, empty: bool = False) -> Check:
    """A list of different elements of ``values``, given back as members of ``values``."""

    def check(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not (value or empty):
            raise ValueError("expected a list")
        for element in value:
            if element not in values:
                raise ValueError(f"{element!r} is not one of {', '.join(values)}")
        if len(set(value)) != len(value):
            raise ValueError("an element stands twice")
        return tuple(values[values.index(element)] for element in value)

    return check


def _skeletons(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("expected a list of skeletons")
    for skeleton in value:
        if not isinstance(skeleton, str):
            raise ValueError(f"{skeleton!r} is not a skeleton such as 'write,link'")
        for word in skeleton.split(","):
            if word not in tuple(OpKind):
                raise ValueError(f"{word!r} is not a core op")
    return tuple(value)


_HEADING: dict[str, Check] = {"name": _name, "covers": _text}

_LISTS: dict[str, Check] = {"workloads": _entries, "jlang": _file_name, "sha256": _digest}

_FIELDS: dict[str, Check] = {
    "length": _length,
    "ops": _some(tuple(OpKind)),
    "first_files": _some(_FILES),
    "second_files": _some(_FILES, empty=True),
    "first_dirs": _some(_DIRS, empty=True),
    "second_dirs": _some(_DIRS, empty=True),
    "link": _choice(Pairs),
    "symlink": _choice(Pairs),
    "rename": _choice(Pairs),
    "write": _some(tuple(Extent)),
    "falloc": _some(tuple(Extent)),
    "dwrite": _some(tuple(Extent)),
    "mmapwrite": _some(tuple(Extent)),
    "truncate": _some(tuple(Cut)),
    "falloc_modes": _some(FALLOC_MODES),
    "append_bytes": _append_bytes,
    "persist": _some(_PERSIST),
    "reach": _choice(Reach),
    "reuse": _flag,
    "append_first": _flag,
    "exclude": _skeletons,
    "repeat_self_persisted": _flag,
}
"""A check per field of ``Bounds``."""
