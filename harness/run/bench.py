# SPDX-License-Identifier: Apache-2.0
"""One target with one file system, set up on a pair: cases run on it one after the other."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from ace_workloads.ops import Step
from harness.deadline import Deadline
from harness.guest.agent import CheckpointEvent, ScriptResult
from harness.model.device import DeviceDigest
from harness.model.evidence import BlockNote, CaseEvidence, CrashEvidence, Moment
from harness.run import blocks, observe, scripts
from harness.run.exercises import Exercise
from harness.run.filesystems import FileSystem
from harness.run.pair import Pair
from harness.target.base import Line, Target

SETUP_TIMEOUT_S = 180.0
_MOST_BLOCKS = 64
_MOST_SNAPSHOTS = 20
_MOST_LOOKS = 5
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Observation:
    """What one case showed, and where its time went."""

    evidence: CaseEvidence
    phases_s: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Devices:
    """Both devices after a case; None where that was not looked at."""

    primary: DeviceDigest | None = None
    backup: DeviceDigest | None = None
    differing: tuple[int, ...] | None = None
    notes: tuple[BlockNote, ...] = ()


class Bench:
    """A target of one size with a prepared file system; every case starts from that file system."""

    by_xfstests = False
    """Whether programs that its tests use carry out the steps, rather than the agent."""

    def __init__(self, pair: Pair, target: Target, fs: FileSystem, impostor: bool = False) -> None:
        self.pair = pair
        self.target = target
        self.fs = fs
        self.impostor = impostor
        self._phases: defaultdict[str, float] = defaultdict(float)
        self._began = 0.0
        self._moments: list[Moment] = []

    def set_up(self) -> None:
        """Create the target and the file system. AgentError or GuestLostError when that fails."""
        what = f"target {self.target.name} with {self.fs.name} to be set up"
        deadline = Deadline.after(SETUP_TIMEOUT_S, what)
        primary, backup = self.pair.primary.agent, self.pair.backup.agent
        self.target.create(primary, backup, self.fs.device_bytes, deadline)
        if self.fs.mkfs:
            primary.run_all(scripts.format_script(self.fs, self.target), deadline)

    def tear_down(self) -> None:
        """Take the target down, whatever state it is in."""
        deadline = Deadline.after(SETUP_TIMEOUT_S, f"target {self.target.name} to be removed")
        self.target.remove(self.pair.primary.agent, self.pair.backup.agent, deadline)

    def run(self, steps: Sequence[Step], deadline: Deadline) -> Observation:
        """Run one workload with a crash at each of its persistence points.

        GuestLostError when a guest dies or stays silent, AgentError when a step of the harness's
        own (not of the workload) fails in a guest.
        """
        self.begin()
        script = scripts.workload_script(self.fs, self.target, steps)
        # What the backup has to do, in order, while the primary does something else.
        with ThreadPoolExecutor(1, thread_name_prefix="backup") as backup:
            crashes: list[CrashEvidence] = []
            pending: list[Callable[[], CrashEvidence]] = []

            def settle() -> None:
                while pending:
                    crashes.append(pending.pop(0)())

            def on_checkpoint(event: CheckpointEvent) -> bool:
                # The backup is free again before the primary is stopped for it.
                settle()
                pending.append(self.crash(event, steps, deadline, backup))
                return True

            began_s = self._now()
            result = self.pair.primary.agent.run_script(script, deadline, on_checkpoint)
            observe.add_primary_phases(self._phases, result)
            pauses = [(m.start_s, m.end_s) for m in self._moments if m.what == "paused"]
            self._moments += observe.primary_moments(result, began_s, pauses)
            errors = observe.step_errors(result)
            if not errors:
                for failed in result.failures:
                    self.pair.primary.agent.require(failed)
            devices = self.compare(deadline, backup)
            settle()
        return self.observation(devices, tuple(crashes), errors)

    def exercise(self, exercise: Exercise, deadline: Deadline) -> Observation:
        """Write the device as ``exercise`` says, without a crash. Errors as of ``run``."""
        self.begin()
        started = time.perf_counter()
        result = self.pair.primary.agent.run_script(exercise.script(self.target), deadline)
        self._phases["ops"] += time.perf_counter() - started
        errors = observe.exercise_errors(result)
        # One that ended early has flushed nothing: what it wrote last may still be on its way.
        devices = Devices()
        if not errors:
            with ThreadPoolExecutor(1, thread_name_prefix="backup") as backup:
                devices = self.compare(deadline, backup)
        return self.observation(devices, (), errors)

    def observation(
        self,
        devices: Devices,
        crashes: tuple[CrashEvidence, ...],
        errors: tuple[tuple[int, str], ...],
    ) -> Observation:
        """What was seen of the case that has begun, with the kernel reports of both guests."""
        evidence = CaseEvidence(
            crashes=crashes,
            step_errors=errors,
            primary_device=devices.primary,
            backup_device=devices.backup,
            differing_blocks=devices.differing,
            block_notes=devices.notes,
            moments=tuple(self._moments),
            console={
                guest.name: observe.report_texts(guest.kernel_reports())
                for guest in self.pair.guests
            },
        )
        return Observation(evidence, dict(self._phases))

    def crash(
        self,
        event: CheckpointEvent,
        steps: Sequence[Step],
        deadline: Deadline,
        backup: ThreadPoolExecutor,
    ) -> Callable[[], CrashEvidence]:
        """Stop the primary, take the crash state, let the primary go on.

        A copy of the backup's device is looked at after that, and what is returned waits for it. A
        copy-on-write snapshot shows the crash state only as long as nothing arrives: then the
        primary waits for the whole look.
        """
        machine, began_s = self.pair.primary.machine, self._now()
        looking: Future[ScriptResult] | None = None
        self._timed("pause", machine.pause)
        try:
            if scripts.copies(self.fs):
                snapshot = last = self._take(deadline)
                looking = backup.submit(self._look, deadline)
            else:
                snapshot, last = self._undisturbed_look(deadline)
        finally:
            self._timed("resume", machine.resume)
            self._moments.append(Moment("primary", "paused", began_s, self._now()))
        seen = observe.Crash(event, snapshot, last)

        def evidence() -> CrashEvidence:
            look = last if looking is None else looking.result()
            return observe.crash_evidence(
                seen, look, self.target, self.fs, steps, by_xfstests=self.by_xfstests
            )

        return evidence

    def _undisturbed_look(self, deadline: Deadline) -> tuple[ScriptResult, ScriptResult]:
        """Snapshot and look, again as long as something arrives meanwhile."""
        for _ in range(_MOST_LOOKS):
            snapshot = self._take(deadline)
            inspection = self._look(deadline)
            if self._final(snapshot, inspection):
                break
        return snapshot, inspection

    def _take(self, deadline: Deadline) -> ScriptResult:
        """The crash state, taken while nothing arrived.

        What the primary sent last may still be on the link when the backup reports that it has
        applied all it received. Since the primary is paused this ends soon: a snapshot during which
        something arrived is dropped and taken again.
        """
        agent = self.pair.backup.agent
        script = scripts.snapshot_script(self.fs, self.target, self.impostor)
        drop = scripts.drop_snapshot_script(self.fs)
        for _ in range(_MOST_SNAPSHOTS):
            began_s = self._now()
            snapshot = agent.run_script(script, deadline)
            observe.add_inspect_phases(self._phases, snapshot)
            self._moments += observe.backup_moments(snapshot, began_s)
            if self._final(snapshot, snapshot):
                break
            if drop:
                observe.add_inspect_phases(self._phases, agent.run_script(drop, deadline))
        return snapshot

    def _look(self, deadline: Deadline) -> ScriptResult:
        """What recovery makes of the crash state."""
        script = scripts.inspect_script(self.fs, self.target)
        began_s = self._now()
        inspection = self.pair.backup.agent.run_script(script, deadline)
        observe.add_inspect_phases(self._phases, inspection)
        self._moments += observe.backup_moments(inspection, began_s)
        return inspection

    def _final(self, snapshot: ScriptResult, after: ScriptResult) -> bool:
        """Whether looking again would show nothing better.

        A backup that did not drain in its time has something to tell: waiting again until the
        case runs out of time would make an infrastructure error of it.
        """
        if not self.target.replicated or not observe.drained(snapshot):
            return True
        return observe.undisturbed(self.target, snapshot, after)

    def compare(self, deadline: Deadline, other: ThreadPoolExecutor) -> Devices:
        """Digests of both devices after the case, and where they differ."""
        if not self.target.replicated:
            return Devices()
        began_s = self._now()
        # The primary goes on: what it acknowledged last may arrive later.
        status = self.pair.primary.agent.run_script(self.target.status_lines(), deadline)
        upto = observe.acknowledged(self.target, status)
        drain = self.target.drain_lines(scripts.DRAIN_TIMEOUT_MS, upto)
        primary, backup = self._on_both(
            scripts.digest_script(self.target.mount_device, self.fs),
            [*drain, *scripts.digest_script(self.target.inspect_device, self.fs)],
            deadline,
            other,
        )
        devices = self.explained(
            Devices(observe.device_digest(primary), observe.device_digest(backup)), deadline, other
        )
        ended_s = self._now()
        self._phases["compare"] += ended_s - began_s
        self._moments += [
            Moment(guest, "compare", began_s, ended_s) for guest in ("primary", "backup")
        ]
        return devices

    def explained(self, seen: Devices, deadline: Deadline, other: ThreadPoolExecutor) -> Devices:
        """``seen``, with where the devices differ if they do."""
        if seen.primary is None or seen.backup is None or seen.primary == seen.backup:
            return seen
        maps = self._on_both(
            scripts.blockmap_script(self.target.mount_device, self.fs),
            scripts.blockmap_script(self.target.inspect_device, self.fs),
            deadline,
            other,
        )
        found = observe.blocks_that_differ(*maps)
        differing = found if found is None else found[:_MOST_BLOCKS]
        notes = self._notes(differing or (), deadline, other)
        return replace(seen, differing=differing, notes=notes)

    def _notes(
        self, differing: Sequence[int], deadline: Deadline, other: ThreadPoolExecutor
    ) -> tuple[BlockNote, ...]:
        """How the first differing blocks differ, and what they are used for."""
        noted = differing[: blocks.MOST_NOTED]

        def reads(device: str) -> list[Line]:
            return [("try", "readblock", device, str(number)) for number in noted]

        mine, theirs = self._on_both(
            reads(self.target.mount_device), reads(self.target.inspect_device), deadline, other
        )
        owners = self._owners(noted, deadline)
        return blocks.notes(noted, owners, mine.results, theirs.results)

    def _owners(self, noted: Sequence[int], deadline: Deadline) -> dict[int, str]:
        """Block -> what the primary's file system uses it for, as far as a tool can tell."""
        primary, device = self.pair.primary.agent, self.target.mount_device
        script = blocks.owner_script(self.fs.name, device, noted)
        if not script:
            return {}
        found, layout = (
            result.text if result.ok else ""
            for result in primary.run_script(script, deadline).results
        )
        if not layout:
            return {}
        inodes = blocks.parse_inodes(found)
        names = primary.run_script(
            blocks.name_script(device, sorted(set(inodes.values()))), deadline
        )
        paths = blocks.parse_paths("".join(result.text for result in names.results if result.ok))
        known = blocks.parse_layout(layout)
        return {number: blocks.owner(number, inodes, paths, known) for number in noted}

    def _on_both(
        self,
        primary: Sequence[Line],
        backup: Sequence[Line],
        deadline: Deadline,
        other: ThreadPoolExecutor,
    ) -> tuple[ScriptResult, ScriptResult]:
        """One script on each guest at the same time: each has a processor of its own."""
        theirs = other.submit(self.pair.backup.agent.run_script, backup, deadline)
        mine = self.pair.primary.agent.run_script(primary, deadline)
        return mine, theirs.result()

    def begin(self) -> None:
        """A case begins now."""
        self._phases = defaultdict(float)
        self._began = time.perf_counter()
        self._moments = []

    def _now(self) -> float:
        """Seconds since the case began."""
        return time.perf_counter() - self._began

    def _timed(self, phase: str, function: Callable[[], _T]) -> _T:
        started = time.perf_counter()
        try:
            return function()
        finally:
            self._phases[phase] += time.perf_counter() - started
