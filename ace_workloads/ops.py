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
    """Second path of link, rename and symlink."""
    mode: int = 0
    """Permission bits of open, opendir, mkdir, mknod."""
    flags: str = ""
    """Open flags (``O_RDWR|O_CREAT``), or the fallocate mode (``0``, ``FALLOC_FL_KEEP_SIZE`` ...)."""
    offset: int = 0
    length: int = 0
    """Bytes written or allocated; the new size for truncate."""
    last: bool = False
    """Checkpoint only: whether it closes the workload (J-lang ``checkpoint 1``)."""
