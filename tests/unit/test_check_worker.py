# SPDX-License-Identifier: Apache-2.0
"""Bundles of cases run by xfstests: what is met, what is said, and who is to blame; in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from check_world import CheckWorld, check_worker
from oracle_trees import without
from run_world import OOPS, options, tree_payload

from ace_workloads.jlang import parse_run_section
from ace_workloads.ops import Verb
from ace_workloads.registry import load_suite
from harness.events import CaseRetried, Event, Warned
from harness.guest.fake import Command, Reply
from harness.model.case import CaseResult, Outcome
from harness.model.verdict import Verdict, merge
from harness.oracle import judge_case
from harness.oracle.rules import Rule
from harness.run.plan import Case, WorkloadPlan
from harness.run.xfstests.bundle import KERNEL_LOG, NOT_RUN

FIRST, SECOND, THIRD = (f"smoke/{number:09d}" for number in (1, 2, 3))


def plan(folder: Path, count: int, **changes: object) -> WorkloadPlan:
    return WorkloadPlan(load_suite("smoke"), options(folder, limit=count, **changes))


def at_work_on(world: CheckWorld, of: str) -> bool:
    return world.steps() == {w.id: w.steps for w in load_suite("smoke")}[of]


def run(
    world: CheckWorld, folder: Path, count: int = 3, events: list[Event] | None = None,
    **changes: object,
) -> list[CaseResult]:  # fmt: skip
    """Results of the first ``count`` cases, in one call as a campaign would."""
    cases = plan(folder, count)
    worker = check_worker(world, folder, [] if events is None else events, **changes)
    first = cases.take()
    assert first is not None
    return list(worker.results(first, cases.take))


def verdicts(results: list[CaseResult]) -> list[Verdict | None]:
    return [result.verdict for result in results]


def failed_rules(result: CaseResult) -> set[str]:
    return {check.rule for check in result.checks if check.verdict is Verdict.FAIL}


def test_cases_of_a_bundle_have_a_verdict_each(tmp_path: Path) -> None:
    world = CheckWorld()
    results = run(world, tmp_path)
    assert verdicts(results) == [Verdict.PASS] * 3
    assert world.bundles == [[FIRST, SECOND, THIRD]]
    for result in results:
        assert result.evidence is not None
        assert result.evidence.primary_device == result.evidence.backup_device is not None
        steps = parse_run_section(result.jlang)
        assert [c.line for c in result.evidence.crashes] == [
            line for line, step in enumerate(steps, 1) if step.verb is Verb.CHECKPOINT
        ]


def test_the_primary_stands_still_while_the_backup_is_looked_at(tmp_path: Path) -> None:
    world = CheckWorld()
    states: list[object] = []

    def look(role: str, command: Command) -> Reply | None:
        if (role, command[0]) == ("backup", "image-save"):
            states.append(world.machines["primary"].state().value)
        return None

    world.rules.insert(0, look)
    run(world, tmp_path, 1)
    assert states
    assert set(states) == {"paused"}


def test_a_bundle_is_as_large_as_asked_for_and_of_one_file_system(tmp_path: Path) -> None:
    world = CheckWorld()
    cases = plan(tmp_path, 2, fs=("ext4", "btrfs"))
    worker = check_worker(world, tmp_path, [], bundle=3)
    first = cases.take()
    assert first is not None
    # What is said of a btrfs is that of an ext4 here: only who goes with whom counts.
    assert len(list(worker.results(first, cases.take))) == 4
    assert world.bundles[0] == [FIRST, SECOND]


def forget_files(world: CheckWorld, of: str) -> None:
    """Let the backup have no file of one workload, in whatever bundle it is."""

    def rule(role: str, command: Command) -> Reply | None:
        if (role, command[0]) != ("backup", "tree") or not at_work_on(world, of):
            return None
        tree = world.crash_tree()
        return Reply(tree_payload(without(*(path for path in tree.entries if path))(tree)))

    world.rules.insert(0, rule)


def test_a_case_that_fails_ends_its_bundle_and_the_rest_is_run(tmp_path: Path) -> None:
    world = CheckWorld()
    forget_files(world, SECOND)
    results = run(world, tmp_path, 4, confirm=2)
    assert verdicts(results) == [Verdict.PASS, Verdict.FAIL, Verdict.PASS, Verdict.PASS]
    assert results[1].confirmed
    assert "name/persisted" in failed_rules(results[1])
    # The bundle; two more runs; the control arm; what had not been begun.
    assert [len(ids) for ids in world.bundles] == [4, 1, 1, 1, 2]
    assert world.bundles[-1][0] == THIRD


def test_a_test_that_is_not_run_is_no_pass(tmp_path: Path) -> None:
    world = CheckWorld(said={NOT_RUN: "this test requires a hat\n"})
    world.spoken = lambda _id, _words: None
    results = run(world, tmp_path)
    assert verdicts(results) == [Verdict.SKIPPED] * 3
    assert results[0].checks[0].found == "this test requires a hat"


def test_a_step_that_fails_is_a_failed_step(tmp_path: Path) -> None:
    world = CheckWorld()
    world.spoken = lambda about, words: (
        None if about == SECOND and not words.startswith("begin") else words
    )
    world.complain(
        f"{SECOND}: step 1: mkdir: cannot create directory 'A': Input/output error",
        f"{SECOND}: 0 of 2 crash points as promised",
    )
    results = run(world, tmp_path)
    assert verdicts(results)[::2] == [Verdict.PASS, Verdict.PASS]
    evidence = results[1].evidence
    assert evidence is not None
    assert evidence.step_errors == ((1, "mkdir: EIO"),)
    assert evidence.complaints == ()
    assert failed_rules(results[1]) == {Rule.STEPS_ERRNO}


def test_what_the_test_says_of_a_workload_fails_it_alone(tmp_path: Path) -> None:
    world = CheckWorld()
    world.complain(f"{SECOND}: mount: wrong fs type, bad option, bad superblock")
    results = run(world, tmp_path)
    assert verdicts(results) == [Verdict.PASS, Verdict.FAIL, Verdict.PASS]
    assert failed_rules(results[1]) == {Rule.CASE_CHECK}


@pytest.mark.parametrize("again", [True, False])
def test_what_is_said_of_all_together_is_looked_for_alone(tmp_path: Path, again: bool) -> None:
    """A warning of the kernel, say: whose it was, only running them apart can tell."""
    world, events = CheckWorld(), list[Event]()
    world.status = 1
    said = {KERNEL_LOG: "WARNING: lock held"}
    world.said = dict(said)

    def alone(role: str, command: Command) -> Reply | None:
        if command[0] == "job":
            loud = again and world._loaded[0].id == THIRD and len(world._loaded) == 1
            first = not world.bundles
            world.said, world.status = (said, 1) if loud or first else ({}, 0)
        return None

    world.rules.insert(0, alone)
    results = run(world, tmp_path, events=events)
    assert [len(ids) for ids in world.bundles[:4]] == [3, 1, 1, 1]
    rest = Verdict.UNKNOWN
    assert verdicts(results) == [rest, rest, Verdict.FAIL if again else rest]
    # Whoever judges the record again comes to the same.
    for result in results:
        assert result.evidence is not None
        judged = judge_case(parse_run_section(result.jlang), "ext4", result.evidence, True)
        assert merge(check.verdict for check in judged) is result.verdict
    assert any(isinstance(event, Warned) and "lock held" in event.text for event in events)


def test_a_guest_that_ends_takes_no_finished_case_along(tmp_path: Path) -> None:
    world, events = CheckWorld(), list[Event]()
    lost: list[int] = []

    def dies(role: str, command: Command) -> Reply | None:
        if (role, command[0]) == ("backup", "probe") and not lost and at_work_on(world, SECOND):
            lost.append(1)
            return world.lose("backup")
        return None

    world.rules.insert(0, dies)
    results = run(world, tmp_path, events=events)
    assert [result.case_id.workload for result in results] == [FIRST, SECOND, THIRD]
    assert verdicts(results) == [Verdict.PASS] * 3
    assert [event.case_id.workload for event in events if isinstance(event, CaseRetried)] == [
        SECOND
    ]
    assert world.boots() == 2
    assert world.bundles[1] == [SECOND, THIRD]


def test_a_kernel_report_is_that_of_the_case_it_came_in(tmp_path: Path) -> None:
    world = CheckWorld()
    done: list[int] = []

    def dies(role: str, command: Command) -> Reply | None:
        if (role, command[0]) == ("backup", "probe") and not done and at_work_on(world, SECOND):
            done.append(1)
            world.report("backup", OOPS)
            return world.lose("backup")
        return None

    world.rules.insert(0, dies)
    results = run(world, tmp_path)
    assert [result.outcome for result in results] == [Outcome.PASS, Outcome.FAIL, Outcome.PASS]
    assert failed_rules(results[1]) == {"console"}


@pytest.mark.parametrize(
    "words", ["point", "point smoke/000000001 x 3", "begin nobody/1", "hello smoke/000000001"]
)
def test_words_that_mean_nothing_are_no_verdict(tmp_path: Path, words: str) -> None:
    world = CheckWorld()
    world.spoken = lambda _id, said: words if said.startswith("point") else said
    (result,) = run(world, tmp_path, 1)
    assert result.outcome is Outcome.INFRA
    assert result.infra_error is not None
    assert "means nothing" in result.infra_error


def test_a_test_that_never_begins_is_no_verdict(tmp_path: Path) -> None:
    world = CheckWorld()
    world.spoken = lambda _id, _said: None
    (result,) = run(world, tmp_path, 1)
    assert result.outcome is Outcome.INFRA
    assert result.infra_error == "xfstests did not come to it: Ran: x\n"


def test_a_case_that_breaks_off_is_unknown(tmp_path: Path) -> None:
    world = CheckWorld()
    world.spoken = lambda about, said: None if said.startswith("end") else said
    assert verdicts(run(world, tmp_path, 2)) == [Verdict.UNKNOWN] * 2


def test_a_workload_that_cannot_be_a_test_is_skipped(tmp_path: Path) -> None:
    world = CheckWorld()
    good = plan(tmp_path, 1).take()
    assert good is not None
    bad = Case(good.case_id, load_suite("ace-seq1").workload(1))
    object.__setattr__(bad.workload, "steps", ())
    worker = check_worker(world, tmp_path, [])
    (result,) = worker.results(bad, lambda: None)
    assert result.outcome is Outcome.SKIPPED
    assert "persistence point" in result.checks[0].found


def test_a_workload_that_is_not_begun_takes_no_other_ones_place(tmp_path: Path) -> None:
    """It could not be mounted, say; those after it in the bundle were."""
    world = CheckWorld()
    world.spoken = lambda about, words: None if about == SECOND else words
    lines = f"{SECOND}: mount: wrong fs type", f"{SECOND}: 0 of 1 crash points as promised"

    def complains(_: str, command: Command) -> Reply | None:
        if command[0] == "job":
            world.said, world.status = {}, 0
            if any(workload.id == SECOND for workload in world._loaded):
                world.complain(*lines)
        return None

    world.rules.insert(0, complains)
    results = run(world, tmp_path)
    assert [result.case_id.workload for result in results] == [FIRST, SECOND, THIRD]
    assert verdicts(results) == [Verdict.PASS, Verdict.FAIL, Verdict.PASS]
    assert Rule.CASE_CHECK in failed_rules(results[1])


def test_what_check_wrote_is_kept_of_a_case_that_fails(tmp_path: Path) -> None:
    world = CheckWorld()
    world.complain(f"{SECOND}: mount: wrong fs type")
    results = run(world, tmp_path)
    assert results[1].console["check"] == ("Ran: x",)
    assert results[1].console["check.out.bad"][-1] == f"{SECOND}: mount: wrong fs type"
    assert "check" not in results[0].console
