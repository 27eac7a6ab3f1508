# SPDX-License-Identifier: Apache-2.0
"""The address space of a suite: counting it and finding address k without walking to it.

An address names a skeleton, then one parameter choice per position, then one persistence choice
per position, the last factor changing fastest. How many persistence choices there are depends on
the names the parameters use; sizes are therefore summed over the few distinct states a prefix can
be in, which is exact and needs no enumeration of workloads.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Hashable, Iterator
from functools import cached_property, lru_cache
from itertools import accumulate, product
from math import prod

from ace_workloads.bounds import (
    Bounds,
    enumerated_ops,
    parameters,
    reached_names,
    skeletons,
    used_names,
)
from ace_workloads.ops import (
    NO_PERSIST,
    SELF_PERSISTED,
    SYNC,
    CoreOp,
    Mode,
    OpKind,
    Persist,
    Verb,
)
from ace_workloads.relation import relation_of

Skeleton = tuple[OpKind, ...]
Ops = tuple[CoreOp, ...]
Persists = tuple[Persist, ...]


class Space:
    """Every (core ops, persistence ops) combination of some bounds, numbered from 0."""

    def __init__(self, bounds: Bounds, mode: Mode) -> None:
        self.bounds = bounds
        self.mode = mode
        self.parameters = parameters(bounds, mode)
        self.relation = relation_of(bounds, mode)
        self.skeletons: tuple[Skeleton, ...] = tuple(
            skeletons(bounds, enumerated_ops(bounds, mode))
        )
        self._repeat_self = bounds.repeat_self_persisted and mode is Mode.ORIGINAL
        self._used = {
            op: used_names(bounds, op) for choices in self.parameters.values() for op in choices
        }
        self._completions = lru_cache(maxsize=None)(self._count_completions)
        self._classes = lru_cache(maxsize=None)(self._count_classes)
        self._persists = lru_cache(maxsize=None)(self._count_persists)
        self._choices = lru_cache(maxsize=4096)(self._enumerate_persists)

    # -- counting --------------------------------------------------------------------------

    @cached_property
    def _ends(self) -> list[int]:
        """Address after the last one of each skeleton."""
        return list(accumulate(self.skeleton_size(skeleton) for skeleton in self.skeletons))

    def size(self) -> int:
        """Number of addresses."""
        return self._ends[-1] if self.skeletons else 0

    def skeleton_size(self, skeleton: Skeleton) -> int:
        """Number of addresses of one skeleton."""
        return self._completions(skeleton, 0, frozenset(), self.relation.start())

    def _count_completions(
        self, skeleton: Skeleton, position: int, used: frozenset[str], state: Hashable
    ) -> int:
        """Addresses below a prefix of ``position`` ops that used ``used`` and reached ``state``."""
        if position == len(skeleton):
            return self._persists(skeleton, used)
        return sum(
            many * self._completions(skeleton, position + 1, used | more, after)
            for (more, after), many in self._classes(skeleton[position], position, state).items()
        )

    def _count_classes(
        self, kind: OpKind, position: int, state: Hashable
    ) -> Counter[tuple[frozenset[str], Hashable]]:
        """The distinct outcomes of putting some op of ``kind`` at ``position``, and how often."""
        outcomes: Counter[tuple[frozenset[str], Hashable]] = Counter()
        for op in self.parameters[kind]:
            after = self.relation.advance(state, position, op)
            if after is not None:
                outcomes[self._used[op], after] += 1
        return outcomes

    def _count_persists(self, skeleton: Skeleton, used: frozenset[str]) -> int:
        return prod(len(choices) for choices in self._choices(skeleton, used))

    # -- persistence -----------------------------------------------------------------------

    def _enumerate_persists(self, skeleton: Skeleton, used: frozenset[str]) -> tuple[Persists, ...]:
        names = reached_names(self.bounds, used)
        final: list[Persist] = []
        for verb in self.bounds.persist:
            if verb is Verb.SYNC:
                final.append(SYNC)
            else:
                final.extend(Persist(verb, name) for name in names)
        last = len(skeleton) - 1
        return tuple(
            self._choices_after(kind, (*final, NO_PERSIST) if position < last else tuple(final))
            for position, kind in enumerate(skeleton)
        )

    def _choices_after(self, kind: OpKind, choices: Persists) -> Persists:
        if not kind.persists_itself:
            return choices
        return (SELF_PERSISTED,) * (len(choices) if self._repeat_self else 1)

    def persist_choices(self, ops: Ops) -> tuple[Persists, ...]:
        """Persistence choices of each position, in enumeration order."""
        used = frozenset[str]().union(*(self._used[op] for op in ops))
        return self._choices(tuple(op.kind for op in ops), used)

    # -- addressing ------------------------------------------------------------------------

    def combinations(self, skeleton: Skeleton) -> Iterator[Ops]:
        """The parameter combinations of a skeleton that the relation keeps, in order."""
        yield from self._combine(skeleton, (), self.relation.start())

    def _combine(self, skeleton: Skeleton, ops: Ops, state: Hashable) -> Iterator[Ops]:
        position = len(ops)
        if position == len(skeleton):
            yield ops
            return
        for op in self.parameters[skeleton[position]]:
            after = self.relation.advance(state, position, op)
            if after is not None:
                yield from self._combine(skeleton, (*ops, op), after)

    def walk(self) -> Iterator[tuple[int, Ops, Persists]]:
        """Everything in the space, in address order."""
        address = 0
        for skeleton in self.skeletons:
            for ops in self.combinations(skeleton):
                for persists in product(*self.persist_choices(ops)):
                    yield address, ops, persists
                    address += 1

    def locate(self, address: int) -> tuple[Ops, Persists]:
        """What address ``address`` (from 0) stands for; IndexError outside the space."""
        if not 0 <= address < self.size():
            raise IndexError(f"address {address} is not in 0..{self.size() - 1}")
        number = bisect_right(self._ends, address)
        skeleton = self.skeletons[number]
        rest = address - (self._ends[number - 1] if number else 0)
        ops: Ops = ()
        used, state = frozenset[str](), self.relation.start()
        for position, kind in enumerate(skeleton):
            for op in self.parameters[kind]:
                after = self.relation.advance(state, position, op)
                if after is None:
                    continue
                below = self._completions(skeleton, position + 1, used | self._used[op], after)
                if rest < below:
                    ops, used, state = (*ops, op), used | self._used[op], after
                    break
                rest -= below
        return ops, _mixed_radix(rest, self.persist_choices(ops))

    def contains(self, ops: Ops, persists: Persists) -> bool:
        """Whether the combination has an address."""
        state: Hashable | None = self.relation.start()
        for position, op in enumerate(ops):
            if op not in self._used or state is None:
                return False
            state = self.relation.advance(state, position, op)
        if state is None or ",".join(op.kind for op in ops) in self.bounds.exclude:
            return False
        allowed = self.persist_choices(ops)
        return all(persist in choices for persist, choices in zip(persists, allowed, strict=True))

    def order(self, ops: Ops) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Sort key of op sequences that agrees with the order of their addresses."""
        ranks = tuple(self._rank[op] for op in ops)
        return tuple(self._kind_rank[op.kind] for op in ops), ranks

    @cached_property
    def _kind_rank(self) -> dict[OpKind, int]:
        return {kind: number for number, kind in enumerate(self.parameters)}

    @cached_property
    def _rank(self) -> dict[CoreOp, int]:
        ordered = (op for choices in self.parameters.values() for op in choices)
        return {op: number for number, op in enumerate(ordered)}


def _mixed_radix(number: int, choices: tuple[Persists, ...]) -> Persists:
    """The ``number``-th element of the product of ``choices``, last factor fastest."""
    digits = []
    for column in reversed(choices):
        number, digit = divmod(number, len(column))
        digits.append(column[digit])
    return tuple(reversed(digits))
