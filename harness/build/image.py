# SPDX-License-Identifier: Apache-2.0
"""What a micro-guest boots: kernel, initramfs, and which modules to load for what."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.build import initramfs
from harness.build.cache import built, content_key
from harness.build.guest_agent import build_agent
from harness.build.kmod import MODULE_FILE, build_module
from harness.build.profile import Profile
from harness.build.rootfs import build_root
from harness.config import StateDir

# Loaded at boot: without these there is no agent channel, disk or link, and no gcm(aes). Nobody is
# there to load a module when the kernel asks for one.
_BOOT = ("virtio_pci", "virtio_console", "virtio_blk", "virtio_net", "dm-mod",
         "aesni-intel", "gcm", "ctr", "ghash-generic")  # fmt: skip
# Loaded when first asked for (btrfs benchmarks its parity code for a second on loading).
_ON_DEMAND = {
    "snapshot": ("dm-snapshot", "brd"),
    "faults": ("dm-flakey", "dm-delay"),
    "ext4": ("ext4",),
    "xfs": ("xfs",),
    "btrfs": ("btrfs",),
    "drbd": ("drbd",),
    "delay": ("sch_netem",),
}


@dataclass(frozen=True, slots=True)
class MicroImage:
    """Files on the host to boot from, and module paths inside the guest."""

    kernel: Path
    initrd: Path
    release: str
    module: str
    """Path in the guest of the replication module."""
    on_demand: Mapping[str, tuple[str, ...]]
    """Feature -> module paths in the guest, in load order."""
    arguments: tuple[str, ...] = ()
    """The profile's own words on the kernel's command line."""
    memory_mib: int = 512


def build_micro(profile: Profile, state: StateDir, *, faults: bool = False) -> MicroImage:
    """Build, or find in the cache, everything a micro-guest of ``profile`` needs."""
    root = build_root(profile, state)
    agent = build_agent(root, state)
    module = build_module(root, state, faults=faults)
    boot = initramfs.module_order(root, _BOOT)
    demand = {name: initramfs.module_order(root, wanted) for name, wanted in _ON_DEMAND.items()}
    files = tuple(dict.fromkeys([*boot, *(file for each in demand.values() for file in each)]))
    key = content_key(["3", root.path.parent.name, agent, module, *files, *initramfs.TOOLS])

    def assemble(work: Path) -> None:
        tree = work / "tree"
        tree.mkdir()
        initramfs.assemble(root, agent, boot, files, tree)
        shutil.copy2(module, tree / initramfs.MODULE_DIR.lstrip("/") / MODULE_FILE)
        initramfs.pack(tree, work / "initrd.cpio")
        shutil.rmtree(tree)

    folder = built(state.cache, f"micro-{profile.name}-{key}", assemble)
    return MicroImage(
        kernel=root.kernel,
        initrd=folder / "initrd.cpio",
        release=root.release,
        module=f"{initramfs.MODULE_DIR}/{MODULE_FILE}",
        on_demand=_guest_paths(demand),
        arguments=profile.kernel_arguments,
        memory_mib=profile.memory_mib,
    )


def _guest_paths(demand: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {
        name: tuple(initramfs.guest_module_path(file) for file in files)
        for name, files in demand.items()
    }
