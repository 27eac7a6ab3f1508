# SPDX-License-Identifier: Apache-2.0
"""DRBD beside our own target: what it promises is judged by the same rules."""

from __future__ import annotations

import pytest
from conftest import Harness

from harness.model.verdict import Verdict

DELAY = ("--link-delay-ms", "200")


@pytest.mark.parametrize(
    "profile", ["debian-12", pytest.param("debian-12-6.12", marks=pytest.mark.slow)]
)
def test_protocol_c_passes(harness: Harness, profile: str) -> None:
    done = harness("run", "--suite", "smoke", "--target", "drbd", "--profile", profile)
    assert done.code == 0, done.output
    for result in done.results("smoke"):
        assert result.evidence is not None
        assert all(crash.drain and crash.drain.promised for crash in result.evidence.crashes)
        assert result.evidence.primary_device == result.evidence.backup_device is not None


@pytest.mark.slow
def test_block_level_suite_passes(harness: Harness) -> None:
    done = harness("run", "--suite", "device", "--target", "drbd")
    assert done.code == 0, done.output


@pytest.mark.slow
@pytest.mark.parametrize("target", ["drbd", "rollbaccine"])
def test_a_slow_link_loses_nothing_that_was_waited_for(harness: Harness, target: str) -> None:
    """The control of the test below."""
    done = harness("run", "--suite", "smoke", "--limit", "4", "--target", target, *DELAY)
    assert done.code == 0, done.output


def test_protocol_a_loses_what_it_acknowledged(harness: Harness) -> None:
    """Told by the files on the backup, not only by DRBD's own counters."""
    done = harness("run", "--suite", "smoke", "--limit", "4", "--target", "drbd-a", *DELAY)
    assert done.code == 1, done.output
    for result in done.results("smoke"):
        assert result.verdict is Verdict.FAIL, result.case_id
        assert result.control is Verdict.PASS
        broken = {str(check.rule) for check in result.checks if check.verdict is Verdict.FAIL}
        assert "drain/promised" in broken
        assert any(rule.split("/")[0] in ("mount", "name", "content", "attr") for rule in broken)


@pytest.mark.slow
def test_an_impostor_is_told_on_drbd_too(harness: Harness) -> None:
    done = harness(
        "run",
        "--suite",
        "smoke",
        "--limit",
        "2",
        "--target",
        "drbd",
        "--impostor",
        "stale",
        "--confirm",
        "0",
    )
    assert done.code == 1, done.output
    assert all(result.verdict is Verdict.FAIL for result in done.results("smoke"))
