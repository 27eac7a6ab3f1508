# SPDX-License-Identifier: Apache-2.0
"""What was observed at one crash point: recorded raw, judged afterwards (``harness check``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.model.device import DeviceDigest
from harness.model.endurance import RoundEvidence
from harness.model.tree import Tree


@dataclass(frozen=True, slots=True)
class ToolResult:
    """One command run in a guest (fsck, mount): ``ok`` by that tool's own meaning of its status."""

    ok: bool
    status: int
    """Exit status; negative errno for a system call; 128+n when killed by signal n."""
    output: str = ""


@dataclass(frozen=True, slots=True)
class Drain:
    """Whether the backup had applied all it received when the snapshot was taken."""

    quiesced: bool
    """received == applied, before and after the check."""
    promised: int | None
    """Index the primary reported as acknowledged when the persistence op returned."""
    applied: int | None
    """Index the backup had applied when the snapshot was taken."""
    status: str = ""
    """Raw status line(s)."""


@dataclass(frozen=True, slots=True)
class CrashEvidence:
    """Everything seen at one crash point of one case."""

    checkpoint: int
    """1-based number of the persistence point within the workload."""
    line: int
    """1-based line of the workload's run section whose persistence op had just returned."""
    live: Tree | None
    """The primary's tree, read through its own page cache right after the persistence op."""
    drain: Drain | None = None
    mount: ToolResult | None = None
    """Mount (with recovery) of the snapshot; None when never tried."""
    recovered: Tree | None = None
    fsck: ToolResult | None = None
    """Read-only check of the snapshot after recovery."""
    probe: ToolResult | None = None
    """Use of the recovered file system: new files, empty it, unmount."""


@dataclass(frozen=True, slots=True)
class BlockNote:
    """One block in which the devices differ."""

    block: int
    """Number of the 4 KiB block."""
    holds: str
    """What the file system on the primary uses it for; empty when nothing could tell."""
    difference: str
    """How the bytes differ, in a few words."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What a guest was at for a while, by the host's clock; a guest knows only how long it took."""

    guest: str
    """``primary`` or ``backup``."""
    what: str
    """A phase as in ``phases_s``; ``paused`` while the machine stands still."""
    start_s: float
    """Since the case began."""
    end_s: float
    lines: tuple[int, int] | None = None
    """First and last line of the workload that was run."""


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What a test that is no workload of ours left on the device, checked as it is."""

    primary: ToolResult
    backup: ToolResult
    """Of a snapshot, after the drain."""


@dataclass(frozen=True, slots=True)
class CaseEvidence:
    """Everything seen in one case."""

    crashes: tuple[CrashEvidence, ...]
    step_errors: tuple[tuple[int, str], ...] = ()
    """(line, "verb: ERRNO") of every workload step whose system call failed."""
    primary_device: DeviceDigest | None = None
    """Of the mounted target's device after the case ended and everything was drained."""
    backup_device: DeviceDigest | None = None
    differing_blocks: tuple[int, ...] | None = None
    """First 4 KiB block numbers in which the two devices differ; None when not looked at."""
    console: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Guest name -> kernel reports (oops, BUG, hung task, lockdep, I/O error) seen meanwhile."""
    round: RoundEvidence | None = None
    """Of a case of an endurance run, which has no crash points."""
    block_notes: tuple[BlockNote, ...] = ()
    """On the first of ``differing_blocks``."""
    moments: tuple[Moment, ...] = ()
    """Of both guests, in no order; not kept for a case that passed."""
    complaints: tuple[str, ...] = ()
    """Where xfstests ran it: what its output has of it that should not be there, failed steps
    aside."""
    not_run: str | None = None
    """Where xfstests was to run it: why it did not."""
    aftermath: Aftermath | None = None
    said_together: tuple[str, ...] = ()
    """What xfstests said of a test of several workloads, this one among them, and not of this one
    when it was alone in a test."""
