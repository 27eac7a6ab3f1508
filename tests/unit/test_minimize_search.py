# SPDX-License-Identifier: Apache-2.0
"""The search for something smaller, with predicates made up: it ends, and what it finds holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.minimize.search import Moves, Search

MOST = 100_000


@dataclass(frozen=True)
class Numbers:
    """Stands for a workload: its ops are numbers, and the simplest op is 0."""

    values: tuple[int, ...]

    @property
    def parts(self) -> int:
        return len(self.values)

    @property
    def measure(self) -> tuple[int, ...]:
        return len(self.values), sum(self.values)

    @property
    def key(self) -> tuple[int, ...]:
        return self.values


def keep(whole: Numbers, chosen: Sequence[int]) -> Numbers | None:
    return Numbers(tuple(whole.values[at] for at in chosen)) if chosen else None


def simpler(whole: Numbers) -> Iterator[Numbers]:
    for at, value in enumerate(whole.values):
        for less in sorted({0, value // 2, value - 1}):
            if 0 <= less < value:
                yield Numbers((*whole.values[:at], less, *whole.values[at + 1 :]))


MOVES = Moves(keep, simpler)
Fails = Callable[[Numbers], bool]


def minimized(
    start: Numbers, fails: Fails, most: int = MOST
) -> tuple[Search[Numbers], list[Numbers]]:
    search = Search(start, MOVES, most)
    asked: list[Numbers] = []
    while (candidate := search.ask()) is not None:
        asked.append(candidate)
        search.tell(fails(candidate))
    return search, asked


def neighbours(whole: Numbers) -> Iterator[Numbers]:
    """Everything one step smaller."""
    for left_out in range(whole.parts):
        kept = keep(whole, [at for at in range(whole.parts) if at != left_out])
        if kept is not None:
            yield kept
    yield from simpler(whole)


STARTS = st.lists(st.integers(0, 40), min_size=1, max_size=9).map(lambda v: Numbers(tuple(v)))


@st.composite
def questions(draw: st.DrawFn) -> tuple[Numbers, Fails]:
    """A start that fails, and a predicate: some numbers have to be there, at least so large."""
    start = draw(STARTS)
    chosen = draw(st.sets(st.sampled_from(range(start.parts)), max_size=3))
    least = sorted(draw(st.integers(0, start.values[at])) for at in chosen)

    def fails(candidate: Numbers) -> bool:
        left = sorted(candidate.values, reverse=True)
        return len(left) >= len(least) and all(
            have >= want for have, want in zip(left, reversed(least), strict=False)
        )

    return start, fails


@given(questions())
@settings(max_examples=200, deadline=None)
def test_it_ends_with_something_minimal_that_fails(question: tuple[Numbers, Fails]) -> None:
    start, fails = question
    assert fails(start)
    search, _ = minimized(start, fails)
    assert search.complete
    assert fails(search.best)
    assert not any(fails(smaller) for smaller in neighbours(search.best))


@given(STARTS, st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_it_ends_whatever_it_is_told(start: Numbers, random: object) -> None:
    """Answers that have nothing to do with the question, such as those of a flaky case."""
    told: dict[Numbers, bool] = {}

    def fails(candidate: Numbers) -> bool:
        return told.setdefault(candidate, random.random() < 0.4)  # type: ignore[attr-defined]

    search, asked = minimized(start, fails)
    assert search.complete
    assert search.best == start or told[search.best]
    assert all(told.get(smaller) is False for smaller in neighbours(search.best)), "all was tried"
    assert len(asked) == len(set(asked)) == search.asked


@given(questions())
@settings(max_examples=50, deadline=None)
def test_it_does_the_same_again(question: tuple[Numbers, Fails]) -> None:
    start, fails = question
    assert minimized(start, fails)[1] == minimized(start, fails)[1]


@given(questions(), st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_so_many_candidates_and_no_more(question: tuple[Numbers, Fails], most: int) -> None:
    start, fails = question
    search, asked = minimized(start, fails, most)
    assert len(asked) <= most
    assert search.exhausted is not search.complete
    assert fails(search.best)
    if search.exhausted:
        assert len(asked) == most
        assert search.best.measure <= start.measure


def test_what_matters_is_found_in_few_steps() -> None:
    """Two ops out of sixteen: ddmin leaves out halves, not one by one."""
    start = Numbers((0,) * 5 + (1,) + (0,) * 7 + (1,) + (0,) * 2)
    search, asked = minimized(start, lambda candidate: sum(candidate.values) == 2)
    assert search.best == Numbers((1, 1))
    assert len(asked) < 40


def test_nothing_larger_is_ever_asked_about() -> None:
    def growing(whole: Numbers) -> Iterator[Numbers]:
        yield Numbers((*whole.values, 7))
        yield whole

    search = Search(Numbers((1,)), Moves(keep, growing), MOST)
    assert search.ask() is None
    assert search.complete


def test_an_answer_nobody_asked_for() -> None:
    search = Search(Numbers((0,)), MOVES, MOST)
    assert search.ask() is None
    with pytest.raises(ValueError, match="nothing was asked"):
        search.tell(True)
