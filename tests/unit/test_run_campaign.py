# SPDX-License-Identifier: Apache-2.0
"""A whole run on guests in memory: exit codes, and a record that is complete whatever happens."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from run_world import IMAGE, World, options, tree_payload

from ace_workloads.registry import load_suite
from harness.config import StateDir
from harness.errors import InfraError
from harness.events import Event, EventBus, RunEnded, Subscriber, Warned
from harness.guest.fake import Command, Reply
from harness.model.case import Outcome
from harness.model.tree import Tree
from harness.model.verdict import Verdict
from harness.report.load import Run, load_run
from harness.report.store import RunStore
from harness.run import campaign, worker
from harness.run.campaign import RunOutcome, run_campaign
from harness.run.options import RunOptions
from harness.run.pair import PairBuilder
from harness.run.plan import WorkloadPlan
from harness.vm.live import LiveDir
from harness.vm.ports import Accelerator

ALL = load_suite("smoke").count()


class Rig:
    """A world, and a run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = World()
        self.events: list[Event] = []
        self.listeners: list[Subscriber] = [self.events.append]

    def on(self, kind: type[Event]) -> threading.Event:
        """Set once an event of ``kind`` was published."""
        seen = threading.Event()

        def listen(event: Event) -> None:
            if isinstance(event, kind):
                seen.set()

        self.listeners.append(listen)
        return seen

    def run(self, before_end: Callable[[], None] | None = None, **changes: object) -> RunOutcome:
        asked = options(self.folder, **changes)
        bus = EventBus()
        for listener in self.listeners:
            bus.subscribe(listener)
        return run_campaign(WorkloadPlan(load_suite("smoke"), asked), asked, bus, before_end)

    def record(self) -> Run:
        return load_run(self.folder / "reports" / "smoke" / "latest")

    def outcomes(self) -> list[Outcome]:
        return [result.outcome for result in self.record().results()]

    @contextlib.contextmanager
    def laboratory(
        self, asked: RunOptions, say: object, folder: object = None
    ) -> Iterator[FakeLaboratory]:
        del asked, say, folder
        try:
            yield FakeLaboratory(self)
        finally:
            self.world.hypervisor.destroy_owned()


class FakeLaboratory:
    """What a run asks of its laboratory."""

    image = IMAGE
    accelerator = Accelerator.TCG
    connection = "fake:///memory"
    modules = ()
    xfstests = ""

    def __init__(self, rig: Rig) -> None:
        self.hypervisor = rig.world.hypervisor
        self.live = LiveDir(rig.folder, "0ddba11")
        self.state = StateDir(rig.folder)
        self._rig = rig

    def with_kmod(self, asked: RunOptions, say: object) -> FakeLaboratory:
        assert asked.kmod is None
        del say
        return self

    def pairs(self, asked: RunOptions, consoles: Path | None = None) -> PairBuilder:
        del asked, consoles
        return self._rig.world.builder(self._rig.folder)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    made = Rig(tmp_path)
    monkeypatch.setattr(campaign, "laboratory", made.laboratory)
    return made


def forgets_files(role: str, command: Command) -> Reply | None:
    """A file system without any file in the backup's place, on both arms."""
    if (role, command[0]) == ("backup", "tree"):
        return Reply(tree_payload(Tree({})))
    return None


def at_case(number: int, rig: Rig, act: Callable[[], Reply | None]) -> None:
    """Do ``act`` when the ``number``-th case begins on the primary."""

    def rule(role: str, command: Command) -> Reply | None:
        started = rig.world.seen["primary", "image-restore"]
        begins = (role, command[0]) == ("primary", "image-restore") and started == number
        return act() if begins else None

    rig.world.rules.append(rule)


def press_ctrl_c() -> None:
    ident = threading.main_thread().ident
    assert ident is not None
    signal.pthread_kill(ident, signal.SIGINT)


def test_all_pass(rig: Rig) -> None:
    outcome = rig.run()
    assert outcome.exit_code == 0
    assert rig.outcomes() == [Outcome.PASS] * ALL
    info = rig.record().info
    assert (info.exit_code, info.planned) == (0, ALL)
    assert info.ended_unix_s is not None
    assert info.counts[Outcome.PASS] == ALL
    assert info.options["state_dir"] == str(rig.folder / "state")
    assert (outcome.folder / "junit.xml").is_file()
    assert isinstance(rig.events[-1], RunEnded)
    assert rig.world.hypervisor.running() == []


def test_several_pairs_share_the_cases(rig: Rig) -> None:
    assert rig.run(pairs=3).exit_code == 0
    ids = [result.case_id for result in rig.record().results()]
    assert len(ids) == len(set(ids)) == ALL
    assert rig.world.hypervisor.running() == []


def test_a_finding(rig: Rig) -> None:
    rig.world.rules.append(forgets_files)
    outcome = rig.run(target="linear", limit=2)
    assert outcome.exit_code == 1
    assert rig.outcomes() == [Outcome.FAIL] * 2
    folder = rig.record().path / "cases" / "smoke" / "000000001" / "ext4@linear"
    assert {path.name for path in folder.iterdir()} >= {
        "workload.jlang", "expected.txt", "recovered.txt", "diff.txt", "verdict.json",
        "console-primary.log", "console-backup.log",
    }  # fmt: skip
    assert "foo" in (folder / "diff.txt").read_text(encoding="utf-8")


def test_some_unknown(rig: Rig) -> None:
    stuck = Reply(b"received 9 applied 8", ok=False, status=-110)
    rig.world.rules.append(
        lambda role, command: stuck if (role, command[0]) == ("backup", "dm-wait") else None
    )
    # The connection is waited for by the same command when the target is set up.
    rig.world.rules.insert(
        0, lambda role, command: Reply() if command[-1] == "state==connected" else None
    )
    assert rig.run(limit=2).exit_code == 2
    assert rig.outcomes() == [Outcome.UNKNOWN] * 2


def test_an_infrastructure_error(rig: Rig) -> None:
    rig.world.rules.append(
        lambda role, command: rig.world.lose(role) if command[0] == "image-restore" else None
    )
    assert rig.run(limit=2).exit_code == 3
    assert rig.outcomes() == [Outcome.INFRA] * 2


def test_fail_fast_stops_at_the_first(rig: Rig) -> None:
    rig.world.rules.append(forgets_files)
    outcome = rig.run(target="linear", fail_fast=True)
    assert outcome.exit_code == 1
    assert rig.outcomes() == [Outcome.FAIL]
    assert rig.record().info.planned == ALL


@pytest.mark.parametrize("asked", [{"fail_fast": True}, {"max_findings": 1}])
def test_what_ends_a_run_is_confirmed_first(rig: Rig, asked: dict[str, object]) -> None:
    rig.world.rules.append(forgets_files)
    outcome = rig.run(**asked, confirm=2)
    assert outcome.exit_code == 1
    (result,) = rig.record().results()
    assert [rerun.verdict for rerun in result.reruns] == [Verdict.FAIL] * 2


def test_an_interrupt_ends_the_confirmation_and_keeps_the_finding(rig: Rig) -> None:
    rig.world.rules.append(forgets_files)
    warned = rig.on(Warned)

    def interrupt() -> None:
        press_ctrl_c()
        assert warned.wait(10)

    # The second time the image is restored is the first rerun.
    at_case(2, rig, interrupt)
    assert rig.run(confirm=2).exit_code == 130
    (result,) = rig.record().results()
    assert result.verdict is Verdict.FAIL
    assert [rerun.verdict for rerun in result.reruns] == [Verdict.FAIL], "the one under way"


def test_a_second_interrupt_keeps_a_finding_that_is_being_confirmed(rig: Rig) -> None:
    rig.world.rules.append(forgets_files)
    told, torn_down = rig.on(Warned), threading.Event()

    def twice() -> Reply:
        rig.world.machines["primary"].on_end.append(torn_down.set)
        press_ctrl_c()
        assert told.wait(10)
        press_ctrl_c()
        assert torn_down.wait(10)
        return rig.world.lose("primary")

    at_case(2, rig, twice)
    assert rig.run(confirm=2).exit_code == 130
    (result,) = rig.record().results()
    assert (result.verdict, result.reruns) == (Verdict.FAIL, ())


def test_no_time_is_left_to_confirm(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(campaign, "_clock", lambda: clock[0])

    def late(role: str, command: Command) -> Reply | None:
        if command[0] == "probe":
            clock[0] = 100.0
        return None

    rig.world.rules += [late, forgets_files]
    assert rig.run(confirm=2, time_budget_s=60.0).exit_code == 1
    (result,) = rig.record().results()
    assert (result.verdict, result.reruns) == (Verdict.FAIL, ())
    assert rig.record().info.left == ALL - 1


def test_fail_fast_does_not_stop_at_a_pass(rig: Rig) -> None:
    assert rig.run(fail_fast=True).exit_code == 0
    assert len(rig.outcomes()) == ALL


def test_an_interrupt_finishes_case_and_record(rig: Rig) -> None:
    told = rig.on(Warned)

    def interrupt() -> None:
        press_ctrl_c()
        assert told.wait(10)

    at_case(3, rig, interrupt)
    outcome = rig.run()
    assert outcome.exit_code == 130
    assert rig.outcomes() == [Outcome.PASS] * 3, "the third is finished, no other begun"
    info = rig.record().info
    assert (info.exit_code, info.counts[Outcome.PASS]) == (130, 3)
    assert info.ended_unix_s is not None
    assert (outcome.folder / "junit.xml").is_file()
    assert any(isinstance(event, Warned) and "interrupted" in event.text for event in rig.events)
    assert rig.world.hypervisor.running() == []


def test_a_second_interrupt_does_not_wait_for_the_case(rig: Rig) -> None:
    told, torn_down = rig.on(Warned), threading.Event()

    def twice() -> Reply:
        rig.world.machines["primary"].on_end.append(torn_down.set)
        press_ctrl_c()
        assert told.wait(10)
        press_ctrl_c()
        assert torn_down.wait(10), "the guests are not ended while the case goes on"
        return rig.world.lose("primary")

    at_case(3, rig, twice)
    assert rig.run().exit_code == 130
    assert rig.outcomes() == [Outcome.PASS] * 2, "the case cut off has no result"
    assert rig.record().info.exit_code == 130
    assert rig.world.boots() == 1, "no pair is booted to try it again"


def test_an_interrupt_while_the_record_is_closed_closes_it_as_well(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = campaign.write_junit

    def interrupted(*arguments: object) -> None:
        monkeypatch.setattr(campaign, "write_junit", write)
        raise KeyboardInterrupt

    monkeypatch.setattr(campaign, "write_junit", interrupted)
    outcome = rig.run(limit=1)
    assert outcome.exit_code == rig.record().info.exit_code == 130
    assert (outcome.folder / "junit.xml").is_file()


def test_an_interrupt_at_the_prompt_keeps_the_record(rig: Rig) -> None:
    def prompt() -> None:
        assert len(rig.world.hypervisor.running()) == 2, "the guests are kept meanwhile"
        raise KeyboardInterrupt

    assert rig.run(prompt, limit=1).exit_code == 130
    assert rig.record().info.exit_code == 130
    assert rig.world.hypervisor.running() == []


def test_a_worker_that_raises_ends_the_run_with_its_record(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*arguments: object) -> None:
        raise ZeroDivisionError("a bug of ours")

    at_case(3, rig, lambda: monkeypatch.setattr(worker, "judge_case", bug))
    with pytest.raises(ZeroDivisionError):
        rig.run()
    assert rig.outcomes() == [Outcome.PASS] * 2
    info = rig.record().info
    assert info.exit_code == 70, "not 0, although what was recorded passed"
    assert info.ended_unix_s is not None
    assert (rig.record().path / "junit.xml").is_file()
    assert rig.world.hypervisor.running() == []


def test_a_worker_that_raises_stops_the_others(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    judge, both = worker.judge_case, threading.Event()

    def judge_or_raise(*arguments: object) -> object:
        if threading.current_thread().name == "pair-0":
            assert both.wait(10), "the other pair has no case"
            raise ZeroDivisionError("a bug of ours")
        both.set()
        for thread in threading.enumerate():
            if thread.name == "pair-0":
                thread.join(10)
        return judge(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(worker, "judge_case", judge_or_raise)
    with pytest.raises(ZeroDivisionError):
        rig.run(pairs=2)
    assert rig.outcomes() == [Outcome.PASS], "the other pair finishes its case and takes no more"


def test_a_full_disk_ends_the_run_with_what_was_recorded(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, room = RunStore.append, iter(range(2))

    def full(store: RunStore, result: object) -> None:
        if next(room, None) is None:
            raise InfraError("cannot write: no space left on device")
        append(store, result)  # type: ignore[arg-type]

    monkeypatch.setattr(RunStore, "append", full)
    with pytest.raises(InfraError, match="no space left"):
        rig.run()
    assert rig.outcomes() == [Outcome.PASS] * 2
    assert rig.record().info.exit_code == 3


def test_nothing_can_run(rig: Rig) -> None:
    rig.world.rules.append(
        lambda role, command: Reply.failure("x") if command[0] == "insmod" else None
    )
    with pytest.raises(InfraError, match="no case can run"):
        rig.run(pairs=2)
    assert rig.outcomes() == []
    assert rig.record().info.exit_code == 3
    assert rig.world.hypervisor.running() == []
