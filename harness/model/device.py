# SPDX-License-Identifier: Apache-2.0
"""What a whole block device holds, in one line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeviceDigest:
    """Whole-device digest through the target: blocks that hold any non-zero byte are hashed."""

    digest: str
    """BLAKE2b-128 over (block number as u64 LE, 4096 bytes) of every non-zero 4 KiB block."""
    blocks: int
    """How many such blocks."""
