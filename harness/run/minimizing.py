# SPDX-License-Identifier: Apache-2.0
"""The cases of ``harness minimize``: which comes next depends on what came of the one before.

First the case itself, so many times as asked for: it has to fail, and how often it does decides how
often a candidate is given the chance to. Then the candidates of the search, and at the end the
smallest one again, so that the report can say how often that fails.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator
from dataclasses import dataclass

from ace_workloads.written import WrittenWorkload
from harness.errors import InfraError
from harness.events import CaseEnded, Event
from harness.findings import Signature, signature
from harness.minimize.candidate import MOVES, Candidate
from harness.minimize.search import Search
from harness.model.case import CaseId, CaseResult, Outcome
from harness.run.plan import Case

SUITE = "minimize"
MOST_TRIES = 10
_MISSED = 0.05
"""How likely a candidate that fails as often as the case may be taken for one that does not."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a case fails: what has to stay as it is while the workload shrinks."""

    outcome: Outcome
    persistence: str
    violation: str
    object: str

    @classmethod
    def of(cls, result: CaseResult) -> Way | None:
        """None for a result that is no finding."""
        sign = signature(result) if result.outcome.is_finding else None
        return None if sign is None else cls.by(result.outcome, sign)

    @classmethod
    def by(cls, outcome: Outcome, sign: Signature) -> Way:
        """The skeleton is what may change."""
        return cls(outcome, sign.persistence, sign.violation, sign.object)

    def __str__(self) -> str:
        return f"{self.outcome}, {self.violation} of {self.object} after {self.persistence}"


@dataclass(frozen=True, slots=True)
class Rate:
    """How often one workload failed the same way."""

    fails: int
    runs: int

    def __str__(self) -> str:
        return f"{self.fails} of {self.runs} runs"


@dataclass(slots=True)
class Progress:
    """What is known so far; filled in while cases end."""

    original: Rate = Rate(0, 0)
    way: Way | None = None
    """None: the case did not fail."""
    tries: int = 1
    """Runs that a candidate is given to fail."""
    example: CaseResult | None = None
    """A failed run of the smallest candidate so far."""
    minimal: Rate | None = None
    """Of the smallest candidate, run again at the end."""
    runs: int = 0
    unjudged: int = 0
    """Runs without a verdict; such a candidate counts as one that does not fail."""
    others: int = 0
    """Runs that failed in another way."""


Told = Callable[[str, CaseResult], None]
"""Called after each run: what it was ("candidate 3: ..."), and what came of it."""
_Play = Generator[Candidate, CaseResult, None]


class MinimizePlan:
    """A plan that hears what comes of its cases; for one pair of guests."""

    name = SUITE

    def __init__(
        self,
        start: Candidate,
        fs: str,
        target: str,
        *,
        tries: int,
        most: int,
        told: Told = lambda what, result: None,
    ) -> None:
        """Run ``start`` ``tries`` times, then at most ``most`` candidates."""
        self.progress = Progress()
        self.search = Search(start, MOVES, most)
        self._fs = fs
        self._target = target
        self._tries = tries
        self._told = told
        self._play = self._script(start)
        self._answer: CaseResult | None = None
        self._what = ""

    @property
    def planned(self) -> int:
        """Cases taken so far."""
        return self.progress.runs

    @property
    def best(self) -> WrittenWorkload:
        """The smallest workload that was seen to fail."""
        return self.search.best.workload

    def take(self) -> Case | None:
        try:
            if not self.progress.runs:
                candidate = next(self._play)
            else:
                candidate = self._play.send(self._heard())
        except StopIteration:
            return None
        self.progress.runs += 1
        workload = candidate.workload
        return Case(CaseId(workload.id, self._fs, self._target), workload)

    def finish(self) -> None:
        """Learn from the last case, if the run ended before another one was asked for."""
        if self._answer is not None:
            with contextlib.suppress(StopIteration, InfraError):
                self._play.send(self._heard())

    def hear(self, event: Event) -> None:
        """To be subscribed to the events of the run."""
        if isinstance(event, CaseEnded):
            self._answer = event.result
            self.progress.unjudged += event.result.verdict is None
            self._told(self._what, event.result)

    def _heard(self) -> CaseResult:
        answer, self._answer = self._answer, None
        if answer is None:
            raise RuntimeError("the next case was asked for before the last one had ended")
        return answer

    def _script(self, start: Candidate) -> _Play:
        yield from self._original(start)
        if self.progress.way is None:
            return
        while (candidate := self.search.ask()) is not None:
            fails = yield from self._fails(candidate, self.search.asked + 1)
            self.search.tell(fails)
        minimal = yield from self._again(self.search.best)
        self.progress.minimal = minimal

    def _original(self, start: Candidate) -> _Play:
        fails = 0
        unjudged = None
        for number in range(1, self._tries + 1):
            self._what = f"the case, run {number} of {self._tries}"
            result = yield start
            way = Way.of(result)
            unjudged = unjudged or result.infra_error
            if self.progress.way is None and way is not None:
                self.progress.way = way
                self.progress.example = result
            fails += self._same(result)
            self.progress.original = Rate(fails, number)
        if self.progress.way is None and unjudged is not None:
            raise InfraError(f"the case came to no verdict: {unjudged}")
        self.progress.tries = tries_for(self.progress.original)

    def _fails(self, candidate: Candidate, number: int) -> Generator[Candidate, CaseResult, bool]:
        for _ in range(self.progress.tries):
            self._what = f"candidate {number}: {' | '.join(candidate.lines())}"
            result = yield candidate
            if self._same(result):
                self.progress.example = result
                return True
        return False

    def _again(self, candidate: Candidate) -> Generator[Candidate, CaseResult, Rate]:
        fails = 0
        for number in range(1, self._tries + 1):
            self._what = f"the smallest one again, run {number} of {self._tries}"
            result = yield candidate
            fails += self._same(result)
        return Rate(fails, self._tries)

    def _same(self, result: CaseResult) -> bool:
        way = Way.of(result)
        self.progress.others += way is not None and way != self.progress.way
        return way is not None and way == self.progress.way


def tries_for(seen: Rate) -> int:
    """How often a candidate has to be run so that one that fails like ``seen`` is not missed."""
    if not 0 < seen.fails < seen.runs:
        return 1
    passes = 1 - seen.fails / seen.runs
    return min(MOST_TRIES, math.ceil(math.log(_MISSED) / math.log(passes)))
