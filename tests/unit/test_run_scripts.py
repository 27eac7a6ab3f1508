# SPDX-License-Identifier: Apache-2.0
"""The scripts of a case, as they are sent to the guests."""

from __future__ import annotations

import pytest
from run_world import IMAGE

from harness.run import scripts
from harness.run.filesystems import EXT4, FILE_SYSTEMS, XFS
from harness.run.targets import TARGET_NAMES, make_target


@pytest.mark.parametrize("fs", FILE_SYSTEMS.values(), ids=list(FILE_SYSTEMS))
@pytest.mark.parametrize("name", TARGET_NAMES)
def test_an_inspection_leaves_nothing_behind(name: str, fs: object) -> None:
    assert fs in FILE_SYSTEMS.values()
    lines = scripts.inspect_script(fs, make_target(name, IMAGE))  # type: ignore[arg-type]
    always = [line[1:] for line in lines if line[0] == "always"]
    last_mount = max(n for n, line in enumerate(lines) if "mount" in line[:3])
    last_unmount = max(n for n, line in enumerate(lines) if "umount" in line[:3])
    assert last_mount < last_unmount
    if scripts.copies(fs):  # type: ignore[arg-type]
        assert not any("dm-remove" in line for line in lines), "a copy is written over"
        return
    assert ("dm-remove", scripts.SNAPSHOT) in always
    assert last_unmount < lines.index(("always", "dm-remove", scripts.SNAPSHOT))


def test_the_snapshot_is_of_the_whole_device_and_copies_on_write() -> None:
    create = scripts.snapshot_script(XFS, make_target("rollbaccine", IMAGE))[1]
    assert create[:4] == ("dm-create", scripts.SNAPSHOT, "-", "RW")
    assert create[4].split()[:4] == [
        "0", str(XFS.device_bytes // 512), "snapshot", "/dev/mapper/replicated",
    ]  # fmt: skip


def test_a_small_device_is_copied_whole_and_looked_at_there() -> None:
    target = make_target("rollbaccine", IMAGE)
    save = scripts.snapshot_script(EXT4, target)[1]
    assert save == ("image-save", save[1], "/dev/mapper/replicated", str(EXT4.device_bytes))
    assert save[1] != scripts.image_key(EXT4, target)
    look = scripts.inspect_script(EXT4, target)
    assert look[0] == ("image-restore", save[1], scripts.RAM_DISK)
    looked = {word for line in look for word in line}
    assert scripts.RAM_DISK in looked
    assert "/dev/mapper/replicated" not in looked


def test_nothing_waits_for_a_flush_once_no_crash_is_to_come() -> None:
    target = make_target("rollbaccine", IMAGE)
    *_, end, remount, umount, flush = scripts.workload_script(EXT4, target, ())
    assert end == ("end",)
    # A file system that has failed refuses the first and the last: its devices are compared still.
    assert remount == ("always", "try", "remount", scripts.MOUNT_POINT, EXT4.unguarded_options)
    assert umount == ("always", "umount", scripts.MOUNT_POINT)
    assert flush == ("always", "try", "flush", target.mount_device)
    assert scripts.workload_script(XFS, target, ())[-2:] == [end, umount]


def test_ram_disks_hold_the_largest_file_system() -> None:
    words = scripts.load_line("/lib/modules/brd.ko", 400 << 10)
    assert words[2].split() == ["rd_nr=2", f"rd_size={400 << 10}"]
    assert max(fs.device_bytes for fs in FILE_SYSTEMS.values()) <= 400 << 20
    assert scripts.load_line("/lib/modules/ext4.ko", 1) == ("insmod", "/lib/modules/ext4.ko")
