# SPDX-License-Identifier: Apache-2.0
"""What takes too long is named, ended and replaced: a guest, a case, a run. Guests in memory."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from pulse_world import PulseWorld
from run_world import OOPS, worker
from test_run_campaign import ALL, Rig, rig
from test_run_worker import LOST_PEER, case

from harness.errors import InfraError
from harness.events import Event, PairLost, Warned, WatchdogFired, Watched
from harness.guest.agent import Agent
from harness.guest.fake import Command, FakeChannel, GuestEnds, GuestHangs, Reply
from harness.model.case import Outcome
from harness.model.verdict import Verdict
from harness.run import campaign
from harness.run.pair import Guest
from harness.run.watch import Pulse, Watch
from harness.vm.ports import MachineState

__all__ = ["rig"]

SILENCE_S = 0.05
LAST_WORDS = "[   99.000000] the last thing it said\n"


def fired(events: list[Event]) -> list[WatchdogFired]:
    return [event for event in events if isinstance(event, WatchdogFired)]


# -- signs of life ------------------------------------------------------------------------------


class Patient:
    """A guest, and the agent in it that is asked for signs of life."""

    def __init__(self, folder: Path) -> None:
        self.world = PulseWorld()
        pair = self.world.builder(folder).boot("0-1")
        self.guest: Guest = pair.backup
        self.hangs = False
        self.asked = threading.Event()
        self.channel = FakeChannel(self._answer)
        self.now = 100.0

    def _answer(self, command: Command) -> Reply:
        del command
        self.asked.set()
        if self.hangs:
            raise GuestHangs
        return Reply()

    def pulse(self) -> Pulse:
        agent = Agent(self.channel, "backup, second agent")
        return Pulse(self.guest, agent, SILENCE_S, lambda: self.now)


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    return Patient(tmp_path)


def test_a_guest_that_answers_is_alive(patient: Patient) -> None:
    pulse = patient.pulse()
    patient.now += 40
    assert pulse.silent_s == 40
    assert pulse.beats()
    assert pulse.silent_s == 0


def test_a_guest_that_does_not_answer_hangs(patient: Patient) -> None:
    pulse = patient.pulse()
    patient.hangs = True
    patient.now += 40
    assert not pulse.beats()
    assert pulse.silent_s == 40


def test_a_paused_guest_is_not_asked(patient: Patient) -> None:
    patient.hangs = True
    patient.guest.machine.pause()
    assert patient.pulse().beats()
    assert not patient.asked.is_set()
    patient.guest.machine.resume()
    assert not patient.pulse().beats()


def test_one_that_does_not_go_on_when_told_to_has_no_excuse(patient: Patient) -> None:
    patient.hangs = True
    patient.guest.machine.pause()
    machine = patient.world.machines["backup"]
    machine.failing.add("resume")
    with pytest.raises(InfraError):
        patient.guest.machine.resume()
    assert machine.state() is MachineState.PAUSED
    assert not patient.pulse().beats()


@pytest.mark.parametrize("still", [True, False])
def test_a_guest_that_was_paused_meanwhile_is_excused(patient: Patient, still: bool) -> None:
    def answer(command: Command) -> Reply:
        machine = patient.guest.machine
        if not machine.pauses and machine.state() is MachineState.RUNNING:
            patient.guest.machine.pause()
            if not still:
                patient.guest.machine.resume()
        raise GuestHangs

    patient.channel = FakeChannel(answer)
    assert patient.pulse().beats()


def test_a_guest_that_has_ended_does_not_hang(patient: Patient) -> None:
    def answer(command: Command) -> Reply:
        raise GuestEnds

    patient.channel = FakeChannel(answer)
    assert patient.pulse().beats()


def test_a_pause_that_fails_is_no_excuse(patient: Patient) -> None:
    patient.world.machines["backup"].failing.add("pause")
    with pytest.raises(InfraError):
        patient.guest.machine.pause()
    patient.hangs = True
    assert not patient.pulse().beats()


def test_the_first_guest_that_hangs_is_told_once(patient: Patient) -> None:
    told: list[str] = []
    made, done = threading.Event(), threading.Event()

    def on_hung(guest: Guest, silent_s: float) -> None:
        told.append(guest.name)
        assert made.wait(60)
        watch.close()
        done.set()

    patient.hangs = True
    pulses = [patient.pulse(), patient.pulse()]
    watch = Watch(pulses, on_hung, every_s=0.01)
    made.set()
    assert done.wait(60)
    watch.close()
    assert told == ["backup"]


# -- a worker -----------------------------------------------------------------------------------


def hangs_until_ended(world: PulseWorld, role: str, at: str) -> None:
    """On the first pair ``role`` goes silent when it comes to the command ``at``."""

    def rule(who: str, command: Command) -> Reply | None:
        if (who, command[0]) != (role, at) or world.boots() > 1:
            return None
        world.report(role, LAST_WORDS)
        gone = threading.Event()
        world.machines[role].on_end.append(gone.set)
        world.silent.add(role)
        assert gone.wait(20), "nobody ended the guest that hangs"
        world.silent.clear()
        raise GuestEnds

    world.rules.append(rule)


@pytest.mark.parametrize(
    ("role", "at"), [("backup", "probe"), ("primary", "image-restore"), ("backup", "digest")]
)
def test_a_guest_that_hangs_is_named_and_replaced(tmp_path: Path, role: str, at: str) -> None:
    world, events = PulseWorld(), list[Event]()
    hangs_until_ended(world, role, at)
    run = worker(world, tmp_path, events, heartbeat_s=SILENCE_S)
    result = run.run(case(tmp_path))
    run.close()
    assert (result.verdict, world.boots()) == (Verdict.PASS, 2)
    (attempt,) = result.attempts
    assert f"guest {role} hangs: no sign of life for" in attempt
    assert "its machine is running" in attempt
    assert f"case {result.case_id} for" in attempt
    assert f"guest {role} is at work on `" in attempt
    (told,) = fired(events)
    assert (told.what, told.pair, told.text) == (Watched.GUEST, 0, attempt)
    assert told.console[role][-1] == LAST_WORDS.strip()
    kinds = [type(event) for event in events]
    assert kinds.index(WatchdogFired) < kinds.index(PairLost)
    machines = world.hypervisor.machines
    assert [machine.state() for machine in machines] == [MachineState.GONE] * 4


def test_a_hypervisor_that_does_not_come_back_is_no_end(tmp_path: Path) -> None:
    """QEMU was stopped: what is asked of libvirt then waits for ever."""
    world, events = PulseWorld(), list[Event]()

    def begins(role: str, command: Command) -> Reply | None:
        machine = world.machines["primary"]
        if command[0] != "image-restore" or world.boots() > 1:
            return None
        gone = threading.Event()
        machine.on_end.append(gone.set)

        def pause() -> None:
            world.silent.add("primary")
            assert gone.wait(20)
            world.silent.clear()
            raise InfraError("guest primary cannot be paused: the monitor was closed")

        machine.pause = pause  # type: ignore[method-assign]
        return None

    world.rules.append(begins)
    run = worker(world, tmp_path, events, heartbeat_s=SILENCE_S)
    result = run.run(case(tmp_path))
    run.close()
    assert result.verdict is Verdict.PASS
    assert "guest primary hangs" in result.attempts[0]


def test_a_primary_that_is_paused_on_purpose_does_not_hang(tmp_path: Path) -> None:
    # Where the whole look has to be waited for.
    world, events = PulseWorld("xfs"), list[Event]()
    beats = threading.Semaphore(0)
    world.on_pulse = lambda role: beats.release() if role == "backup" else None

    def waits(role: str, command: Command) -> Reply | None:
        if (role, command[0]) == ("backup", "probe"):
            assert world.machines["primary"].state() is MachineState.PAUSED
            for _ in range(4):
                assert beats.acquire(timeout=20)
        return None

    world.rules.append(waits)
    run = worker(world, tmp_path, events, heartbeat_s=SILENCE_S)
    result = run.run(case(tmp_path, fs=("xfs",)))
    run.close()
    assert (result.verdict, result.attempts) == (Verdict.PASS, ())
    assert fired(events) == []


def test_what_a_guest_said_before_it_hung_is_a_finding(tmp_path: Path) -> None:
    world = PulseWorld()
    hangs_until_ended(world, "backup", "probe")

    def complains(role: str, command: Command) -> Reply | None:
        if command[0] == "probe" and world.boots() == 1:
            world.report("backup", OOPS)
        return None

    world.rules.insert(0, complains)
    run = worker(world, tmp_path, [], heartbeat_s=SILENCE_S)
    result = run.run(case(tmp_path))
    run.close()
    assert result.verdict is Verdict.FAIL
    assert [(check.rule, check.path) for check in result.checks] == [("console", "backup")]


def test_what_the_other_guest_says_of_one_that_hangs_is_no_finding(tmp_path: Path) -> None:
    world = PulseWorld()
    hangs_until_ended(world, "backup", "probe")

    def complains(role: str, command: Command) -> Reply | None:
        if command[0] == "probe" and world.boots() == 1:
            world.report("primary", LOST_PEER)
        return None

    world.rules.insert(0, complains)
    run = worker(world, tmp_path, [], heartbeat_s=SILENCE_S)
    result = run.run(case(tmp_path))
    run.close()
    assert result.verdict is Verdict.PASS
    assert "guest backup hangs" in result.attempts[0]


@pytest.mark.parametrize("heartbeat_s", [SILENCE_S, 0.0])
def test_a_case_that_is_slow_is_not_taken_for_a_guest_that_hangs(
    tmp_path: Path, heartbeat_s: float
) -> None:
    world, events = PulseWorld(), list[Event]()

    def never_answers(role: str, command: Command) -> Reply | None:
        if (role, command[0]) == ("primary", "image-restore") and world.boots() == 1:
            world.report("primary", LAST_WORDS)
            raise GuestHangs
        return None

    world.rules.append(never_answers)
    run = worker(world, tmp_path, events, heartbeat_s=heartbeat_s)
    result = run.run(case(tmp_path))
    run.close()
    assert result.verdict is Verdict.PASS
    (attempt,) = result.attempts
    assert f"no answer in time: case {result.case_id} to end (given 120 s)" in attempt
    assert "at work on `image-restore ext4-rollbaccine" in attempt
    assert ("do not hang: last sign of life of primary" in attempt) is bool(heartbeat_s)
    (told,) = fired(events)
    assert (told.what, told.text) == (Watched.CASE, attempt)
    assert told.console["primary"][-1] == LAST_WORDS.strip()


def test_guests_that_cannot_give_signs_of_life_work_all_the_same(tmp_path: Path) -> None:
    world, events = PulseWorld(), list[Event]()

    def refuses(role: str, command: Command) -> Reply | None:
        return Reply.failure("open: ENOENT: port") if command[0] == "serve" else None

    world.rules.append(refuses)
    run = worker(world, tmp_path, events, heartbeat_s=SILENCE_S)
    result = run.run(case(tmp_path))
    run.close()
    assert (result.verdict, result.attempts) == (Verdict.PASS, ())
    (warned,) = [event for event in events if isinstance(event, Warned)]
    assert "no signs of life can be asked for" in warned.text
    assert "ENOENT" in warned.text


# -- a run --------------------------------------------------------------------------------------


def test_the_rest_of_the_run_goes_on(rig: Rig) -> None:
    world = rig.world = PulseWorld()
    hangs_until_ended(world, "backup", "digest")
    assert rig.run(heartbeat_s=SILENCE_S).exit_code == 0
    assert rig.outcomes() == [Outcome.PASS] * ALL
    assert rig.world.boots() == 2
    assert len(fired(rig.events)) == 1


def test_guests_that_are_kept_may_be_silent(rig: Rig) -> None:
    world = rig.world = PulseWorld()
    asked = threading.Event()

    def look() -> None:
        world.silent |= {"primary", "backup"}
        asked.clear()
        assert not asked.wait(4 * SILENCE_S), "nobody asks any more"
        assert [machine.verbs.count("destroy") for machine in world.hypervisor.machines] == [0, 0]

    world.on_pulse = lambda role: asked.set()
    assert rig.run(look, only=("1",), heartbeat_s=SILENCE_S).exit_code == 0
    assert fired(rig.events) == []


def test_a_run_whose_time_is_up_ends_whatever_is_under_way(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(campaign, "_clock", lambda: clock[0])

    def never_ends(role: str, command: Command) -> Reply | None:
        if command[0] != "image-restore" or rig.world.seen["primary", "image-restore"] < 3:
            return None
        gone = threading.Event()
        rig.world.machines["primary"].on_end.append(gone.set)
        clock[0] = 100.0
        assert gone.wait(20)
        raise GuestEnds

    rig.world.rules.append(never_ends)
    outcome = rig.run(time_limit_s=60.0)
    assert rig.outcomes() == [Outcome.PASS] * 2
    assert outcome.exit_code == 0, "what was not begun is left, as asked for"
    assert rig.record().info.left == ALL - 2
    (told,) = fired(rig.events)
    assert told.what is Watched.RUN
    assert "the run is over after 60 s; left under way: case smoke/000000003@" in told.text
    assert "guest primary is at work on `image-restore" in told.text
    assert rig.world.hypervisor.running() == []
