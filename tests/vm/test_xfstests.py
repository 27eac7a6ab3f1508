# SPDX-License-Identifier: Apache-2.0
"""Workloads run by xfstests on real guests, against the agent's: on a stand-in for it, in CI.

With HARNESS_XFSTESTS=DIR, a built tree, the same on the real one, and tests of its own.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import Harness

from harness.build.xfstests import ENVIRONMENT
from harness.model.case import Outcome
from harness.model.verdict import Verdict
from harness.report.load import load_run
from harness.run.xfstests.foreign import SUITE

STANDIN = Path(__file__).parents[1] / "xfstests_guest"


@pytest.fixture(scope="session")
def real_tree() -> str:
    """A built xfstests tree of whoever runs the tests."""
    path = os.environ.get(ENVIRONMENT)
    if not path:
        pytest.skip(f"no xfstests tree: {ENVIRONMENT}=DIR, a built one, enables this test")
    return path


def compare(harness: Harness, tree: Path | str, *words: str) -> str:
    """Both engines over cases of suite smoke; they have to agree."""
    done = harness("compare-engines", "--xfstests", str(tree), "--suite", "smoke", *words)
    assert done.code == 0, done.output
    return done.output


def records(harness: Harness) -> list[list[Outcome]]:
    runs = sorted((harness.out / "smoke").glob("2*"))
    return [[result.outcome for result in load_run(run).results()] for run in runs]


def test_engines_agree_on_what_is_sound(harness: Harness) -> None:
    output = compare(harness, STANDIN, "--only", "1", "--only", "12", "--only", "9")
    assert "3 cases agree, 0 disagreements, 0 not compared" in output
    assert records(harness) == [[Outcome.PASS] * 3] * 2


def test_engines_find_the_same(harness: Harness) -> None:
    output = compare(harness, STANDIN, "--only", "1", "--defect", "early_ack", "--confirm", "0")
    assert "1 cases agree" in output
    assert records(harness) == [[Outcome.FAIL]] * 2


@pytest.mark.slow
@pytest.mark.parametrize("fs", ["ext4", "xfs", "btrfs"])
def test_engines_agree_under_the_real_check(harness: Harness, real_tree: str, fs: str) -> None:
    assert "13 cases agree" in compare(harness, real_tree, "--fs", fs)


@pytest.mark.slow
def test_its_own_tests_leave_both_devices_the_same(harness: Harness, real_tree: str) -> None:
    for test in ("generic/001", "generic/013"):
        done = harness("run", "--engine", "xfstests", "--xfstests", real_tree, "--group", test)
        assert done.code == 0, done.output
        (result,) = done.results(SUITE)
        assert {c.verdict for c in result.checks if c.rule == "device/equal"} == {Verdict.PASS}
