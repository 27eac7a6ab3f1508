# SPDX-License-Identifier: Apache-2.0
"""What a full guest has beyond a micro-guest: a disk to boot to, and words that name it."""

from __future__ import annotations

from pathlib import Path

from harness.build.cloud import CloudImage
from harness.build.full import FullImage
from harness.build.image import MicroImage
from harness.build.seed import Identity, make_seed
from harness.vm.layer import make_layer
from harness.vm.ports import DiskSpec

# The root disk comes after the two that every guest has. A boot is not commented on the console.
_FULL_WORDS = ("harness.root=/dev/vdc", "systemd.show_status=error")


def is_full(image: MicroImage) -> bool:
    """Whether people can log in to its guests."""
    return isinstance(image, FullImage | CloudImage)


def boots_itself(image: MicroImage) -> bool:
    """Whether its guests come with a boot loader and kernel of their own."""
    return isinstance(image, CloudImage)


def kernel_words(image: MicroImage, role: str) -> tuple[str, ...]:
    """For the kernel's command line."""
    if isinstance(image, FullImage):
        return (*_FULL_WORDS, f"systemd.hostname={role}", *image.arguments)
    return image.arguments


def system_disks(image: MicroImage, folder: Path, identity: Identity) -> tuple[DiskSpec, ...]:
    """The disks that a guest runs from, made in ``folder``: layers above what all guests share.

    ToolError when they cannot be made.
    """
    role = identity.role
    layer = folder / f"{role}-root.qcow2"
    if isinstance(image, FullImage):
        make_layer(image.root_disk, layer)
        return (DiskSpec(layer, format="qcow2", backing=image.root_disk),)
    if isinstance(image, CloudImage):
        make_layer(image.disk, layer)
        seed = folder / f"{role}-seed.iso"
        make_seed(seed, image.payload, identity, folder / f"{role}-seed")
        root = DiskSpec(layer, format="qcow2", backing=image.disk, boot=True)
        return (root, DiskSpec(seed, read_only=True))
    return ()
