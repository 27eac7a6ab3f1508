# SPDX-License-Identifier: Apache-2.0
"""The file systems a case can run on: how to make, mount and check each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

_MIB = 1 << 20


def _status_zero(status: int, _output: str) -> bool:
    return status == 0


@dataclass(frozen=True, slots=True)
class FileSystem:
    """One file system as the harness uses it."""

    name: str
    device_bytes: int
    """Small, since whole devices are compared after each case; as small as its mkfs allows."""
    mkfs: tuple[str, ...]
    """Command; the device is appended."""
    mount_options: str
    fsck: tuple[str, ...]
    """Read-only check of an unmounted device; the device is appended."""
    unguarded_options: str = ""
    """Of a mount whose writes wait for no flush; empty where there is none."""
    environment: tuple[str, ...] = ()
    """``NAME=value`` words that mkfs needs."""
    fsck_clean: Callable[[int, str], bool] = _status_zero


EXT4 = FileSystem(
    name="ext4",
    device_bytes=8 * _MIB,
    # Inode tables are zeroed at once: no background thread may write after mkfs has returned.
    mkfs=("/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096",
          "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"),
    mount_options="noatime",
    fsck=("/sbin/e2fsck", "-f", "-n"),
    unguarded_options="noatime,barrier=0",
)  # fmt: skip
XFS = FileSystem(
    name="xfs",
    device_bytes=320 * _MIB,
    mkfs=("/sbin/mkfs.xfs", "-q", "-f", "-K", "-s", "size=4096"),
    mount_options="noatime",
    fsck=("/sbin/xfs_repair", "-n"),
)
BTRFS = FileSystem(
    name="btrfs",
    device_bytes=128 * _MIB,
    mkfs=("/sbin/mkfs.btrfs", "-q", "-f", "-K"),
    mount_options="noatime",
    fsck=("/bin/btrfs", "check", "--readonly"),
)
FILE_SYSTEMS = {fs.name: fs for fs in (EXT4, XFS, BTRFS)}
# Where xfstests makes it: with less than 256 MiB it would ask for a btrfs of another kind.
CHECKED = {
    "ext4": replace(EXT4, device_bytes=16 * _MIB),
    "xfs": XFS,
    "btrfs": replace(BTRFS, device_bytes=256 * _MIB),
}
"""The file systems as they are for workloads that xfstests runs."""
FOREIGN = {name: replace(fs, device_bytes=1536 * _MIB) for name, fs in CHECKED.items()}
"""For tests of xfstests itself, which want room; one of them tells when it has too little."""
# No file system: cases that write the device itself.
RAW = FileSystem(name="raw", device_bytes=32 * _MIB, mkfs=(), mount_options="", fsck=())
