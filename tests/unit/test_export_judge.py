# SPDX-License-Identifier: Apache-2.0
"""``ace-judge`` and the oracle, from which its tables come, see the same faults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from exported import Judge
from oracle_trees import FILE_SYSTEMS, crash_at, execute, steps_of, tree_at
from test_oracle_crash import BROKEN, LEGAL, Change

from ace_workloads.ops import Verb
from ace_workloads.registry import load_suite
from harness.export.table import crash_lines
from harness.model.tree import Tree
from harness.model.verdict import Verdict
from harness.oracle import judge_crash


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    return Judge(tmp_path)


@pytest.mark.parametrize(
    ("text", "fs", "change", "rule"),
    [
        pytest.param(text, fs, change, rule, id=f"{name} ({fs})")
        for name, text, systems, change, rule in BROKEN
        for fs in systems
    ],
)
def test_a_broken_promise_is_found(
    judge: Judge, text: str, fs: str, change: Change, rule: tuple[str, str]
) -> None:
    steps = steps_of(text)
    crash = crash_at(steps, fs)
    assert crash.live is not None
    assert crash.recovered is not None
    found = judge.crash(steps, fs, crash.checkpoint, crash.live, change(crash.recovered))
    assert (rule[0], rule[1] or "/") in found


@pytest.mark.parametrize(
    ("text", "fs", "change"),
    [
        pytest.param(text, fs, change, id=f"{name} ({fs})")
        for name, text, systems, change in LEGAL
        for fs in systems
    ],
)
def test_what_a_crash_may_do_passes(judge: Judge, text: str, fs: str, change: Change) -> None:
    steps = steps_of(text)
    crash = crash_at(steps, fs)
    assert crash.live is not None
    assert crash.recovered is not None
    assert judge.live(steps, fs, crash.checkpoint, crash.live) == []
    assert judge.crash(steps, fs, crash.checkpoint, crash.live, change(crash.recovered)) == []


@pytest.mark.parametrize("fs", FILE_SYSTEMS)
@pytest.mark.parametrize("suite", ["smoke", "ace-seq2"])
def test_the_oracle_agrees_about_every_earlier_state(judge: Judge, suite: str, fs: str) -> None:
    """Of each workload's last crash point: the state after each line in the recovered one's place.

    The oracle is asked without its rule about the age of what is not settled.
    """
    wrong = right = 0
    for workload in load_suite(suite).sample(4, seed=2):
        steps = workload.steps
        crash = crash_at(steps, fs)
        assert crash.live is not None
        assert judge.live(steps, fs, crash.checkpoint, crash.live) == []
        model = execute(steps, crash.line)
        for line in range(crash.line + 1):
            tree: Tree = tree_at(model, fs, line)
            checks = judge_crash(steps, fs, replace(crash, recovered=tree))
            expected = {
                (str(check.rule), check.path or "/")
                for check in checks
                if check.verdict is Verdict.FAIL and "older than" not in check.message
            }
            found = set(judge.crash(steps, fs, crash.checkpoint, crash.live, tree))
            assert found == expected, (workload.id, line)
            wrong += bool(found)
            right += not found
    assert wrong > 3
    assert right > 3


def test_a_tree_that_the_steps_do_not_make_is_no_yardstick(judge: Judge) -> None:
    steps = load_suite("smoke").workload(4).steps
    crash = crash_at(steps, "ext4")
    assert crash.live is not None
    for line in range(crash.line - 1):
        assert judge.live(steps, "ext4", crash.checkpoint, tree_at(execute(steps, line), "ext4"))


def test_tables_have_every_crash_point() -> None:
    for workload in load_suite("ace-seq2").sample(20, seed=3):
        marks = [step for step in workload.steps if step.verb is Verb.CHECKPOINT]
        assert len(crash_lines(workload.steps)) == len(marks)
