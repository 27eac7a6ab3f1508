# SPDX-License-Identifier: Apache-2.0
"""Bounds: the limits within which a suite is exhaustive, and the parameters they allow.

The defaults are those of ACE's unified generator, nested variant left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

from ace_workloads.names import parent, sibling
from ace_workloads.ops import CoreOp, Mode, OpKind, Verb


class Extent(StrEnum):
    """Where a write or an allocation goes, relative to the file's size at that moment."""

    APPEND = "append"
    OVERLAP_START = "overlap_start"
    """Bytes 0 to 8192."""
    OVERLAP_END = "overlap_end"
    """The last 8192 bytes."""
    OVERLAP_ALIGNED = "overlap_aligned"
    """Bytes 0 to 4096."""
    OVERLAP_UNALIGNED = "overlap_unaligned"
    """Bytes 1000 to 4000."""
    OVERLAP_UNALIGNED_START = "overlap_unaligned_start"
    """Bytes 0 to 5000."""
    OVERLAP_UNALIGNED_END = "overlap_unaligned_end"
    """The last 5000 bytes."""
    OVERLAP_EXTEND = "overlap_extend"
    """5000 bytes that begin 2000 before the end."""


class Cut(StrEnum):
    """What truncate leaves: nothing, or 2500 bytes."""

    ALIGNED = "aligned"
    UNALIGNED = "unaligned"


class Reach(StrEnum):
    """Which names a persistence op may go to."""

    RANGE = "range"
    """Every name a core op of the workload uses, with its sibling and its parent."""
    USED = "used"
    """The names the core ops use, no others."""


class Pairs(StrEnum):
    """Which (first name, second name) pairs link, symlink and rename take from the file sets."""

    FIRST_SECOND = "first-second"
    ALL_SECOND = "all-second"
    FIRST_ALL = "first-all"


ZERO_RANGE = "FALLOC_FL_ZERO_RANGE"
PUNCH_HOLE = "FALLOC_FL_PUNCH_HOLE"
KEEP_SIZE = "FALLOC_FL_KEEP_SIZE"
FALLOC_MODES = (
    ZERO_RANGE,
    f"{ZERO_RANGE}|{KEEP_SIZE}",
    f"{PUNCH_HOLE}|{KEEP_SIZE}",
    KEEP_SIZE,
    "0",
)

UNIFIED_OPS = tuple(OpKind)[:13]
"""Core ops of ACE's unified generator, in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a suite enumerates; every field can be set from a TOML file (``suite_file``)."""

    length: int
    """Number of core ops, 1 to 4."""
    ops: tuple[OpKind, ...] = UNIFIED_OPS
    first_files: tuple[str, ...] = ("foo", "A/foo")
    second_files: tuple[str, ...] = ("bar", "A/bar")
    first_dirs: tuple[str, ...] = ("A",)
    second_dirs: tuple[str, ...] = ("B",)
    link: Pairs = Pairs.ALL_SECOND
    symlink: Pairs = Pairs.FIRST_SECOND
    rename: Pairs = Pairs.ALL_SECOND
    write: tuple[Extent, ...] = (
        Extent.APPEND,
        Extent.OVERLAP_UNALIGNED_START,
        Extent.OVERLAP_EXTEND,
    )
    falloc: tuple[Extent, ...] = (
        Extent.APPEND,
        Extent.OVERLAP_UNALIGNED_START,
        Extent.OVERLAP_EXTEND,
    )
    dwrite: tuple[Extent, ...] = (Extent.APPEND, Extent.OVERLAP_START)
    mmapwrite: tuple[Extent, ...] = (Extent.APPEND, Extent.OVERLAP_START)
    truncate: tuple[Cut, ...] = (Cut.ALIGNED, Cut.UNALIGNED)
    falloc_modes: tuple[str, ...] = FALLOC_MODES
    append_bytes: int = 32768
    """Length of an append, also of the one that gives an empty file its data."""
    persist: tuple[Verb, ...] = (Verb.FSYNC, Verb.SYNC)
    """Persistence ops: fsync, fdatasync, sync. ``none`` is always allowed but at the end."""
    reach: Reach = Reach.RANGE
    reuse: bool = False
    """Whether each op after the first must touch a name that an earlier one used."""
    append_first: bool = False
    """Whether the first op must be an append, and not all of them may be."""
    exclude: tuple[str, ...] = ()
    """Skeletons left out, as in ``write,write,write``."""
    repeat_self_persisted: bool = False
    """Original mode: enumerate persistence ops after core ops that ignore them (quirk Q3)."""

    @property
    def known_files(self) -> frozenset[str]:
        """Files of either set."""
        return frozenset(self.first_files + self.second_files)

    @property
    def known_dirs(self) -> frozenset[str]:
        """Directories of either set, and the mount point."""
        return frozenset((*self.first_dirs, *self.second_dirs, ""))


def skeletons(bounds: Bounds, ops: tuple[OpKind, ...]) -> Iterator[tuple[OpKind, ...]]:
    """Every sequence of kinds from ``ops``, lexicographic in the order of ``ops``."""
    for kinds in product(ops, repeat=bounds.length):
        if ",".join(kinds) not in bounds.exclude:
            yield kinds


def enumerated_ops(bounds: Bounds, mode: Mode) -> tuple[OpKind, ...]:
    """The kinds a mode enumerates.

    remove(3) of a file is unlink(2): in clean mode it is left out where unlink is there.
    """
    if mode is Mode.CLEAN and OpKind.UNLINK in bounds.ops:
        return tuple(kind for kind in bounds.ops if kind is not OpKind.REMOVE)
    return bounds.ops


def parameters(bounds: Bounds, mode: Mode) -> Mapping[OpKind, tuple[CoreOp, ...]]:
    """The arguments each kind can have, in enumeration order."""
    return {kind: tuple(_parameters(bounds, kind, mode)) for kind in enumerated_ops(bounds, mode)}


def _parameters(bounds: Bounds, kind: OpKind, mode: Mode) -> Iterator[CoreOp]:
    first, every = bounds.first_files, bounds.first_files + bounds.second_files
    if kind is OpKind.MKDIR:
        yield from (CoreOp(kind, path) for path in bounds.first_dirs)
    elif kind in (OpKind.UNLINK, OpKind.REMOVE):
        yield from (CoreOp(kind, path) for path in every)
    elif kind is OpKind.FALLOC:
        for path, flags, extent in product(first, bounds.falloc_modes, bounds.falloc):
            yield CoreOp(kind, path, option=extent, flags=flags)
    elif kind in (OpKind.WRITE, OpKind.DWRITE, OpKind.MMAPWRITE, OpKind.TRUNCATE):
        options: tuple[str, ...] = getattr(bounds, kind)
        for path, option in product(first, options):
            yield CoreOp(kind, path, option=option)
    elif kind in (OpKind.LINK, OpKind.SYMLINK, OpKind.RENAME):
        yield from (CoreOp(kind, *pair) for pair in _file_pairs(bounds, getattr(bounds, kind)))
        if kind is OpKind.RENAME:
            yield from (CoreOp(kind, *pair) for pair in _dir_pairs(bounds, mode))
    else:
        yield from (CoreOp(kind, path) for path in first)


def _file_pairs(bounds: Bounds, pairs: Pairs) -> Iterator[tuple[str, str]]:
    first, second = bounds.first_files, bounds.second_files
    sources = first + second if pairs is Pairs.ALL_SECOND else first
    targets = second + first if pairs is Pairs.FIRST_ALL else second
    return ((x, y) for x, y in product(sources, targets) if x != y)


def _dir_pairs(bounds: Bounds, mode: Mode) -> Iterator[tuple[str, str]]:
    for x, y in product(bounds.first_dirs + bounds.second_dirs, bounds.second_dirs):
        inside = y.startswith(x + "/") or x.startswith(y + "/")
        # rename(2) of a directory into itself is EINVAL, onto its own parent ENOTEMPTY
        if x != y and not (inside and mode is Mode.CLEAN):
            yield x, y


_NAME_ORDER = (
    "foo", "bar", "A/foo", "A/bar", "B/foo", "B/bar", "A/C/foo", "A/C/bar", "A", "B", "A/C", "",
)  # fmt: skip


def used_names(bounds: Bounds, op: CoreOp) -> frozenset[str]:
    """The names of the bounds that ``op`` is about."""
    return frozenset((op.path, op.path2 or op.path)) & (bounds.known_files | bounds.known_dirs)


def reached_names(bounds: Bounds, used: frozenset[str]) -> tuple[str, ...]:
    """Names a persistence op of a workload that uses ``used`` may go to, in a fixed order."""
    names = set(used)
    if bounds.reach is Reach.RANGE:
        names.update(sibling(name) for name in used)
        names.update(parent(name) for name in used)
    return tuple(name for name in _NAME_ORDER if name in names)
