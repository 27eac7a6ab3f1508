# SPDX-License-Identifier: Apache-2.0
"""What was observed in one round of an endurance run: recorded raw, judged afterwards."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model.device import DeviceDigest
from harness.model.load import Contents


@dataclass(frozen=True, slots=True)
class LoadRun:
    """What a load reported while it ran one stream, from batch 1 on."""

    stream: int
    completed: int
    """All batches up to here had completed when it reported last."""
    durable: int
    """All batches up to here were acknowledged as durable."""
    issued: int
    """No op of a later batch can have been issued."""
    may_fail: bool = False
    """Whether errors were to be expected: a peer that is away under policy ``error``, a deposed
    primary."""
    uncertain: tuple[int, ...] = ()
    """Batches of which a write failed: each of their ops happened or did not."""
    errors: tuple[str, ...] = ()
    """``batch ERRNO`` of each write or flush that failed."""
    mismatches: tuple[str, ...] = ()
    """Blocks that read back wrong while the load ran."""


@dataclass(frozen=True, slots=True)
class Leg:
    """A load, and what was found afterwards; the next leg begins with what was found."""

    run: LoadRun
    crashed: bool
    """Whether the node that ran the load was lost with what it had not replicated."""
    node: str
    """Guest whose device was read afterwards, through the target."""
    found: Contents | None
    """None when it could not be read."""


@dataclass(frozen=True, slots=True)
class Rejoin:
    """A node that came back."""

    node: str
    disk: str
    """What its disk held: ``own``, ``old``, ``blank``; ``kept`` for a node that had not ended."""
    in_sync_s: float | None
    """Seconds until it was in sync; None when it was not in the time allowed."""
    status: str
    """Of the node that lead, when that was over."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both devices, drained, through the target."""

    after: str
    """What had happened before."""
    primary: DeviceDigest | None
    backup: DeviceDigest | None
    differing: tuple[int, ...] | None = None
    """First 4 KiB blocks in which they differ; None when not looked at."""


@dataclass(frozen=True, slots=True)
class MemorySample:
    """A quiet node: nothing under way, its peer in sync."""

    node: str
    boot: int
    """Counts the boots of the guest, so that only samples of one boot are compared."""
    round: int
    module_bytes: int | None
    """What the target says that it has allocated."""
    slab_kib: int
    """Unreclaimable slab of the whole kernel."""
    available_kib: int


@dataclass(frozen=True, slots=True)
class RoundEvidence:
    """Everything seen in one round."""

    blocks: int
    """Size of the region under load, in blocks of 4 KiB."""
    base: Contents
    """What both devices held when the round began."""
    legs: tuple[Leg, ...] = ()
    rejoins: tuple[Rejoin, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    refusals: tuple[str, ...] = ()
    """Things that had to work and were refused or failed: command, node, answer."""
    after_deposition: int | None = None
    """Acknowledgements of a primary after another was promoted; None where none was deposed."""
    memory: tuple[MemorySample, ...] = ()
    """Of both guests since they were booted, this round's last."""
    log: tuple[str, ...] = ()
    """What was done, in order, each with the second of the round at which it was done."""
