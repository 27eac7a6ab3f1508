# SPDX-License-Identifier: Apache-2.0
"""Telling, from one workload alone, whether its text belongs to an earlier address of the suite.

Equal texts come from steps that one workload states and another implies: ``mkdir A`` followed by
``fsync A/foo`` makes A/foo, and so does ``creat A/foo`` make A. A text splits uniquely at its
persistence points, and the clean model's state follows from the text; so equal texts are equal
segment by segment, and every description of a text is a product of descriptions of its segments.
The one with the lowest address stands for the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from ace_workloads.ops import SELF_PERSISTED, CoreOp, OpKind, Persist, Verb
from ace_workloads.space import Ops, Persists, Space
from ace_workloads.walk import Walker

_IMPLIED = frozenset({OpKind.CREAT, OpKind.MKDIR, OpKind.UNLINK})
_SYNCED = frozenset({OpKind.WRITE, OpKind.FDATASYNC})

Description = tuple[CoreOp, Persist]


def _exchangeable(kind: OpKind) -> frozenset[OpKind]:
    """Kinds that can share a segment with ``kind``: each one's own line is implied by the other.

    Any op or persistence op can imply the lines of creat, mkdir and unlink. A write is implied by
    an fdatasync of an empty file, which itself reads like a persistence op. Two ops of the same
    kind can mean the same bytes, such as the start and the end of a short file.
    """
    for group in (_IMPLIED, _SYNCED):
        if kind in group:
            return group
    return frozenset({kind})


class Duplicates:
    """Decides for the workloads of one suite, asked in any order, quickest in address order."""

    def __init__(self, space: Space, walker: Walker) -> None:
        self._space = space
        self._walker = walker
        self._ops: Ops = ()
        self._candidates: list[list[CoreOp]] = []
        """Per position: core ops that might describe the same segment."""
        self._others: dict[Persists, list[Description]] = {}
        """Other descriptions of a segment, by the persistence ops up to and including its own."""

    def is_duplicate(self, ops: Ops, persists: Persists) -> bool:
        """Whether a workload at a lower address has the same text."""
        self._enter(ops)
        if not any(self._candidates):
            return False
        others = [self._others_at(position, persists) for position in range(len(ops))]
        if not any(others):
            return False
        own = zip(ops, persists, strict=True)
        columns = [[description, *rest] for description, rest in zip(own, others, strict=True)]
        return any(self._precedes(descriptions, ops) for descriptions in product(*columns))

    def _enter(self, ops: Ops) -> None:
        self._walker.enter(ops)
        if ops is not self._ops:
            self._ops = ops
            self._others.clear()
            self._candidates = [self._candidates_for(op) for op in ops]

    def _candidates_for(self, op: CoreOp) -> list[CoreOp]:
        return [
            other
            for kind in _exchangeable(op.kind)
            for other in self._space.parameters.get(kind, ())
            if other != op and (kind in _IMPLIED or _same_file(other, op))
        ]

    def _others_at(self, position: int, persists: Persists) -> list[Description]:
        upto = persists[: position + 1]
        others = self._others.get(upto)
        if others is None:
            others = list(self._find_others(position, upto)) if self._candidates[position] else []
            self._others[upto] = others
        return others

    def _find_others(self, position: int, persists: Persists) -> Iterator[Description]:
        steps = self._walker.after_persist(position, persists).steps
        last = position == len(self._ops) - 1
        for other in self._candidates[position]:
            node = self._walker.after_op(position, other, persists[:-1])
            if node.steps != steps[: len(node.steps)]:
                continue
            persist = _persist_after(other, self._ops[position], persists[-1])
            if node.after_persist(persist, last=last).steps == steps:
                yield other, persist

    def _precedes(self, descriptions: tuple[Description, ...], ops: Ops) -> bool:
        """Whether the descriptions are a workload of the suite with a lower address than ``ops``.

        Descriptions with the same ops as ``ops`` are those of the workload itself.
        """
        other_ops = tuple(op for op, _ in descriptions)
        if self._space.order(other_ops) >= self._space.order(ops):
            return False
        return self._space.contains(other_ops, tuple(persist for _, persist in descriptions))


def _same_file(one: CoreOp, other: CoreOp) -> bool:
    return (one.path, one.path2, one.flags) == (other.path, other.path2, other.flags)


def _persist_after(op: CoreOp, instead_of: CoreOp, persist: Persist) -> Persist:
    """What follows ``op`` in a segment that ``instead_of`` and ``persist`` describe as well."""
    if op.kind.persists_itself:
        return SELF_PERSISTED
    if instead_of.kind.persists_itself:
        return Persist(Verb.FDATASYNC, instead_of.path)
    return persist
