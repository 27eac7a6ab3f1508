# SPDX-License-Identifier: Apache-2.0
"""A run that is killed again and again, and goes on each time: every case once, none lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import Harness

from harness.deadline import Deadline
from harness.model.case import Outcome
from harness.report.load import load_run

KILLS = 20
CASES = 150
_SEED = 20


def _await_more(record: Path, process: subprocess.Popen[str], count: int) -> None:
    deadline = Deadline.after(600, f"{count} results")
    while not record.exists() or record.read_bytes().count(b"\n") < count:
        assert process.poll() is None, process.communicate()[0]
        assert not deadline.expired, str(deadline)
        time.sleep(0.02)


@pytest.mark.slow
def test_run_killed_at_random_moments_repeats_nothing_and_loses_nothing(harness: Harness) -> None:
    moments = random.Random(_SEED)
    words = ("--suite", "ace-seq1", "--limit", str(CASES))
    before = b""
    for kill in range(KILLS):
        process = harness.start("run", *words)
        record = harness.out / "ace-seq1" / "latest" / "results.jsonl"
        _await_more(record, process, before.count(b"\n") + moments.randrange(1, 6))
        time.sleep(moments.uniform(0, 0.4))  # not to wait for anything: the moment is to be random
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        after = record.read_bytes()
        assert after.startswith(before), f"kill {kill} cost results"
        before = after[: after.rfind(b"\n") + 1]
        words = ("--resume", str(record.parent.resolve()))
    done = harness("run", *words)
    assert done.code == 0, done.output
    run = load_run(record.parent)
    times = Counter(str(result.case_id) for result in run.results())
    assert len(times) == CASES
    assert set(times.values()) == {1}
    assert run.info.counts[Outcome.PASS] == CASES
    assert len(run.info.warnings) == KILLS
