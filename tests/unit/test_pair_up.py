# SPDX-License-Identifier: Apache-2.0
"""A pair that stays up: guests that come and go, modules that are replaced; guests in memory."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from pair_world import PairRig

from harness.errors import InfraError, UsageError
from harness.guest.fake import Command, GuestEnds, Reply
from harness.proc import ToolError

OOPS = "[   12.100002] BUG: unable to handle page fault for address: ffffb2c0004a1000\n"


@pytest.fixture
def rig(tmp_path: Path) -> PairRig:
    return PairRig(tmp_path)


def power(rig: PairRig) -> list[str]:
    guests = rig.pair.status()["guests"]
    return [guests[role]["power"] for role in ("primary", "backup")]


def links(rig: PairRig) -> list[list[str]]:
    return [
        [verb for verb in rig.world.machines[role].verbs if verb.startswith("link")]
        for role in ("primary", "backup")
    ]


def test_up(rig: PairRig) -> None:
    status = rig.up().status()
    assert status["connected"]
    assert (status["link"], status["target"], status["busy"]) == ("up", "rollbaccine", "")
    for role in ("primary", "backup"):
        guest = status["guests"][role]
        assert (guest["power"], guest["boots"], guest["node"]["status"]["role"]) == ("on", 1, role)
        assert guest["node"]["loaded"]["dm_rollbaccine"]["srcversion"] == "A1"
    assert rig.nodes() == ["primary", "backup"]


def test_reload_puts_the_new_module_in_the_place_of_the_old_one(rig: PairRig) -> None:
    pair = rig.up()
    rig.world.log.clear()
    rig.source = "B2"
    said = pair.reload(rig.say)
    assert "srcversion A1" in said.splitlines()[0]
    assert "srcversion B2" in said.splitlines()[1]
    assert rig.loaded() == ["B2", "B2"]
    assert pair.status()["connected"]
    order = rig.world.commands("primary", "dm-remove", "rmmod", "file-put", "insmod", "dm-create")
    assert order == ["dm-remove", "rmmod", "dm-remove", "file-put", "insmod", "dm-create"]


def test_a_module_that_does_not_build_changes_nothing(rig: PairRig) -> None:
    pair = rig.up()
    rig.world.log.clear()
    rig.error = ToolError("dm.c:7:1: error: what?")
    with pytest.raises(ToolError, match=r"dm\.c:7:1"):
        pair.reload(rig.say)
    assert rig.world.log == []
    assert rig.loaded() == ["A1", "A1"]
    assert pair.status()["connected"]


def test_the_same_module_is_said_to_be_the_same(rig: PairRig) -> None:
    assert rig.up().reload(rig.say).endswith("(the same)")


@pytest.mark.parametrize("role", ["primary", "backup"])
def test_a_device_in_use_is_named_and_the_old_module_stays(rig: PairRig, role: str) -> None:
    pair = rig.up()
    rig.world.busy.add(role)
    rig.source = "B2"
    with pytest.raises(InfraError, match=f"does not go.*nothing was loaded.*{role}.*EBUSY"):
        pair.reload(rig.say)
    assert rig.loaded() == ["A1", "A1"]
    assert not pair.status()["connected"] or role == "primary"
    rig.world.busy.clear()
    pair.reload(rig.say)
    assert rig.loaded() == ["B2", "B2"]
    assert pair.status()["connected"]


def test_a_module_that_cannot_be_unloaded(rig: PairRig) -> None:
    pair = rig.up()

    def stuck(role: str, command: Command) -> Reply | None:
        if (role, command[0]) == ("backup", "rmmod"):
            return Reply.failure("delete_module: EWOULDBLOCK: dm_rollbaccine")
        return None

    rig.world.rules.append(stuck)
    rig.source = "B2"
    with pytest.raises(InfraError, match=r"cannot be unloaded in guest backup.*EWOULDBLOCK"):
        pair.reload(rig.say)
    assert not pair.status()["connected"]


def test_one_that_stayed_loaded_is_not_taken_for_the_new_one(rig: PairRig) -> None:
    """Loading over a module that is there is no error of the kernel's that the agent tells."""
    pair = rig.up()
    rig.world.rules.append(
        lambda role, command: Reply() if (role, command[0]) == ("backup", "rmmod") else None
    )
    rig.source = "B2"
    with pytest.raises(InfraError, match=r"guest backup has srcversion A1 .* not B2"):
        pair.reload(rig.say)
    assert not pair.status()["connected"]


def test_an_oops_while_the_old_one_is_unloaded_is_told_with_the_console(rig: PairRig) -> None:
    pair = rig.up()

    def oops(role: str, command: Command) -> Reply | None:
        if (role, command[0]) == ("primary", "rmmod"):
            rig.world.report("primary", OOPS)
            rig.world.machines["primary"].end()
            raise GuestEnds
        return None

    rig.world.rules.append(oops)
    with pytest.raises(InfraError) as caught:
        pair.reload(rig.say)
    text = str(caught.value)
    assert "guest primary has ended" in text
    assert "its kernel reported: oops: BUG: unable to handle page fault" in text
    assert "harness pair start primary" in str(caught.value.hint)
    assert power(rig) == ["ended", "on"]
    with pytest.raises(UsageError, match="guest primary has ended"):
        pair.reload(rig.say)
    rig.world.rules.clear()
    assert "set up anew" in pair.start("primary", rig.say)
    assert pair.status()["connected"]
    assert pair.status()["guests"]["primary"]["boots"] == 2


def test_a_killed_backup_comes_back_and_joins(rig: PairRig) -> None:
    pair = rig.up()
    pair.kill("backup")
    assert power(rig) == ["on", "off"]
    assert not pair.status()["connected"]
    with pytest.raises(UsageError, match="guest backup is off"):
        pair.kill("backup")
    with pytest.raises(UsageError, match="guest backup is off"):
        pair.run("backup", ["true"], 1)
    assert "its node has joined primary" in pair.start("backup", rig.say)
    assert pair.status()["connected"]
    # The primary went on all the time.
    assert rig.world.commands("primary", "dm-create", "dm-remove") == ["dm-remove", "dm-create"]
    with pytest.raises(UsageError, match="guest backup is on"):
        pair.start("backup", rig.say)


def test_a_killed_primary_comes_back_as_the_backup_of_the_other_one(rig: PairRig) -> None:
    pair = rig.up()
    pair.kill("primary")
    assert "its node has joined backup" in pair.start("primary", rig.say)
    assert any("promoting backup" in text for text in rig.said)
    assert rig.nodes() == ["backup", "primary"]
    assert pair.status()["connected"]
    pair.promote("primary", rig.say)
    assert rig.nodes() == ["primary", "backup"]
    with pytest.raises(UsageError, match="primary is the primary"):
        pair.promote("primary", rig.say)


def test_both_killed_begin_anew(rig: PairRig) -> None:
    pair = rig.up()
    pair.kill("backup")
    pair.kill("primary")
    assert "what the target had is lost" in pair.start("primary", rig.say)
    assert "set up anew" in pair.start("backup", rig.say)
    assert pair.status()["connected"]


def test_the_link_is_cut_at_both_ends_and_for_guests_that_come_back(rig: PairRig) -> None:
    pair = rig.up()
    assert pair.cut() == "the link is cut"
    assert pair.cut() == "the link is cut already"
    assert links(rig) == [["link down"] * 2] * 2
    assert pair.status()["link"] == "cut"
    assert not pair.status()["connected"]
    pair.kill("backup")
    assert "nothing is in sync" in pair.start("backup", rig.say)
    assert links(rig)[1] == ["link down"]
    assert pair.heal() == "the link is up"
    assert links(rig)[1] == ["link down", "link up"]
    assert pair.status()["connected"]


def test_a_guest_that_ends_by_itself_is_noticed_and_told(rig: PairRig) -> None:
    pair = rig.up()
    stop = threading.Event()

    def heard(text: str) -> None:
        rig.say(text)
        stop.set()

    watch = threading.Thread(target=pair.watch, args=(stop, heard, 0.01))
    watch.start()
    rig.world.report("backup", OOPS)
    rig.world.machines["backup"].end()
    watch.join(10)
    assert not watch.is_alive()
    assert "guest backup has ended" in rig.said[-1]
    assert "page fault" in rig.said[-1]
    guest = pair.status()["guests"]["backup"]
    assert (guest["power"], len(guest["reports"])) == ("ended", 1)
    assert any("page fault" in line for line in guest["tail"])


def test_commands(rig: PairRig) -> None:
    pair = rig.up()
    replies = {"false": Reply(b"no\n", ok=False, status=3), "none": Reply.failure("ENOENT: none")}
    rig.world.rules.append(
        lambda role, command: replies.get(command[2]) if command[0] == "exec" else None
    )
    assert pair.run("primary", ["false"], 5) == {"status": 3, "output": "no\n"}
    assert pair.run("backup", ["true", "-x"], 5)["status"] == 0
    assert rig.world.log[-1] == ("backup", ("exec", "5000", "true", "-x"))
    with pytest.raises(InfraError, match="ENOENT: none"):
        pair.run("primary", ["none"], 5)
    with pytest.raises(UsageError, match="no guest 'third'"):
        pair.run("third", ["true"], 5)


def test_two_changes_at_a_time_are_one_too_many(
    rig: PairRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.run.devpair import pair as module

    monkeypatch.setattr(module, "_BUSY_S", 0.05)
    pair = rig.up()
    building, go = threading.Event(), threading.Event()
    build = rig.build

    def slow(number: int) -> object:
        building.set()
        assert go.wait(10)
        return build(number)

    monkeypatch.setattr(pair, "_build", slow)
    before = pair.status()
    thread = threading.Thread(target=pair.reload, args=(rig.say,))
    thread.start()
    assert building.wait(10)
    with pytest.raises(UsageError, match="the pair is busy: reload, for"):
        pair.cut()
    during = pair.status()
    assert during["busy"].startswith("reload, for")
    assert not during["connected"]
    assert during["guests"] == before["guests"]
    # A command is no change.
    assert pair.run("primary", ["true"], 5)["status"] == 0
    go.set()
    thread.join(10)
    assert pair.status()["connected"]


def test_a_guest_that_does_not_answer_is_told_as_such(rig: PairRig) -> None:
    pair = rig.up()
    from harness.guest.fake import GuestHangs

    def silent(role: str, command: Command) -> Reply | None:
        if (role, command[0]) == ("backup", "dm-status"):
            raise GuestHangs
        return None

    rig.world.rules.append(silent)
    status = pair.status()
    assert not status["connected"]
    assert "no answer in time" in status["guests"]["backup"]["node"]["problem"]
    assert status["guests"]["primary"]["node"]["connected"]


def test_the_end_of_it_ends_both_guests(rig: PairRig) -> None:
    rig.up().close()
    assert rig.world.hypervisor.running() == []
