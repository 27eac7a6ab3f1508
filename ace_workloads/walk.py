# SPDX-License-Identifier: Apache-2.0
"""From addresses to steps, sharing what workloads with a common beginning have in common."""

from __future__ import annotations

from dataclasses import dataclass

from ace_workloads.jlang import format_step
from ace_workloads.model import Model
from ace_workloads.ops import CoreOp, Persist, Step
from ace_workloads.space import Ops, Persists


@dataclass(slots=True)
class Node:
    """The beginning of a workload, carried out: model state, steps so far and their text."""

    model: Model
    steps: tuple[Step, ...]
    text: str

    def grown(self, model: Model) -> Node:
        """The node after what ``model``, a fork of this node's, has emitted."""
        added = model.emitted
        text = self.text + "".join([format_step(step) + "\n" for step in added])
        return Node(model, (*self.steps, *added), text)


class Walker:
    """Carries out workloads of one length, keeping the nodes of the current op prefix.

    Asked for workloads in address order it simulates every op and every persistence op once per
    distinct beginning. Memory is bounded by the persistence combinations of one op sequence.
    """

    def __init__(self, start: Model, length: int) -> None:
        self._last = length - 1
        self._root = Node(start, (), "")
        self._ops: Ops = ()
        self._done: list[dict[Persists, Node]] = [{} for _ in range(length)]
        """Per position: nodes after its core op, by the persistence ops before it."""
        self._persisted: list[dict[Persists, Node]] = [{} for _ in range(length)]
        """Per position: nodes after its persistence op, by the ones up to and including it."""

    def whole(self, ops: Ops, persists: Persists) -> Node:
        """The finished workload."""
        self._enter(ops)
        node = self._after_persist(self._last, persists)
        model = node.model.fork()
        model.finish()
        return node.grown(model)

    def _enter(self, ops: Ops) -> None:
        if ops == self._ops:
            return
        kept = 0
        for old, new in zip(self._ops, ops, strict=False):
            if old is not new and old != new:
                break
            kept += 1
        for position in range(kept, len(ops)):
            self._done[position].clear()
            self._persisted[position].clear()
        self._ops = ops

    def _after_op(self, position: int, before: Persists) -> Node:
        node = self._done[position].get(before)
        if node is None:
            start = self._after_persist(position - 1, before) if position else self._root
            node = apply_op(start, self._ops[position], last=position == self._last)
            self._done[position][before] = node
        return node

    def _after_persist(self, position: int, persists: Persists) -> Node:
        node = self._persisted[position].get(persists)
        if node is None:
            start = self._after_op(position, persists[:-1])
            node = apply_persist(start, persists[-1], last=position == self._last)
            self._persisted[position][persists] = node
        return node


def apply_op(node: Node, op: CoreOp, *, last: bool) -> Node:
    """The node after a core op."""
    model = node.model.fork()
    model.apply(op, last=last)
    return node.grown(model)


def apply_persist(node: Node, persist: Persist, *, last: bool) -> Node:
    """The node after a persistence op."""
    model = node.model.fork()
    model.persist(persist, last=last)
    return node.grown(model)
