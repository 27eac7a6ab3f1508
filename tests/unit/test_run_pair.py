# SPDX-License-Identifier: Apache-2.0
"""Booting a pair and setting a target up on it; guests in memory."""

from __future__ import annotations

import errno
import itertools
import os
from dataclasses import fields, replace
from pathlib import Path

import pytest
from run_world import IMAGE, OOPS, World

from harness import proc
from harness.build.cloud import CloudImage
from harness.build.full import FullImage
from harness.deadline import Deadline
from harness.errors import AgentError, GuestLostError, InfraError, UsageError
from harness.guest.fake import Command, GuestHangs, Reply
from harness.run.options import Encryption, Impostor, RunOptions
from harness.run.pair import MTU_BYTES
from harness.run.targets import TARGET_NAMES, check_target, make_target
from harness.target.rollbaccine import DEFECTS
from harness.vm.cable import Cable
from harness.vm.fake import FakeMachine
from harness.vm.ports import Accelerator, AddressTakenError, MachineSpec, MachineState

MIB = 1 << 20


def soon() -> Deadline:
    return Deadline.after(5, "a test")


def test_both_guests_of_a_pair_fit_together(tmp_path: Path) -> None:
    world = World()
    pair = world.builder(tmp_path).boot("0-1")
    primary, backup = (guest.machine.spec for guest in pair.guests)  # type: ignore[attr-defined]
    assert primary.name != backup.name
    assert {primary.owner, backup.owner} == {"0ddba11"}
    assert (primary.link.port, primary.link.peer_port) == (backup.link.peer_port, backup.link.port)
    assert primary.link.mac != backup.link.mac
    assert primary.disks[0].path != backup.disks[0].path
    assert not primary.disks[0].read_only
    assert not backup.disks[0].read_only
    control = primary.disks[1]
    assert backup.disks[1] == replace(control, read_only=True)
    assert control.shareable
    assert {disk.path.stat().st_size for disk in (*primary.disks, *backup.disks)} == {512 * MIB}
    addresses = {command[2] for _, command in world.log if command[0] == "netup"}
    assert addresses == {"10.77.0.1/24", "10.77.0.2/24"}
    assert not any(guest.ended() or guest.is_ending() for guest in pair.guests)
    pair.close()
    assert all(guest.ended() and guest.is_ending() for guest in pair.guests)
    assert world.hypervisor.running() == []


def test_a_crashed_guest_ends_instead_of_hanging(tmp_path: Path) -> None:
    world = World()
    world.builder(tmp_path).boot("0-1")
    for machine in world.hypervisor.machines:
        assert {"panic=-1", "oops=panic"} <= set(machine.spec.command_line.split())


@pytest.mark.parametrize("accelerator", Accelerator)
def test_only_an_emulated_guest_ticks_while_idle(tmp_path: Path, accelerator: Accelerator) -> None:
    world = World()
    replace(world.builder(tmp_path), accelerator=accelerator).boot("0-1")
    for machine in world.hypervisor.machines:
        ticks = "nohz=off" in machine.spec.command_line.split()
        assert ticks == (accelerator is Accelerator.TCG)


def test_a_block_and_its_header_fit_a_frame_of_the_link(tmp_path: Path) -> None:
    world = World()
    world.builder(tmp_path).boot("0-1")
    mtu = {int(command[3]) for _, command in world.log if command[0] == "netup"}
    assert mtu == {MTU_BYTES}
    # With the headers of Ethernet, IP and UDP, and what the host's kernel keeps behind them.
    assert 4096 + 512 < MTU_BYTES < 8192 - 14 - 28 - 320


def test_what_the_profile_says_about_its_guests(tmp_path: Path) -> None:
    world = World()
    image = replace(IMAGE, arguments=("oops=continue", "kmemleak=on"), memory_mib=1024)
    replace(world.builder(tmp_path), image=image).boot("0-1")
    assert len(world.hypervisor.machines) == 2
    for machine in world.hypervisor.machines:
        words = machine.spec.command_line.split()
        assert words.index("oops=panic") < words.index("oops=continue"), "the last word counts"
        assert "kmemleak=on" in words
        assert machine.spec.memory_mib == 1024


def full_image(folder: Path) -> FullImage:
    """An image of full guests; its disk is 1 MiB of nothing."""
    disk = folder / "root.img"
    disk.write_bytes(b"")
    os.truncate(disk, MIB)
    facts = {field.name: getattr(IMAGE, field.name) for field in fields(IMAGE)}
    return FullImage(**{**facts, "memory_mib": 1024, "root_disk": disk})


def test_full_guests_have_a_layer_each_above_one_disk(tmp_path: Path) -> None:
    world = World()
    image = full_image(tmp_path)
    pair = replace(world.builder(tmp_path), image=image).boot("0-1")
    layers = []
    for role, guest in zip(("primary", "backup"), pair.guests, strict=True):
        words = guest.spec.command_line.split()
        assert "harness.root=/dev/vdc" in words
        assert f"systemd.hostname={role}" in words
        assert guest.spec.console_socket is not None
        assert guest.spec.console != guest.spec.console_socket
        # The third disk is vdc. The others are as a target's driver expects them.
        assert len(guest.spec.disks) == 3
        layer = guest.spec.disks[2]
        assert (layer.format, layer.read_only, layer.shareable) == ("qcow2", False, False)
        told = proc.run(["qemu-img", "info", layer.path], what="looking at it", timeout_s=20)
        assert f"backing file: {image.root_disk}" in told
        layers.append(layer.path)
    assert len({*layers, image.root_disk}) == 3
    pair.close()


def test_a_kernel_without_drbd_is_said_before_anything_is_set_up() -> None:
    lacks = {name: paths for name, paths in IMAGE.on_demand.items() if name != "drbd"}
    with pytest.raises(UsageError, match=f"kernel {IMAGE.release} has no DRBD"):
        make_target("drbd", replace(IMAGE, on_demand=lacks))
    assert make_target("drbd", IMAGE).name == "drbd"


def cloud_image(folder: Path, release: str = "6.1.0-fake") -> CloudImage:
    """An image of guests that boot by themselves; there is nothing in it."""
    disk, payload = folder / "cloud.img", folder / "payload"
    disk.write_bytes(b"")
    os.truncate(disk, MIB)
    payload.mkdir()
    facts = {field.name: getattr(IMAGE, field.name) for field in fields(IMAGE)}
    return CloudImage(**{**facts, "release": release, "disk": disk, "payload": payload})


def test_guests_of_a_vendors_image_boot_by_themselves(tmp_path: Path) -> None:
    world = World()
    image = cloud_image(tmp_path, world.builder(tmp_path).boot("0").primary.kernel)
    pair = replace(world.builder(tmp_path), image=image).boot("0-1")
    for guest in pair.guests:
        assert (guest.spec.kernel, guest.spec.initrd) == (None, None)
        root, seed = guest.spec.disks[2:]
        assert (root.boot, root.format, root.backing) == (True, "qcow2", image.disk)
        assert seed.read_only
        assert not seed.boot
        assert guest.spec.console_socket is not None
        assert guest.spec.link is not None
        out = tmp_path / guest.name
        words = ["xorriso", "-osirrox", "on", "-indev", seed.path, "-extract", "/", out]
        proc.run(words, what="looking at the seed", timeout_s=20)
        assert guest.spec.link.mac in (out / "network-config").read_text("ascii")
        assert f"local-hostname: {guest.name}\n" in (out / "meta-data").read_text("ascii")
    pair.close()


def test_a_vendors_kernel_that_the_module_is_not_for_is_refused(tmp_path: Path) -> None:
    world = World()
    image = cloud_image(tmp_path, "6.8.0-1-other")
    with pytest.raises(InfraError, match=r"runs kernel .*, but the module is for 6.8.0-1-other"):
        replace(world.builder(tmp_path), image=image).boot("0-1")
    assert world.hypervisor.running() == []


def test_micro_guests_have_no_root_disk_and_no_console_to_type_at(tmp_path: Path) -> None:
    world = World()
    for guest in world.builder(tmp_path).boot("0-1").guests:
        assert "harness.root" not in guest.spec.command_line
        assert (len(guest.spec.disks), guest.spec.console_socket) == (2, None)


@pytest.mark.parametrize("role", ["primary", "backup"])
def test_a_guest_that_does_not_answer_takes_both_down(tmp_path: Path, role: str) -> None:
    world = World()

    def hangs(who: str, command: Command) -> Reply | None:
        if (who, command[0]) == (role, "netup"):
            world.report(role, "Kernel panic - not syncing: no init found\n")
            raise GuestHangs
        return None

    world.rules.append(hangs)
    with pytest.raises(InfraError, match=f"-{role} did not come up") as caught:
        world.builder(tmp_path).boot("0-1")
    assert "no init found" in str(caught.value)
    assert "--boot-timeout-s" in str(caught.value.hint)
    assert [machine.state() for machine in world.hypervisor.machines] == [MachineState.GONE] * 2


def test_a_second_machine_that_does_not_start_takes_the_first_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    start = world.hypervisor.start

    def refuses_second(spec: object) -> object:
        if world.hypervisor.machines:
            raise InfraError("guest cannot be started: out of memory")
        return start(spec)  # type: ignore[arg-type]

    monkeypatch.setattr(world.hypervisor, "start", refuses_second)
    with pytest.raises(InfraError, match="out of memory"):
        world.builder(tmp_path).boot("0-1")
    assert world.hypervisor.running() == []


@pytest.mark.parametrize("taken", [1, 2, 9])
def test_a_link_whose_ports_are_taken_is_laid_elsewhere(tmp_path: Path, taken: int) -> None:
    """``taken`` starts fail, the second machine's first."""
    world, seen, failures = World(), list[MachineSpec](), list[str]()
    equip = world.hypervisor.on_start

    def start(machine: FakeMachine) -> None:
        seen.append(machine.spec)
        if machine.name.endswith("backup" if not failures else "primary"):
            failures.append(machine.name)
            if len(failures) <= taken:
                raise AddressTakenError("Address already in use")
        equip(machine)

    world.hypervisor.on_start = start
    cables = (Cable(f"127.0.0.{n}", (1000 + n, 2000 + n)) for n in itertools.count(2))
    builder = replace(world.builder(tmp_path), cable=lambda: next(cables))
    if taken == 9:
        with pytest.raises(AddressTakenError):
            builder.boot("0-1")
        assert world.hypervisor.running() == []
        return
    pair = builder.boot("0-1")
    ends = [guest.spec.link for guest in pair.guests]
    assert {end.address for end in ends if end} == {f"127.0.0.{2 + taken}"}
    assert len({spec.link for spec in seen}) == len(seen), "no end is asked for twice"
    assert len(world.hypervisor.running()) == 2


def test_no_room_for_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    world = World()
    monkeypatch.setattr(os, "truncate", full)
    with pytest.raises(InfraError, match="No space left") as caught:
        world.builder(tmp_path).boot("0-1")
    assert "--state-dir" in str(caught.value.hint)
    assert world.hypervisor.machines == []


def test_console_reports_are_given_out_once(tmp_path: Path) -> None:
    world = World()
    guest = world.builder(tmp_path).boot("0-1").primary
    assert guest.kernel_reports() == ()
    world.report("primary", OOPS)
    assert len(guest.kernel_reports()) == 1
    assert guest.kernel_reports() == ()
    assert "page fault" in guest.console_tail()[-1]
    world.report("primary", "".join(f"line {n}\n" for n in range(9000)))
    tail = guest.console_tail()
    assert (len(tail), tail[-1]) == (20, "line 8999")


def test_a_guest_that_was_ended_starts_again_as_it_was(tmp_path: Path) -> None:
    world = World()
    builder = replace(world.builder(tmp_path), side_channels=True)
    guest = builder.boot("0-1").backup
    guest.spec.disks[0].path.write_bytes(b"kept")
    world.report("backup", OOPS)
    assert len(guest.kernel_reports()) == 1
    guest.machine.destroy()
    again = builder.reboot(guest)
    assert again.spec == guest.spec
    assert again.machine.state() is MachineState.RUNNING
    assert again.spec.disks[0].path.read_bytes() == b"kept"
    assert again.kernel_reports() == (), "what the dead one said was told already"
    world.report("backup", OOPS)
    assert len(again.kernel_reports()) == 1


def test_a_guest_that_does_not_come_back_is_ended(tmp_path: Path) -> None:
    world = World()
    builder = world.builder(tmp_path)
    guest = builder.boot("0-1").backup
    guest.machine.destroy()

    def hangs(who: str, command: Command) -> Reply | None:
        raise GuestHangs

    world.rules.append(hangs)
    with pytest.raises(InfraError, match="did not come up"):
        builder.reboot(guest)
    assert [machine.name[-6:] for machine in world.hypervisor.running()] == ["rimary"]


@pytest.mark.parametrize(("dies", "asked"), [("backup", "primary"), ("primary", "backup")])
def test_the_end_of_one_guest_is_the_end_of_what_the_other_is_asked(
    tmp_path: Path, dies: str, asked: str
) -> None:
    world = World()

    def waits_for_its_peer(role: str, command: Command) -> Reply | None:
        if (role, command[0]) == (asked, "digest"):
            world.machines[dies].end()
            raise GuestHangs
        return None

    world.rules.append(waits_for_its_peer)
    pair = world.builder(tmp_path).boot("0-1")
    agent = getattr(pair, asked).agent
    with pytest.raises(GuestLostError, match="no answer in time"):
        agent.run(("digest",), soon())
    world = World(rules=[waits_for_its_peer])
    pair = world.builder(tmp_path).boot("0-2")
    pair.bind()
    agent = getattr(pair, asked).agent
    with pytest.raises(GuestLostError, match="the other guest ended, while waiting for a test"):
        agent.run(("digest",), soon())
    assert [guest.name for guest in pair.guests if guest.ended()] == [dies]


def test_a_second_agent_needs_a_second_port(tmp_path: Path) -> None:
    guest = World().builder(tmp_path).boot("0-1").primary
    with pytest.raises(InfraError, match="no second port"):
        World().builder(tmp_path).side_agent(guest, soon())


def tables(world: World) -> dict[str, list[str]]:
    """Role -> table line of each target made on it, as words."""
    return {
        role: line[-1].split()
        for role, line in world.log
        if line[:2] == ("dm-create", "replicated")
    }


def test_the_target_is_set_up_on_both_sides_the_backup_first(tmp_path: Path) -> None:
    world = World()
    pair = world.builder(tmp_path).boot("0-1")
    target = make_target("rollbaccine", IMAGE)
    target.create(pair.primary.agent, pair.backup.agent, 32 * MIB, soon())
    made = [role for role, command in world.log if command[0] == "dm-create"]
    assert made == ["backup", "primary"], "somebody must listen before the primary connects"
    found = tables(world)
    for role, words in found.items():
        assert words[:4] == ["0", str(32 * MIB // 512), "rollbaccine", "/dev/vda"]
        assert words[4] == role
        assert words[6].startswith("logon:")
        assert words[8] == "1", "one peer"
    primary, backup = found["primary"], found["backup"]
    assert primary[5] != backup[5], "an identity each"
    assert (primary[5], primary[7]) == tuple(backup[9:11]), "the backup knows the primary"
    assert (backup[5], backup[7]) == tuple(primary[9:11]), "and the primary the backup"
    assert "create" in primary[11:]
    assert "create" not in backup[11:]
    for role in ("primary", "backup"):
        words = [command[0] for who, command in world.log if who == role]
        assert words.index("insmod") < words.index("key-add") < words.index("dm-create")
        assert words.index("dm-create") < words.index("dm-wait")


def test_without_encryption_there_is_no_key(tmp_path: Path) -> None:
    world = World()
    pair = world.builder(tmp_path).boot("0-1")
    target = make_target("rollbaccine", IMAGE, encryption=False)
    target.create(pair.primary.agent, pair.backup.agent, MIB, soon())
    assert {words[6] for words in tables(world).values()} == {"-"}
    assert "key-add" not in {command[0] for _, command in world.log}


def test_nothing_of_an_earlier_target_is_used_again(tmp_path: Path) -> None:
    world = World()
    pair = world.builder(tmp_path).boot("0-1")
    seen = set()
    for _ in range(3):
        target = make_target("rollbaccine", IMAGE)
        for _ in range(2):
            target.create(pair.primary.agent, pair.backup.agent, MIB, soon())
            found = tables(world)
            seen |= {found["primary"][5], found["backup"][5]}
            seen.add("port " + found["primary"][7].partition(":")[2])
    assert len(seen) == 3 * 2 * 3


@pytest.mark.parametrize(("defect", "side"), DEFECTS.items())
def test_a_defect_is_switched_on_at_its_side(tmp_path: Path, defect: str, side: str) -> None:
    world = World()
    pair = world.builder(tmp_path).boot("0-1")
    target = make_target("rollbaccine", IMAGE, f"{defect}:5")
    target.create(pair.primary.agent, pair.backup.agent, MIB, soon())
    features = {role: words[11:] for role, words in tables(world).items()}
    assert all(int(words[0]) == len(words) - 1 for words in features.values())
    assert {role for role, words in features.items() if "fault" in words} == {side}
    assert features[side][-2:] == ["fault", f"{defect}:5"]


def test_a_target_that_cannot_be_set_up_says_what_the_kernel_said(tmp_path: Path) -> None:
    world = World()
    pair = world.builder(tmp_path).boot("0-1")
    refusal = Reply.failure("ioctl: EINVAL: replicated\nkernel: rollbaccine: no such role")
    world.rules.append(lambda role, command: refusal if command[0] == "dm-create" else None)
    with pytest.raises(AgentError, match=r"(?s)guest backup.*no such role"):
        make_target("rollbaccine", IMAGE).create(pair.primary.agent, pair.backup.agent, MIB, soon())


def test_a_slow_link_delays_what_the_primary_sends_and_nothing_else(tmp_path: Path) -> None:
    world = World()
    replace(world.builder(tmp_path), link_delay_ms=70).boot("0-1")
    delays = [(role, command) for role, command in world.log if command[0] == "net-delay"]
    assert delays == [("primary", ("net-delay", "eth0", "70"))]
    words = [command[0] for role, command in world.log if role == "primary"]
    assert words.index("netup") < words.index("insmod") < words.index("net-delay")


def test_a_link_is_not_slow_unless_asked_for(tmp_path: Path) -> None:
    world = World()
    world.builder(tmp_path).boot("0-1")
    assert not [command for _, command in world.log if command[0] == "net-delay"]


@pytest.mark.parametrize("name", TARGET_NAMES)
def test_taking_down_a_target_that_is_not_there(tmp_path: Path, name: str) -> None:
    world = World()
    pair = world.builder(tmp_path).boot("0-1")
    world.rules.append(
        lambda role, command: Reply.failure("x: ENXIO: y") if command[0] == "dm-remove" else None
    )
    make_target(name, IMAGE).remove(pair.primary.agent, pair.backup.agent, soon())


def options(**changes: object) -> RunOptions:
    return RunOptions(suite="smoke", **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad",
    [
        {"target": "drdb"},
        {"defect": "none"},
        {"defect": ":5"},
        {"target": "linear", "defect": "drop_write"},
        {"target": "drbd", "defect": "drop_write"},
        {"target": "linear", "impostor": Impostor.EMPTY},
        {"target": "drbd", "encryption": Encryption.OFF},
        {"target": "linear", "encryption": Encryption.OFF},
        {"target": "linear", "link_delay_ms": 5},
    ],
)
def test_what_cannot_be_asked_of_a_target(bad: dict[str, object]) -> None:
    with pytest.raises(UsageError) as caught:
        check_target(options(**bad))
    assert caught.value.hint


@pytest.mark.parametrize(
    "good",
    [
        {},
        {"target": "linear"},
        {"defect": "drop_write:7"},
        {"impostor": Impostor.STALE},
        {"target": "drbd-a", "impostor": Impostor.STALE, "link_delay_ms": 5},
    ],
)
def test_what_can(good: dict[str, object]) -> None:
    check_target(options(**good))
