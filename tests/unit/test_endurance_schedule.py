# SPDX-License-Identifier: Apache-2.0
"""Which rounds an endurance run consists of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli.options import parse_duration
from harness.errors import UsageError
from harness.run.endurance.plan import EndurancePlan
from harness.run.endurance.schedule import SUITE, Act, Disk, Round, make_round
from harness.run.options import Impostor, RunOptions

KILLS = {Act.KILL_PRIMARY, Act.KILL_BACKUP}


def asked(**changes: object) -> RunOptions:
    return RunOptions(suite=SUITE, **changes)  # type: ignore[arg-type]


def rounds(plan: EndurancePlan) -> list[Round]:
    made = []
    while (case := plan.take()) is not None:
        assert isinstance(case.workload, Round)
        assert str(case.case_id) == f"{case.workload.id}@raw@rollbaccine"
        made.append(case.workload)
    assert plan.planned == len(made)
    return made


class Clock:
    """Moves on by a second at each look."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


@given(st.integers(0, 2**40), st.integers(1, 10_000))
def test_a_round_follows_from_seed_and_number(seed: int, number: int) -> None:
    made = make_round(seed, number)
    assert made == make_round(seed, number)
    assert 1 <= len(made.disturbances) <= 3
    assert not made.disturbances[0].in_resync
    streams = [made.stream(leg) for leg in range(5)]
    assert len(set(streams)) == 5
    assert all(0 < stream < 1 << 63 for stream in streams)
    assert made.skeleton.split(",") == [each.act.value for each in made.disturbances]


def test_everything_is_drawn_and_calm_rounds_kill_nobody() -> None:
    made = [make_round(7, number) for number in range(1, 400)]
    drawn = [each for each_round in made for each in each_round.disturbances]
    assert {each.act for each in drawn} == set(Act)
    assert {each.disk for each in drawn if each.act in KILLS} == set(Disk)
    assert {each.act for each in drawn if each.in_resync} >= {Act.CUT, Act.KILL_BACKUP}
    calm = [r for r in made if not KILLS & {each.act for each in r.disturbances}]
    assert any(all(r in calm for r in made[at : at + 8]) for at in range(len(made) - 8))
    assert make_round(7, 1) != make_round(8, 1)


@given(st.integers(0, 999), st.integers(1, 999))
def test_the_primary_is_never_lost_while_its_backup_is_not_in_sync(seed: int, number: int) -> None:
    for each in make_round(seed, number).disturbances:
        if each.in_resync:
            assert each.act not in (Act.KILL_PRIMARY, Act.DEPOSE, Act.SWITCHOVER)


def test_rounds_only_use_the_acts_that_the_target_has() -> None:
    made = [make_round(7, number, (Act.CUT,)) for number in range(1, 99)]
    assert {each.act for each_round in made for each in each_round.disturbances} == {Act.CUT}


def test_rounds_go_on_until_the_time_is_up() -> None:
    made = rounds(EndurancePlan(asked(seed=5, duration_s=30.0), clock=Clock()))
    assert [each.id for each in made[:2]] == [f"{SUITE}/5.0001", f"{SUITE}/5.0002"]
    assert len(made) == 30


def test_a_number_of_rounds_may_be_asked_for() -> None:
    plan = EndurancePlan(asked(seed=5, limit=3, duration_s=1.0), clock=Clock())
    assert plan.planned == 3
    assert [each.number for each in rounds(plan)] == [1, 2, 3]


def test_a_round_is_made_again_from_its_id() -> None:
    wanted = (f"{SUITE}/42.0007@raw@rollbaccine", f"{SUITE}/43.0001")
    assert rounds(EndurancePlan(asked(only=wanted))) == [make_round(42, 7), make_round(43, 1)]


def test_without_a_seed_each_run_draws_its_own() -> None:
    seeds = {rounds(EndurancePlan(asked(limit=1)))[0].seed for _ in range(5)}
    assert len(seeds) > 1


@pytest.mark.parametrize(
    "changes",
    [
        {"target": "linear"},
        {"target": "drbd"},
        {"impostor": Impostor.EMPTY},
        {"sample": 3},
        {"shard": (1, 2)},
        {"seed": -1},
        {"only": ("kmod-endurance/x",)},
        {"only": ("kmod-endurance/1.0000",)},
        {"only": ("ace-seq1/000000001",)},
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        EndurancePlan(asked(**changes))


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(None, None, text) == seconds  # type: ignore[arg-type]
    assert parse_duration(None, None, None) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "90", "0s", "-1s", "1.5h", "1d", "999999h"])
def test_bad_durations_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_duration(None, None, text)  # type: ignore[arg-type]
