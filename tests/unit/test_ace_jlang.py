# SPDX-License-Identifier: Apache-2.0
"""J-lang: read, written, and read again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ace_workloads.jlang import (
    DEFINED_NAMES,
    JlangError,
    document,
    format_step,
    parse_run_section,
    run_section,
)
from ace_workloads.names import from_jlang, is_known, parent, sibling, to_jlang
from ace_workloads.ops import Step, Verb

names = st.sampled_from([*DEFINED_NAMES, "B/C", "B/C/foo", "A/C/C"])
numbers = st.integers(min_value=-(2**40), max_value=2**40)
modes = st.integers(min_value=0, max_value=0o7777)
steps = st.one_of(
    st.builds(Step, st.sampled_from([Verb.CLOSE, Verb.RMDIR, Verb.UNLINK, Verb.FSYNC]), names),
    st.builds(Step, st.sampled_from([Verb.LINK, Verb.RENAME, Verb.SYMLINK]), names, names),
    st.builds(Step, st.sampled_from([Verb.MKDIR, Verb.OPENDIR, Verb.MKNOD]), names, mode=modes),
    st.builds(
        Step,
        st.sampled_from([Verb.WRITE, Verb.DWRITE, Verb.MMAPWRITE]),
        names,
        offset=numbers,
        length=numbers,
    ),
    st.builds(Step, st.just(Verb.OPEN), names, mode=modes, flags=st.just("O_RDWR|O_CREAT")),
    st.builds(Step, st.just(Verb.TRUNCATE), names, length=numbers),
    st.builds(
        Step,
        st.just(Verb.FALLOC),
        names,
        offset=numbers,
        length=numbers,
        flags=st.sampled_from(["0", "FALLOC_FL_ZERO_RANGE|FALLOC_FL_KEEP_SIZE"]),
    ),
    st.builds(Step, st.sampled_from([Verb.SYNC, Verb.NONE])),
    st.builds(Step, st.just(Verb.CHECKPOINT), last=st.booleans()),
)


@given(st.lists(steps))
def test_steps_survive_writing_and_reading(script: list[Step]) -> None:
    assert parse_run_section(run_section(script)) == tuple(script)
    assert parse_run_section(document(script)) == tuple(script)


@pytest.mark.parametrize(
    ("step", "line"),
    [
        (
            Step(Verb.OPEN, "A/foo", mode=0o777, flags="O_RDWR|O_CREAT"),
            "open Afoo O_RDWR|O_CREAT 0777",
        ),
        (Step(Verb.OPENDIR, "", mode=0o777), "opendir test 0777"),
        (Step(Verb.LINK, "foo", "A/C/bar"), "link foo ACbar"),
        (Step(Verb.FALLOC, "foo", flags="0", offset=5, length=7), "falloc foo 0 5 7"),
        (Step(Verb.WRITE, "foo", offset=-2000, length=5000), "write foo -2000 5000"),
        (Step(Verb.TRUNCATE, "foo", length=2500), "truncate foo 2500"),
        (Step(Verb.CHECKPOINT, last=True), "checkpoint 1"),
        (Step(Verb.FSYNC, "A/C"), "fsync AC"),
        (Step(Verb.NONE), "none"),
    ],
)
def test_lines_read_as_the_original_writes_them(step: Step, line: str) -> None:
    assert format_step(step) == line
    assert parse_run_section(line) == (step,)


@pytest.mark.parametrize(
    "line",
    [
        "frobnicate foo",
        "fsync",
        "fsync foo bar",
        "fsync baz",
        "fsync A/foo",
        "open foo O_RDWR 0999",
        "write foo one 2",
        "checkpoint 2",
        "sync now",
    ],
)
def test_other_lines_are_refused_with_their_number(line: str) -> None:
    with pytest.raises(JlangError, match="line 2"):
        parse_run_section(f"sync\n{line}\n")


def test_the_header_is_the_constant_107_bytes_of_the_original() -> None:
    header, run = document([Step(Verb.SYNC)]).split("\n\n# run\n")
    assert len(header) == 107
    assert header.startswith("# define\ntest\nA\nA/C\nB\nfoo\n")
    assert header.endswith("# setup\n")
    assert run == "sync\n"


def test_the_header_names_what_only_a_directory_rename_can_make() -> None:
    assert "\nA/C/bar\nB/C\n\n# declare" in document([Step(Verb.RMDIR, "B/C")])


@given(names)
def test_names_survive_their_spelling(path: str) -> None:
    assert from_jlang(to_jlang(path)) == path
    assert is_known(path)


@pytest.mark.parametrize("path", ["C", "C/foo", "A/B", "A/", "/foo", "foo/bar", "baz", "A/foofoo"])
def test_other_paths_are_no_names(path: str) -> None:
    assert not is_known(path)


def test_relations_of_names() -> None:
    siblings = {"foo": "bar", "A/bar": "A/foo", "A/C/foo": "A/C/bar", "A": "B", "A/C": "A/C"}
    assert {name: sibling(name) for name in siblings} == siblings
    parents = {"foo": "", "A/bar": "A", "A/C/foo": "A/C", "A/C": "A", "": ""}
    assert {name: parent(name) for name in parents} == parents
