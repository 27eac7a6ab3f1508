# SPDX-License-Identifier: Apache-2.0
"""A case that begins while the one before it is looked at, and what becomes of either."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from oracle_trees import without
from run_world import OOPS, World, options, tree_payload
from test_run_worker import case

from harness.events import CaseRetried, CaseStarted, Event
from harness.guest.fake import Command, GuestHangs, Reply
from harness.model.case import CaseResult, Outcome
from harness.model.verdict import Verdict
from harness.run.caselog import CaseLog
from harness.run.overlap import OverlappingWorker
from harness.run.plan import Case

WAIT_S = 60


class Cases:
    """Cases of the smoke suite, as a campaign hands them out."""

    def __init__(self, folder: Path, *numbers: int, fs: str = "ext4") -> None:
        self.left = deque(case(folder, number, fs=(fs,)) for number in numbers)
        self.ends = False

    def take(self) -> Case | None:
        return self.left.popleft() if self.left and not self.ends else None

    def run(self, worker: OverlappingWorker) -> list[CaseResult]:
        """As a campaign does."""
        results: list[CaseResult] = []
        while (taken := self.take()) is not None:
            results += worker.results(taken, self.take, self.left.appendleft)
        worker.close()
        return results


def worker(
    world: World, folder: Path, events: list[Event] | None = None, **changes: object
) -> OverlappingWorker:
    heard = events.append if events is not None else lambda event: None
    return OverlappingWorker(0, world.builder(folder), options(folder, **changes), heard)


def numbers(results: list[CaseResult]) -> list[int]:
    return [int(result.case_id.workload.rpartition("/")[2]) for result in results]


class InCase:
    """Knows which play of a case the guests are at, each on its own account: 1 is the first."""

    def __init__(self, world: World) -> None:
        self.begun = {"primary": 0, "backup": 0}
        self.last_look = False
        """Whether the backup looks at the last crash state of a case."""
        self._copies = 0
        self._world = world
        world.rules.append(self._note)

    def _note(self, role: str, command: Command) -> None:
        if (role, command[0]) == ("primary", "image-restore"):
            self.begun["primary"] += 1
            self._copies = 0
        if (role, command[0]) == ("backup", "image-save"):
            self.begun["backup"] = self.begun["primary"]
            self._copies += 1
            points = [step for step in self._world.steps() if step.verb == "checkpoint"]
            self.last_look = self._copies == len(points)


def loses_files_in(world: World, at: InCase, *plays: int) -> None:
    def rule(role: str, command: Command) -> Reply | None:
        if (role, command[0]) != ("backup", "tree") or at.begun["backup"] not in plays:
            return None
        tree = world.crash_tree()
        return Reply(tree_payload(without(*(path for path in tree.entries if path))(tree)))

    world.rules.append(rule)


def waits_for_the_next(world: World, at: InCase, play: int) -> None:
    """The look of ``play`` is not over before the next one has begun on the primary."""
    compared, begun = threading.Event(), threading.Event()

    def rule(role: str, command: Command) -> None:
        if role == "primary" and at.begun["primary"] == play and command[0] == "digest":
            # By now the backup has been asked as well: it answers before it looks on.
            compared.set()
        if role == "primary" and at.begun["primary"] == play + 1 and command[0] == "step":
            begun.set()
        if role == "backup" and at.begun["backup"] == play and at.last_look:
            if command[0] == "tree":
                assert compared.wait(WAIT_S), "the devices are not compared"
            if command[0] == "probe":
                assert begun.wait(WAIT_S), "the next case does not begin"

    # First: others answer.
    world.rules.insert(1, rule)


def at_probe_of(world: World, at: InCase, play: int, act: Callable[[], Reply | None]) -> None:
    def rule(role: str, command: Command) -> Reply | None:
        looks = (role, command[0]) == ("backup", "probe") and at.last_look
        return act() if looks and at.begun["backup"] == play else None

    world.rules.append(rule)


def test_a_case_begins_while_the_one_before_it_is_looked_at(tmp_path: Path) -> None:
    world, events = World(), list[Event]()
    at = InCase(world)
    for play in (2, 3, 4):
        waits_for_the_next(world, at, play)
    results = Cases(tmp_path, 1, 2, 3, 4, 5).run(worker(world, tmp_path, events))
    assert [result.verdict for result in results] == [Verdict.PASS] * 5
    assert numbers(results) == [1, 2, 3, 4, 5]
    assert world.boots() == 1
    assert sum(isinstance(event, CaseStarted) for event in events) == 5
    assert not any(isinstance(event, CaseRetried) for event in events)


def test_each_has_its_own_crash_states(tmp_path: Path) -> None:
    """The same as of a worker that does one after the other."""
    world = World()
    at = InCase(world)
    for play in (2, 3):
        waits_for_the_next(world, at, play)
    overlapped = Cases(tmp_path, 1, 4, 5, 6).run(worker(world, tmp_path))
    for result in overlapped:
        alone = worker(World(), tmp_path).run(case(tmp_path, numbers([result])[0]))
        assert result.evidence is not None
        assert alone.evidence is not None
        assert result.evidence.crashes == alone.evidence.crashes


def test_the_devices_are_compared_before_the_next_case_begins(tmp_path: Path) -> None:
    world = World()
    Cases(tmp_path, 1, 2, 3).run(worker(world, tmp_path))
    order = [
        command[0] if role == "primary" else f"{command[0]} of backup"
        for role, command in world.log
        if command[0] in ("digest", "image-restore") and command[-1] != "/dev/ram0"
    ]
    for n in range(3):
        assert order[3 * n] == "image-restore"
        assert set(order[3 * n + 1 : 3 * n + 3]) == {"digest", "digest of backup"}


def test_a_case_that_fails_takes_the_one_after_it_along(tmp_path: Path) -> None:
    """What began on a target that is no good is run again, on another one."""
    world = World()
    at = InCase(world)
    waits_for_the_next(world, at, 2)
    # Of the second case and what began after it: whatever that shows counts for nothing.
    loses_files_in(world, at, 2, 3)
    results = Cases(tmp_path, 1, 2, 3, 4).run(worker(world, tmp_path, confirm=0))
    assert numbers(results) == [1, 2, 3, 4]
    assert [result.verdict for result in results] == [
        Verdict.PASS, Verdict.FAIL, Verdict.PASS, Verdict.PASS,
    ]  # fmt: skip
    made = [c for r, c in world.log if r == "primary" and c[:2] == ("dm-create", "replicated")]
    assert len(made) == 2
    assert world.boots() == 1


def test_a_finding_is_confirmed_without_a_case_beside_it(tmp_path: Path) -> None:
    world = World()
    at = InCase(world)
    waits_for_the_next(world, at, 2)
    loses_files_in(world, at, 2, 4, 5)
    results = Cases(tmp_path, 1, 2, 3).run(worker(world, tmp_path, confirm=2))
    assert results[1].outcome is Outcome.FAIL
    assert [rerun.verdict for rerun in results[1].reruns] == [Verdict.FAIL] * 2
    assert numbers(results) == [1, 2, 3]
    assert results[2].verdict is Verdict.PASS


def test_what_a_kernel_reports_of_a_case_that_does_not_count_is_kept(tmp_path: Path) -> None:
    world = World()
    at = InCase(world)
    waits_for_the_next(world, at, 2)
    loses_files_in(world, at, 2)

    def complains() -> None:
        world.report("primary", OOPS)

    at_probe_of(world, at, 3, complains)  # type: ignore[arg-type]
    results = Cases(tmp_path, 1, 2, 3, 4).run(worker(world, tmp_path, confirm=0))
    assert numbers(results) == [1, 2, 3, 4]
    assert results[2].verdict is Verdict.FAIL
    assert "console" in {c.rule for c in results[2].checks if c.verdict is Verdict.FAIL}
    assert results[3].verdict is Verdict.PASS


def test_a_report_during_the_look_is_of_the_case_looked_at(tmp_path: Path) -> None:
    world = World()
    at = InCase(world)
    waits_for_the_next(world, at, 2)
    at_probe_of(world, at, 2, lambda: world.report("backup", OOPS))  # type: ignore[func-returns-value]
    results = Cases(tmp_path, 1, 2, 3).run(worker(world, tmp_path, confirm=0))
    assert [result.verdict for result in results] == [Verdict.PASS, Verdict.FAIL, Verdict.PASS]


def test_a_backup_lost_in_a_look_costs_two_attempts_and_no_result(tmp_path: Path) -> None:
    world, events = World(), list[Event]()
    at = InCase(world)
    waits_for_the_next(world, at, 2)
    at_probe_of(world, at, 2, lambda: world.lose("backup"))
    results = Cases(tmp_path, 1, 2, 3, 4).run(worker(world, tmp_path, events))
    assert numbers(results) == [1, 2, 3, 4]
    assert [result.verdict for result in results] == [Verdict.PASS] * 4
    assert "had begun on the primary" in results[1].attempts[0]
    assert results[2].attempts == ()
    assert world.boots() == 2


def test_an_oops_in_a_look_names_the_case_beside_it(tmp_path: Path) -> None:
    world = World()
    at = InCase(world)
    waits_for_the_next(world, at, 2)

    def dies() -> Reply:
        world.report("backup", OOPS)
        return world.lose("backup")

    at_probe_of(world, at, 2, dies)
    results = Cases(tmp_path, 1, 2, 3).run(worker(world, tmp_path, confirm=0))
    assert [result.verdict for result in results] == [Verdict.PASS, Verdict.FAIL, Verdict.PASS]
    (check,) = results[1].checks
    assert check.rule == "console"
    assert "smoke/000000003" in check.message


def test_trouble_of_the_later_case_is_its_own(tmp_path: Path) -> None:
    world = World()

    def dies(role: str, command: Command) -> Reply | None:
        third = world.seen["primary", "image-restore"] == 3 and world.boots() == 1
        if (role, command[0]) == ("primary", "umount") and third:
            world.report("primary", OOPS)
            return world.lose("primary")
        return None

    world.rules.append(dies)
    results = Cases(tmp_path, 1, 2, 3, 4).run(worker(world, tmp_path, confirm=0))
    assert numbers(results) == [1, 2, 3, 4]
    assert [result.verdict for result in results] == [
        Verdict.PASS, Verdict.PASS, Verdict.FAIL, Verdict.PASS,
    ]  # fmt: skip


def test_a_look_that_takes_too_long_is_tried_again(tmp_path: Path) -> None:
    world = World()
    at = InCase(world)

    def hangs() -> Reply | None:
        if world.boots() == 1:
            raise GuestHangs
        return None

    at_probe_of(world, at, 2, hangs)
    run = worker(world, tmp_path, timeout_s=1.0)
    results = Cases(tmp_path, 1, 2, 3).run(run)
    assert [result.verdict for result in results] == [Verdict.PASS] * 3
    assert len(results[1].attempts) == 1


@pytest.mark.parametrize("fails", [False, True])
def test_when_the_run_ends_a_case_under_way_is_finished_if_it_counts(
    tmp_path: Path, fails: bool
) -> None:
    world = World()
    at = InCase(world)
    waits_for_the_next(world, at, 2)
    if fails:
        loses_files_in(world, at, 2)
    cases = Cases(tmp_path, 1, 2, 3, 4)
    run, results = worker(world, tmp_path, confirm=0), list[CaseResult]()
    first = cases.take()
    assert first is not None
    for result in run.results(first, cases.take, cases.left.appendleft):
        results.append(result)
        cases.ends = len(results) == 2
    run.close()
    assert numbers(results) == ([1, 2] if fails else [1, 2, 3])
    assert [int(one.case_id.workload[-1]) for one in cases.left] == ([3, 4] if fails else [4])


def test_what_needs_the_primary_to_wait_is_not_overlapped(tmp_path: Path) -> None:
    world = World("xfs")
    results = Cases(tmp_path, 1, 2, 3, fs="xfs").run(worker(world, tmp_path))
    assert [result.verdict for result in results] == [Verdict.PASS] * 3
    words = [f"{role} {command[0]}" for role, command in world.log]
    last = max(n for n, word in enumerate(words) if word == "backup probe")
    begun = [n for n, word in enumerate(words) if word == "primary image-restore"]
    assert last > begun[-1]
    for earlier, later in pairwise(begun):
        looks = [n for n, word in enumerate(words) if word == "backup dm-remove" and n > earlier]
        assert looks[0] < later


def test_what_a_look_hears_after_its_case_is_given_up_is_not_lost(tmp_path: Path) -> None:
    world = World()
    (guest, _) = world.builder(tmp_path).boot("0").guests
    log = CaseLog()
    log.hear([guest])
    log.forget()
    world.report("primary", OOPS)
    log.hear([guest])
    assert len(guest.kernel_reports()) == 1
