# SPDX-License-Identifier: Apache-2.0
"""Workloads made smaller by the generator's rules: every one of them can be executed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ace_workloads.jlang import JlangError, parse_run_section
from ace_workloads.ops import Verb
from ace_workloads.registry import load_suite
from ace_workloads.suite import Suite
from ace_workloads.written import parse_written, skeleton_of
from harness.minimize.candidate import MOVES, Candidate, keep, simpler
from harness.minimize.search import Search
from harness.oracle.model import execute

SUITES = [load_suite(name) for name in ("ace-seq2", "ace-seq2-nested", "paper-seq3-data")]


def candidate_of(suite: Suite, index: int) -> Candidate:
    return Candidate.of(suite.workload(index), suite.bounds.append_bytes)


@st.composite
def candidates(draw: st.DrawFn) -> Candidate:
    suite = draw(st.sampled_from(SUITES))
    (workload,) = suite.sample(1, draw(st.integers(0, 10**6)))
    return Candidate.of(workload, suite.bounds.append_bytes)


@given(candidates())
@settings(max_examples=60, deadline=None)
def test_everything_smaller_is_smaller_and_can_be_executed(start: Candidate) -> None:
    seen = [kept for at in range(start.parts) if (kept := keep(start, [at])) is not None]
    for each in [*simpler(start), *seen]:
        assert each.measure < start.measure
        assert execute(each.workload.steps).errors == {}
        last = [step for step in each.workload.steps if step.verb is Verb.CHECKPOINT][-1:]
        assert [step.last for step in last] == [True], "it ends with something promised"


@given(candidates(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_a_search_among_them_ends(start: Candidate, random: object) -> None:
    search = Search(start, MOVES, 2000)
    while search.ask() is not None:
        search.tell(random.random() < 0.4)  # type: ignore[attr-defined]
    assert search.complete


def test_a_workload_is_what_the_suite_makes_of_it() -> None:
    for suite in SUITES:
        for workload in suite.sample(20, 5):
            made = Candidate.of(workload, suite.bounds.append_bytes)
            assert made.workload.canonical_text == workload.canonical_text
            assert made.workload.skeleton == workload.skeleton


def smallest(start: Candidate, verb: Verb) -> Candidate:
    """The smallest workload in which ``verb`` is persisted by an fsync."""
    search = Search(start, MOVES, 2000)
    while (asked := search.ask()) is not None:
        verbs = [step.verb for step in asked.workload.steps]
        search.tell(verb in verbs and Verb.FSYNC in verbs[verbs.index(verb) :])
    assert search.complete
    return search.best


def test_only_what_is_needed_is_left() -> None:
    suite = load_suite("ace-seq2-nested")
    start = next(
        candidate
        for workload in suite.sample(3000, 1)
        if workload.skeleton == "rename,write"
        and (candidate := Candidate.of(workload, 32768)).persists[1].verb is Verb.FSYNC
        and candidate.ops[1].path == "A/C/foo"
    )
    assert smallest(start, Verb.WRITE).lines() == ("write foo append; fsync foo",)
    assert smallest(start, Verb.WRITE).append_bytes == 4096
    (line,) = smallest(start, Verb.RENAME).lines()
    assert line in ("rename foo bar; fsync foo", "rename bar foo; fsync foo")


def test_what_persists_a_later_op_is_kept_for_the_earlier_one() -> None:
    suite = load_suite("smoke")
    creat_rename = candidate_of(suite, 13)
    kept = keep(creat_rename, [0])
    assert kept is not None
    assert kept.lines() == ("creat A/foo; sync",)
    assert keep(creat_rename, []) is None


# -- written workloads ----------------------------------------------------------------------


def test_a_written_workload_says_what_it_is() -> None:
    made = candidate_of(load_suite("smoke"), 4).workload
    again = parse_written(made.jlang())
    assert again == made
    assert again.skeleton == "write,write"
    assert again.id.startswith("written/")


@pytest.mark.parametrize(
    ("text", "skeleton"),
    [
        ("open foo O_RDWR|O_CREAT 0777\nwrite foo 0 1\nfsync foo\ncheckpoint 1\n", "write"),
        ("mkdir A 0777\nopen Afoo O_RDWR|O_CREAT 0777\nfsync Afoo\ncheckpoint 1\n", "creat"),
        ("mkdir A 0777\nsync\ncheckpoint 1\n", "mkdir"),
        ("sync\ncheckpoint 1\n", "none"),
        ("# core nonsense\n# run\nsync\ncheckpoint 1\n", "none"),
    ],
)
def test_the_skeleton_of_a_text(text: str, skeleton: str) -> None:
    assert parse_written(text).skeleton == skeleton
    assert skeleton_of(parse_run_section(text)) == skeleton


@pytest.mark.parametrize("text", ["", "sync\n", "frobnicate foo\ncheckpoint 1\n"])
def test_what_is_no_workload(text: str) -> None:
    with pytest.raises(JlangError):
        parse_written(text)
    with pytest.raises(JlangError, match="9999"):
        parse_written("sync\n" * 9999 + "checkpoint 1\n")
