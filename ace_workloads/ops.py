# SPDX-License-Identifier: Apache-2.0
"""The steps a workload is made of, as data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verb(StrEnum):
    """First word of a J-lang line."""

    OPEN = "open"
    OPENDIR = "opendir"
    CLOSE = "close"
    MKDIR = "mkdir"
    RMDIR = "rmdir"
    MKNOD = "mknod"
    SYMLINK = "symlink"
    LINK = "link"
    UNLINK = "unlink"
    REMOVE = "remove"
    RENAME = "rename"
    FALLOC = "falloc"
    WRITE = "write"
    DWRITE = "dwrite"
    MMAPWRITE = "mmapwrite"
    TRUNCATE = "truncate"
    FSETXATTR = "fsetxattr"
    REMOVEXATTR = "removexattr"
    FSYNC = "fsync"
    FDATASYNC = "fdatasync"
    SYNC = "sync"
    NONE = "none"
    CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a workload's run section; fields a verb does not take keep their default."""

    verb: Verb
    path: str = ""
    """Disk path below the mount point, ``""`` for the mount point itself (J-lang ``test``)."""
    path2: str = ""
    """Second path of link, rename and symlink; a symlink's text is ``path`` as it stands."""
    mode: int = 0
    """Permission bits of open, opendir, mkdir, mknod."""
    flags: str = ""
    """Open flags (``O_RDWR|O_CREAT``), or the fallocate mode (``FALLOC_FL_KEEP_SIZE``, ``0``)."""
    offset: int = 0
    length: int = 0
    """Bytes written or allocated; the new size for truncate."""
    last: bool = False
    """Checkpoint only: whether it closes the workload (J-lang ``checkpoint 1``)."""


class Mode(StrEnum):
    """Which generator a suite follows."""

    CLEAN = "clean"
    """Corrected: no duplicates, nothing that cannot execute."""
    ORIGINAL = "original"
    """The published generator's multiset, its quirks included."""


class OpKind(StrEnum):
    """The core operations: those that count towards the sequence length."""

    CREAT = "creat"
    MKDIR = "mkdir"
    FALLOC = "falloc"
    WRITE = "write"
    DWRITE = "dwrite"
    MMAPWRITE = "mmapwrite"
    LINK = "link"
    UNLINK = "unlink"
    REMOVE = "remove"
    RENAME = "rename"
    FSETXATTR = "fsetxattr"
    REMOVEXATTR = "removexattr"
    TRUNCATE = "truncate"
    MKNOD = "mknod"
    SYMLINK = "symlink"
    FDATASYNC = "fdatasync"

    @property
    def persists_itself(self) -> bool:
        """Whether the op is its own persistence point, so that no persistence op follows it."""
        return self in (OpKind.MMAPWRITE, OpKind.FDATASYNC)


@dataclass(frozen=True, slots=True)
class CoreOp:
    """One core operation with its arguments, as the bounds enumerate it."""

    kind: OpKind
    path: str
    path2: str = ""
    """Second path of link, rename and symlink."""
    option: str = ""
    """Extent of a write or allocation (``append`` ...), or how truncate cuts (``aligned`` ...)."""
    flags: str = ""
    """fallocate mode, spelt as in J-lang."""


@dataclass(frozen=True, slots=True)
class Persist:
    """The persistence op that follows a core op.

    ``verb`` is fsync or fdatasync with a path, sync, none, or checkpoint after a core op that is
    its own persistence point.
    """

    verb: Verb
    path: str = ""


SELF_PERSISTED = Persist(Verb.CHECKPOINT)
SYNC = Persist(Verb.SYNC)
NO_PERSIST = Persist(Verb.NONE)
