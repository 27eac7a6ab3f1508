# SPDX-License-Identifier: Apache-2.0
"""What a micro-guest boots: kernel, initramfs, and which modules to load for what."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from harness.build import guest_modules, initramfs
from harness.build.cache import built, content_key
from harness.build.guest_agent import build_agent
from harness.build.kmod import MODULE_FILE, build_module
from harness.build.profile import Profile
from harness.build.rootfs import RootTree, build_root
from harness.config import StateDir

_Image = TypeVar("_Image", bound="MicroImage")


@dataclass(frozen=True, slots=True)
class MicroImage:
    """Files on the host to boot from, and module paths inside the guest."""

    kernel: Path
    initrd: Path
    release: str
    module: str
    """Path in the guest of the replication module."""
    on_demand: Mapping[str, tuple[str, ...]]
    """Feature -> module paths in the guest, in load order; without those of optional features that
    the kernel lacks."""
    arguments: tuple[str, ...] = ()
    """The profile's own words on the kernel's command line."""
    memory_mib: int = 512


def build_micro(profile: Profile, state: StateDir, *, faults: bool = False) -> MicroImage:
    """Build, or find in the cache, everything a micro-guest of ``profile`` needs."""
    root = build_root(profile, state)
    agent = build_agent(root, state)
    module = build_module(root, state, faults=faults)
    boot = initramfs.module_order(root, guest_modules.BOOT)
    files = tuple(dict.fromkeys([*boot, *on_demand_files(root)]))
    key = content_key(["3", root.path.parent.name, agent, module, *files, *initramfs.TOOLS])

    def assemble(work: Path) -> None:
        tree = work / "tree"
        tree.mkdir()
        initramfs.assemble(root, agent, boot, files, tree)
        shutil.copy2(module, tree / initramfs.MODULE_DIR.lstrip("/") / MODULE_FILE)
        initramfs.pack(tree, work / "initrd.cpio")
        shutil.rmtree(tree)

    folder = built(state.cache, f"micro-{profile.name}-{key}", assemble)
    initrd = folder / "initrd.cpio"
    return image_of(MicroImage, profile, root, initrd, memory_mib=profile.memory_mib)


def image_of(
    kind: type[_Image], profile: Profile, root: RootTree, initrd: Path, **more: Any
) -> _Image:
    """An image of ``kind`` with all that micro-guests and full ones have alike."""
    return kind(
        kernel=root.kernel,
        initrd=initrd,
        release=root.release,
        module=f"{initramfs.MODULE_DIR}/{MODULE_FILE}",
        on_demand={
            name: tuple(initramfs.guest_module_path(file) for file in files)
            for name, files in _demand(root).items()
        },
        arguments=profile.kernel_arguments,
        **more,
    )


def on_demand_files(root: RootTree) -> tuple[str, ...]:
    """Modules that are loaded when first needed, relative to the kernel's module folder."""
    return tuple(dict.fromkeys(file for files in _demand(root).values() for file in files))


def _demand(root: RootTree) -> dict[str, tuple[str, ...]]:
    demand = {}
    for name, wanted in guest_modules.ON_DEMAND.items():
        if name not in guest_modules.OPTIONAL or initramfs.has_modules(root, wanted):
            demand[name] = initramfs.module_order(root, wanted)
    return demand
