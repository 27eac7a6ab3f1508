# SPDX-License-Identifier: Apache-2.0
"""Delta debugging as a dialogue: the search says what to try, and is told what came of it.

First ddmin (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002) over
the parts a candidate consists of, then every single step towards something simpler, until none of
them fails any more. What is accepted is always smaller than what was before: the search ends.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, Protocol, TypeVar


class Reducible(Protocol):
    """What can be made smaller."""

    @property
    def parts(self) -> int:
        """How many parts there are to leave out."""

    @property
    def measure(self) -> tuple[int, ...]:
        """How large it is: compared in order, each number at least 0."""

    @property
    def key(self) -> Hashable:
        """Equal for candidates that do the same."""


C = TypeVar("C", bound=Reducible)


@dataclass(frozen=True, slots=True)
class Moves(Generic[C]):
    """How candidates come about; what they return can be run."""

    keep: Callable[[C, Sequence[int]], C | None]
    """With these of its parts only, in order; None where that makes no sense."""
    simpler: Callable[[C], Iterable[C]]
    """Everything one step simpler with the same parts, the most promising first."""


class Search(Generic[C]):
    """The state of a search; ``best`` is at any moment the smallest that was seen to fail.

    ``ask`` and ``tell`` alternate. ``start`` is taken to fail and is not asked about.
    """

    def __init__(self, start: C, moves: Moves[C], most: int) -> None:
        """At most ``most`` candidates are asked about."""
        self.best = start
        self.asked = 0
        """Candidates that had to be tried, and were."""
        self.known = 0
        """Candidates whose answer was known already."""
        self.complete = False
        """Whether nothing simpler is left to try: ``best`` is minimal."""
        self._moves = moves
        self._most = most
        self._answers: dict[Hashable, bool] = {start.key: True}
        self._pending: C | None = None
        self._dialogue = self._search()
        self._next: C | None = None
        self._advance(None)

    @property
    def exhausted(self) -> bool:
        """Whether it ended because no more candidates may be tried."""
        return self._next is None and not self.complete

    def ask(self) -> C | None:
        """The next candidate to try, or None when the search is over."""
        return self._next

    def tell(self, fails: bool) -> None:
        """What came of the candidate asked about."""
        if self._next is None:
            raise ValueError("nothing was asked")
        self._answers[self._next.key] = fails
        self._advance(fails)

    def _advance(self, answer: bool | None) -> None:
        try:
            if answer is None:
                self._next = next(self._dialogue)
            else:
                self._next = self._dialogue.send(answer)
        except StopIteration:
            self._next = None

    def _search(self) -> Generator[C, bool, None]:
        try:
            while (yield from self._round()):
                pass
        except _EnoughError:
            return
        self.complete = True

    def _round(self) -> Generator[C, bool, bool]:
        """One pass over all there is to try; whether anything was gained by it."""
        before = self.best
        yield from self._fewer_parts()
        while (yield from self._one_step()):
            pass
        return self.best is not before

    def _fewer_parts(self) -> Generator[C, bool, None]:
        """ddmin: leave out ever smaller pieces; at the end no single part can be left out."""
        pieces = 2
        while self.best.parts > 1:
            whole = self.best
            pieces = min(pieces, whole.parts)
            for chosen in _complements(whole.parts, pieces):
                smaller = self._moves.keep(whole, chosen)
                if (yield from self._accept(smaller)):
                    pieces = max(2, pieces - 1)
                    break
            else:
                if pieces == whole.parts:
                    return
                pieces *= 2

    def _one_step(self) -> Generator[C, bool, bool]:
        for simpler in self._moves.simpler(self.best):
            if (yield from self._accept(simpler)):
                return True
        return False

    def _accept(self, candidate: C | None) -> Generator[C, bool, bool]:
        """Make ``candidate`` the best there is, if it is smaller and fails."""
        if candidate is None or not candidate.measure < self.best.measure:
            return False
        known = self._answers.get(candidate.key)
        if known is None:
            if self.asked == self._most:
                raise _EnoughError
            known = yield candidate
            self.asked += 1
        else:
            self.known += 1
        if known:
            self.best = candidate
        return known


class _EnoughError(Exception):
    """No more candidates may be tried."""


def _complements(parts: int, pieces: int) -> Iterable[tuple[int, ...]]:
    """Numbers 0 to ``parts`` without one of ``pieces`` pieces of about equal length each."""
    cuts = [parts * number // pieces for number in range(pieces + 1)]
    for start, end in pairwise(cuts):
        yield (*range(start), *range(end, parts))
