# SPDX-License-Identifier: Apache-2.0
"""Which cases a run consists of, in which order: pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import islice

from ace_workloads.suite import Suite
from ace_workloads.workload import Workload
from harness.errors import UsageError
from harness.model.case import CaseId
from harness.run.options import RunOptions


@dataclass(frozen=True, slots=True)
class Case:
    """A workload on one file system and target; crashes at each of its persistence points."""

    case_id: CaseId
    workload: Workload


def plan_cases(suite: Suite, options: RunOptions) -> list[Case]:
    """The cases of ``options``, file system by file system.

    The same options give the same list on every machine. UsageError for an id that is not in the
    suite, or when nothing is left to do.
    """
    workloads = _select(suite, options)
    if not workloads:
        raise UsageError(
            f"suite {suite.name}: no workload is left after --shard, --sample, --limit and --only"
        )
    cases = []
    for fs in options.fs:
        chosen = list(workloads)
        if options.seed is not None:
            random.Random(f"{options.seed}/{fs}").shuffle(chosen)
        cases += [Case(CaseId(workload.id, fs, options.target), workload) for workload in chosen]
    return cases


def _select(suite: Suite, options: RunOptions) -> list[Workload]:
    if options.only:
        return [suite.find(CaseId.parse(text).workload if "@" in text else text)
                for text in options.only]  # fmt: skip
    if options.sample is not None:
        chosen = suite.sample(options.sample, options.seed or 0, options.shard)
    else:
        chosen = suite.iter(options.shard)
    return list(islice(chosen, options.limit))
