# SPDX-License-Identifier: Apache-2.0
"""One target with one file system, set up on a pair: cases run on it one after the other."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ace_workloads.ops import Step
from harness.deadline import Deadline
from harness.guest.agent import Agent, CheckpointEvent, ScriptResult
from harness.model.device import DeviceDigest
from harness.model.evidence import CaseEvidence, CrashEvidence
from harness.run import observe, scripts
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


class Bench:
    """A target of one size with a prepared file system; every case starts from that file system."""

    def __init__(self, pair: Pair, target: Target, fs: FileSystem, impostor: bool = False) -> None:
        self.pair = pair
        self.target = target
        self.fs = fs
        self.impostor = impostor
        self._phases: defaultdict[str, float] = defaultdict(float)

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
        self._phases = defaultdict(float)
        crashes: list[CrashEvidence] = []
        script = scripts.workload_script(self.fs, self.target, steps)

        def on_checkpoint(event: CheckpointEvent) -> bool:
            crashes.append(self._crash(event, steps, deadline))
            return True

        result = self.pair.primary.agent.run_script(script, deadline, on_checkpoint)
        observe.add_primary_phases(self._phases, result)
        errors = observe.step_errors(result)
        if not errors:
            for failed in result.failures:
                self.pair.primary.agent.require(failed)
        return self._observation(deadline, tuple(crashes), errors)

    def exercise(self, exercise: Exercise, deadline: Deadline) -> Observation:
        """Write the device as ``exercise`` says, without a crash. Errors as of ``run``."""
        self._phases = defaultdict(float)
        started = time.perf_counter()
        result = self.pair.primary.agent.run_script(exercise.script(self.target), deadline)
        self._phases["ops"] += time.perf_counter() - started
        errors = observe.exercise_errors(result)
        # One that ended early has flushed nothing: what it wrote last may still be on its way.
        return self._observation(deadline, (), errors, compare=not errors)

    def _observation(
        self,
        deadline: Deadline,
        crashes: tuple[CrashEvidence, ...],
        errors: tuple[tuple[int, str], ...],
        *,
        compare: bool = True,
    ) -> Observation:
        mine, theirs, differing = self._compare(deadline) if compare else (None, None, None)
        evidence = CaseEvidence(
            crashes=crashes,
            step_errors=errors,
            primary_device=mine,
            backup_device=theirs,
            differing_blocks=differing,
            console={
                guest.name: observe.report_texts(guest.kernel_reports())
                for guest in self.pair.guests
            },
        )
        return Observation(evidence, dict(self._phases))

    def _crash(
        self, event: CheckpointEvent, steps: Sequence[Step], deadline: Deadline
    ) -> CrashEvidence:
        """Stop the primary, look at what the backup would recover to, let the primary go on."""
        machine = self.pair.primary.machine
        self._timed("pause", machine.pause)
        try:
            for _ in range(_MOST_LOOKS):
                snapshot, inspection = self._inspect(deadline)
                if self._final(snapshot, inspection):
                    break
        finally:
            self._timed("resume", machine.resume)
        return observe.crash_evidence(event, snapshot, inspection, self.target, self.fs, steps)

    def _inspect(self, deadline: Deadline) -> tuple[ScriptResult, ScriptResult]:
        """One look at the backup: its snapshot, and what recovery makes of it.

        What the primary sent last may still be on the link when the backup reports that it has
        applied all it received. Since the primary is paused this ends soon: a snapshot during which
        something arrived is dropped and taken again.
        """
        agent = self.pair.backup.agent
        for _ in range(_MOST_SNAPSHOTS):
            script = scripts.snapshot_script(self.fs, self.target, self.impostor)
            snapshot = agent.run_script(script, deadline)
            observe.add_inspect_phases(self._phases, snapshot)
            if self._final(snapshot, snapshot):
                break
            observe.add_inspect_phases(
                self._phases, agent.run_script(scripts.drop_snapshot_script(), deadline)
            )
        inspection = agent.run_script(scripts.inspect_script(self.fs, self.target), deadline)
        observe.add_inspect_phases(self._phases, inspection)
        return snapshot, inspection

    def _final(self, snapshot: ScriptResult, after: ScriptResult) -> bool:
        """Whether looking again would show nothing better.

        A backup that did not drain in its time has something to tell: waiting again until the
        case runs out of time would make an infrastructure error of it.
        """
        if not self.target.replicated or not observe.drained(snapshot):
            return True
        return observe.undisturbed(self.target, snapshot, after)

    def _compare(
        self, deadline: Deadline
    ) -> tuple[DeviceDigest | None, DeviceDigest | None, tuple[int, ...] | None]:
        """Digests of both devices after the case, and where they differ."""
        if not self.target.replicated:
            return None, None, None
        started = time.perf_counter()
        # The primary goes on: what it acknowledged last may arrive later.
        status = self.pair.primary.agent.run_script(self.target.status_lines(), deadline)
        upto = observe.acknowledged(self.target, status)
        drain = self.target.drain_lines(scripts.DRAIN_TIMEOUT_MS, upto)
        primary, backup = self._on_both(
            scripts.digest_script(self.target.mount_device, self.fs),
            [*drain, *scripts.digest_script(self.target.inspect_device, self.fs)],
            deadline,
        )
        mine, theirs = observe.device_digest(primary), observe.device_digest(backup)
        differing: tuple[int, ...] | None = None
        if mine is not None and theirs is not None and mine != theirs:
            maps = self._on_both(
                scripts.blockmap_script(self.target.mount_device, self.fs),
                scripts.blockmap_script(self.target.inspect_device, self.fs),
                deadline,
            )
            found = observe.blocks_that_differ(*maps)
            differing = found if found is None else found[:_MOST_BLOCKS]
        self._phases["compare"] += time.perf_counter() - started
        return mine, theirs, differing

    def _on_both(
        self, primary: Sequence[Line], backup: Sequence[Line], deadline: Deadline
    ) -> tuple[ScriptResult, ScriptResult]:
        """One script on each guest at the same time: each has a processor of its own."""
        other: list[ScriptResult] = []
        failure: list[BaseException] = []

        def run_backup(agent: Agent) -> None:
            try:
                other.append(agent.run_script(backup, deadline))
            except BaseException as error:  # carried over to the caller's thread
                failure.append(error)

        thread = threading.Thread(target=run_backup, args=(self.pair.backup.agent,))
        thread.start()
        try:
            mine = self.pair.primary.agent.run_script(primary, deadline)
        finally:
            thread.join()
        if failure:
            raise failure[0]
        return mine, other[0]

    def _timed(self, phase: str, function: Callable[[], _T]) -> _T:
        started = time.perf_counter()
        try:
            return function()
        finally:
            self._phases[phase] += time.perf_counter() - started
