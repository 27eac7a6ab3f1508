# SPDX-License-Identifier: Apache-2.0
"""A suite: named bounds in one mode, as a stream of workloads that can be entered anywhere."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from ace_workloads.bounds import Bounds
from ace_workloads.clean import CleanModel
from ace_workloads.duplicates import Duplicates
from ace_workloads.errors import SuiteError
from ace_workloads.model import Model
from ace_workloads.ops import Mode
from ace_workloads.original import OriginalModel
from ace_workloads.space import Ops, Persists, Space
from ace_workloads.walk import Walker
from ace_workloads.workload import Workload

Shard = tuple[int, int]
"""(i, n): the i-th of n slices, i from 1."""


class Addresses(Protocol):
    """Numbered (core ops, persistence ops) combinations: a ``Space``, or a list."""

    def size(self) -> int: ...

    def walk(self) -> Iterator[tuple[int, Ops, Persists]]: ...

    def locate(self, address: int) -> tuple[Ops, Persists]: ...


@dataclass(frozen=True, slots=True)
class Listed:
    """Combinations written down one by one."""

    entries: tuple[tuple[Ops, Persists], ...]

    def size(self) -> int:
        return len(self.entries)

    def walk(self) -> Iterator[tuple[int, Ops, Persists]]:
        return ((number, *entry) for number, entry in enumerate(self.entries))

    def locate(self, address: int) -> tuple[Ops, Persists]:
        return self.entries[address]


@dataclass(frozen=True)
class Suite:
    """What ``load_suite`` returns.

    A workload's index is its address in the enumeration of the bounds, counted from 1. In clean
    mode an address whose workload repeats the text of an earlier one stays empty, so indices have
    gaps but never shift; in original mode there are none.
    """

    name: str
    covers: str
    """One line: what the suite exercises."""
    mode: Mode
    bounds: Bounds
    addresses: Addresses
    recorded_count: int | None = None
    """Number of workloads where it is known beforehand (``suites/counts.toml``)."""

    def count(self) -> int:
        """Number of workloads; enumerates a clean suite whose count is not recorded."""
        if self.recorded_count is not None:
            return self.recorded_count
        return self.enumerated_count()

    def enumerated_count(self) -> int:
        """Number of workloads, from the bounds alone."""
        if self.mode is Mode.ORIGINAL or not isinstance(self.addresses, Space):
            return self.addresses.size()
        duplicates = Duplicates(self.addresses, self._new_walker())
        walk = self.addresses.walk()
        return sum(not duplicates.is_duplicate(ops, persists) for _, ops, persists in walk)

    def iter(self, shard: Shard = (1, 1)) -> Iterator[Workload]:
        """The workloads of a shard, in order of their index.

        A workload belongs to shard ``crc32(id) mod n + 1``: which shard that is depends on
        nothing but its id and n.
        """
        walker = self._new_walker()
        for address, ops, persists in self._members(walker, shard):
            yield self._build(walker, address, ops, persists)

    def __iter__(self) -> Iterator[Workload]:
        return self.iter()

    def indices(self, shard: Shard = (1, 1)) -> Iterator[int]:
        """The indices of a shard's workloads, ascending, without building the workloads."""
        for address, _, _ in self._members(self._new_walker(), shard):
            yield address + 1

    def texts(self, shard: Shard = (1, 1)) -> Iterator[str]:
        """The canonical texts of a shard, without building the workloads around them."""
        walker = self._new_walker()
        for _, ops, persists in self._members(walker, shard):
            yield walker.finished(ops, persists).text

    def workload(self, index: int) -> Workload:
        """The workload with this index, found without enumerating the ones before it.

        Raises:
            SuiteError: there is none, or its text belongs to an earlier one.
        """
        if not 1 <= index <= self.addresses.size():
            size = self.addresses.size()
            raise SuiteError(f"no workload {index} in {self.name}: indices go from 1 to {size}")
        workload = self._find(index)
        if workload is None:
            raise SuiteError(f"no workload {index} in {self.name}: it would repeat an earlier one")
        return workload

    def sample(self, size: int, seed: int | str) -> tuple[Workload, ...]:
        """``size`` different workloads in order of their index, the same for the same seed.

        All of them if the suite has no more. The draws come from sha256, because the sequences of
        ``random`` may differ between Python versions.
        """
        space = self.addresses.size()
        if size > space // 2:
            ranked = sorted(self.iter(), key=lambda workload: _digest(f"{seed}:{workload.id}"))
            return tuple(sorted(ranked[:size], key=lambda workload: workload.index))
        drawn: dict[int, Workload | None] = {}
        found = draw = 0
        while found < size and len(drawn) < space:
            index = _digest(f"{seed}:{self.identifier(0)}:{draw}") % space + 1
            draw += 1
            if index not in drawn:
                drawn[index] = self._find(index)
                found += drawn[index] is not None
        return tuple(workload for _, workload in sorted(drawn.items()) if workload is not None)

    def _find(self, index: int) -> Workload | None:
        ops, persists = self.addresses.locate(index - 1)
        walker, duplicates = self._random_access
        if duplicates is not None and duplicates.is_duplicate(ops, persists):
            return None
        return self._build(walker, index - 1, ops, persists)

    def identifier(self, index: int) -> str:
        """The id of the workload with this index."""
        suffix = "" if self.mode is Mode.CLEAN else f"@{self.mode}"
        return f"{self.name}{suffix}/{index:09d}"

    def start_model(self) -> Model:
        """The empty file system, as the suite's mode models it."""
        return CleanModel(self.bounds) if self.mode is Mode.CLEAN else OriginalModel(self.bounds)

    def _new_walker(self) -> Walker:
        return Walker(self.start_model())

    def _duplicates(self, walker: Walker) -> Duplicates | None:
        if self.mode is Mode.CLEAN and isinstance(self.addresses, Space):
            return Duplicates(self.addresses, walker)
        return None

    @cached_property
    def _random_access(self) -> tuple[Walker, Duplicates | None]:
        walker = self._new_walker()
        return walker, self._duplicates(walker)

    def _members(self, walker: Walker, shard: Shard) -> Iterator[tuple[int, Ops, Persists]]:
        number, of = shard
        if not 1 <= number <= of:
            raise SuiteError(f"no shard {number}/{of}: i/n needs 1 <= i <= n")
        duplicates = self._duplicates(walker)
        for address, ops, persists in self.addresses.walk():
            if of > 1 and shard_of(self.identifier(address + 1), of) != number:
                continue
            if duplicates is None or not duplicates.is_duplicate(ops, persists):
                yield address, ops, persists

    def _build(self, walker: Walker, address: int, ops: Ops, persists: Persists) -> Workload:
        return Workload(
            id=self.identifier(address + 1),
            suite=self.name,
            index=address + 1,
            mode=self.mode,
            core=ops,
            persist=persists,
            steps=walker.finished(ops, persists).steps,
        )


def shard_of(identifier: str, of: int) -> int:
    """Which of ``of`` shards, from 1, a workload id belongs to."""
    return zlib.crc32(identifier.encode()) % of + 1


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
