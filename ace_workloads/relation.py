# SPDX-License-Identifier: Apache-2.0
"""Which core ops may stand together in one workload.

A relation is a small state machine over the ops of a sequence: ``advance`` gives the next state,
or None if the sequence is not part of the suite. States are hashable, so counts can be memoised.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

from ace_workloads.bounds import Bounds, Extent
from ace_workloads.names import parent
from ace_workloads.ops import CoreOp, Mode, OpKind


class Relation(Protocol):
    """A filter over sequences of core ops."""

    def start(self) -> Hashable:
        """State before the first op."""
        ...

    def advance(self, state: Hashable, position: int, op: CoreOp) -> Hashable | None:
        """State after ``op`` at ``position`` (from 0), or None to drop the sequence."""
        ...


class Unrelated:
    """Keeps everything."""

    def start(self) -> Hashable:
        return 0

    def advance(self, state: Hashable, position: int, op: CoreOp) -> Hashable | None:
        return state


@dataclass(frozen=True, slots=True)
class AppendFirst:
    """The first op appends, and at least one later op does not."""

    length: int

    def start(self) -> Hashable:
        return True

    def advance(self, state: Hashable, position: int, op: CoreOp) -> Hashable | None:
        appends = op.option == Extent.APPEND
        if position == 0:
            return True if appends else None
        only_appends = bool(state) and appends
        if position == self.length - 1 and only_appends:
            return None
        return only_appends


class SharedNames:
    """Every op after the first touches a name, or a directory of a name, used before it."""

    def start(self) -> Hashable:
        return frozenset[str]()

    def advance(self, state: Hashable, position: int, op: CoreOp) -> Hashable | None:
        assert isinstance(state, frozenset)
        names = _names_and_dirs(op)
        if position and not names & state:
            return None
        return state | names


def _names_and_dirs(op: CoreOp) -> frozenset[str]:
    names = set()
    for path in (op.path, op.path2):
        while path:
            names.add(path)
            path = parent(path)
    return frozenset(names)


class OriginalReuse:
    """The published filter: compares arguments, options and single characters as if all were names.

    Plain names are split into characters (quirk Q2), so that ``creat foo`` and ``write foo`` have
    nothing in common while ``write foo append`` and ``write A/foo append`` share a word.
    """

    _DIRS = frozenset(("A", "B", "A/C"))
    _PLAIN = frozenset(
        {OpKind.CREAT, OpKind.MKDIR, OpKind.UNLINK, OpKind.REMOVE, OpKind.FSETXATTR,
         OpKind.REMOVEXATTR, OpKind.MKNOD, OpKind.FDATASYNC}
    )  # fmt: skip

    def start(self) -> Hashable:
        return frozenset[str]()

    def advance(self, state: Hashable, position: int, op: CoreOp) -> Hashable | None:
        assert isinstance(state, frozenset)
        plain = op.kind in self._PLAIN
        words = op.path if plain else (op.path, op.path2, op.flags, op.option)
        tokens = frozenset(words) - {""}
        # a directory rename is the only pair that leaves two words of which one is a directory
        after_dir_rename = len(state) == 2 and bool(state & self._DIRS)
        head = op.path[0] if plain else op.path
        passes = bool(tokens & state) or head in self._DIRS or after_dir_rename
        return state | tokens if passes or position == 0 else None


def relation_of(bounds: Bounds, mode: Mode) -> Relation:
    """The relation that ``bounds`` ask for."""
    if bounds.append_first:
        return AppendFirst(bounds.length)
    if not bounds.reuse:
        return Unrelated()
    return SharedNames() if mode is Mode.CLEAN else OriginalReuse()
