# SPDX-License-Identifier: Apache-2.0
"""A worker whose cases are run by xfstests, many by one test of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import takewhile

from ace_workloads.workload import Workload
from harness.deadline import Deadline
from harness.errors import InfraError
from harness.events import CaseRetried, CaseStarted, Warned
from harness.export.xfstests import obstacle
from harness.guest.protocol import ProtocolError
from harness.model.case import CaseResult
from harness.model.evidence import CaseEvidence
from harness.model.verdict import Check, Verdict, merge
from harness.oracle import judge_case
from harness.run.bench import Bench
from harness.run.caselog import Observation
from harness.run.filesystems import CHECKED, FOREIGN, FileSystem
from harness.run.pair import Pair
from harness.run.plan import Case
from harness.run.targets import CONTROL
from harness.run.worker import Worker, blank_result
from harness.run.xfstests import site
from harness.run.xfstests.bench import CheckBench, Checked
from harness.run.xfstests.foreign import ForeignTest
from harness.target.base import Target

_START_S = 120.0
"""What ``check`` may take for itself, whatever the workloads take."""
_SETUP_S = 180.0


class CheckWorker(Worker):
    """Runs bundles of cases; what was not reached in one begins the next."""

    finishes = False

    def results(
        self,
        case: Case,
        take: Callable[[], Case | None],
        put_back: Callable[[Case], None] | None = None,
    ) -> Iterator[CaseResult]:
        """As of ``Worker``; up to a bundle of cases are taken."""
        del put_back  # What was not reached in a bundle is in the next one.
        waiting = [case]
        while waiting:
            while len(waiting) < self._options.bundle and (more := take()) is not None:
                waiting.append(more)
            done = self._first_results(waiting)
            del waiting[: len(done)]
            yield from done

    def _first_results(self, cases: Sequence[Case]) -> list[CaseResult]:
        """Results of the first of ``cases``, at least one."""
        first = cases[0]
        if isinstance(first.workload, ForeignTest):
            return [self.run(first)]
        if (why := _obstacle(first)) is not None:
            return [_skipped(first, why)]
        alike = list(takewhile(lambda case: _like(case, first), cases))
        done = self._together(alike) if len(alike) > 1 else []
        # Alone it has its own attempts, and whatever is said is said of it.
        return done or [self.run(first)]

    def _together(self, cases: Sequence[Case]) -> list[CaseResult]:
        """Results of the first so many of ``cases``; maybe of none."""
        checked = Checked()
        error: Exception | None = None
        try:
            bench = self._ready_bench(cases[0])
            started = time.perf_counter()
            for case in cases:
                self._publish(CaseStarted(case.case_id, self.number))
            self._case = (cases[0].case_id, time.monotonic())
            self._check(bench, cases, checked)
        except (InfraError, ProtocolError) as caught:
            error = caught
        finally:
            self._case = None
        if checked.verdict.common and error is None:
            said = checked.verdict.common
            text = f"xfstests says of {len(cases)} workloads together: {said[0]}; each is run alone"
            self._publish(Warned(text))
            self._drop_bench(cases[0].case_id.target)
            return [self._blamed(case, said) for case in cases]
        if error is None and checked.verdict.not_run is not None:
            return [_skipped(case, checked.verdict.not_run) for case in cases]
        # Up to the first that was not begun: it, and what came after it, is run again.
        begun = takewhile(lambda case: case.workload.id in checked.observations, cases)
        seen = [(case, checked.observations[case.workload.id]) for case in begun]
        done: list[CaseResult] = []
        for case, observed in seen:
            result = self._judged(blank_result(case), case, observed)
            share_s = (time.perf_counter() - started) / max(1, len(seen))
            result = replace(result, elapsed_s=share_s)
            done.append(self._concluded(case, result))
        if error is not None and len(done) < len(cases):
            self._gone_wrong(cases[len(done)], error, done)
        return done

    def _gone_wrong(self, case: Case, error: Exception, done: list[CaseResult]) -> None:
        """The guests, or what is asked of them, broke while ``case`` was under way."""
        result = self._broken(blank_result(case), error)
        if result.verdict is not None:
            done.append(self._concluded(case, result))
        else:
            self._publish(CaseRetried(case.case_id, result.infra_error or "", self.number))

    def _blamed(self, case: Case, said: Sequence[str]) -> CaseResult:
        """A case of a test that had something to say of all its workloads together."""
        result = self.run(case)
        if result.verdict is not Verdict.PASS or result.evidence is None:
            return result
        evidence = replace(result.evidence, said_together=tuple(said))
        checks = _judge(case, evidence)
        verdict = merge(check.verdict for check in checks)
        return replace(result, verdict=verdict, checks=checks, evidence=evidence)

    def _check(self, bench: CheckBench, cases: Sequence[Case], checked: Checked) -> None:
        by_id = {case.workload.id: case for case in cases}
        workloads = [case.workload for case in cases if isinstance(case.workload, Workload)]
        what = f"{len(cases)} workloads from {cases[0].case_id} on to end"
        deadline = Deadline.after(_START_S + self._options.timeout_s * len(cases), what)

        def go_on(workload: Workload, evidence: CaseEvidence) -> bool:
            checks = _judge(by_id[workload.id], evidence)
            return merge(check.verdict for check in checks) is Verdict.PASS

        bench.check(workloads, checked, deadline, go_on)

    def _prepare(self, case: Case) -> Callable[[], Observation]:
        """A case alone. InfraError where xfstests does not come to it."""
        bench = self._ready_bench(case)
        if isinstance(test := case.workload, ForeignTest):
            what = f"test {test.name} to end"
            return lambda: bench.foreign(test, Deadline.after(self._options.timeout_s, what))

        def play() -> Observation:
            checked = Checked()
            self._check(bench, [case], checked)
            if (why := checked.verdict.not_run) is not None:
                return Observation(CaseEvidence(crashes=(), not_run=why), {})
            observed = checked.observations.get(case.workload.id)
            said = checked.verdict.common
            if observed is None and (alone := checked.verdict.complaints.get(case.workload.id)):
                # It failed before its first step.
                return Observation(CaseEvidence(crashes=(), complaints=alone), {})
            if observed is None:
                printed = bench.texts.get("check", "")[-2000:]
                raise InfraError(f"xfstests did not come to it: {' | '.join(said) or printed}")
            evidence = observed.evidence
            return replace(
                observed, evidence=replace(evidence, complaints=(*evidence.complaints, *said))
            )

        return play

    def _judged(self, blank: CaseResult, case: Case, observed: Observation) -> CaseResult:
        bench = self._benches.get(case.case_id.target)
        result = super()._judged(blank, case, observed)
        if result.verdict in (Verdict.PASS, None) or not isinstance(bench, CheckBench):
            return result
        # What check said and wrote is kept beside the consoles.
        texts = {name: tuple(text.splitlines()) for name, text in bench.texts.items()}
        return replace(result, console={**result.console, **texts})

    def _ready_bench(self, case: Case) -> CheckBench:
        bench = self._bench(case.case_id.target, case.case_id.fs)
        assert isinstance(bench, CheckBench)
        return bench

    def _file_system(self, name: str) -> FileSystem:
        return (CHECKED if self._options.group is None else FOREIGN)[name]

    def _new_bench(self, pair: Pair, target: Target, fs: FileSystem, impostor: bool) -> Bench:
        primary = pair.primary.agent
        deadline = Deadline.after(_SETUP_S, "the primary to be made ready for xfstests")
        if self._site is not pair:
            modules = self._builder.image.on_demand["layers"]
            primary.run_all([("insmod", path) for path in modules], deadline)
            primary.run_all(site.layers_script(), deadline)
            if self._options.group is not None:
                primary.run_all([site.shell_line(site.USERS)], deadline)
            self._site = pair
        primary.run_all(site.test_disk_script(fs), deadline)
        return CheckBench(pair, target, fs, impostor)

    _site: Pair | None = None
    """The pair whose primary has the layers."""


def _judge(case: Case, evidence: CaseEvidence) -> tuple[Check, ...]:
    replicated = case.case_id.target != CONTROL
    return judge_case(case.workload.steps, case.case_id.fs, evidence, replicated)


def _obstacle(case: Case) -> str | None:
    """Why xfstests cannot run it."""
    if not isinstance(case.workload, Workload):
        return "it is no workload of a suite"
    return obstacle(case.workload)


def _like(case: Case, first: Case) -> bool:
    """Whether ``case`` can be in one test with ``first``."""
    if _obstacle(case) is not None:
        return False
    return (case.case_id.fs, case.case_id.target) == (first.case_id.fs, first.case_id.target)


def _skipped(case: Case, why: str) -> CaseResult:
    evidence = CaseEvidence(crashes=(), not_run=why)
    checks = judge_case((), case.case_id.fs, evidence, replicated=False)
    return replace(blank_result(case), verdict=Verdict.SKIPPED, checks=checks, evidence=evidence)
