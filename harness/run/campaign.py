# SPDX-License-Identifier: Apache-2.0
"""One run from plan to exit code: workers take cases, the store gets every result first."""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ace_workloads.jlang import parse_run_section
from harness import __version__
from harness.config import reports_dir
from harness.errors import EXIT_INTERNAL, EXIT_INTERRUPTED, HarnessError, InfraError
from harness.events import (
    CaseEnded,
    CaseKnown,
    EventBus,
    PhaseNote,
    RunEnded,
    RunStarted,
    Warned,
    WatchdogFired,
    Watched,
)
from harness.findings import NOTHING_KNOWN, KnownIssues
from harness.model.case import CaseResult, Outcome, RunInfo
from harness.oracle.diff import diff_lines, expected_tree_text, recovered_tree_text
from harness.report.evidence_text import round_text
from harness.report.junit import write_junit
from harness.report.load import Run, load_run
from harness.report.store import CaseTexts, RunStore, new_run_id
from harness.report.summary import Summary
from harness.run import minimizing
from harness.run.confirm import Confirmations
from harness.run.endurance.schedule import SUITE
from harness.run.endurance.worker import RoundWorker
from harness.run.laboratory import Laboratory, laboratory
from harness.run.options import Engine, RunOptions
from harness.run.overlap import OverlappingWorker
from harness.run.plan import Case, Plan
from harness.run.resume import differences
from harness.run.worker import Worker
from harness.run.xfstests.worker import CheckWorker
from harness.vm.live import LiveDir

_POLL_S = 0.2
_clock = time.monotonic


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """Where a run's record is and how it ended."""

    folder: Path
    exit_code: int


def run_campaign(
    plan: Plan,
    options: RunOptions,
    bus: EventBus,
    before_end: Callable[[], None] | None = None,
    resumed: Run | None = None,
    known: KnownIssues = NOTHING_KNOWN,
    folder: LiveDir | None = None,
) -> RunOutcome:
    """Run the cases of ``plan`` and record them; ``before_end`` is called while the pairs are up.

    ``folder`` is the live folder of this process, where it has more than one run.

    ``resumed`` is the stored run that goes on; ``plan`` is then what has no result in it. Failures
    that are ``known`` count, but are no reason for exit code 1.
    InfraError when no guest can be had at all, before any case ran or at the end of the record.
    """

    def say(text: str) -> None:
        bus.publish(PhaseNote(text))

    with laboratory(options, say, folder) as opened:
        lab = opened.with_kmod(options, say)
        info = _describe(plan, options, lab)
        with _open(info, options, resumed) as (store, info):
            bus.publish(RunStarted(info, store.path))
            campaign = _Campaign(store, info, options, bus, known)
            campaign.recall()
            campaign.work(lab, plan, before_end)
            try:
                return campaign.conclude(plan.planned)
            except KeyboardInterrupt:
                # Too late to stop anything: what was half written is written again.
                campaign.interrupted = True
                return campaign.conclude(plan.planned)


@contextlib.contextmanager
def _open(
    info: RunInfo, options: RunOptions, resumed: Run | None
) -> Iterator[tuple[RunStore, RunInfo]]:
    """The record to write to, and the facts as they stand in it."""
    if resumed is None:
        with RunStore.create(reports_dir(options.out), info) as store:
            yield store, info
        return
    with RunStore.reopen(resumed.path) as store:
        info = _continued(resumed.info, info)
        store.write_info(info)
        yield store, info


def _continued(then: RunInfo, now: RunInfo) -> RunInfo:
    """``then``, going on under what ``now`` says of host and versions; what differs is said."""
    changes = [
        *differences(then.versions, now.versions),
        *differences(then.kernels, now.kernels),
        *differences(then.host, now.host),
    ]
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now.started_unix_s))
    said = f"resumed {when}" + (f"; since then: {', '.join(changes)}" if changes else "")
    return replace(then, ended_unix_s=None, exit_code=None, left=0, warnings=(*then.warnings, said))


def _describe(plan: Plan, options: RunOptions, lab: Laboratory) -> RunInfo:
    started = time.time()
    return RunInfo(
        run_id=new_run_id(started, uuid.uuid4().hex[:6]),
        suite=plan.name,
        started_unix_s=started,
        planned=plan.planned,
        options=options.recorded(),
        host={
            "hostname": platform.node(),
            "cpus": str(os.cpu_count()),
            "accelerator": "kvm" if lab.accelerator.value == "kvm" else "tcg",
            "connection": lab.connection.partition("?")[0],
        },
        kernels={"host": platform.release(), "guests": lab.image.release},
        versions={
            "harness": __version__,
            "python": platform.python_version(),
            "profile": options.profile,
            **{module.name: str(module) for module in lab.modules},
            **({"xfstests": lab.xfstests} if lab.xfstests else {}),
            **lab.hypervisor.versions(),
        },
        seed=options.seed,
    )


class _Campaign:
    """The state of a run under way, shared by its workers."""

    def __init__(
        self,
        store: RunStore,
        info: RunInfo,
        options: RunOptions,
        bus: EventBus,
        known: KnownIssues,
    ) -> None:
        self._store = store
        self._info = info
        self._options = options
        self._bus = bus
        self._summary = Summary(planned=info.planned, known=known)
        self._stop = threading.Event()
        self._enough = False
        """Whether the run was told to end here; the cases not begun are left, not missing."""
        self._began_s = _clock()
        self._lock = threading.Lock()
        self.interrupted = False
        """Whether the user asked to stop; the cases under way are finished first."""
        self._abandoned = threading.Event()
        """Set once the cases under way are not waited for any more."""
        self._error: BaseException | None = None

    def recall(self) -> None:
        """Count what the record holds already."""
        for result in load_run(self._store.path).results():
            self._summary.add(result)
            self._bus.publish(CaseKnown(result))

    def work(self, lab: Laboratory, plan: Plan, before_end: Callable[[], None] | None) -> None:
        """Let every worker take cases until there are none left, or somebody says stop."""
        builder = lab.pairs(self._options, self._store.new_folder("consoles"))
        kind = self._kind_of_worker()
        share = (self._bus.publish, self._in_a_hurry, Confirmations())
        workers = [
            kind(number, builder, self._options, *share) for number in range(self._options.pairs)
        ]
        ended = [threading.Event() for _ in workers]
        threads = [
            threading.Thread(target=self._serve, args=(worker, plan, end), name=f"pair-{number}")
            for number, (worker, end) in enumerate(zip(workers, ended, strict=True))
        ]
        for thread in threads:
            thread.start()
        try:
            self._wait(ended, workers)
            if before_end is not None and not self.interrupted:
                for worker in workers:
                    worker.leave_alone()
                self._pause(before_end)
        finally:
            self._abandoned.set()
            for worker in workers:
                worker.close()
            for thread in threads:
                thread.join()

    def _kind_of_worker(self) -> type[Worker]:
        if self._info.suite == SUITE:
            return RoundWorker
        if self._info.suite == minimizing.SUITE:
            # What is asked next is known once the answer to the last question is there.
            return Worker
        return CheckWorker if self._options.engine is Engine.XFSTESTS else OverlappingWorker

    def _run_over(self, workers: Sequence[Worker]) -> bool:
        """Whether the time of the whole run is up: nothing is waited for any more."""
        limit_s = self._options.time_limit_s
        if limit_s is None or _clock() - self._began_s < limit_s:
            return False
        self._enough = True
        self._stop.set()
        for worker in workers:
            text = f"the run is over after {limit_s:g} s; left under way: {worker.doing()}"
            fired = WatchdogFired(Watched.RUN, text, worker.number, worker.consoles())
            self._bus.publish(fired)
        return True

    def _wait(self, ended: list[threading.Event], workers: Sequence[Worker]) -> None:
        """Wait for the workers; Ctrl-C lets each finish its case, a second one does not.

        Not by joining the threads: a join that Ctrl-C interrupts takes a thread that goes on for
        one that has ended (seen with Python 3.11).
        """
        while True:
            try:
                while not all(end.wait(_POLL_S) for end in ended):
                    if self._run_over(workers):
                        return
                return
            except KeyboardInterrupt:
                if self.interrupted:
                    return
                self.interrupted = True
                self._stop.set()
                self._bus.publish(Warned("interrupted: finishing the cases under way"))

    def _pause(self, before_end: Callable[[], None]) -> None:
        try:
            before_end()
        except KeyboardInterrupt:
            self.interrupted = True

    def _serve(self, worker: Worker, plan: Plan, end: threading.Event) -> None:
        back: list[Case] = []
        try:

            def take() -> Case | None:
                if self._ends():
                    return None
                return back.pop() if back else plan.take()

            while (case := take()) is not None:
                for result in worker.results(case, take, back.append):
                    if result.infra_error is not None and self._abandoned.is_set():
                        # Its guests were taken away from it: that says nothing about the case.
                        return
                    self._record(result, worker.number)
                    if self._ends() and not worker.finishes:
                        break
        except Exception as error:
            if self._abandoned.is_set() and isinstance(error, InfraError):
                return
            # Kept for the main thread: a full disk or a bug of ours ends the run, with its record.
            with self._lock:
                self._error = self._error or error
            self._stop.set()
        finally:
            end.set()

    def _late(self) -> bool:
        budget_s = self._options.time_budget_s
        return budget_s is not None and _clock() - self._began_s >= budget_s

    def _in_a_hurry(self) -> bool:
        """Whether the case under way is to end with what it has.

        Not when the run ends for what was found: that is confirmed like any other finding.
        """
        return self.interrupted or self._late()

    def _ends(self) -> bool:
        """Whether no further case may begin."""
        most = self._options.max_findings
        with self._lock:
            late = self._late()
            full = most is not None and len(self._summary.new_findings) >= most
            if (late or full) and not self._stop.is_set():
                self._enough = True
                self._stop.set()
        return self._stop.is_set()

    def _record(self, result: CaseResult, pair: int) -> None:
        with self._lock:
            self._store.append(result)
            self._summary.add(result)
            folder = None
            if result.outcome not in (Outcome.PASS, Outcome.SKIPPED):
                folder = self._store.write_case(result, case_texts(result))
                if self._options.fail_fast:
                    self._stop.set()
        self._bus.publish(CaseEnded(result, pair, folder))

    def conclude(self, planned: int) -> RunOutcome:
        """Close the record: counts, JUnit, exit code. Re-raises what stopped the workers.

        ``planned`` is how many cases there were to be, which some plans do not know before.
        """
        self._summary.planned = planned
        if self._enough and not self.interrupted and self._error is None:
            self._summary.left = self._summary.missing
        code = self._exit_code()
        info = replace(
            self._info,
            planned=planned,
            left=self._summary.left,
            ended_unix_s=time.time(),
            counts=dict(self._summary.counts),
            exit_code=code,
        )
        self._store.write_info(info)
        if info.suite != minimizing.SUITE:
            # Candidates are no cases of anybody's: what becomes of them is no news to Jenkins.
            results = load_run(self._store.path).results()
            write_junit(self._store, info, results, self._summary.known)
        self._bus.publish(RunEnded(info, self._store.path))
        if self._error is not None:
            raise self._error
        return RunOutcome(self._store.path, code)

    def _exit_code(self) -> int:
        if self._error is not None:
            error = self._error
            return error.exit_code if isinstance(error, HarnessError) else EXIT_INTERNAL
        return EXIT_INTERRUPTED if self.interrupted else self._summary.exit_code()


def case_texts(result: CaseResult) -> CaseTexts:
    """What a person wants to read about a case that did not pass."""
    consoles = {name: "\n".join(lines) + "\n" for name, lines in result.console.items()}
    if result.evidence is None:
        return CaseTexts(consoles=consoles)
    if result.evidence.round is not None:
        return CaseTexts(diff=round_text(result.evidence.round), consoles=consoles)
    steps, fs = parse_run_section(result.jlang), result.case_id.fs
    expected, recovered, diff = [], [], []
    for crash in result.evidence.crashes:
        title = f"== crash point {crash.checkpoint}, after line {crash.line} ==\n"
        expected.append(title + expected_tree_text(steps, fs, crash.line))
        if crash.recovered is not None:
            recovered.append(title + recovered_tree_text(crash.recovered))
        diff.append(title + "\n".join(diff_lines(steps, fs, crash)) + "\n")
    return CaseTexts("\n".join(expected), "\n".join(recovered), "\n".join(diff), consoles)
