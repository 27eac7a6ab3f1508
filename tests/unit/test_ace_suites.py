# SPDX-License-Identifier: Apache-2.0
"""Suites: counts, addresses, shards, samples, ids, and files of the user's own."""

from __future__ import annotations

import random
import re
from itertools import chain, islice
from pathlib import Path

import pytest

from ace_workloads.errors import SuiteError
from ace_workloads.listing import describe_op, describe_persist, parse_op, parse_persist
from ace_workloads.ops import Mode, OpKind
from ace_workloads.registry import SUITE_NAMES, load_suite, load_workload
from ace_workloads.suite import shard_of
from ace_workloads.suite_file import parse_suite

ORIGINAL_COUNTS = {
    "ace-seq1": 435,
    "ace-seq1-nested": 587,
    "ace-seq2": 466_382,
    "ace-seq2-nested": 909_362,
    "ace-seq3": 18_654_174,
    "ace-seq3-nested": 40_857_390,
    "paper-seq1": 300,
    "paper-seq2": 254_032,
    "paper-seq3-data": 120_114,
    "paper-seq3-metadata": 1_520_892,
    "paper-seq3-nested": 1_835_640,
}
"""Published generator and paper's scripts: what they write for the same bounds."""

CHEAP = ("smoke", "ace-seq1", "ace-seq1-nested", "paper-seq1")
"""Enumerated within a second; the others at night."""


@pytest.mark.parametrize(
    ("name", "count"),
    [
        pytest.param(*item, marks=pytest.mark.slow if item[0] == "ace-seq3-nested" else ())
        for item in ORIGINAL_COUNTS.items()
    ],
)
def test_original_counts_are_the_published_ones(name: str, count: int) -> None:
    suite = load_suite(name, mode=Mode.ORIGINAL)
    assert suite.enumerated_count() == count
    assert suite.count() == count


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in CHEAP else pytest.mark.slow) for name in SUITE_NAMES],
)
def test_recorded_clean_counts_are_right(name: str) -> None:
    suite = load_suite(name)
    assert suite.count() == suite.enumerated_count()


def test_three_writes_of_one_file_make_as_many_texts_as_the_paper_had() -> None:
    assert load_suite("paper-seq3-data").count() == 97_806


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("name", ["ace-seq1-nested", "paper-seq3-data", "ace-seq3"])
def test_an_address_is_found_without_walking_to_it(name: str, mode: Mode) -> None:
    addresses = load_suite(name, mode=mode).addresses
    for address, ops, persists in islice(addresses.walk(), 0, 30_000, 97):
        assert addresses.locate(address) == (ops, persists)


def test_far_addresses_are_in_order() -> None:
    suite = load_suite("ace-seq3-nested")
    draw = random.Random(1)
    chosen = sorted(draw.sample(range(suite.addresses.size()), 200))
    skeletons = [tuple(op.kind for op in suite.addresses.locate(at)[0]) for at in chosen]
    order = list(OpKind)
    assert skeletons == sorted(skeletons, key=lambda kinds: [order.index(kind) for kind in kinds])
    with pytest.raises(IndexError):
        suite.addresses.locate(suite.addresses.size())


@pytest.mark.parametrize("mode", Mode)
def test_a_workload_by_index_is_the_one_that_iteration_gives(mode: Mode) -> None:
    suite = load_suite("ace-seq2", mode=mode)
    for workload in islice(suite, 0, 5_000, 313):
        assert suite.workload(workload.index) == workload
        assert load_workload(workload.id) == workload


def test_texts_are_those_of_the_workloads() -> None:
    suite = load_suite("ace-seq1-nested")
    assert list(suite.texts((2, 3))) == [w.canonical_text for w in suite.iter((2, 3))]


def test_ids_and_content_do_not_change() -> None:
    """Ids are kept in run records: changing one needs a new suite name."""
    workload = load_suite("ace-seq2").workload(123_456)
    assert workload.id == "ace-seq2/000123456"
    assert [describe_op(op) for op in workload.core] == ["link foo A/bar", "falloc foo 0 append"]
    assert [describe_persist(p) for p in workload.persist] == ["fsync A/bar", "fsync A/foo"]
    assert workload.content_hash == (
        "4b3ba1c8fbe2b006fc0aceecd66869af652d9054a0bbd7df25a40b3484cdf399"
    )
    assert load_suite("ace-seq2", mode=Mode.ORIGINAL).identifier(7) == "ace-seq2@original/000000007"


def test_shards_are_disjoint_and_complete() -> None:
    suite = load_suite("ace-seq1-nested")
    shards = [[workload.id for workload in suite.iter((number, 4))] for number in (1, 2, 3, 4)]
    assert sorted(chain.from_iterable(shards)) == [workload.id for workload in suite]
    assert all(len(shard) > 100 for shard in shards)
    assert all(shard_of(identifier, 4) == 2 for identifier in shards[1])


@pytest.mark.parametrize("shard", [(0, 3), (4, 3), (1, 0)])
def test_impossible_shards_are_refused(shard: tuple[int, int]) -> None:
    with pytest.raises(SuiteError, match="no shard"):
        next(load_suite("ace-seq1").iter(shard))


@pytest.mark.parametrize(("name", "size"), [("ace-seq2", 50), ("ace-seq1", 200), ("ace-seq1", 999)])
def test_a_sample_depends_on_its_seed_alone(name: str, size: int) -> None:
    ids = [workload.id for workload in load_suite(name).sample(size, seed=7)]
    assert ids == [workload.id for workload in load_suite(name).sample(size, seed=7)]
    assert len(set(ids)) == min(size, load_suite(name).count())
    assert ids == sorted(ids)
    if size < load_suite(name).count():
        assert ids != [workload.id for workload in load_suite(name).sample(size, seed=8)]


def test_smoke_has_every_kind_of_op_last_once() -> None:
    suite = load_suite("smoke")
    last = [workload.core[-1].kind for workload in suite]
    kinds = set(list(OpKind)[:13]) - {OpKind.REMOVE}
    assert set(last) == kinds
    assert last.count(OpKind.RENAME) == 2  # a file and a directory
    assert len(last) == len(kinds) + 1


@pytest.mark.parametrize(
    ("identifier", "message"),
    [
        ("ace-seq1", "no workload id"),
        ("ace-seq1@dirty/1", "no workload id"),
        ("ace-seq1/0", "indices go from 1 to 300"),
        ("ace-seq1/301", "indices go from 1 to 300"),
        ("ace-seq9/1", "no suite 'ace-seq9'"),
    ],
)
def test_unknown_ids_are_refused(identifier: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        load_workload(identifier)


OWN = 'name = "own"\nlength = 1\n'


def test_a_file_of_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(OWN + 'ops = ["creat", "fdatasync"]\nfirst_files = ["A/C/foo"]\n')
    suite = load_suite(path)
    assert suite.count() == 4 + 1
    assert load_workload("own/000000001", suite_file=path) == suite.workload(1)
    with pytest.raises(SuiteError, match="which is own"):
        load_workload("other/1", suite_file=path)


def test_a_file_may_list_workloads() -> None:
    text = 'name = "own"\nworkloads = [["creat foo", "none", "mmapwrite foo append"]]\n'
    described = parse_suite(text, Mode.CLEAN, source="own.toml")
    assert [op.kind for op in described.entries[0][0]] == ["creat", "mmapwrite"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("length = 1", "name is missing"),
        ('name = "own"', "length is missing"),
        (OWN + 'length = 2"', "not TOML"),
        ('name = "own"\nlength = 5', "length = 5: expected a number of core ops from 1 to 4"),
        ('name = "own"\nlength = true', "length = True: expected a number"),
        ('name = "No Good"\nlength = 1', "name = 'No Good': expected lower-case"),
        (OWN + "lenght = 2", "lenght = 2: no such key, did you mean length?"),
        (
            OWN + 'ops = ["creat", "fly"]',
            "ops = ['creat', 'fly']: 'fly' is not one of creat",
        ),
        (OWN + 'ops = ["creat", "creat"]', "an element stands twice"),
        (OWN + "ops = []", "ops = []: expected a list"),
        (OWN + 'first_files = ["baz"]', "first_files = ['baz']: 'baz' is not one of foo"),
        (OWN + 'second_files = ["foo"]', "second_files = ['foo']: foo is in both"),
        (OWN + 'reach = "far"', "reach = 'far': expected one of range, used"),
        (OWN + "append_bytes = 1000", "append_bytes = 1000: expected a multiple of 4096"),
        (OWN + 'reuse = "yes"', "reuse = 'yes': expected true or false"),
        (OWN + 'persist = ["msync"]', "persist = ['msync']: 'msync' is not one of fsync"),
        (OWN + 'exclude = ["write,write"]', "write,write does not have 1 ops"),
        (OWN + 'exclude = ["fly"]', "exclude = ['fly']: 'fly' is not a core op"),
        (OWN + "reuse = true\nappend_first = true", "append_first = True: does not go with reuse"),
        (OWN + '[original]\nreach = "far"', "[original]: reach = 'far'"),
        (OWN + "original = 1", "original = 1: expected a table"),
        (OWN + 'workloads = [["sync"]]', "no such core op: 'sync'"),
        ('name = "own"\nworkloads = [["creat foo"]]', "no persistence op after 'creat foo'"),
        ('name = "own"\nworkloads = [["creat foo", "none"]]', "other than none"),
        ('name = "own"\nworkloads = [["write foo up", "sync"]]', "wrong arguments: 'write foo up'"),
        (
            'name = "own"\nreuse = true\nworkloads = [["creat foo", "sync"]]',
            "reuse = True: does not go with workloads",
        ),
        (
            'name = "own"\nworkloads = [["creat foo", "sync"], ["creat foo", "sync"]]',
            "the same workload twice",
        ),
    ],
)
def test_a_bad_file_is_refused_by_key_and_value(text: str, message: str) -> None:
    for mode in Mode:
        with pytest.raises(SuiteError, match=re.escape(message)) as caught:
            parse_suite(text, mode, source="own.toml")
        assert str(caught.value).startswith("own.toml: ")


def test_files_that_cannot_be_a_suite(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"cannot read suite .*gone\.toml"):
        load_suite(tmp_path / "gone.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SuiteError, match="cannot read suite"):
        load_suite(tmp_path / "binary.toml")
    (tmp_path / "taken.toml").write_text('name = "smoke"\nlength = 1\n')
    with pytest.raises(SuiteError, match="name = 'smoke': taken"):
        load_suite(tmp_path / "taken.toml")


def test_ops_survive_being_put_into_words() -> None:
    suite = load_suite("ace-seq1-nested", mode=Mode.ORIGINAL)
    for workload in suite:
        (op,), (persist,) = workload.core, workload.persist
        assert parse_op(describe_op(op)) == op
        if not op.kind.persists_itself:
            assert parse_persist(describe_persist(persist)) == persist
