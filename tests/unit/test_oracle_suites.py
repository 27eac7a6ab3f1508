# SPDX-License-Identifier: Apache-2.0
"""The oracle over whole suites: what is right passes, an empty, stale or foreign tree does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from oracle_trees import FILE_SYSTEMS, SECOND_NS, crash_at, tree_at

from ace_workloads.ops import Step, Verb
from ace_workloads.registry import load_suite
from harness.model.evidence import CrashEvidence
from harness.model.tree import Tree
from harness.model.verdict import Check, Verdict
from harness.oracle import judge_crash
from harness.oracle.model import execute

pytestmark = pytest.mark.whole

SUITES = ("smoke", "ace-seq1-nested", "paper-seq1")


def workloads(suite: str) -> Iterator[tuple[str, tuple[Step, ...]]]:
    """Id and steps; of the long suites a sample."""
    if suite in SUITES:
        yield from ((workload.id, workload.steps) for workload in load_suite(suite))
    else:
        sample = load_suite(suite).sample(80, seed=1)
        yield from ((workload.id, workload.steps) for workload in sample)


def points(steps: Sequence[Step]) -> int:
    return sum(step.verb is Verb.CHECKPOINT for step in steps)


def with_tree(crash: CrashEvidence, tree: Tree) -> CrashEvidence:
    return replace(crash, recovered=tree)


def worst(checks: Sequence[Check]) -> Verdict:
    if any(check.verdict is Verdict.FAIL for check in checks):
        return Verdict.FAIL
    unknown = any(check.verdict is Verdict.UNKNOWN for check in checks)
    return Verdict.UNKNOWN if unknown else Verdict.PASS


def state(checks: Sequence[Check], rule: str) -> Verdict:
    return next(check.verdict for check in checks if check.rule == rule)


def empty(steps: Sequence[Step], fs: str) -> Tree:
    """A file system just made: the root with times older than any step."""
    return tree_at(execute(steps, 0), fs)


def foreign(tree: Tree) -> Tree:
    """The same shape from another run: every object has other times, numbers and owners' data."""
    entries = {}
    for path, entry in tree.entries.items():
        past = entry.mtime_ns - 500 * SECOND_NS
        entries[path] = replace(entry, mtime_ns=past, ctime_ns=past)
    return Tree(entries)


@pytest.mark.parametrize("fs", FILE_SYSTEMS)
@pytest.mark.parametrize("suite", [*SUITES, "ace-seq2", "paper-seq2"])
def test_every_workload(suite: str, fs: str) -> None:
    checked = 0
    for name, steps in workloads(suite):
        assert execute(steps).errors == {}, name
        for number in range(1, points(steps) + 1):
            crash = crash_at(steps, fs, number)
            assert crash.live is not None
            right = judge_crash(steps, fs, crash)
            assert worst(right) is Verdict.PASS, name
            if state(right, "promise/any") is Verdict.PASS:
                checked += 1
                bare = judge_crash(steps, fs, with_tree(crash, empty(steps, fs)))
                assert worst(bare) is Verdict.FAIL, f"{name} {number}: empty"
                other = judge_crash(steps, fs, with_tree(crash, foreign(crash.live)))
                assert worst(other) is Verdict.FAIL, f"{name} {number}: foreign"
    assert checked > len(list(workloads(suite))) // 2


@pytest.mark.parametrize("fs", FILE_SYSTEMS)
def test_a_stale_tree_fails_where_a_sync_promised_everything(fs: str) -> None:
    """Every state before the last change that a sync covered is too old."""
    stale = 0
    for name, steps in workloads("ace-seq2"):
        for number in range(1, points(steps) + 1):
            crash = crash_at(steps, fs, number)
            if steps[crash.line - 1].verb is not Verb.SYNC:
                continue
            model = execute(steps, crash.line)
            changed = sorted({line for inode in model.inodes.values() for line in inode.touched})
            for line in (0, *changed[:-1]):
                old = judge_crash(steps, fs, with_tree(crash, tree_at(model, fs, line)))
                assert worst(old) is Verdict.FAIL, f"{name} {number}: as of line {line}"
                stale += 1
    assert stale > 50
