# SPDX-License-Identifier: Apache-2.0
"""Everything but the recovered tree: missing evidence, tools, drain, devices, steps, consoles."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from oracle_trees import crash_at, edited, steps_of, without

from harness.model.device import DeviceDigest
from harness.model.evidence import CaseEvidence, Drain, ToolResult
from harness.model.tree import FileKind, Tree
from harness.model.verdict import Check, Verdict, merge
from harness.oracle import checks as checks_module
from harness.oracle import judge_case, judge_crash

STEPS = steps_of("open foo O_RDWR|O_CREAT 0777;write foo 0 4096;fsync foo;checkpoint 1;close foo")
CRASH = crash_at(STEPS, "ext4")
SAME = DeviceDigest("ab" * 16, 700)
CASE = CaseEvidence(
    crashes=(CRASH,), primary_device=SAME, backup_device=SAME, differing_blocks=(),
    console={"primary": (), "backup": ()},
)  # fmt: skip
FAILED_TOOL = ToolResult(False, 4, "bad superblock")


def verdicts(checks: tuple[Check, ...]) -> dict[str, Verdict]:
    """Rule -> the worst verdict it came to."""
    named: dict[str, list[Verdict]] = {}
    for check in checks:
        named.setdefault(str(check.rule), []).append(check.verdict)
    return {rule: merge(found) for rule, found in named.items()}


def test_faultless_evidence_passes_and_says_what_was_compared() -> None:
    found = verdicts(judge_case(STEPS, "ext4", CASE, replicated=True))
    assert set(found.values()) == {Verdict.PASS}
    assert {
        "live/model", "steps/errno", "case/crashes", "promise/any", "promise/new", "mount",
        "fsck", "probe", "drain/quiesced", "drain/promised", "device/equal", "console",
        "name/persisted", "content/persisted", "size/persisted", "attr/blocks", "attr/mtime",
    } <= set(found)  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "rule", "verdict"),
    [
        ({"drain": None}, "drain/quiesced", Verdict.UNKNOWN),
        ({"drain": Drain(False, 9, 9)}, "drain/quiesced", Verdict.UNKNOWN),
        ({"drain": Drain(True, 9, 8)}, "drain/promised", Verdict.FAIL),
        ({"drain": Drain(False, 9, 8)}, "drain/promised", Verdict.UNKNOWN),
        ({"drain": Drain(True, None, 8)}, "drain/promised", Verdict.UNKNOWN),
        ({"drain": Drain(True, 9, None)}, "drain/promised", Verdict.UNKNOWN),
        ({"mount": None}, "mount", Verdict.UNKNOWN),
        ({"mount": FAILED_TOOL, "recovered": None}, "mount", Verdict.FAIL),
        ({"recovered": None}, "recovered", Verdict.UNKNOWN),
        ({"recovered": Tree({})}, "recovered", Verdict.UNKNOWN),
        ({"recovered": Tree({})}, "name/persisted", Verdict.FAIL),
        ({"fsck": None}, "fsck", Verdict.UNKNOWN),
        ({"fsck": FAILED_TOOL}, "fsck", Verdict.FAIL),
        ({"probe": None}, "probe", Verdict.UNKNOWN),
        ({"probe": FAILED_TOOL}, "probe", Verdict.FAIL),
        ({"live": None}, "live/model", Verdict.UNKNOWN),
        ({"live": None}, "name/persisted", Verdict.PASS),
        ({"line": 99}, "recovered", Verdict.UNKNOWN),
    ],
)
def test_what_is_missing_or_wrong_at_a_crash_point(
    fields: dict[str, Any], rule: str, verdict: Verdict
) -> None:
    found = verdicts(judge_crash(STEPS, "ext4", replace(CRASH, **fields)))
    assert found[rule] is verdict


def test_without_a_mount_there_is_nothing_more_to_ask_for() -> None:
    crash = replace(CRASH, mount=FAILED_TOOL, recovered=None, fsck=None, probe=None)
    found = verdicts(judge_crash(STEPS, "ext4", crash))
    assert found["mount"] is Verdict.FAIL
    assert Verdict.UNKNOWN not in found.values()


def test_nothing_fails_on_a_backup_that_was_still_applying() -> None:
    assert CRASH.recovered is not None
    crash = replace(CRASH, drain=Drain(False, 9, 9), recovered=without("foo")(CRASH.recovered))
    found = verdicts(judge_crash(STEPS, "ext4", crash))
    assert found["name/persisted"] is Verdict.UNKNOWN
    assert Verdict.FAIL not in found.values()


def test_a_live_tree_that_is_not_the_models_gives_no_verdict() -> None:
    assert CRASH.live is not None
    crash = replace(CRASH, live=edited("foo", size=1)(CRASH.live))
    found = verdicts(judge_crash(STEPS, "ext4", crash))
    assert found["live/model"] is Verdict.UNKNOWN
    assert "name/persisted" not in found


@pytest.mark.parametrize(
    "fields",
    [
        {"size": 1}, {"size": 0, "content": ()}, {"nlink": 2}, {"mode": 0o4777},
        {"kind": FileKind.DIR}, {"content": None},
        {"content": ()}, {"xattrs": (("user.a", b""),)}, {"link": "foo"}, {"error": "read: EIO"},
    ],
)  # fmt: skip
def test_every_difference_of_the_live_tree_is_noticed(fields: dict[str, Any]) -> None:
    assert CRASH.live is not None
    crash = replace(CRASH, live=edited("foo", **fields)(CRASH.live))
    assert verdicts(judge_crash(STEPS, "ext4", crash))["live/model"] is Verdict.UNKNOWN


def test_the_executors_umask_is_no_difference() -> None:
    assert CRASH.live is not None
    masked = edited("foo", mode=0o755)(CRASH.live)
    crash = replace(CRASH, live=masked, recovered=masked)
    assert set(verdicts(judge_crash(STEPS, "ext4", crash)).values()) == {Verdict.PASS}


@pytest.mark.parametrize(
    ("fields", "rule", "verdict"),
    [
        ({"crashes": ()}, "case/crashes", Verdict.UNKNOWN),
        ({"step_errors": ((2, "write: EIO"),)}, "steps/errno", Verdict.FAIL),
        ({"step_errors": ((2, "write: EINVAL"),)}, "steps/errno", Verdict.UNKNOWN),
        ({"primary_device": None}, "device/equal", Verdict.UNKNOWN),
        ({"backup_device": None}, "device/equal", Verdict.UNKNOWN),
        ({"backup_device": replace(SAME, digest="cd" * 16)}, "device/equal", Verdict.FAIL),
        ({"backup_device": replace(SAME, blocks=1)}, "device/equal", Verdict.FAIL),
        ({"differing_blocks": (3,)}, "device/equal", Verdict.UNKNOWN),
        ({"console": {}}, "console", Verdict.UNKNOWN),
        ({"console": {"primary": ()}}, "console", Verdict.UNKNOWN),
        ({"console": {"primary": (), "backup": ("BUG: x",)}}, "console", Verdict.FAIL),
    ],
)
def test_what_is_missing_or_wrong_in_a_case(
    fields: dict[str, Any], rule: str, verdict: Verdict
) -> None:
    found = verdicts(judge_case(STEPS, "ext4", replace(CASE, **fields), replicated=True))
    assert found[rule] is verdict


def test_differing_blocks_are_named() -> None:
    case = replace(CASE, backup_device=replace(SAME, digest="00"), differing_blocks=(17, 4711))
    found = judge_case(STEPS, "ext4", case, replicated=True)
    assert any("17 4711" in check.found for check in found if check.rule == "device/equal")


def test_a_single_device_is_neither_drained_nor_compared() -> None:
    case = CaseEvidence(crashes=(replace(CRASH, drain=None),), console={"primary": ()})
    found = verdicts(judge_case(STEPS, "ext4", case, replicated=False))
    assert set(found.values()) == {Verdict.PASS}
    assert not {"drain/quiesced", "drain/promised", "device/equal"} & set(found)


def test_an_errno_that_posix_demands_passes() -> None:
    steps = steps_of("mkdir A 0777;rename A AC;sync;checkpoint 1")
    evidence = replace(CASE, crashes=(crash_at(steps, "ext4"),))
    failing = replace(evidence, step_errors=((2, "rename: EINVAL"),))
    assert verdicts(judge_case(steps, "ext4", failing, True))["steps/errno"] is Verdict.PASS


def test_a_check_that_raises_is_unknown_with_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(checks_module, "judge_objects", broken)
    found = judge_crash(STEPS, "ext4", CRASH)
    raised = [check for check in found if "ZeroDivisionError: oops" in check.message]
    assert [check.verdict for check in raised] == [Verdict.UNKNOWN]
    assert verdicts(found)["name/persisted"] is Verdict.PASS


def test_an_unknown_file_system_is_unknown() -> None:
    found = judge_crash(STEPS, "zfs", CRASH)
    assert merge(check.verdict for check in found) is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("text", "any_promised", "new"),
    [
        ("open foo O_RDWR|O_CREAT 0777;sync;checkpoint 1", "pass", "pass"),
        ("opendir test 0777;fsync test;checkpoint 1", "skipped", "pass"),
        ("open foo O_RDWR|O_CREAT 0777;fsync foo;checkpoint 0;fsync foo;checkpoint 1",
         "pass", "skipped"),
    ],
)  # fmt: skip
def test_a_crash_point_where_nothing_was_persisted_is_visible(
    text: str, any_promised: str, new: str
) -> None:
    steps = steps_of(text)
    crash = crash_at(steps, "btrfs")
    # The agent's evidence names the checkpoint's line.
    for line in (crash.line, crash.line + 1):
        found = verdicts(judge_crash(steps, "btrfs", replace(crash, line=line)))
        assert (found["promise/any"], found["promise/new"]) == (any_promised, new)


def test_evidence_of_another_guest_run_is_judged_by_its_own_line() -> None:
    """Expectations come from the line of the evidence, not from the last line of the workload."""
    steps = steps_of(
        "open foo O_RDWR|O_CREAT 0777;fsync foo;checkpoint 0;unlink foo;sync;checkpoint 1"
    )
    first, last = crash_at(steps, "ext4", 1), crash_at(steps, "ext4", 2)
    assert merge(c.verdict for c in judge_crash(steps, "ext4", first)) is Verdict.PASS
    swapped = replace(last, recovered=first.recovered)
    assert merge(c.verdict for c in judge_crash(steps, "ext4", swapped)) is Verdict.FAIL


def test_expectations_are_not_taken_from_the_evidence() -> None:
    """A backup that agrees with a wrong primary still has no yardstick: never a pass."""
    assert CRASH.live is not None
    wrong = without("foo")(CRASH.live)
    crash = replace(CRASH, live=wrong, recovered=wrong)
    assert merge(c.verdict for c in judge_crash(STEPS, "ext4", crash)) is Verdict.UNKNOWN
