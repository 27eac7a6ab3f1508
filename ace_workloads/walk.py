# SPDX-License-Identifier: Apache-2.0
"""From op sequences to steps, sharing what workloads with a common beginning have in common."""

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

    def after_op(self, op: CoreOp, *, last: bool) -> Node:
        """The node after a core op."""
        model = self.model.fork()
        model.apply(op, last=last)
        return self._grown(model)

    def after_persist(self, persist: Persist, *, last: bool) -> Node:
        """The node after a persistence op."""
        model = self.model.fork()
        model.persist(persist, last=last)
        return self._grown(model)

    def finished(self) -> Node:
        """The node after closing what is open."""
        model = self.model.fork()
        model.finish()
        return self._grown(model)

    def _grown(self, model: Model) -> Node:
        added = model.emitted
        text = self.text + "".join([format_step(step) + "\n" for step in added])
        return Node(model, (*self.steps, *added), text)


class Walker:
    """Carries out workloads, keeping the nodes of the current op prefix.

    Asked for workloads in address order it simulates every op and every persistence op once per
    distinct beginning. Memory is bounded by the nodes of one op sequence but its last op.
    """

    def __init__(self, start: Model) -> None:
        self._root = Node(start, (), "")
        self._ops: Ops = ()
        self._done: list[dict[tuple[CoreOp, Persists], Node]] = []
        """Per position: nodes after a core op there, by it and the persistence ops before it."""
        self._persisted: list[dict[Persists, Node]] = []
        """Per position: nodes after its persistence op, by the ones up to and including it."""

    def finished(self, ops: Ops, persists: Persists) -> Node:
        """The whole workload."""
        self.enter(ops)
        return self.after_persist(len(ops) - 1, persists).finished()

    def enter(self, ops: Ops) -> bool:
        """Make ``ops`` the current sequence; tells whether it differs from the one before."""
        if ops is self._ops:
            return False
        if len(ops) != len(self._ops):
            self._done = [{} for _ in ops]
            self._persisted = [{} for _ in ops]
        kept = 0
        for old, new in zip(self._ops, ops, strict=False):
            if old != new:
                break
            kept += 1
        for position in range(kept, len(ops)):
            self._persisted[position].clear()
            if position > kept:
                self._done[position].clear()
        self._ops = ops
        return True

    def after_op(self, position: int, op: CoreOp, before: Persists) -> Node:
        """The node after ``op`` at ``position``, following the current ops and ``before``."""
        node = self._done[position].get((op, before))
        if node is None:
            start = self.after_persist(position - 1, before)
            node = start.after_op(op, last=position == len(self._ops) - 1)
            self._done[position][op, before] = node
        return node

    def after_persist(self, position: int, persists: Persists) -> Node:
        """The node after the persistence op at ``position``; -1 is the empty workload."""
        if position < 0:
            return self._root
        node = self._persisted[position].get(persists)
        if node is None:
            start = self.after_op(position, self._ops[position], persists[:-1])
            node = start.after_persist(persists[-1], last=position == len(self._ops) - 1)
            self._persisted[position][persists] = node
        return node
