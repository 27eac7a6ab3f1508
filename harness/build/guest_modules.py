# SPDX-License-Identifier: Apache-2.0
"""Which of the kernel's modules a guest loads, and when."""

from __future__ import annotations

# Loaded at boot: without these there is no agent channel, disk or link, and no gcm(aes). Nobody is
# there to load a module when the kernel asks for one.
BOOT = ("virtio_pci", "virtio_console", "virtio_blk", "virtio_net", "dm-mod",
        "aesni-intel", "gcm", "ctr", "ghash-generic")  # fmt: skip
# Loaded when first asked for (btrfs benchmarks its parity code for a second on loading).
ON_DEMAND = {
    "snapshot": ("dm-snapshot", "brd"),
    "faults": ("dm-flakey", "dm-delay"),
    "ext4": ("ext4",),
    "xfs": ("xfs",),
    "btrfs": ("btrfs",),
    "drbd": ("drbd",),
    "delay": ("sch_netem",),
    "layers": ("overlay",),
}
OPTIONAL = frozenset({"drbd", "layers"})
"""What a kernel may lack: only what needs it cannot be done."""
# What the root disk of a full guest is mounted with.
ROOT = (*BOOT, "ext4")
