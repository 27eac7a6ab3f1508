# SPDX-License-Identifier: Apache-2.0
"""What is broken fails: seeded defects of the module, and impostors in the backup's place."""

from __future__ import annotations

import pytest
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


def test_every_defect_has_a_suite_that_catches_it() -> None:
    assert _CAUGHT_BY.keys() == DEFECTS.keys()


@pytest.mark.parametrize("defect", sorted(_CAUGHT_BY))
def test_defect_is_caught_and_not_put_down_to_the_file_system(
    harness: Harness, defect: str
) -> None:
    """The same suites without a defect pass in test_run.py."""
    suite = _CAUGHT_BY[defect]
    done = harness("run", "--suite", suite, "--defect", defect)
    assert done.code == 1, done.output
    failed = [result for result in done.results(suite) if result.verdict is Verdict.FAIL]
    assert failed, done.output
    assert all(result.case_id.target != CONTROL for result in failed)
    if suite == "smoke":
        assert all(result.control is Verdict.PASS for result in failed)


@pytest.mark.parametrize("impostor", ["empty", "stale", "foreign"])
def test_impostor_fails_every_case(harness: Harness, impostor: str) -> None:
    """Every workload of the suite persists something, so none may pass on another's disk."""
    done = harness("run", "--suite", "smoke", "--impostor", impostor)
    assert done.code == 1, done.output
    for result in done.results("smoke"):
        assert result.verdict is Verdict.FAIL, result.case_id
        assert result.control is Verdict.PASS
        broken = {check.rule for check in result.checks if check.verdict is Verdict.FAIL}
        # Told by its content; an unmountable impostor would prove nothing.
        assert "mount" not in broken
        assert any(rule.split("/")[0] in ("name", "content", "attr") for rule in broken), broken
