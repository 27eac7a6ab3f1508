# SPDX-License-Identifier: Apache-2.0
"""The root disk of a profile: its root tree as an ext4 image, made without root or a loop device.

Guests never write to it: each has a copy-on-write layer of its own above it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from harness import proc
from harness.build import furnish
from harness.build.cache import built, content_key
from harness.build.image import on_demand_files
from harness.build.profile import Profile
from harness.build.rootfs import as_root, build_root
from harness.config import StateDir

DISK_FILE = "root.img"
DISK_BYTES = 3 << 30
"""Size of the disk as guests see it. The file has holes where nothing is stored."""

_FORMAT = "1"
_TIMEOUT_S = 900
# Named one by one: what is on by default depends on the host, and every guest's kernel has these.
_FEATURES = (
    "none",
    "64bit",
    "dir_index",
    "dir_nlink",
    "ext_attr",
    "extent",
    "extra_isize",
    "filetype",
    "flex_bg",
    "has_journal",
    "huge_file",
    "large_file",
    "metadata_csum",
    "resize_inode",
    "sparse_super",
)
_JOURNAL_MIB = 32
# The kernel is handed over by QEMU; the rest is for building on the host.
_LEFT_OUT = (
    *("boot", "vmlinuz", "vmlinuz.old", "initrd.img", "initrd.img.old"),
    *("build", "var/cache/apt", "var/lib/apt/lists"),
)
_EMPTY = ("boot", "dev", "mnt", "proc", "run", "sys", "tmp", "var/cache/apt", "var/lib/apt/lists")


def build_root_disk(profile: Profile, state: StateDir) -> Path:
    """The root disk of ``profile``, a raw image: made on first use, in less than a minute.

    Never to be written to. Errors as of ``build_root``; ToolError when the image cannot be made.
    """
    root = build_root(profile, state)
    modules = on_demand_files(root)
    words = [_FORMAT, str(DISK_BYTES), *_FEATURES, root.path.parent.name, *modules]
    key = content_key([*words, *furnish.sources()])

    def make(work: Path) -> None:
        stage = work / "stage"
        stage_tree(root.path, stage)
        furnish.furnish(root, stage, modules, profile.name)
        make_image(stage, work / DISK_FILE)
        shutil.rmtree(stage)

    return built(state.cache, f"disk-{profile.name}-{key}", make) / DISK_FILE


def stage_tree(root: Path, stage: Path) -> None:
    """Lay the tree ``root`` out in the new folder ``stage``, as a disk is to have it.

    Files are links to those of ``root`` and must not be changed in place, only replaced.
    """
    shutil.copytree(root, stage, symlinks=True, copy_function=os.link, ignore=_leave_out(root))
    # Device nodes come with the guest's kernel; what the tree has in their place is a plain file.
    shutil.rmtree(stage / "dev", ignore_errors=True)
    for folder in _EMPTY:
        (stage / folder).mkdir(parents=True, exist_ok=True)
    (stage / "tmp").chmod(0o1777)


def _leave_out(root: Path) -> Callable[[str, list[str]], set[str]]:
    left_out = {root / path for path in _LEFT_OUT}
    return lambda folder, names: {name for name in names if Path(folder, name) in left_out}


def make_image(stage: Path, image: Path) -> None:
    """Write the folder ``stage`` to the new file ``image`` as an ext4 file system.

    What belongs to the user who builds belongs to root in it. ToolError when mke2fs fails.
    """
    proc.run(
        [*as_root(), "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0",
         "-O", ",".join(_FEATURES), "-J", f"size={_JOURNAL_MIB}", "-L", "root",
         "-E", "root_owner=0:0,lazy_itable_init=1,nodiscard", "-d", stage, image,
         f"{DISK_BYTES >> 20}M"],
        what=f"making the disk {image}",
        timeout_s=_TIMEOUT_S,
    )  # fmt: skip
