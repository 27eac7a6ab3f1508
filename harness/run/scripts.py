# SPDX-License-Identifier: Apache-2.0
"""The agent scripts of a case, as pure functions: what each guest does, in which order."""

from __future__ import annotations

from collections.abc import Sequence

from ace_workloads.ops import Step
from harness.guest.workload import workload_lines
from harness.run.filesystems import FileSystem
from harness.target.base import Line, Target

MOUNT_POINT = "/mnt/target"
SNAPSHOT = "snapshot"
SNAPSHOT_DEVICE = f"/dev/mapper/{SNAPSHOT}"
SNAPSHOT_MOUNT = "/mnt/snapshot"
RAM_DISK = "/dev/ram0"
"""Holds what is written to a snapshot, or the whole copy."""
MOST_COPIED_BYTES = 16 << 20
"""A device up to this is copied; a larger one gets a copy-on-write snapshot."""
_COPY = "crash"
SUBSTITUTE = "impostor"
SUBSTITUTE_DEVICE = f"/dev/mapper/{SUBSTITUTE}"
SUBSTITUTE_DISK = "/dev/ram1"
SECTOR_BYTES = 512
_CHUNK_SECTORS = 8
DRAIN_TIMEOUT_MS = 10_000
_TOOL_TIMEOUT_MS = 120_000


def image_key(fs: FileSystem, target: Target) -> str:
    """Name under which the primary's agent keeps the freshly made file system."""
    return f"{fs.name}-{target.name}"


def format_script(fs: FileSystem, target: Target) -> list[Line]:
    """Make the file system once and keep it in the agent's memory for every case."""
    device = target.mount_device
    return [
        ("exec", str(_TOOL_TIMEOUT_MS), *fs.mkfs, device),
        ("image-save", image_key(fs, target), device, str(fs.device_bytes)),
    ]


def workload_script(fs: FileSystem, target: Target, steps: Sequence[Step]) -> list[Line]:
    """A fresh file system, the workload with its stops at persistence points, unmount."""
    device = target.mount_device
    return [
        ("image-restore", image_key(fs, target), device),
        ("mount", device, MOUNT_POINT, fs.name, fs.mount_options),
        # First what has been acknowledged, before anything else can be: reading takes a while.
        *(("at-checkpoint", *line) for line in target.status_lines()),
        ("at-checkpoint", "tree", MOUNT_POINT, "full"),
        ("begin", MOUNT_POINT),
        *workload_lines(steps),
        ("end",),
        *_end_lines(fs, device),
    ]


def _end_lines(fs: FileSystem, device: str) -> list[Line]:
    """Unmount after the last persistence point; then everything is on both devices.

    No crash state is taken any more: one flush at the end says as much as one after the other.
    """
    if not fs.unguarded_options:
        return [("always", "umount", MOUNT_POINT)]
    return [
        ("always", "try", "remount", MOUNT_POINT, fs.unguarded_options),
        ("always", "umount", MOUNT_POINT),
        ("always", "try", "flush", device),
    ]


def copies(fs: FileSystem) -> bool:
    """Whether the backup's device is copied at a crash point, rather than snapshotted.

    Most blocks of a small one are zeros, which cost a read each: less than setting a snapshot up
    and reading through it. And a copy stays what it is while the pair goes on.
    """
    return fs.device_bytes <= MOST_COPIED_BYTES


def snapshot_device(fs: FileSystem) -> str:
    """Where the crash state is looked at."""
    return RAM_DISK if copies(fs) else SNAPSHOT_DEVICE


def snapshot_script(fs: FileSystem, target: Target, substitute: bool = False) -> list[Line]:
    """Drain, take the crash state, and say whether anything arrived meanwhile.

    ``substitute`` looks at the impostor in the backup's place instead (a test of the harness).
    """
    origin = SUBSTITUTE_DEVICE if substitute else target.inspect_device
    return [
        *target.drain_lines(DRAIN_TIMEOUT_MS),
        *_take_lines(fs, origin),
        *(("always", *line) for line in target.backup_status_lines()),
    ]


def _take_lines(fs: FileSystem, origin: str) -> list[Line]:
    if copies(fs):
        return [("image-save", _COPY, origin, str(fs.device_bytes))]
    sectors = fs.device_bytes // SECTOR_BYTES
    table = f"0 {sectors} snapshot {origin} {RAM_DISK} N {_CHUNK_SECTORS}"
    return [("dm-create", SNAPSHOT, "-", "RW", table)]


def show_script(fs: FileSystem) -> list[Line]:
    """Put a copy where it can be looked at, which the primary need not wait for."""
    return [("image-restore", _COPY, RAM_DISK)] if copies(fs) else []


def drop_snapshot_script(fs: FileSystem) -> list[Line]:
    """Remove a snapshot that was taken too early; a copy is written over."""
    return [] if copies(fs) else [("dm-remove", SNAPSHOT)]


def inspect_script(fs: FileSystem, target: Target) -> list[Line]:
    """Recover the snapshot by mounting it, read it, check it, use it; leave nothing behind."""
    recovered, checked, used = inspect_parts(fs)
    script = [*recovered, *(("always", *line) for line in checked), *used]
    if copies(fs):
        # What the backup has received meanwhile says nothing about a copy.
        return script
    done = [*drop_snapshot_script(fs), *target.backup_status_lines()]
    return [*script, *(("always", *line) for line in done)]


def inspect_parts(fs: FileSystem) -> tuple[list[Line], list[Line], list[Line]]:
    """The same in three scripts, without the end of the snapshot: a copy stays what it is."""
    device = snapshot_device(fs)
    mount = ("mount", device, SNAPSHOT_MOUNT, fs.name, fs.mount_options)
    umount = ("always", "umount", SNAPSHOT_MOUNT)
    return (
        [*show_script(fs), mount, ("tree", SNAPSHOT_MOUNT, "full"), umount],
        # Read-only check after recovery: before it, e2fsck -n and xfs_repair -n report what the
        # replay of the log is about to mend. Before the probe, which empties the file system.
        [("try", "exec", str(_TOOL_TIMEOUT_MS), *fs.fsck, device)],
        [mount, ("probe", SNAPSHOT_MOUNT), umount],
    )


def load_line(path: str, ram_disk_kib: int) -> Line:
    """Load the module file ``path`` of the guest; brd gets two RAM disks of ``ram_disk_kib``."""
    if path.endswith("/brd.ko"):
        return ("insmod", path, f"rd_nr=2 rd_size={ram_disk_kib}")
    return ("insmod", path)


def digest_script(device: str, fs: FileSystem) -> list[Line]:
    """Digest of the whole device."""
    return [("digest", device, str(fs.device_bytes))]


def blockmap_script(device: str, fs: FileSystem) -> list[Line]:
    """Hash of every non-zero block of the device."""
    return [("blockmap", device, str(fs.device_bytes))]
