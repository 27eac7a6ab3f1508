# SPDX-License-Identifier: Apache-2.0
"""Expected and recovered tree of one crash point side by side: the oracle says, reports show."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.model.verdict import Check


class Mark(StrEnum):
    """How what was found stands to what was on the primary."""

    SAME = "same"
    OPEN = "open"
    """Different, and a crash may do that: it was not persisted."""
    BROKEN = "broken"
    """Different, and no crash may do that."""


@dataclass(frozen=True, slots=True)
class FileRange:
    """Bytes [start, end) of a file that have one expectation and one finding."""

    start: int
    end: int
    expected: tuple[int, ...]
    """What they may be: workload lines whose data it is, 0 for zeros, the latest last; none at all
    behind the end that the file should have."""
    found: int | None
    """Workload line whose data was found, 0 for zeros, -1 for anything else; None behind the end of
    the file that was found."""
    promised: bool
    """Persisted and not changed since, so that one value only is legal."""
    mark: Mark


@dataclass(frozen=True, slots=True)
class NameRow:
    """One name of either tree."""

    path: str
    mark: Mark
    expected: tuple[str, ...]
    """What is promised of it, fact by fact; none for a name that should not be there."""
    found: tuple[str, ...]
    """What is there; none for a name that is missing."""
    broken: tuple[Check, ...] = ()
    """The rules that it breaks."""
    size: int = 0
    """Of the file on the primary."""
    ranges: tuple[FileRange, ...] = ()
    """Of a file whose content was read back."""


@dataclass(frozen=True, slots=True)
class CrashComparison:
    """Everything that is to be seen in the trees of one crash point."""

    checkpoint: int
    line: int
    """Workload line after which the crash was, its checkpoint mark left out."""
    rows: tuple[NameRow, ...]
    recovered: bool
    """Whether there was anything to compare with."""
    elsewhere: tuple[Check, ...] = ()
    """Broken rules that are about no name of either tree."""
