# SPDX-License-Identifier: Apache-2.0
"""Which cases a run consists of, in which order: pure."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeVar

from ace_workloads.errors import SuiteError
from ace_workloads.suite import Suite, shard_of
from ace_workloads.workload import Workload
from ace_workloads.written import WrittenWorkload
from harness.errors import UsageError
from harness.model.case import CaseId
from harness.run.endurance.schedule import Round
from harness.run.exercises import EXERCISES, RAW, SUITE, Exercise
from harness.run.filesystems import FILE_SYSTEMS
from harness.run.options import RunOptions
from harness.run.targets import CONTROL
from harness.run.xfstests.foreign import SUITE as FOREIGN_SUITE
from harness.run.xfstests.foreign import ForeignTest, group_tests

# More digits than any suite needs, few enough for any machine to convert.
_INDEX = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Case:
    """A workload on one file system and target; crashes at each of its persistence points."""

    case_id: CaseId
    workload: Workload | WrittenWorkload | Exercise | Round | ForeignTest


class Plan(Protocol):
    """The cases of a run; the same options give the same plan on every machine."""

    @property
    def name(self) -> str:
        """Of the suite."""

    @property
    def planned(self) -> int:
        """How many cases there are in all; so far, where only time tells."""

    def take(self) -> Case | None:
        """The next case, or None when all are taken. Safe to call from several threads."""


class WorkloadPlan:
    """Workloads, file system by file system; built one at a time as they are taken."""

    def __init__(self, suite: Suite, options: RunOptions) -> None:
        """UsageError for what is not in the suite or no file system, or with nothing left to do."""
        for fs in options.fs:
            if fs not in FILE_SYSTEMS:
                known = ", ".join(FILE_SYSTEMS)
                raise UsageError(f"no file system {fs!r}", hint=f"known file systems: {known}")
        self._suite = suite
        self.name = suite.name
        self._target = options.target
        indices = _select(suite, options)
        if not indices:
            raise UsageError(
                f"suite {suite.name}: no workload is left after --shard, --sample, --limit, --only"
            )
        self._todo = [(fs, index) for fs in options.fs for index in _order(indices, fs, options)]
        self.planned = len(self._todo)
        self._next = 0
        self._lock = threading.Lock()

    def take(self) -> Case | None:
        with self._lock:
            if self._next == len(self._todo):
                return None
            fs, index = self._todo[self._next]
            self._next += 1
            workload = self._suite.workload(index)
        return Case(CaseId(workload.id, fs, self._target), workload)


class ExercisePlan:
    """The cases of suite ``device``."""

    def __init__(self, options: RunOptions) -> None:
        """UsageError for an id that is none of them, and for options that make no sense here."""
        if options.target == CONTROL or options.impostor is not None:
            raise UsageError(
                f"suite {SUITE} compares the primary's device with the backup's",
                hint="it needs a target that replicates, and no --impostor",
            )
        if options.sample is not None:
            raise UsageError(
                f"suite {SUITE} is too small for --sample", hint="use --limit or --only"
            )
        names = {exercise.id: exercise for exercise in EXERCISES}
        wanted = [text.partition("@")[0] for text in options.only] or list(names)
        if unknown := [name for name in wanted if name not in names]:
            raise UsageError(
                f"{unknown[0]!r} names no case of suite {SUITE}", hint=f"cases: {', '.join(names)}"
            )
        number, of = options.shard
        mine = [name for name in dict.fromkeys(wanted) if shard_of(name, of) == number]
        if not mine:
            raise UsageError(f"suite {SUITE}: no case is left after --shard and --only")
        self.name = SUITE
        self._cases = [
            Case(CaseId(name, RAW, options.target), names[name])
            for name in _order(mine, RAW, options)[: options.limit]
        ]
        self.planned = len(self._cases)
        self._lock = threading.Lock()

    def take(self) -> Case | None:
        with self._lock:
            return self._cases.pop(0) if self._cases else None


class ForeignPlan:
    """Tests that come with xfstests, file system by file system."""

    def __init__(self, options: RunOptions) -> None:
        """UsageError for a group there is not, or with nothing left to do."""
        assert options.xfstests is not None
        assert options.group is not None
        if options.sample is not None:
            raise UsageError("--group and --sample do not go together", hint="use --limit")
        if options.only:
            raise UsageError("--only is for suites", hint=f"--group {options.only[0]}")
        tests = {test.name: test for test in group_tests(options.xfstests, options.group)}
        number, of = options.shard
        mine = [name for name in tests if shard_of(tests[name].id, of) == number]
        self.name = FOREIGN_SUITE
        self._cases = [
            Case(CaseId(tests[name].id, fs, options.target), tests[name])
            for fs in options.fs
            for name in _order(mine, fs, options)[: options.limit]
        ]
        if not self._cases:
            raise UsageError(f"group {options.group}: no test is left after --shard")
        self.planned = len(self._cases)
        self._lock = threading.Lock()

    def take(self) -> Case | None:
        with self._lock:
            return self._cases.pop(0) if self._cases else None


_Item = TypeVar("_Item", int, str)


def _order(items: Sequence[_Item], fs: str, options: RunOptions) -> Sequence[_Item]:
    if options.seed is None:
        return items
    shuffled = list(items)
    random.Random(f"{options.seed}/{fs}").shuffle(shuffled)
    return shuffled


def _select(suite: Suite, options: RunOptions) -> list[int]:
    try:
        chosen: Iterable[int]
        if options.only:
            only = [suite.workload(_index_of(suite, text, options)) for text in options.only]
            chosen = _in_shard(suite, dict.fromkeys(workload.index for workload in only), options)
        elif options.sample is not None:
            sampled = suite.sample(options.sample, options.seed or 0)
            chosen = _in_shard(suite, (workload.index for workload in sampled), options)
        else:
            chosen = suite.indices(options.shard)
        return list(islice(chosen, options.limit))
    except SuiteError as error:
        raise UsageError(str(error), hint=f"`harness ace export {suite.name} --stdout`") from error


def _in_shard(suite: Suite, indices: Iterable[int], options: RunOptions) -> Iterable[int]:
    number, of = options.shard
    return (index for index in indices if shard_of(suite.identifier(index), of) == number)


def _index_of(suite: Suite, text: str, options: RunOptions) -> int:
    """Index in ``suite`` of ``ace-seq1/000012``, of a case id, or of a bare number."""
    workload, at, _ = text.partition("@")
    if at:
        case = CaseId.parse(text)
        if case.fs not in options.fs or case.target != options.target:
            raise UsageError(
                f"case {text} is not one of this run",
                hint=f"--fs {case.fs} --target {case.target} makes it one",
            )
    name, slash, number = workload.rpartition("/")
    if (slash and name != suite.name) or not _INDEX.fullmatch(number):
        raise UsageError(
            f"{text!r} names no workload of suite {suite.name}",
            hint=f"ids look like {suite.identifier(12)}",
        )
    return int(number)
