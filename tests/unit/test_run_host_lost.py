# SPDX-License-Identifier: Apache-2.0
"""What becomes of a run whose guests' host, or the way to it, is lost; guests in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_world import World, worker
from test_run_worker import case, lose_files

from harness.errors import HostLostError, UsageError
from harness.events import CaseRetried, Event
from harness.guest.fake import Command, Reply
from harness.model.verdict import Verdict
from harness.run.connection import check_connection
from harness.run.options import RunOptions
from harness.vm.fake import FakeMachine


def lose_the_host(world: World) -> None:
    """From now on nothing can be started, and nothing is there any more."""

    def refuse(_machine: FakeMachine) -> None:
        raise HostLostError("the connection is lost", hint="go on later")

    world.hypervisor.on_start = refuse
    for machine in world.hypervisor.machines:
        machine.failing.add("sync console")
        machine.end()


def test_a_lost_host_ends_the_run_without_a_verdict(tmp_path: Path) -> None:
    world, events = World(), list[Event]()

    def loses_host(role: str, command: Command) -> Reply | None:
        if command[0] == "probe":
            lose_the_host(world)
            return world.lose(role)
        return None

    world.rules.append(loses_host)
    run = worker(world, tmp_path, events)
    with pytest.raises(HostLostError):
        run.run(case(tmp_path))
    assert [type(event) for event in events if isinstance(event, CaseRetried)] == [CaseRetried]


def test_a_fail_outlives_the_host_it_cannot_be_confirmed_on(tmp_path: Path) -> None:
    world, events = World(), list[Event]()
    lose_files(world)

    def loses_host(role: str, command: Command) -> Reply | None:
        # Of the run that is to confirm: the target is set up anew for it.
        if command[0] == "image-save" and world.seen["primary", "image-save"] == 2:
            lose_the_host(world)
            return world.lose(role)
        return None

    run = worker(world, tmp_path, events, confirm=1)
    first = run.run(case(tmp_path, confirm=1))
    assert (first.verdict, len(first.reruns)) == (Verdict.FAIL, 1), "the rule lets it fail"
    world.rules.append(loses_host)
    world.seen.clear()
    again = run.run(case(tmp_path, 2, confirm=1))
    assert (again.verdict, again.reruns, again.control) == (Verdict.FAIL, (), None)
    with pytest.raises(HostLostError):
        run.run(case(tmp_path, 3))


def test_a_console_that_cannot_be_had_is_never_a_pass(tmp_path: Path) -> None:
    world, events = World(), list[Event]()
    run = worker(world, tmp_path, events)
    assert run.run(case(tmp_path)).verdict is Verdict.PASS
    for machine in world.hypervisor.machines:
        machine.failing.add("sync console")
    result = run.run(case(tmp_path, 2))
    assert len(result.attempts) == 1
    assert "console" in result.attempts[0]
    assert result.verdict is Verdict.PASS, "on other guests"
    assert world.boots() == 2


@pytest.mark.parametrize(
    ("connect", "suite", "fits"),
    [
        ("qemu:///system", "kmod-endurance", False),
        ("qemu+ssh://host/system", "kmod-endurance", False),
        ("qemu:///embed?root=/x", "kmod-endurance", True),
        (None, "kmod-endurance", True),
        ("qemu:///system", "smoke", True),
    ],
)
def test_what_needs_its_disks_here_is_refused_elsewhere(
    connect: str | None, suite: str, fits: bool
) -> None:
    wanted = RunOptions(suite=suite, connect=connect)
    if fits:
        check_connection(wanted)
        return
    with pytest.raises(UsageError, match="have to be on this host"):
        check_connection(wanted)
