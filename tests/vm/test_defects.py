# SPDX-License-Identifier: Apache-2.0
"""What is broken fails: seeded defects of the module, and impostors in the backup's place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import test_pair_errors
import test_pair_failover
import test_pair_recover
import test_pair_tamper
from conftest import Harness

from harness.model.verdict import Verdict
from harness.run.targets import CONTROL
from harness.target.rollbaccine import DEFECTS

# The suite that catches each. Overlapping writes without a flush between them are nothing a file
# system does in a short workload, hence the block-level suite.
_CAUGHT_BY = {
    "early_ack": "smoke",
    "drop_write": "smoke",
    "reorder_overlap": "device",
    "skip_last_page": "smoke",
    "ignore_discard": "device",
    "corrupt_byte": "smoke",
}
# What shows only when a disk is tampered with, a node restarts, a link is cut or a leader deposed:
# the test in which it is switched on, beside the same test without it.
_CAUGHT_IN_A_PAIR = {
    "nonce_reuse": test_pair_tamper.test_no_key_stream_is_used_twice,
    "skip_tag_check": test_pair_tamper.test_tampered_blocks_are_repaired_from_the_peer,
    "stale_tag": test_pair_tamper.test_backup_with_an_old_disk_finds_every_stale_block,
    "ack_before_durable": test_pair_errors.test_flush_waits_for_the_backups_disk,
    "resync_skip": test_pair_recover.test_only_what_was_missed_is_copied_after_a_cut,
    "ignore_epoch": test_pair_failover.test_a_third_node_does_not_follow_a_deposed_primary,
}


def test_every_defect_has_something_that_catches_it() -> None:
    assert _CAUGHT_BY.keys() | _CAUGHT_IN_A_PAIR.keys() == DEFECTS.keys()


@pytest.mark.parametrize(("defect", "check"), _CAUGHT_IN_A_PAIR.items())
def test_a_pair_test_runs_with_and_without_the_defect(
    defect: str, check: Callable[..., None]
) -> None:
    marks = {mark.args[0]: mark.args[1] for mark in check.pytestmark}  # type: ignore[attr-defined]
    switched = {value and value.partition(":")[0] for value in marks["defect"]}
    assert switched == {None, defect}


@pytest.mark.parametrize("defect", sorted(_CAUGHT_BY))
def test_defect_is_caught_and_not_put_down_to_the_file_system(
    harness: Harness, defect: str
) -> None:
    """The same suites without a defect pass in test_run.py. One case that fails is enough."""
    suite = _CAUGHT_BY[defect]
    done = harness("run", "--suite", suite, "--defect", defect, "--fail-fast")
    assert done.code == 1, done.output
    failed = [result for result in done.results(suite) if result.verdict is Verdict.FAIL]
    assert failed, done.output
    assert all(result.case_id.target != CONTROL for result in failed)
    if suite == "smoke":
        assert all(result.control is Verdict.PASS for result in failed)


@pytest.mark.parametrize(("impostor", "limit"), [("empty", "3"), ("stale", "13"), ("foreign", "3")])
def test_impostor_fails_every_case(harness: Harness, impostor: str, limit: str) -> None:
    """Every workload of the suite persists something, so none may pass on another's disk."""
    done = harness(
        "run", "--suite", "smoke", "--impostor", impostor, "--limit", limit, "--confirm", "0"
    )
    assert done.code == 1, done.output
    for result in done.results("smoke"):
        assert result.verdict is Verdict.FAIL, result.case_id
        assert result.control is Verdict.PASS
        broken = {check.rule for check in result.checks if check.verdict is Verdict.FAIL}
        # Told by its content; an unmountable impostor would prove nothing.
        assert "mount" not in broken
        assert any(rule.split("/")[0] in ("name", "content", "attr") for rule in broken), broken
    folders = sorted((done.run("smoke").path / "cases" / "smoke").glob("*/*"))
    assert len(folders) == int(limit)
    for folder in folders:
        names = {path.name for path in folder.iterdir()}
        assert {"workload.jlang", "expected.txt", "recovered.txt", "diff.txt"} <= names
        if impostor == "foreign":
            assert "B/foo" in (folder / "diff.txt").read_text()
