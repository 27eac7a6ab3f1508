# SPDX-License-Identifier: Apache-2.0
"""What a worker makes of guests that die, hang, report or misbehave; guests in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from oracle_trees import without
from run_world import DIGEST, OOPS, World, options, tree_payload, worker

from ace_workloads.registry import load_suite
from harness.errors import InfraError
from harness.events import CaseRerun, CaseRetried, Event, PairLost
from harness.guest.fake import Command, GuestHangs, Reply
from harness.model.case import Outcome
from harness.model.verdict import Verdict
from harness.run.filesystems import FILE_SYSTEMS
from harness.run.options import Impostor
from harness.run.plan import Case, WorkloadPlan
from harness.vm.ports import MachineState


def case(folder: Path, number: int = 1, **changes: object) -> Case:
    plan = WorkloadPlan(load_suite("smoke"), options(folder, only=(str(number),), **changes))
    taken = plan.take()
    assert taken is not None
    return taken


def lose_files(world: World, target: str = "rollbaccine") -> None:
    """Let the backup forget every file, on the target or on the control arm too."""

    def rule(role: str, command: Command) -> Reply | None:
        if (role, command[0]) != ("backup", "tree"):
            return None
        if target == "rollbaccine" and world.crash_device() != "/dev/mapper/replicated":
            return None
        tree = world.crash_tree()
        return Reply(tree_payload(without(*(path for path in tree.entries if path))(tree)))

    world.rules.append(rule)


def test_cases_share_one_set_up(tmp_path: Path) -> None:
    world, events = World(), list[Event]()
    run = worker(world, tmp_path, events)
    assert [run.run(case(tmp_path, n)).verdict for n in (1, 2, 3)] == [Verdict.PASS] * 3
    assert world.boots() == 1
    assert world.seen["primary", "image-save"] == 1
    assert world.seen["primary", "image-restore"] == 3
    assert not any(isinstance(event, CaseRetried | PairLost) for event in events)


def test_a_lost_guest_is_replaced_and_the_case_tried_again(tmp_path: Path) -> None:
    world, events = World(), list[Event]()

    def dies_once(role: str, command: Command) -> Reply | None:
        if command[0] == "probe" and world.seen["backup", "probe"] == 1:
            return world.lose("backup")
        return None

    world.rules.append(dies_once)
    result = worker(world, tmp_path, events).run(case(tmp_path))
    assert result.verdict is Verdict.PASS
    assert len(result.attempts) == 1
    assert "agent of guest backup" in result.attempts[0]
    assert "(guest backup has ended)" in result.attempts[0]
    assert world.boots() == 2
    assert [type(event) for event in events if isinstance(event, CaseRetried | PairLost)] == [
        PairLost, CaseRetried,
    ]  # fmt: skip
    first_pair = world.hypervisor.machines[:2]
    assert [machine.state() for machine in first_pair] == [MachineState.GONE] * 2


LOST_PEER = """\
[  42.100000] device-mapper: rollbaccine: 253:0: peer 3 lost (silence, or no progress)
[  42.100001] Buffer I/O error on dev dm-0, logical block 0, lost sync page write
[  42.100002] EXT4-fs error (device dm-0): ext4_journal_check_start:83: Detected aborted journal
"""
FAILED = Reply.failure("mount: EIO: /dev/mapper/replicated on /mnt/target (ext4)")


def retried(world: World, folder: Path) -> str:
    """Run a case that passes at the second attempt; what is said of the first."""
    result = worker(world, folder, []).run(case(folder))
    assert (result.verdict, world.boots()) == (Verdict.PASS, 2)
    (attempt,) = result.attempts
    assert "(guest backup has ended)" in attempt
    return attempt


@pytest.mark.parametrize("noticed", ["at once", "in a moment"])
def test_what_the_survivor_says_of_its_loss_is_no_finding(tmp_path: Path, noticed: str) -> None:
    """Its I/O fails for want of the peer, and the harness may hear of that first."""
    world = World()

    def backup_is_killed(role: str, command: Command) -> Reply | None:
        if (role, command[0]) != ("primary", "image-restore") or world.boots() == 2:
            return None
        world.report("primary", LOST_PEER)
        backup = world.machines["backup"]
        if noticed == "in a moment":
            backup.on_wait.append(backup.end)
        else:
            backup.end()
        return FAILED

    world.rules.append(backup_is_killed)
    assert "EIO" in retried(world, tmp_path)


def test_a_loss_at_the_very_end_of_a_case_is_no_finding(tmp_path: Path) -> None:
    """All evidence is there, and the survivor's console is a part of it."""
    world = World()
    looks = 2 * len([step for step in case(tmp_path).workload.steps if step.verb == "checkpoint"])

    def backup_is_killed(role: str, command: Command) -> Reply | None:
        done = (world.seen["backup", "digest"], world.seen["backup", "umount"])
        last = role == "backup" and command[0] in ("digest", "umount") and done == (1, looks)
        if not last or world.boots() == 2:
            return None
        world.report("primary", LOST_PEER)
        world.machines["backup"].end()
        return Reply(DIGEST) if command[0] == "digest" else Reply()

    world.rules.append(backup_is_killed)
    assert "guest backup ended before the case did" in retried(world, tmp_path)


def test_a_guest_that_waits_for_one_that_has_ended_is_not_waited_for(tmp_path: Path) -> None:
    world = World()

    def backup_is_killed(role: str, command: Command) -> Reply | None:
        if (role, command[0]) != ("primary", "image-restore") or world.boots() == 2:
            return None
        world.machines["backup"].end()
        raise GuestHangs

    world.rules.append(backup_is_killed)
    assert "the other guest ended" in retried(world, tmp_path)


def test_what_both_say_of_a_loss_is_told_if_neither_ended(tmp_path: Path) -> None:
    """The link or the module lost something: there is nobody else to blame."""
    world = World()
    run = worker(world, tmp_path, [])

    def loses(role: str, command: Command) -> Reply | None:
        if (role, command[0]) != ("primary", "image-restore") or world.seen[role, command[0]] != 1:
            return None
        world.report("primary", LOST_PEER)
        return FAILED

    world.rules.append(loses)
    result = run.run(case(tmp_path))
    assert (result.verdict, result.attempts) == (Verdict.FAIL, ())
    assert {check.path for check in result.checks} == {"primary"}
    assert len(result.checks) == 2


@pytest.mark.parametrize("state", ["it ended", "it runs"])
def test_a_fault_that_no_loss_excuses_is_a_finding(tmp_path: Path, state: str) -> None:
    world = World()
    run = worker(world, tmp_path, [])

    def faults(role: str, command: Command) -> Reply | None:
        if (role, command[0]) != ("primary", "image-restore") or world.seen[role, command[0]] != 1:
            return None
        world.report("primary", LOST_PEER + OOPS)
        if state == "it ended":
            world.machines["primary"].end()
        world.machines["backup"].end()
        return FAILED

    world.rules.append(faults)
    result = run.run(case(tmp_path))
    assert (result.verdict, result.attempts) == (Verdict.FAIL, ())
    assert {check.path for check in result.checks} == {"primary"}
    assert "unable to handle page fault" in result.checks[-1].found
    assert len(result.checks) == (3 if state == "it ended" else 1), "with what led to its own end"


def test_a_case_that_fails_while_its_guests_run_is_judged_by_its_evidence(tmp_path: Path) -> None:
    world = World()
    lose_files(world)
    result = worker(world, tmp_path, []).run(case(tmp_path))
    assert result.verdict is Verdict.FAIL
    assert result.evidence is not None
    assert result.evidence.crashes


def test_a_guest_that_is_lost_every_time_is_no_verdict(tmp_path: Path) -> None:
    world = World()
    run = worker(world, tmp_path, [])
    assert run.run(case(tmp_path)).verdict is Verdict.PASS
    world.rules.append(
        lambda role, command: world.lose(role) if command[0] == "image-restore" else None
    )
    result = run.run(case(tmp_path, 2))
    assert result.outcome is Outcome.INFRA
    assert result.verdict is None
    assert result.control is None
    assert len(result.attempts) == 2, "three attempts in all"
    assert world.seen["primary", "image-restore"] == 1 + 3


def test_a_guest_lost_with_an_oops_fails_the_case_at_once(tmp_path: Path) -> None:
    world = World()

    def panics(role: str, command: Command) -> Reply | None:
        if command[0] == "digest" and role == "backup":
            world.report("backup")
            return world.lose("backup")
        return None

    world.rules.append(panics)
    result = worker(world, tmp_path, []).run(case(tmp_path))
    assert (result.verdict, result.attempts, result.infra_error) == (Verdict.FAIL, (), None)
    assert [check.path for check in result.checks] == ["backup"]
    assert "unable to handle page fault" in result.checks[0].found
    assert "unable to handle page fault" in result.console["backup"][-1]
    assert result.outcome is Outcome.FAIL, "the control arm does not digest the backup"


def test_an_oops_of_an_earlier_case_is_not_told_again(tmp_path: Path) -> None:
    world = World()
    run = worker(world, tmp_path, [])
    run.run(case(tmp_path))
    world.report("primary")
    reported = run.run(case(tmp_path, 2))
    assert reported.verdict is Verdict.FAIL
    assert [check.rule for check in reported.checks if check.verdict is Verdict.FAIL] == ["console"]
    assert run.run(case(tmp_path, 3)).verdict is Verdict.PASS


@pytest.mark.parametrize("hangs", [False, True])
def test_nothing_can_run_if_the_first_set_up_never_works(tmp_path: Path, hangs: bool) -> None:
    world = World()

    def refuses(role: str, command: Command) -> Reply | None:
        if command[0] != "key-add":
            return None
        if hangs:
            raise GuestHangs
        return Reply.failure("add_key: EDQUOT: logon")

    world.rules.append(refuses)
    with pytest.raises(InfraError, match=r"no case can run: .*guest backup") as caught:
        worker(world, tmp_path, []).run(case(tmp_path))
    assert hangs or "EDQUOT" in str(caught.value)
    assert world.boots() == 3


def test_no_case_can_run_without_guests(tmp_path: Path) -> None:
    world = World()
    world.rules.append(lambda role, command: world.lose(role))
    with pytest.raises(InfraError, match="did not come up"):
        worker(world, tmp_path, []).run(case(tmp_path))
    assert world.hypervisor.running() == []


def test_a_fail_is_run_on_the_control_arm(tmp_path: Path) -> None:
    world = World()
    lose_files(world)
    result = worker(world, tmp_path, []).run(case(tmp_path))
    assert (result.verdict, result.control) == (Verdict.FAIL, Verdict.PASS)
    assert result.outcome is Outcome.FAIL
    assert any(command[-1].endswith(" linear /dev/vdb 0") for _, command in world.log)


def test_a_fail_of_both_arms_is_not_put_down_to_the_replication(tmp_path: Path) -> None:
    world = World()
    lose_files(world, "any")
    result = worker(world, tmp_path, []).run(case(tmp_path))
    assert (result.verdict, result.control) == (Verdict.FAIL, Verdict.FAIL)
    assert result.outcome is Outcome.CONTROL_FAIL


def test_a_control_arm_that_cannot_be_had_leaves_the_fail(tmp_path: Path) -> None:
    world = World()
    lose_files(world)
    world.rules.append(lambda role, command: world.lose(role) if "linear" in command[-1] else None)
    result = worker(world, tmp_path, []).run(case(tmp_path))
    assert (result.verdict, result.control, result.outcome) == (
        Verdict.FAIL, None, Outcome.FAIL,
    )  # fmt: skip


def test_the_control_arm_has_no_control_arm(tmp_path: Path) -> None:
    world = World()
    lose_files(world, "any")
    result = worker(world, tmp_path, [], target="linear").run(case(tmp_path, target="linear"))
    assert (result.verdict, result.control) == (Verdict.FAIL, None)
    assert world.seen["primary", "image-restore"] == 1


def test_what_did_not_pass_leaves_nothing_for_the_next_case(tmp_path: Path) -> None:
    world = World()
    run = worker(world, tmp_path, [])
    lose_files(world)
    assert run.run(case(tmp_path)).verdict is Verdict.FAIL
    world.rules.clear()
    assert run.run(case(tmp_path, 2)).verdict is Verdict.PASS
    assert world.boots() == 1
    made = [c for r, c in world.log if r == "primary" and c[:2] == ("dm-create", "replicated")]
    assert len(made) == 2, "a target of its own after the failure"
    assert len({line[-1] for line in made}) == 2, "neither port nor identity is used twice"


def test_a_target_that_cannot_be_taken_down_costs_the_pair(tmp_path: Path) -> None:
    world, events = World(), list[Event]()
    run = worker(world, tmp_path, events)
    lose_files(world)
    world.rules.append(
        lambda role, command: world.lose(role) if command == ("dm-remove", "replicated") else None
    )
    assert run.run(case(tmp_path)).verdict is Verdict.FAIL
    lost = [event for event in events if isinstance(event, PairLost)]
    assert ["cannot be removed" in event.reason for event in lost] == [True]
    world.rules.clear()
    after = run.run(case(tmp_path, 2))
    assert (after.verdict, after.attempts) == (Verdict.PASS, ())


def test_another_file_system_gets_a_target_of_its_own_size(tmp_path: Path) -> None:
    world = World()
    run = worker(world, tmp_path, [])
    run.run(case(tmp_path))
    world.fs = "xfs"
    assert run.run(case(tmp_path, fs=("xfs",))).verdict is Verdict.PASS
    sizes = [c[-1].split()[1] for r, c in world.log if c[:2] == ("dm-create", "replicated")]
    assert sizes == [
        str(FILE_SYSTEMS[name].device_bytes // 512) for name in ("ext4", "ext4", "xfs", "xfs")
    ]
    assert world.boots() == 1


def test_a_defect_is_for_the_target_and_its_side_only(tmp_path: Path) -> None:
    world = World()
    lose_files(world)
    worker(world, tmp_path, [], defect="drop_write:3").run(case(tmp_path))
    tables = {(r, c[-1]) for r, c in world.log if c[0] == "dm-create" and c[1] != "snapshot"}
    assert {role for role, table in tables if table.endswith(" fault drop_write:3")} == {"backup"}
    assert any(" linear /dev/vdb" in table and "fault" not in table for _, table in tables)


def test_an_impostor_is_looked_at_instead_of_the_backup(tmp_path: Path) -> None:
    world = World()
    run = worker(world, tmp_path, [], impostor=Impostor.STALE)
    run.run(case(tmp_path))
    copied = [c[2] for r, c in world.log if (r, c[0]) == ("backup", "image-save")]
    assert copied
    assert set(copied) == {"/dev/mapper/impostor"}


def lose_files_in(world: World, *numbers: int) -> None:
    """Let the backup forget every file in those restores of the image, counted from 1."""

    def rule(role: str, command: Command) -> Reply | None:
        if (role, command[0]) != ("backup", "tree"):
            return None
        if world.seen["primary", "image-restore"] not in numbers:
            return None
        tree = world.crash_tree()
        return Reply(tree_payload(without(*(path for path in tree.entries if path))(tree)))

    world.rules.append(rule)


def test_a_fail_is_confirmed_on_the_same_guests_with_a_new_target(tmp_path: Path) -> None:
    world, events = World(), list[Event]()
    lose_files(world)
    result = worker(world, tmp_path, events, confirm=2).run(case(tmp_path))
    assert (result.outcome, result.confirmed, result.control) == (
        Outcome.FAIL, True, Verdict.PASS,
    )  # fmt: skip
    assert [(r.verdict, r.fresh_pair) for r in result.reruns] == [(Verdict.FAIL, False)] * 2
    assert all(check.verdict is Verdict.FAIL for r in result.reruns for check in r.checks)
    assert result.reruns[0].checks
    assert world.boots() == 1
    made = {c[-1] for r, c in world.log if r == "primary" and c[:2] == ("dm-create", "replicated")}
    assert len(made) == 3, "each time another one"
    assert [type(event) for event in events].count(CaseRerun) == 2
    assert world.seen["primary", "image-restore"] == 1 + 2 + 1, "and once on the control arm"


@pytest.mark.parametrize("passes", [2, 3])
def test_a_fail_that_does_not_repeat_is_flaky(tmp_path: Path, passes: int) -> None:
    world = World()
    lose_files_in(world, *({1, 2, 3} - {passes}))
    result = worker(world, tmp_path, [], confirm=2).run(case(tmp_path))
    assert (result.outcome, result.verdict, result.confirmed) == (
        Outcome.FLAKY, Verdict.FAIL, False,
    )  # fmt: skip
    assert len(result.reruns) == 2
    assert result.reruns[passes - 2].verdict is Verdict.PASS
    assert result.reruns[passes - 2].checks == ()
    assert result.evidence is not None, "of the run that failed"


def test_what_passes_is_not_run_again(tmp_path: Path) -> None:
    world = World()
    assert worker(world, tmp_path, [], confirm=2).run(case(tmp_path)).reruns == ()
    assert world.seen["primary", "image-restore"] == 1


def test_a_case_is_not_confirmed_on_guests_whose_kernels_complained(tmp_path: Path) -> None:
    world = World()

    def complains_once(role: str, command: Command) -> Reply | None:
        if (role, command[0]) == ("backup", "probe") and world.boots() == 1:
            world.report("primary")
        return None

    world.rules.append(complains_once)
    result = worker(world, tmp_path, [], confirm=2).run(case(tmp_path))
    assert [(r.verdict, r.fresh_pair) for r in result.reruns] == [
        (Verdict.PASS, True), (Verdict.PASS, False),
    ]  # fmt: skip
    assert result.outcome is Outcome.FLAKY
    assert [check.rule for check in result.checks if check.verdict is Verdict.FAIL] == ["console"]


def test_trouble_while_confirming_is_recorded_and_confirms_nothing(tmp_path: Path) -> None:
    world = World()
    lose_files(world)

    def dies(role: str, command: Command) -> Reply | None:
        if (role, command[0]) == ("backup", "probe") and world.seen["backup", "probe"] == 3:
            return world.lose("backup")
        return None

    world.rules.append(dies)
    result = worker(world, tmp_path, [], confirm=2).run(case(tmp_path, 3))
    verdicts = [(r.verdict, r.fresh_pair) for r in result.reruns]
    assert verdicts == [(None, False), (Verdict.FAIL, True), (Verdict.FAIL, False)]
    assert "agent of guest backup" in (result.reruns[0].infra_error or "")
    assert (result.outcome, result.confirmed) == (Outcome.FAIL, True)


def test_confirming_is_given_up_when_guests_are_lost_each_time(tmp_path: Path) -> None:
    world = World()
    lose_files_in(world, 1)

    def dies(role: str, command: Command) -> Reply | None:
        later = world.seen["primary", "image-restore"] > 1
        return world.lose(role) if command[0] == "probe" and later else None

    world.rules.append(dies)
    result = worker(world, tmp_path, [], confirm=2).run(case(tmp_path))
    assert [rerun.verdict for rerun in result.reruns] == [None] * 3
    assert (result.outcome, result.confirmed, result.flaky) == (Outcome.FAIL, False, False)


def test_a_closed_worker_leaves_nothing_running(tmp_path: Path) -> None:
    world = World()
    run = worker(world, tmp_path, [])
    run.run(case(tmp_path))
    run.close()
    result = run.run(case(tmp_path, 2))
    assert result.outcome is Outcome.INFRA
    assert result.attempts == ()
    assert world.hypervisor.running() == []
