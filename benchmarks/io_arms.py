# SPDX-License-Identifier: Apache-2.0
"""What is compared: block stacks set up side by side, each on a slice of the pair's one disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.deadline import Deadline
from harness.run.laboratory import Laboratory, laboratory
from harness.run.options import RunOptions
from harness.run.pair import BACKUP_ADDRESS, PRIMARY_ADDRESS, Guest, Pair
from harness.target.base import Target, in_sectors
from harness.target.drbd import DrbdTarget
from harness.target.rollbaccine import RollbaccineTarget

DISK = "/dev/vda"
LINEAR = "linear"
DRBD = "DRBD C"
_BOOT_TIMEOUT_S = 300.0
_SETUP_TIMEOUT_S = 300.0
_MIB = 1 << 20
# Room for what a stack keeps beside the data.
_MARGIN = 8 * _MIB


@dataclass(frozen=True, slots=True)
class Arm:
    """One block stack, ready for use on the primary."""

    name: str
    device: str
    """On the primary."""
    disk: str
    """What it lies on, on either guest."""
    target: Target | None
    """Its driver; None for the plain slice."""


def arm_names() -> tuple[str, ...]:
    """All arms, the yardstick first."""
    return (LINEAR, *REPLICATED)


def _drbd(lab: Laboratory, disk: str) -> DrbdTarget:
    addresses = PRIMARY_ADDRESS, BACKUP_ADDRESS
    return DrbdTarget("drbd", lab.image.on_demand["drbd"], addresses, disk=disk)


def _rollbaccine(lab: Laboratory, disk: str) -> RollbaccineTarget:
    addresses = PRIMARY_ADDRESS, BACKUP_ADDRESS
    return RollbaccineTarget(lab.image.module, addresses, disk=disk, device="encrypted")


def _plain(lab: Laboratory, disk: str) -> RollbaccineTarget:
    addresses = PRIMARY_ADDRESS, BACKUP_ADDRESS
    module = lab.image.module
    return RollbaccineTarget(module, addresses, encryption=False, disk=disk, device="plain")


_MAKE: dict[str, Callable[[Laboratory, str], Target]] = {
    "rollbaccine": _rollbaccine,
    "rollbaccine, no key": _plain,
    DRBD: _drbd,
}
REPLICATED = tuple(_MAKE)


def opened(profile: str) -> AbstractContextManager[Laboratory]:
    """What pairs are booted in: once per process."""
    return laboratory(RunOptions(suite="smoke", profile=profile), print)


@contextlib.contextmanager
def booted(lab: Laboratory, disk_bytes: int) -> Iterator[Pair]:
    """A pair with disks of ``disk_bytes``; ended on leaving."""
    with TemporaryDirectory() as consoles:
        builder = lab.pairs(
            RunOptions(suite="smoke", boot_timeout_s=_BOOT_TIMEOUT_S), Path(consoles)
        )
        pair = replace(builder, disk_bytes=disk_bytes).boot("bench")
        try:
            yield pair
        finally:
            pair.close()


def disk_bytes(arms: int, length: int) -> int:
    """How large a disk holds ``arms`` slices for devices of ``length``."""
    return arms * (length + _MARGIN)


def set_up(lab: Laboratory, pair: Pair, names: tuple[str, ...], length: int) -> list[Arm]:
    """Set all arms up, each with ``length`` bytes, side by side on the disk of both guests."""
    arms = []
    for number, name in enumerate(names):
        slice_name = f"slice-{number}"
        disk = f"/dev/mapper/{slice_name}"
        slice_bytes = length + _MARGIN
        start = in_sectors(number * slice_bytes)
        table = f"0 {in_sectors(slice_bytes)} linear {DISK} {start}"
        deadline = Deadline.after(_SETUP_TIMEOUT_S, f"{name} to be set up")
        for guest in pair.guests:
            guest.agent.run(("dm-create", slice_name, "-", "RW", table), deadline)
        if name == LINEAR:
            arms.append(Arm(name, disk, disk, None))
            continue
        target = _MAKE[name](lab, disk)
        target.create(pair.primary.agent, pair.backup.agent, length, deadline)
        arms.append(Arm(name, target.mount_device, disk, target))
    return arms


def tear_down(pair: Pair, arms: list[Arm]) -> None:
    """Remove ``arms`` and their slices again."""
    deadline = Deadline.after(_SETUP_TIMEOUT_S, "stacks to be removed")
    for arm in arms:
        if arm.target is not None:
            arm.target.remove(pair.primary.agent, pair.backup.agent, deadline)
        for guest in pair.guests:
            guest.agent.run(("dm-remove", arm.disk.rpartition("/")[2]), deadline)


def cpu_seconds(guest: Guest) -> float:
    """Processor time that the guest's QEMU has used so far."""
    ticks = os.sysconf("SC_CLK_TCK")
    fields = Path(f"/proc/{_qemu_pid(guest.machine.name)}/stat").read_text().rpartition(")")[2]
    user, system = fields.split()[11:13]
    return (int(user) + int(system)) / ticks


def _qemu_pid(machine: str) -> int:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if any(word.startswith(f"guest={machine},".encode()) for word in words):
                    return int(entry.name)
    raise ProcessLookupError(f"no QEMU runs {machine}")
