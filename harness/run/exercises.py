# SPDX-License-Identifier: Apache-2.0
"""Suite ``device``: block I/O that no file system issues in a short workload.

File systems put a flush between two writes of the same block and seldom discard, so that a replica
that mixes up overlapping writes passes every ACE workload. These cases write the target directly;
after a drain both devices must hold the same.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ace_workloads.ops import Step
from harness.target.base import Line, Target

SUITE = "device"
RAW = "raw"
COVERS = "block I/O on the target itself: overlaps, large writes, flushes, discards, zeroes"
# Only an upper bound: the case's deadline comes first, and that is longer for a slow guest.
_TIMEOUT_MS = "1800000"
_FIO = ("/usr/bin/fio", "--name=exercise", "--ioengine=psync", "--direct=1", "--refill_buffers",
        "--randseed=20240611", "--norandommap", "--end_fsync=1", "--minimal")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Exercise:
    """One case of the suite; it has no workload steps and hence no persistence points."""

    id: str
    skeleton: str
    covers: str
    fio: tuple[tuple[str, ...], ...]
    """Options of each fio call, one after the other."""
    zero_bytes: int = 0
    """Write zeroes over so much of the start of the device at the end."""

    steps: tuple[Step, ...] = ()
    canonical_text: str = ""

    @property
    def content_hash(self) -> str:
        """sha256 of what the case does."""
        return hashlib.sha256(repr((self.fio, self.zero_bytes)).encode()).hexdigest()

    def script(self, target: Target) -> list[Line]:
        """Commands for the primary."""
        device = target.mount_device
        lines: list[Line] = [
            ("exec", _TIMEOUT_MS, *_FIO, f"--filename={device}", *options) for options in self.fio
        ]
        if self.zero_bytes:
            lines.append(("zero", device, str(self.zero_bytes)))
        return lines


def _exercise(name: str, covers: str, *fio: tuple[str, ...], zero_bytes: int = 0) -> Exercise:
    return Exercise(f"{SUITE}/{name}", name, covers, fio, zero_bytes)


_FILL = ("--rw=write", "--bs=1m", "--size=16m")
EXERCISES = (
    _exercise(
        "overlap",
        "overlapping writes with no flush between them",
        ("--rw=randwrite", "--bs=4k-64k", "--blockalign=4k", "--size=512k", "--io_size=16m"),
    ),
    _exercise("multipage", "writes of up to 1 MiB", ("--rw=randwrite", "--bs=1m", "--size=16m")),
    _exercise(
        "flush",
        "small writes with a flush after each",
        ("--rw=randwrite", "--bs=4k", "--size=8m", "--number_ios=200", "--fsync=1"),
    ),
    _exercise(
        "discard",
        "discards of what was written",
        _FILL,
        ("--rw=randtrim", "--bs=64k", "--size=16m", "--number_ios=128"),
    ),
    _exercise("zeroes", "write-zeroes over what was written", _FILL, zero_bytes=8 << 20),
)
