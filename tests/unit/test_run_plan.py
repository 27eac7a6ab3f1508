# SPDX-License-Identifier: Apache-2.0
"""Which cases a run consists of, and in which order."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ace_workloads.registry import load_suite
from harness.errors import UsageError
from harness.run.exercises import EXERCISES
from harness.run.options import Impostor, RunOptions
from harness.run.plan import ExercisePlan, Plan, WorkloadPlan

SUITE = load_suite("ace-seq1")
ALL = list(SUITE.indices())


def asked(**changes: object) -> RunOptions:
    return RunOptions(suite="ace-seq1", **changes)  # type: ignore[arg-type]


def taken(plan: Plan) -> list[str]:
    cases = []
    while (case := plan.take()) is not None:
        cases.append(str(case.case_id))
    assert len(cases) == plan.planned
    return cases


def cases(**changes: object) -> list[str]:
    return taken(WorkloadPlan(SUITE, asked(**changes)))


def indices(**changes: object) -> list[int]:
    return [int(case.partition("@")[0].partition("/")[2]) for case in cases(**changes)]


def test_everything_in_the_suites_own_order() -> None:
    assert indices() == ALL
    assert cases(limit=1) == ["ace-seq1/000000001@ext4@rollbaccine"]


def test_file_system_by_file_system() -> None:
    assert [case.partition("@")[2] for case in cases(fs=("xfs", "ext4"), limit=2)] == [
        "xfs@rollbaccine", "xfs@rollbaccine", "ext4@rollbaccine", "ext4@rollbaccine",
    ]  # fmt: skip


@given(st.integers(1, 6), st.sampled_from([{}, {"sample": 40}, {"only": ("1", "2", "3", "17")}]))
def test_shards_are_a_partition(of: int, selection: dict[str, object]) -> None:
    parts: list[int] = []
    for number in range(1, of + 1):
        try:
            parts += indices(shard=(number, of), **selection)
        except UsageError:
            continue  # an empty shard of a small selection
    assert sorted(parts) == sorted(indices(**selection))


def test_the_same_seed_gives_the_same_order_and_another_one_another() -> None:
    assert indices(seed=1) == indices(seed=1)
    assert indices(seed=1) != indices(seed=2) != ALL
    assert sorted(indices(seed=1)) == ALL


def test_a_seed_shuffles_file_systems_apart() -> None:
    mixed = indices(seed=1, fs=("ext4", "xfs"))
    assert mixed[: len(ALL)] != mixed[len(ALL) :]
    assert mixed[: len(ALL)] == indices(seed=1)


def test_a_limit_takes_the_first_before_they_are_shuffled() -> None:
    assert sorted(indices(seed=3, limit=5)) == ALL[:5]


def test_a_sample_has_its_size_and_depends_on_the_seed() -> None:
    assert len(indices(sample=20)) == len(set(indices(sample=20))) == 20
    assert set(indices(sample=20, seed=1)) != set(indices(sample=20, seed=2))
    assert len(indices(sample=20, limit=3)) == 3
    assert len(indices(sample=10_000)) == len(ALL)


@pytest.mark.parametrize(
    "text",
    ["2", "000002", "ace-seq1/2", "ace-seq1/000000002", "ace-seq1/2@ext4@rollbaccine"],
)
def test_only_takes_an_id_in_any_spelling(text: str) -> None:
    assert indices(only=(text,)) == [2]


def test_only_keeps_the_order_and_drops_repetitions() -> None:
    assert indices(only=("5", "ace-seq1/000000002", "5")) == [5, 2]


@pytest.mark.parametrize(
    "text",
    ["", "x", "/2", "ace-seq2/2", "ace-seq1/", "-1", "+2", "2.0", "²", "9" * 5000, "0", "99999999",
     "ace-seq1/2@xfs@rollbaccine", "ace-seq1/2@ext4@linear", "ace-seq1/2@ext4", "2@", "@ext4@x"],
)  # fmt: skip
def test_only_refuses_what_is_no_case_of_this_run(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        cases(only=(text,))
    assert caught.value.hint


def test_only_refuses_a_repetition_of_an_earlier_workload() -> None:
    suite = load_suite("ace-seq2")
    present = pairwise(suite.indices())
    gap = next(one + 1 for one, other in present if other != one + 1)
    with pytest.raises(UsageError, match="repeat an earlier one"):
        WorkloadPlan(suite, asked(only=(str(gap),)))


def test_nothing_left_is_said() -> None:
    empty = next(n for n in range(1, 100) if not indices_or_none(only=("1",), shard=(n, 100)))
    with pytest.raises(UsageError, match="no workload is left"):
        cases(only=("1",), shard=(empty, 100))


def indices_or_none(**changes: object) -> list[int]:
    try:
        return indices(**changes)
    except UsageError:
        return []


def test_an_unknown_file_system_is_refused() -> None:
    with pytest.raises(UsageError, match="no file system 'zfs'") as caught:
        cases(fs=("zfs",))
    assert "btrfs" in str(caught.value.hint)


def test_the_device_suite() -> None:
    names = [exercise.id for exercise in EXERCISES]
    assert taken(ExercisePlan(asked())) == [f"{name}@raw@rollbaccine" for name in names]
    assert sorted(taken(ExercisePlan(asked(seed=5)))) == sorted(taken(ExercisePlan(asked())))
    assert len(taken(ExercisePlan(asked(limit=2)))) == 2
    assert taken(ExercisePlan(asked(only=(names[1], names[1])))) == [f"{names[1]}@raw@rollbaccine"]


@pytest.mark.parametrize(
    "changes",
    [
        {"only": ("device/nothing",)},
        {"target": "linear"},
        {"impostor": Impostor.EMPTY},
        {"sample": 2},
    ],
)
def test_what_the_device_suite_cannot_do(changes: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        ExercisePlan(asked(**changes))


def test_the_device_suite_in_shards() -> None:
    parts: list[str] = []
    for number in (1, 2, 3):
        try:
            parts += taken(ExercisePlan(asked(shard=(number, 3))))
        except UsageError:
            continue
    assert sorted(parts) == sorted(taken(ExercisePlan(asked())))


def test_options_are_recorded_as_plain_values() -> None:
    recorded = asked(shard=(2, 3), out=Path("/x"), impostor=Impostor.STALE).recorded()
    assert recorded["shard"] == "2/3"
    assert recorded["out"] == "/x"
    assert (recorded["impostor"], type(recorded["impostor"])) == ("stale", str)
    assert recorded["sample"] is None
