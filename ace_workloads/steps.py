# SPDX-License-Identifier: Apache-2.0
"""Shared step objects: a suite of millions of workloads uses only a few hundred different steps."""

from __future__ import annotations

from functools import cache

from ace_workloads.bounds import Extent
from ace_workloads.ops import Step, Verb

ALL_PERMISSIONS = 0o777
UNALIGNED_SIZE = 2500
"""What an unaligned truncate leaves."""

NONE = Step(Verb.NONE)
SYNC = Step(Verb.SYNC)
CHECKPOINTS = (Step(Verb.CHECKPOINT), Step(Verb.CHECKPOINT, last=True))
"""Indexed by whether it is the workload's last one."""


@cache
def named(verb: Verb, path: str) -> Step:
    """A step that takes one name and nothing else."""
    return Step(verb, path)


@cache
def paired(verb: Verb, path: str, path2: str) -> Step:
    """link, symlink or rename."""
    return Step(verb, path, path2)


@cache
def created(verb: Verb, path: str) -> Step:
    """opendir, mkdir or mknod, with all permissions."""
    return Step(verb, path, mode=ALL_PERMISSIONS)


@cache
def opened(path: str) -> Step:
    """Open a file, creating it if it is not there."""
    return Step(Verb.OPEN, path, mode=ALL_PERMISSIONS, flags="O_RDWR|O_CREAT")


@cache
def sized(verb: Verb, path: str, offset: int, length: int, flags: str = "") -> Step:
    """write, dwrite, mmapwrite, falloc or truncate."""
    return Step(verb, path, offset=offset, length=length, flags=flags)


def extent_bytes(extent: str, size: int, append_bytes: int) -> tuple[int, int]:
    """Offset and length of an extent in a file of ``size`` bytes; the offset may be negative."""
    if extent == Extent.APPEND:
        return size, append_bytes
    return {
        Extent.OVERLAP_START: (0, 8192),
        Extent.OVERLAP_END: (size - 8192, 8192),
        Extent.OVERLAP_ALIGNED: (0, 4096),
        Extent.OVERLAP_UNALIGNED: (1000, 3000),
        Extent.OVERLAP_UNALIGNED_START: (0, 5000),
        Extent.OVERLAP_UNALIGNED_END: (size - 5000, 5000),
        Extent.OVERLAP_EXTEND: (size - 2000, 5000),
    }[Extent(extent)]
