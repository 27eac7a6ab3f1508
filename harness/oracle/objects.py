# SPDX-License-Identifier: Apache-2.0
"""What the model is made of: slots, inodes with their history, and persistence ops."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from harness.model.tree import FileKind
from harness.oracle.history import END, Change, History

ROOT = 0
"""Inode number of the mount point in the model."""

Xattrs = tuple[tuple[str, bytes], ...]


class Slot(NamedTuple):
    """A place a name can be in: directory inode and name."""

    dir: int
    name: str


class Promise(StrEnum):
    """What a persistence op covers."""

    EVERYTHING = "sync"
    INODE = "fsync"
    DATA = "fdatasync"
    RANGE_AND_INODE = "O_SYNC write"
    RANGE = "msync"


@dataclass(frozen=True, slots=True)
class Persisted:
    """One persistence op that returned success."""

    line: int
    promise: Promise
    inode: int = ROOT
    start: int = 0
    end: int = END


@dataclass(slots=True)
class Inode:
    """One object, alive or not, with all it has ever been."""

    id: int
    kind: FileKind | None
    """None for mknod: whatever the primary's live tree says it made."""
    born: int
    mode: int
    """Permission bits asked for, before the umask."""
    target: str | None = None
    size: History[int] = field(default_factory=lambda: History(0, 0))
    xattrs: History[Xattrs] = field(default_factory=lambda: History[Xattrs](0, ()))
    changes: list[Change] = field(default_factory=list)
    ends: list[tuple[int, int]] = field(default_factory=list)
    """(line, end) of every range that was written, allocated or zeroed."""
    touched: list[int] = field(default_factory=list)
    """Lines that may have changed any attribute, times included."""
    logged: list[int] = field(default_factory=list)
    """Lines whose change certainly was a metadata transaction naming this inode: creation, names,
    directory entries, extended attributes. A write is none: within one clock tick it dirties
    nothing but pages."""

    @property
    def is_dir(self) -> bool:
        return self.kind is FileKind.DIR
