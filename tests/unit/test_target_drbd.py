# SPDX-License-Identifier: Apache-2.0
"""Setting DRBD up, and what its status says; guests in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_world import IMAGE, World

from harness.deadline import Deadline
from harness.errors import AgentError
from harness.guest.fake import Command, Reply
from harness.run.targets import make_target
from harness.target.drbd import PROTOCOLS

MIB = 1 << 20
LENGTH = 320 * MIB


def soon() -> Deadline:
    return Deadline.after(5, "a test")


def set_up(folder: Path, name: str = "drbd", times: int = 1) -> World:
    world = World()
    pair = world.builder(folder).boot("0-1")
    for _ in range(times):
        target = make_target(name, IMAGE)
        target.create(pair.primary.agent, pair.backup.agent, LENGTH, soon())
    return world


def calls(world: World, role: str, word: str) -> list[Command]:
    """The calls of drbdsetup with sub-command ``word``."""
    return [
        command[3:]
        for who, command in world.log
        if who == role and command[0] == "exec" and command[3] == word
    ]


@pytest.mark.parametrize(("name", "protocol"), PROTOCOLS.items())
def test_both_ends_agree_on_protocol_and_addresses(
    tmp_path: Path, name: str, protocol: str
) -> None:
    world = set_up(tmp_path, name)
    (primary,), (backup,) = (calls(world, role, "connect") for role in ("primary", "backup"))
    assert primary[2:4] == backup[3:1:-1]
    assert primary[2].startswith("ipv4:10.77.0.1:")
    assert primary[3].startswith("ipv4:10.77.0.2:")
    assert f"--protocol={protocol}" in primary
    assert primary[4:] == backup[4:]


def test_metadata_lies_behind_the_data_and_both_fit_the_disk(tmp_path: Path) -> None:
    world = set_up(tmp_path)
    for role in ("primary", "backup"):
        tables = {
            command[1]: command[4].split()
            for who, command in world.log
            if who == role and command[0] == "dm-create"
        }
        assert tables["lower"] == ["0", str(LENGTH // 512), "linear", "/dev/vda", "0"]
        assert tables["view"] == tables["lower"]
        _, sectors, _, disk, start = tables["metadata"]
        assert (disk, int(start)) == ("/dev/vda", LENGTH // 512)
        # One bit for each 4 KiB, and room for superblock and activity log.
        assert int(sectors) * 512 >= LENGTH // 4096 // 8 + 64 * 1024
        assert (int(start) + int(sectors)) * 512 <= 512 * MIB


def test_the_disks_are_equal_before_they_are_said_to_be(tmp_path: Path) -> None:
    world = set_up(tmp_path)
    for role in ("primary", "backup"):
        words = [c[3] if c[0] == "exec" else c[0] for who, c in world.log if who == role]
        assert words.index("zero") < words.index("connect") < words.index("file-wait")
    (cleared,) = calls(world, "primary", "new-current-uuid")
    assert "--clear-bitmap" in cleared
    assert calls(world, "backup", "primary") == []
    assert len(calls(world, "primary", "primary")) == 1


def test_no_port_is_used_twice_in_a_row(tmp_path: Path) -> None:
    world = set_up(tmp_path, times=3)
    assert len({call[2] for call in calls(world, "primary", "connect")}) == 3


def test_nodes_that_do_not_find_each_other_are_said_so(tmp_path: Path) -> None:
    world = World()
    pair = world.builder(tmp_path).boot("0-1")
    alone = Reply(b"cs WFConnection", ok=False, status=-110)
    world.rules.append(lambda role, command: alone if command[0] == "file-wait" else None)
    with pytest.raises(AgentError, match="WFConnection"):
        make_target("drbd", IMAGE).create(pair.primary.agent, pair.backup.agent, MIB, soon())


IDLE = {"cs": "Connected", "ns": "400", "nr": "0", "dw": "464", "lo": "0", "pe": "0", "ua": "0",
        "ap": "0"}  # fmt: skip
BACKUP = IDLE | {"ns": "0", "nr": "400"}
TARGET = make_target("drbd", IMAGE)


def test_an_idle_primary_has_promised_all_it_sent() -> None:
    assert TARGET.standing(IDLE).acked == 400


@pytest.mark.parametrize("busy", ["pe", "ap"])
def test_what_is_under_way_is_not_promised(busy: str) -> None:
    assert TARGET.standing(IDLE | {busy: "1"}).acked == 0


def test_a_backup_has_applied_what_it_received() -> None:
    standing = TARGET.standing(BACKUP)
    assert (standing.applied, standing.settled) == (400, True)


def test_half_a_request_does_not_count() -> None:
    """A paused primary never sends the rest of it."""
    assert TARGET.standing(BACKUP | {"lo": "1"}).settled


@pytest.mark.parametrize("busy", [{"lo": "2"}, {"ua": "1"}, {"lo": ""}])
def test_a_backup_at_work_has_not_settled(busy: dict[str, str]) -> None:
    assert not TARGET.standing(BACKUP | busy).settled


@pytest.mark.parametrize("moved", [{"nr": "404"}, {"dw": "468"}])
def test_whatever_arrives_is_seen(moved: dict[str, str]) -> None:
    """Zeroes are not received as data; they are written."""
    assert TARGET.standing(BACKUP | moved).mark != TARGET.standing(BACKUP).mark


def test_a_status_that_says_nothing_proves_nothing() -> None:
    standing = TARGET.standing({})
    assert (standing.acked, standing.applied, standing.settled) == (None, None, False)


def test_a_drain_up_to_a_point_waits_for_it() -> None:
    assert "nr>=400" in TARGET.drain_lines(1000, 400)[0]
    assert not any(word.startswith("nr") for word in TARGET.drain_lines(1000)[0])
