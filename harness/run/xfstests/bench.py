# SPDX-License-Identifier: Apache-2.0
"""A target on a pair whose primary has workloads run by ``check``, met at each crash point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from ace_workloads.workload import Workload
from harness.deadline import Deadline
from harness.errors import InfraError
from harness.export.tree import common_files
from harness.guest.agent import CheckpointEvent, CommandResult, Rendezvous, ScriptResult
from harness.model.evidence import Aftermath, CaseEvidence, CrashEvidence
from harness.run import blame, observe, scripts
from harness.run.bench import SETUP_TIMEOUT_S, Bench, Devices
from harness.run.caselog import Observation
from harness.run.xfstests import site
from harness.run.xfstests.bundle import (
    ENDINGS,
    TEST,
    CheckVerdict,
    bundle,
    bundle_files,
    complaints,
    read_verdict,
    step_errors,
)
from harness.run.xfstests.foreign import ForeignTest
from harness.target.base import Line

_FSCK_TIMEOUT_MS = "600000"
GoOn = Callable[[Workload, CaseEvidence], bool]
"""Asked after each workload; False ends the test before the next one begins."""


@dataclass(slots=True)
class Checked:
    """What one start of ``check`` came to."""

    observations: dict[str, Observation] = field(default_factory=dict)
    """Workload id -> what was seen of it; not of those that were not begun."""
    verdict: CheckVerdict = field(default_factory=CheckVerdict)
    ended: bool = False
    """Whether the host ended it."""


class CheckBench(Bench):
    """As ``Bench``, for many workloads at once and without a file system kept ready."""

    by_xfstests = True
    texts: Mapping[str, str] = MappingProxyType({})
    """What ``check`` printed when it was last started, and wrote of its test."""

    def set_up(self) -> None:
        """Create the target. Errors as of ``Bench``."""
        what = f"target {self.target.name} for {self.fs.name} to be set up"
        deadline = Deadline.after(SETUP_TIMEOUT_S, what)
        self.target.create(
            self.pair.primary.agent, self.pair.backup.agent, self.fs.device_bytes, deadline
        )

    def check(
        self,
        workloads: Sequence[Workload],
        checked: Checked,
        deadline: Deadline,
        go_on: GoOn,
    ) -> None:
        """Run ``workloads`` as one test, with a crash at each of their persistence points.

        ``checked`` is filled as it goes. Errors as of ``Bench.run``. A test that cannot be run, or
        is not to anybody's liking, is in the verdict.
        """
        test = bundle(workloads)
        with ThreadPoolExecutor(1, thread_name_prefix="backup") as backup:
            visit = _Visit(self, {w.id: w for w in workloads}, checked, deadline, backup, go_on)
            result = self.pair.primary.agent.run_script(
                self._script(bundle_files(test, common_files()), deadline),
                deadline,
                on_rendezvous=visit.meet,
            )
            visit.leave()
            if checked.ended:
                self._explain(checked, deadline, backup)
        ran, files = result.one("job"), _files(result)
        self.texts = _texts(ran, files)
        for failed in result.failures:
            if failed.index < ran.index:
                self.pair.primary.agent.require(failed)
        if ran.status < 0 and not checked.ended:
            raise InfraError(f"check did not end as it should: {ran.text[-2000:] or ran.status}")
        verdict = read_verdict(workloads, test.golden, files, ran.text, max(ran.status, 0))
        checked.verdict = verdict
        for about, lines in verdict.complaints.items():
            if (seen := checked.observations.get(about)) is not None:
                evidence = replace(
                    seen.evidence, step_errors=step_errors(lines), complaints=complaints(lines)
                )
                checked.observations[about] = replace(seen, evidence=evidence)

    def foreign(self, test: ForeignTest, deadline: Deadline) -> Observation:
        """Run a test that comes with xfstests; afterwards both devices have to be the same.

        Errors as of ``Bench.run``; InfraError where ``check`` itself does not end well.
        """
        self.begin()
        device, tests = self.target.mount_device, (test.name,)
        job = site.CheckJob(tests, int(deadline.remaining * 1000))
        config = site.config_text(self.fs, device, whole=False)
        result = self.pair.primary.agent.run_script(
            [
                *site.file_lines({"local.config": config}),
                ("try", *site.check_line(job)),
                *site.clean_up_lines(),
                *site.output_lines(tests, ENDINGS),
            ],
            deadline,
        )
        ran, files = result.one("job"), _files(result)
        self.texts = _texts(ran, files)
        if ran.status < 0:
            raise InfraError(f"check did not end as it should: {ran.text[-2000:] or ran.status}")
        verdict = read_verdict((), "", files, ran.text, ran.status)
        if verdict.not_run is not None:
            empty = self.observation(Devices(), (), ()).evidence
            return Observation(replace(empty, not_run=verdict.not_run), {})
        aftermath: Aftermath | None = None
        with ThreadPoolExecutor(1, thread_name_prefix="backup") as backup:
            devices = self.compare(deadline, backup)
            if self.target.replicated:
                aftermath = self._aftermath(deadline, backup)
        observed = self.observation(devices, (), ())
        evidence = replace(
            observed.evidence,
            complaints=verdict.common,
            aftermath=aftermath,
            console=blame.made_on_purpose(observed.evidence.console),
        )
        return replace(observed, evidence=evidence)

    def _aftermath(self, deadline: Deadline, other: ThreadPoolExecutor) -> Aftermath:
        """What the checker says of the primary's device, and of a snapshot of the backup's."""

        def fsck(device: str) -> Line:
            return ("try", "exec", _FSCK_TIMEOUT_MS, *self.fs.fsck, device)

        drop = [("always", "try", *line) for line in scripts.drop_snapshot_script(self.fs)]
        primary, backup = self._on_both(
            [fsck(self.target.mount_device)],
            [*scripts.snapshot_script(self.fs, self.target), *scripts.show_script(self.fs),
             fsck(scripts.snapshot_device(self.fs)), *drop],
            deadline,
            other,
        )  # fmt: skip
        return Aftermath(*(observe.checked(each, self.fs) for each in (primary, backup)))

    def compare_with(self, primary: ScriptResult, deadline: Deadline) -> Devices:
        """Both devices after a workload; ``primary`` is what its guest said at the end of it."""
        if not self.target.replicated:
            return Devices()
        upto = observe.acknowledged(self.target, primary)
        lines = [
            *self.target.drain_lines(scripts.DRAIN_TIMEOUT_MS, upto),
            *scripts.digest_script(self.target.inspect_device, self.fs),
        ]
        backup = self.pair.backup.agent.run_script(lines, deadline)
        return Devices(observe.device_digest(primary), observe.device_digest(backup))

    def _explain(self, checked: Checked, deadline: Deadline, backup: ThreadPoolExecutor) -> None:
        """Where the devices differ after the last workload: asked when the primary is free."""
        about, seen = list(checked.observations.items())[-1]
        evidence = seen.evidence
        before = Devices(evidence.primary_device, evidence.backup_device)
        after = self.explained(before, deadline, backup)
        evidence = replace(evidence, differing_blocks=after.differing, block_notes=after.notes)
        checked.observations[about] = replace(seen, evidence=evidence)

    def _script(self, files: Mapping[str, str], deadline: Deadline) -> list[Line]:
        device = self.target.mount_device
        tree = f"{site.ROOT}{site.SCRATCH_MOUNT}"
        config = site.config_text(self.fs, device)
        job = site.CheckJob((TEST,), int(deadline.remaining * 1000))
        at_point = [*self.target.status_lines(), ("tree", tree, "full")]
        at_end = [
            *self.target.status_lines(),
            *(scripts.digest_script(device, self.fs) if self.target.replicated else ()),
        ]
        return [
            *site.file_lines({**files, "local.config": config}),
            *(("at-rendezvous", "point", *line) for line in at_point),
            *(("at-rendezvous", "end", *line) for line in at_end),
            ("try", *site.check_line(job)),
            *site.clean_up_lines(),
            *site.output_lines((TEST,), ENDINGS),
        ]


def _files(result: ScriptResult) -> dict[str, str]:
    """Ending -> text of what ``check`` wrote about its test."""
    read = [done for done in result.results if done.command[0] == "file-read"]
    return {ending: done.text for ending, done in zip(ENDINGS, read, strict=True) if done.ok}


def _texts(ran: CommandResult, files: Mapping[str, str]) -> dict[str, str]:
    """By a name that can be a file's: what ``check`` printed, and its files."""
    return {"check": ran.text, **{f"check{ending}": text for ending, text in files.items()}}


class _Visit:
    """One start of ``check`` as it goes: what the test says, and what the host does about it."""

    def __init__(
        self,
        bench: CheckBench,
        workloads: Mapping[str, Workload],
        checked: Checked,
        deadline: Deadline,
        backup: ThreadPoolExecutor,
        go_on: GoOn,
    ) -> None:
        self._checked = checked
        self._bench = bench
        self._workloads = workloads
        self._deadline = deadline
        self._backup = backup
        self._go_on = go_on
        self._now: Workload | None = None
        self._crashes: list[CrashEvidence] = []
        self._pending: list[Callable[[], CrashEvidence]] = []

    def meet(self, met: Rendezvous) -> bool:
        """The test's word at a rendezvous; InfraError for one that means nothing."""
        try:
            word, about, *rest = met.words
            workload = self._workloads[about]
            if word == "begin":
                return self._begin(workload)
            if word == "point":
                number, line = map(int, rest)
                # As the agent counts: the checkpoint is a step of its own.
                return self._point(CheckpointEvent(number, line + 1, met.results))
            if word == "end":
                return self._end(met.results)
        except (ValueError, KeyError) as error:
            raise InfraError(f"a test said {' '.join(met.words)!r}, which means nothing") from error
        raise InfraError(f"a test said {' '.join(met.words)!r}, which means nothing")

    def leave(self) -> None:
        """The test is over; a workload under way has not come to its end."""
        if self._now is not None:
            self._record(Devices())

    def _begin(self, workload: Workload) -> bool:
        self.leave()
        self._now = workload
        self._crashes = []
        self._bench.begin()
        return True

    def _point(self, event: CheckpointEvent) -> bool:
        if self._now is None:
            raise InfraError("a test is at a crash point of no workload")
        self._settle()
        crash = self._bench.crash(event, self._now.steps, self._deadline, self._backup)
        self._pending.append(crash)
        return True

    def _end(self, results: Sequence[CommandResult]) -> bool:
        if self._now is None:
            raise InfraError("a test is at the end of no workload")
        self._settle()
        primary, workload = ScriptResult(tuple(results)), self._now
        evidence = self._record(self._bench.compare_with(primary, self._deadline))
        self._checked.ended = not self._go_on(workload, evidence)
        return not self._checked.ended

    def _settle(self) -> None:
        while self._pending:
            self._crashes.append(self._pending.pop(0)())

    def _record(self, devices: Devices) -> CaseEvidence:
        self._settle()
        assert self._now is not None
        observed = self._bench.observation(devices, tuple(self._crashes), ())
        self._checked.observations[self._now.id] = observed
        self._now = None
        return observed.evidence
