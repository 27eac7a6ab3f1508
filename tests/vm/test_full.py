# SPDX-License-Identifier: Apache-2.0
"""A pair of full guests: a person can log in, the agent answers, a target works as on others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from kmod_guest import Machines

from harness.build.full import FullImage, build_full
from harness.build.furnish import ROOT_PASSWORD
from harness.build.profile import DEFAULT_PROFILE, load_profile
from harness.config import state_dir
from harness.deadline import Deadline
from harness.guest.console import Console
from harness.run.pair import Guest, Pair, PairBuilder
from harness.run.targets import make_target
from harness.vm.ports import Accelerator

_LENGTH = 32 << 20


def soon(what: str, seconds: float = 120) -> Deadline:
    return Deadline.after(seconds, what)


@dataclass(frozen=True)
class Full:
    """A booted pair, and what it was booted with."""

    builder: PairBuilder
    image: FullImage
    pair: Pair


@pytest.fixture(scope="module")
def full(on: Machines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Full]:
    """One pair for all tests of this file."""
    image = build_full(load_profile(DEFAULT_PROFILE), state_dir())
    folder = tmp_path_factory.mktemp("full")
    builder = PairBuilder(
        on.hypervisor, on.live, image, Accelerator.TCG, folder, boot_timeout_s=240
    )
    pair = builder.boot("full")
    yield Full(builder, image, pair)
    pair.close()


def logged_in(guest: Guest) -> Console:
    assert guest.spec.console_socket is not None
    console = Console.connect(guest.spec.console_socket, guest.name)
    console.login("root", ROOT_PASSWORD, soon("log in"))
    return console


def says(console: Console, command: str) -> str:
    done = console.run(command, soon(command))
    assert done.status == 0, done.text
    return done.text.strip()


def agent_says(guest: Guest, *words: str) -> str:
    done = guest.agent.run(("exec", "60000", *words), soon(" ".join(words)))
    return done.payload.decode().strip()


def head_of(path: Path) -> str:
    """A digest of the part of a disk in which every mount writes."""
    with open(path, "rb") as disk:
        return hashlib.sha256(disk.read(1 << 20)).hexdigest()


def test_a_person_and_a_target_find_what_they_need(full: Full) -> None:
    primary, backup = full.pair.guests
    before = head_of(full.image.root_disk)
    console = logged_in(primary)
    assert says(console, "hostname; cat /etc/debian_chroot") == f"primary\n{DEFAULT_PROFILE}"
    assert says(console, "systemctl is-system-running --wait") == "running"
    assert agent_says(backup, "/bin/hostname") == "backup"
    assert " 0% packet loss" in says(console, "ping -c 1 backup")
    # The module of the host, under the name that dmsetup and the kernel ask for.
    console.run("modprobe dm-rollbaccine", soon("load the module"))  # the kernel has its say, too
    assert says(console, "lsmod | grep -c '^dm_rollbaccine '") == "1"
    assert "dkms.conf" in says(console, "ls /usr/src/dm-rollbaccine/")

    target = make_target("rollbaccine", full.image)
    target.create(primary.agent, backup.agent, _LENGTH, soon("create the target"))
    device = target.mount_device
    said = says(console, f"mkfs.ext4 -q {device} && mount {device} /mnt && echo here >/mnt/file "
                         "&& sync -f /mnt && dmsetup status && umount /mnt")  # fmt: skip
    assert "rollbaccine" in said
    assert says(console, "findmnt -n -o FSTYPE /") == "ext4"
    target.remove(primary.agent, backup.agent, soon("remove the target"))

    console.close()
    log = primary.console.read_text(encoding="utf-8", errors="replace")
    assert "primary login: " in log, "what people see is logged"
    assert [report.title for guest in full.pair.guests for report in guest.kernel_reports()] == []
    assert head_of(full.image.root_disk) == before, "shared by all, written by none"


def test_what_a_guest_writes_is_its_own_and_stays(full: Full) -> None:
    primary, backup = full.pair.guests
    agent_says(primary, "/bin/sh", "-c", "echo mine > /srv/note; sync")
    primary.agent.close()
    primary.machine.destroy()
    again = full.builder.reboot(primary)
    try:
        assert agent_says(again, "/bin/cat", "/srv/note") == "mine"
        assert agent_says(backup, "/bin/ls", "/srv") == ""
        # A guest that ends does so at once, as one that crashes.
        again.agent.run(("poweroff",), soon("power off"))
        assert again.machine.wait_gone(60)
    finally:
        again.agent.close()
        again.machine.destroy()
