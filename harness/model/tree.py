# SPDX-License-Identifier: Apache-2.0
"""A file tree as the agent reads it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from harness.model.content import Content


class FileKind(StrEnum):
    """Type of a directory entry, by ``st_mode``."""

    FILE = "file"
    DIR = "dir"
    SYMLINK = "symlink"
    CHARDEV = "chardev"
    BLOCKDEV = "blockdev"
    FIFO = "fifo"
    SOCKET = "socket"


@dataclass(frozen=True, slots=True)
class Entry:
    """One name of the tree with everything ``lstat``, ``listxattr`` and ``read`` say about it."""

    path: str
    """Relative to the mount point, ``""`` for the root itself."""
    kind: FileKind
    mode: int
    """Permission bits only (0o7777)."""
    uid: int
    gid: int
    nlink: int
    size: int
    blocks: int
    """Allocated 512-byte units."""
    ino: int
    mtime_ns: int
    ctime_ns: int
    rdev: int = 0
    xattrs: tuple[tuple[str, bytes], ...] = ()
    link: str | None = None
    """Target of a symbolic link."""
    digest: str | None = None
    """BLAKE2b-128 of the content in hex; regular files only."""
    content: Content | None = None
    """None for anything but a regular file, or where the file exceeds the reading limit."""
    error: str | None = None
    """First system call that failed on this entry, as ``"read: EIO"``."""


@dataclass(frozen=True, slots=True)
class Tree:
    """All entries of one mounted file system, by path. ``lost+found`` is left out when empty."""

    entries: Mapping[str, Entry]

    def children(self, path: str) -> tuple[str, ...]:
        """Names directly under the directory ``path``, sorted."""
        prefix = f"{path}/" if path else ""
        return tuple(
            sorted(
                p[len(prefix) :]
                for p in self.entries
                if p and p.startswith(prefix) and "/" not in p[len(prefix) :]
            )
        )
