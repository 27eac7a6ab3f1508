# SPDX-License-Identifier: Apache-2.0
"""What a full guest boots: the kernel, a small initramfs that goes over to the root disk, the disk.

The initramfs carries agent, module and the module's source; the agent, as process 1, mounts the
disk and gives them along.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.build import guest_modules, initramfs
from harness.build.cache import built, content_key
from harness.build.disk import build_root_disk
from harness.build.guest_agent import AGENT_FILE, build_agent
from harness.build.image import MicroImage, image_of
from harness.build.kmod import DKMS_FILE, MODULE_FILE, build_module, module_sources
from harness.build.profile import Profile
from harness.build.rootfs import RootTree, build_root
from harness.config import StateDir

_FORMAT = "1"
FULL_MEMORY_MIB = 1024
_FOLDERS = ("dev", "proc", "sys", "tmp", "run", "newroot", "etc/harness", "lib/modules")


@dataclass(frozen=True, slots=True)
class FullImage(MicroImage):
    """A micro-guest's image, and the disk with which it becomes a full guest."""

    root_disk: Path = Path()
    """Raw image, never written to: each guest has a layer of its own above it."""


def build_full(profile: Profile, state: StateDir, *, faults: bool = False) -> FullImage:
    """Build, or find in the cache, everything a full guest of ``profile`` needs."""
    root = build_root(profile, state)
    initrd = build_initrd(profile, root, state, faults)
    return image_of(
        FullImage,
        profile,
        root,
        initrd,
        memory_mib=max(FULL_MEMORY_MIB, profile.memory_mib),
        root_disk=build_root_disk(profile, state),
    )


def build_initrd(profile: Profile, root: RootTree, state: StateDir, faults: bool) -> Path:
    """The small initramfs; it needs no disk if the kernel's command line names none."""
    agent = build_agent(root, state)
    module = build_module(root, state, faults=faults)
    boot = initramfs.module_order(root, guest_modules.ROOT)
    key = content_key([_FORMAT, root.path.parent.name, agent, module, *boot])
    key = content_key([key, DKMS_FILE, *module_sources()])

    def assemble(work: Path) -> None:
        tree = work / "tree"
        for folder in _FOLDERS:
            (tree / folder).mkdir(parents=True)
        for file in boot:
            target = tree / initramfs.guest_module_path(file).lstrip("/")
            initramfs.install_module(root.modules / file, target)
        initramfs.list_modules(boot, tree)
        lay_payload(tree / "payload", agent, module)
        (tree / "init").symlink_to(f"payload/{AGENT_FILE}")
        initramfs.pack(tree, work / "initrd.cpio")
        shutil.rmtree(tree)

    return built(state.cache, f"full-{profile.name}-{key}", assemble) / "initrd.cpio"


def lay_payload(folder: Path, agent: Path, module: Path) -> None:
    """Fill the new ``folder`` with what a guest is given along with its kernel."""
    (folder / "src").mkdir(parents=True)
    shutil.copy2(agent, folder / AGENT_FILE)
    shutil.copy2(module, folder / MODULE_FILE)
    for file in (*module_sources(), DKMS_FILE):
        shutil.copy2(file, folder / "src")
