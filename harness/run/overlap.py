# SPDX-License-Identifier: Apache-2.0
"""A worker that begins a case while the last crash state of the one before is looked at.

Half of what a case takes is work of the backup on a copy, for which the primary need not wait. A
case begins early only after one that has passed so far, with the same target and file system, and
only once both devices have been compared. If the case before it does not pass after all, the one
that began early counts for nothing and is run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace

from harness.deadline import Deadline
from harness.errors import HostLostError, InfraError
from harness.events import CaseStarted
from harness.guest.protocol import ProtocolError
from harness.model.case import CaseResult
from harness.model.verdict import Verdict
from harness.run import scripts
from harness.run.bench import Bench, Played
from harness.run.caselog import Observation
from harness.run.exercises import Exercise
from harness.run.plan import Case
from harness.run.worker import Worker, blank_result


@dataclass(frozen=True, slots=True)
class _Begun:
    """A case that the primary has been given."""

    case: Case
    blank: CaseResult
    played: Future[Played]
    since_s: float = field(default_factory=time.perf_counter)

    def observed(self, alone: bool) -> Observation:
        """What it showed, once all of it is over; ``alone``: no other one has begun since.

        Errors as of ``Bench.run``.
        """
        return self.played.result()(alone)


class OverlappingWorker(Worker):
    """As ``Worker``; gives the same verdicts in less time."""

    _next: _Begun | None = None
    """What has begun while the case before it is not judged yet."""
    _kept: CaseResult | None = None
    """What is to be said of it although the case before it did not pass."""

    def results(
        self, case: Case, take: Callable[[], Case | None], put_back: Callable[[Case], None]
    ) -> Iterator[CaseResult]:
        """As of ``Worker``; takes cases as long as they pass and have a set-up in common."""
        # Whatever has to be made ready is ready after it.
        result = self.run(case)
        yield result
        if result.verdict is Verdict.PASS:
            yield from self._overlapping(take, put_back)

    def _overlapping(
        self, take: Callable[[], Case | None], put_back: Callable[[Case], None]
    ) -> Iterator[CaseResult]:
        with (
            ThreadPoolExecutor(1, thread_name_prefix="primary") as primary,
            ThreadPoolExecutor(1, thread_name_prefix="backup") as backup,
        ):
            before: _Begun | None = None
            while True:
                begun = None
                if (case := take()) is not None:
                    if (bench := self._bench_at_hand(case)) is not None:
                        begun = self._begin(case, bench, primary, backup)
                    else:
                        put_back(case)
                if before is not None:
                    result = self._ended(before, begun)
                    if result.verdict is not Verdict.PASS:
                        kept, self._kept = self._kept, None
                        if begun is not None and kept is None:
                            put_back(begun.case)
                        yield self.run(before.case, result)
                        if begun is not None and kept is not None:
                            yield self.run(begun.case, kept)
                        return
                    yield result
                if begun is None:
                    return
                # The primary is free for another case, or has had trouble with this one.
                wait([begun.played])
                if begun.played.exception() is not None:
                    yield self.run(begun.case, self._ended(begun, None))
                    return
                before = begun

    def _bench_at_hand(self, case: Case) -> Bench | None:
        """Where the case can be run at once, if what it needs is there and can be shared."""
        bench = self._benches.get(case.case_id.target)
        if bench is None or bench.fs.name != case.case_id.fs or not scripts.copies(bench.fs):
            return None
        return None if isinstance(case.workload, Exercise) else bench

    def _begin(
        self, case: Case, bench: Bench, primary: ThreadPoolExecutor, backup: ThreadPoolExecutor
    ) -> _Begun:
        self._publish(CaseStarted(case.case_id, self.number))
        self._case = (case.case_id, time.monotonic())
        deadline = Deadline.after(self._options.timeout_s, f"case {case.case_id} to end")
        played = primary.submit(bench.play, case.workload.steps, deadline, backup)
        return _Begun(case, blank_result(case), played)

    def _ended(self, begun: _Begun, following: _Begun | None) -> CaseResult:
        """What a case has come to, while the ``following`` one may be under way."""
        self._next = following
        try:
            observed = begun.observed(following is None)
        except HostLostError:
            raise
        except (InfraError, ProtocolError) as error:
            result = self._broken(begun.blank, error)
            if following is not None:
                result = _not_alone(result, following.case)
        else:
            result = self._judged(begun.blank, begun.case, observed)
        finally:
            self._next = None
            if following is None:
                self._case = None
        return replace(result, elapsed_s=time.perf_counter() - begun.since_s)

    def _stop_next(self) -> None:
        """Wait for what has begun. Only what the kernels reported of it is kept."""
        begun, self._next = self._next, None
        if begun is None:
            return
        try:
            observed = begun.observed(True)
        except (InfraError, ProtocolError) as error:
            result = self._broken(begun.blank, error)
        else:
            if not any(observed.evidence.console.values()):
                return
            result = self._judged(begun.blank, begun.case, observed)
        if result.verdict is not None:
            elapsed_s = time.perf_counter() - begun.since_s
            self._kept = replace(result, elapsed_s=elapsed_s)


def _not_alone(result: CaseResult, following: Case) -> CaseResult:
    """A guest broke while two cases were under way: which of them did it is not known."""
    text = f"; case {following.case_id} had begun on the primary"
    checks = tuple(replace(check, message=check.message + text) for check in result.checks)
    error = result.infra_error
    return replace(result, checks=checks, infra_error=error if error is None else error + text)
