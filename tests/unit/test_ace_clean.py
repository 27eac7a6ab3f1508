# SPDX-License-Identifier: Apache-2.0
"""Clean mode: exhaustive, free of repetition, and sound step by step."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ace_workloads.bounds import Bounds
from ace_workloads.errors import SuiteError
from ace_workloads.listing import parse_entry
from ace_workloads.ops import Mode, OpKind, Verb
from ace_workloads.registry import load_suite
from ace_workloads.space import Space
from ace_workloads.suite import Listed, Suite
from ace_workloads.suite_file import parse_suite
from ace_workloads.walk import Walker

# Bounds chosen for repetition: implied mkdir and creat at every depth, fdatasync as both kinds of
# op, and extents that mean the same bytes of a short file.
REPETITIVE = (
    """
    name = "implied"
    length = 3
    ops = ["creat", "mkdir", "unlink"]
    first_files = ["A/foo", "A/C/foo"]
    second_files = []
    first_dirs = ["A", "A/C"]
    second_dirs = []
    persist = ["fsync"]
    reach = "used"
    """,
    """
    name = "synced"
    length = 2
    ops = ["creat", "write", "truncate", "fdatasync", "mkdir"]
    persist = ["fsync", "fdatasync"]
    """,
    """
    name = "tails"
    length = 3
    ops = ["truncate", "write", "falloc", "dwrite"]
    first_files = ["foo"]
    second_files = []
    truncate = ["unaligned"]
    write = ["overlap_unaligned_start", "overlap_unaligned_end"]
    falloc = ["overlap_unaligned_start", "overlap_unaligned_end"]
    dwrite = ["overlap_start", "overlap_end", "overlap_aligned", "overlap_unaligned"]
    falloc_modes = ["0"]
    reach = "used"
    """,
)


def suite_of(text: str) -> Suite:
    described = parse_suite(text, Mode.CLEAN, source="test")
    space = Space(described.bounds, Mode.CLEAN)
    return Suite(described.name, "", Mode.CLEAN, described.bounds, space)


def every_text(suite: Suite) -> Iterator[str]:
    """The text of each address, of those that stay empty too."""
    walker = Walker(suite.start_model())
    return (walker.finished(ops, persists).text for _, ops, persists in suite.addresses.walk())


@pytest.mark.parametrize("text", REPETITIVE)
def test_no_text_comes_twice_and_none_is_lost(text: str) -> None:
    suite = suite_of(text)
    texts = list(suite.texts())
    assert len(texts) < suite.addresses.size(), "bounds that repeat nothing prove nothing"
    assert len(set(texts)) == len(texts)
    assert set(texts) == set(every_text(suite))


@pytest.mark.parametrize("name", ["ace-seq1", "ace-seq1-nested", "paper-seq1"])
def test_shipped_suites_repeat_and_lose_nothing(name: str) -> None:
    suite = load_suite(name)
    texts = set(suite.texts())
    assert len(texts) == suite.count()
    assert texts == set(every_text(suite))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ace-seq2", "ace-seq2-nested", "paper-seq2", "paper-seq3-data"])
def test_large_suites_repeat_nothing(name: str) -> None:
    suite = load_suite(name)
    texts = {hash(text) for text in suite.texts()}
    assert len(texts) == suite.count()
    assert texts == {hash(text) for text in every_text(suite)}


def test_the_earliest_address_stands_for_a_text() -> None:
    suite = suite_of(REPETITIVE[0])
    first: dict[str, int] = {}
    for index, text in enumerate(every_text(suite), 1):
        first.setdefault(text, index)
    taken = [workload.index for workload in suite]
    assert taken == list(first.values())
    empty = next(index for index in range(1, suite.addresses.size()) if index not in first.values())
    with pytest.raises(SuiteError, match="would repeat an earlier one"):
        suite.workload(empty)


def carried_out(*lines: str) -> list[str]:
    """Steps of the clean workload that ``lines`` describe."""
    entry = parse_entry(lines)
    bounds = Bounds(length=len(entry[0]))
    suite = Suite("own", "", Mode.CLEAN, bounds, Listed((entry,)))
    return suite.workload(1).canonical_text.splitlines()


def test_names_are_those_of_the_bounds_when_not_nested() -> None:  # quirk Q1
    steps = [step for workload in load_suite("ace-seq1") for step in workload.steps]
    paths = {path for step in steps for path in (step.path, step.path2)}
    assert paths == {"", "A", "B", "foo", "bar", "A/foo", "A/bar"}


def test_reuse_is_about_names() -> None:  # quirk Q2
    space = load_suite("ace-seq3").addresses
    assert isinstance(space, Space)
    kept = [
        [op.path for op in ops]
        for ops in space.combinations((OpKind.CREAT, OpKind.WRITE, OpKind.WRITE))
    ]
    assert ["foo", "foo", "foo"] in kept
    assert ["A/foo", "A/foo", "A/foo"] in kept
    assert all(len(set(paths)) == 1 for paths in kept)


def test_an_op_that_persists_itself_gets_no_persistence_op() -> None:  # quirk Q3
    found = [w for w in load_suite("ace-seq1") if w.skeleton == "mmapwrite"]
    assert len(found) == 4
    for workload in found:
        assert [step.verb for step in workload.steps[-3:]] == ["mmapwrite", "checkpoint", "close"]


def test_a_name_out_of_bounds_is_made_before_its_fsync() -> None:  # quirk Q4
    assert carried_out("creat foo", "fsync A/C/foo")[:5] == [
        "open foo O_RDWR|O_CREAT 0777",
        "mkdir A 0777",
        "mkdir AC 0777",
        "open ACfoo O_RDWR|O_CREAT 0777",
        "fsync ACfoo",
    ]


def test_mmapwrite_appends_to_the_file_as_it_is() -> None:  # quirk Q5
    assert carried_out("mmapwrite foo append") == [
        "open foo O_RDWR|O_CREAT 0777",
        "mmapwrite foo 0 32768",
        "checkpoint 1",
        "close foo",
    ]


def test_a_file_cut_to_nothing_gets_data_again() -> None:  # quirk Q6
    assert carried_out("truncate foo aligned", "none", "write foo overlap_extend", "sync")[4:6] == [
        "write foo 0 32768",
        "write foo 30768 5000",
    ]


@pytest.mark.parametrize(
    ("script", "step"),
    [
        ("truncate foo unaligned; none; write foo append", "write foo 2500 32768"),
        ("truncate foo unaligned; none; write foo overlap_extend", "write foo 500 5000"),
        ("write foo overlap_extend; none; write foo append", "write foo 35768 32768"),
        # quirk Q8: only an allocation that grows the file counts
        ("falloc foo FALLOC_FL_KEEP_SIZE append; none; write foo append", "write foo 32768 32768"),
        ("falloc foo 0 append; none; write foo append", "write foo 65536 32768"),
        # direct and mapped writes start at a page
        ("truncate foo unaligned; none; dwrite foo append", "dwrite foo 4096 32768"),
        ("truncate foo unaligned; none; dwrite foo overlap_end", "dwrite foo 0 4096"),
        ("write foo overlap_extend; none; dwrite foo overlap_end", "dwrite foo 24576 12288"),
        ("truncate foo unaligned; none; mmapwrite foo append", "mmapwrite foo 4096 32768"),
        # the size is the inode's, not the name's
        ("write foo append; none; unlink foo; none; write foo append", "write foo 0 32768"),
        ("write foo append; none; rename foo bar; none; write bar append", "write bar 32768 32768"),
        ("write foo append; none; link foo bar; none; write bar append", "write bar 32768 32768"),
    ],
)
def test_writes_start_from_the_real_size(script: str, step: str) -> None:  # quirk Q7
    lines = script.split("; ")
    text = carried_out(*lines, *([] if lines[-1].startswith("mmapwrite") else ["sync"]))
    writes = [line for line in text if line.startswith(("write", "dwrite", "mmapwrite"))]
    assert writes[-1] == step


def test_a_name_is_closed_before_it_goes() -> None:  # quirk Q9
    assert carried_out("creat A/foo", "fsync A", "mkdir A", "sync")[4:] == [
        "checkpoint 0",
        "close Afoo",
        "unlink Afoo",
        "close A",
        "rmdir A",
        "mkdir A 0777",
        "sync",
        "checkpoint 1",
    ]
    assert carried_out("creat foo", "none", "creat foo", "sync")[2:4] == ["close foo", "unlink foo"]


def test_no_directory_moves_into_itself() -> None:  # quirk Q10
    renames = [w.core[0] for w in load_suite("ace-seq1-nested") if w.skeleton == "rename"]
    pairs = [(op.path, op.path2) for op in renames if op.path in ("A", "B", "A/C")]
    assert list(dict.fromkeys(pairs)) == [("A", "B"), ("B", "A/C"), ("A/C", "B")]


def test_children_move_with_their_directory() -> None:  # quirk Q11
    assert carried_out("creat A/C/foo", "none", "rename A B", "fsync A/C/foo")[4:] == [
        "close ACfoo",
        "rename A B",
        "mkdir A 0777",
        "mkdir AC 0777",
        "open ACfoo O_RDWR|O_CREAT 0777",
        "fsync ACfoo",
        "checkpoint 1",
        "close ACfoo",
    ]


def test_a_directory_is_emptied_before_another_takes_its_place() -> None:  # quirk Q11
    lines = ("creat A/C/foo", "none", "rename A B", "none", "rename A B", "sync")
    assert carried_out(*lines)[7:] == [
        "mkdir A 0777",
        "unlink BCfoo",
        "rmdir BC",
        "rename A B",
        "sync",
        "checkpoint 1",
    ]


def test_a_rename_between_links_keeps_both_names() -> None:  # quirk Q12
    lines = ("link foo bar", "none", "rename foo bar", "none", "creat foo", "sync")
    assert carried_out(*lines)[5:8] == ["none", "unlink foo", "open foo O_RDWR|O_CREAT 0777"]


def test_remove_is_left_to_unlink() -> None:  # quirk Q13
    skeletons = {workload.skeleton for workload in load_suite("ace-seq1")}
    assert "unlink" in skeletons
    assert "remove" not in skeletons


def test_remove_stays_where_there_is_no_unlink() -> None:
    suite = suite_of('name = "own"\nlength = 1\nops = ["remove"]')
    assert {workload.skeleton for workload in suite} == {"remove"}


def test_a_device_gives_way_to_a_file_that_can_be_fsynced() -> None:
    assert carried_out("mknod foo", "fsync foo")[:3] == [
        "mknod foo 0777",
        "unlink foo",
        "open foo O_RDWR|O_CREAT 0777",
    ]


def test_fsync_follows_a_symlink_that_leads_somewhere_only() -> None:
    assert carried_out("symlink foo bar", "fsync bar")[1:4] == [
        "symlink foo bar",
        "open bar O_RDWR|O_CREAT 0777",
        "fsync bar",
    ]
    assert "unlink Abar" in carried_out("symlink foo A/bar", "fsync A/bar")


def test_every_workload_ends_with_the_only_last_checkpoint() -> None:
    for workload in load_suite("ace-seq2").sample(500, seed=1):
        assert workload.persist[-1].verb is not Verb.NONE
        marks = [step.last for step in workload.steps if step.verb is Verb.CHECKPOINT]
        assert marks == [False] * (len(marks) - 1) + [True]
