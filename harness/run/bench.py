# SPDX-License-Identifier: Apache-2.0
"""One target with one file system, set up on a pair: cases run on it one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from ace_workloads.ops import Step
from harness.deadline import Deadline
from harness.guest.agent import CheckpointEvent, CommandResult, ScriptResult
from harness.model.device import DeviceDigest
from harness.model.evidence import BlockNote, CaseEvidence, CrashEvidence, Moment
from harness.run import blocks, observe, scripts
from harness.run.caselog import CaseLog, Observation
from harness.run.exercises import Exercise
from harness.run.filesystems import FileSystem
from harness.run.pair import Pair
from harness.target.base import Line, Target

SETUP_TIMEOUT_S = 180.0
_MOST_BLOCKS = 64
_MOST_SNAPSHOTS = 20
_MOST_LOOKS = 5


@dataclass(frozen=True, slots=True)
class Devices:
    """Both devices after a case; None where that was not looked at."""

    primary: DeviceDigest | None = None
    backup: DeviceDigest | None = None
    differing: tuple[int, ...] | None = None
    notes: tuple[BlockNote, ...] = ()


Played = Callable[[bool], Observation]
"""What a workload showed, once all that was to be looked at has been; the argument says whether
no other one has been played since."""


class Bench:
    """A target of one size with a prepared file system; every case starts from that file system."""

    by_xfstests = False
    """Whether programs that its tests use carry out the steps, rather than the agent."""

    def __init__(self, pair: Pair, target: Target, fs: FileSystem, impostor: bool = False) -> None:
        self.pair = pair
        self.target = target
        self.fs = fs
        self.impostor = impostor
        self._log = CaseLog()
        self._looking: Future[ScriptResult] | None = None
        """The look at the copy that was made last."""

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
        # What the backup has to do, in order, while the primary does something else.
        with ThreadPoolExecutor(1, thread_name_prefix="backup") as backup:
            return self.play(steps, deadline, backup)(True)

    def play(self, steps: Sequence[Step], deadline: Deadline, backup: ThreadPoolExecutor) -> Played:
        """As ``run``, for whoever has something else to do during the last look at a copy.

        What is returned waits for it and gives the observation; ``backup`` has to be there until
        then. The primary is free, and both devices have been compared. The next workload may be
        played: it is not stopped at its first crash point before the look is over. Errors as of
        ``run``, here or there.
        """
        log = self.begin()
        try:
            devices, crashes, errors = self._play(steps, deadline, backup)
            # What the primary says later may belong to another case.
            log.hear(self.pair.guests)
        except BaseException:
            log.forget()
            raise

        def observed(alone: bool) -> Observation:
            try:
                seen = tuple(crash() for crash in crashes)
                if alone:
                    log.hear(self.pair.guests)
            except BaseException:
                log.forget()
                raise
            return log.observation(_evidence(devices, seen, errors))

        return observed

    def _play(
        self, steps: Sequence[Step], deadline: Deadline, backup: ThreadPoolExecutor
    ) -> tuple[Devices, list[Callable[[], CrashEvidence]], tuple[tuple[int, str], ...]]:
        """The devices afterwards, what is to be seen at each crash point, the steps that failed."""
        log, crashes = self._log, list[Callable[[], CrashEvidence]]()

        def on_checkpoint(event: CheckpointEvent) -> bool:
            # There is room for one copy: the backup is done with it before the primary is stopped.
            if self._looking is not None:
                wait([self._looking])
                if crashes:
                    # A look that failed ends its own case, not the one after it.
                    self._looking.result()
            crashes.append(self.crash(event, steps, deadline, backup))
            return True

        began_s = log.now()
        script = scripts.workload_script(self.fs, self.target, steps)
        result = self.pair.primary.agent.run_script(script, deadline, on_checkpoint)
        observe.add_primary_phases(log.phases_s, result)
        pauses = [(m.start_s, m.end_s) for m in log.moments if m.what == "paused"]
        log.moments += observe.primary_moments(result, began_s, pauses)
        errors = observe.step_errors(result)
        if not errors:
            for failed in result.failures:
                self.pair.primary.agent.require(failed)
        return self.compare(deadline, backup), crashes, errors

    def exercise(self, exercise: Exercise, deadline: Deadline) -> Observation:
        """Write the device as ``exercise`` says, without a crash. Errors as of ``run``."""
        log = self.begin()
        script = exercise.script(self.target)
        result = log.timed("ops", lambda: self.pair.primary.agent.run_script(script, deadline))
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
        self._log.hear(self.pair.guests)
        return self._log.observation(_evidence(devices, crashes, errors))

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
        log, machine = self._log, self.pair.primary.machine
        began_s = log.now()
        looking: Future[ScriptResult] | None = None
        log.timed("pause", machine.pause)
        try:
            if scripts.copies(self.fs):
                snapshot = last = self._take(deadline)
                self._looking = looking = self._look_meanwhile(deadline, backup)
            else:
                snapshot, last = self._undisturbed_look(deadline)
        finally:
            log.timed("resume", machine.resume)
            log.moments.append(Moment("primary", "paused", began_s, log.now()))
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
            script = scripts.inspect_script(self.fs, self.target)
            inspection = self._inspect(script, deadline, self._log)
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
            snapshot = self._inspect(script, deadline, self._log)
            if self._final(snapshot, snapshot):
                break
            if drop:
                observe.add_inspect_phases(self._log.phases_s, agent.run_script(drop, deadline))
        return snapshot

    def _look_meanwhile(
        self, deadline: Deadline, backup: ThreadPoolExecutor
    ) -> Future[ScriptResult]:
        """What recovery makes of the copy, found out while the primary goes on.

        In parts, each asked for when the one before is done: what else the backup is asked for
        meanwhile, and the primary waits for, comes in between.
        """
        log, done = self._log, Future[ScriptResult]()
        parts = deque(scripts.inspect_parts(self.fs))
        results: list[CommandResult] = []

        def go_on() -> None:
            try:
                results.extend(self._inspect(parts.popleft(), deadline, log).results)
                if parts:
                    backup.submit(go_on)
                    return
                # Before the look is known to be over: what is said later may be another case's.
                log.hear([self.pair.backup])
            except BaseException as error:
                done.set_exception(error)
            else:
                done.set_result(ScriptResult(tuple(results)))

        backup.submit(go_on)
        return done

    def _inspect(self, script: Sequence[Line], deadline: Deadline, log: CaseLog) -> ScriptResult:
        """Run ``script`` on the backup and note its time."""
        began_s = log.now()
        result = self.pair.backup.agent.run_script(script, deadline)
        observe.add_inspect_phases(log.phases_s, result)
        log.moments += observe.backup_moments(result, began_s)
        return result

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
        log = self._log
        began_s = log.now()
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
        ended_s = log.now()
        log.phases_s["compare"] += ended_s - began_s
        log.moments += [
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

    def begin(self) -> CaseLog:
        """A case begins now; its log, which is the bench's until the next one begins."""
        self._log = CaseLog()
        return self._log


def _evidence(
    devices: Devices, crashes: tuple[CrashEvidence, ...], errors: tuple[tuple[int, str], ...]
) -> CaseEvidence:
    return CaseEvidence(
        crashes=crashes,
        step_errors=errors,
        primary_device=devices.primary,
        backup_device=devices.backup,
        differing_blocks=devices.differing,
        block_notes=devices.notes,
    )
