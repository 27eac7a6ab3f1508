# SPDX-License-Identifier: Apache-2.0
"""Rounds on a pair in memory: a sound one passes all of them, each broken one fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from endurance_world import ClusterWorld, Node

from harness.events import Event
from harness.model.case import CaseId, CaseResult
from harness.model.load import Batch
from harness.model.verdict import Verdict
from harness.run.endurance import arena
from harness.run.endurance.schedule import SUITE, Act, Disk, Disturbance, Round, make_round
from harness.run.plan import Case


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> ClusterWorld:
    monkeypatch.setattr(arena, "PROGRESS_S", 5.0)
    # A smaller region is judged faster.
    monkeypatch.setattr(arena, "BLOCKS", 512)
    monkeypatch.setattr(arena.time, "sleep", lambda seconds: None)
    return ClusterWorld()


def play(world: ClusterWorld, folder: Path, *rounds: Round) -> list[CaseResult]:
    folder.mkdir(exist_ok=True)
    worker = world.worker(folder, events := [])
    try:
        return [worker.run(Case(CaseId(each.id, "raw", "rollbaccine"), each)) for each in rounds]
    finally:
        worker.close()
        assert isinstance(events, list)


def one(act: Act, number: int = 1, **changes: object) -> Round:
    return Round(5, number, (Disturbance(act, after=3, **changes),))  # type: ignore[arg-type]


def broken(result: CaseResult) -> set[str]:
    return {check.rule for check in result.checks if check.verdict is not Verdict.PASS}


@pytest.mark.parametrize("act", list(Act))
def test_a_sound_pair_passes_every_act(world: ClusterWorld, tmp_path: Path, act: Act) -> None:
    first, second = play(world, tmp_path, one(act), one(Act.KILL_PRIMARY, 2))
    for result in (first, second):
        assert result.infra_error is None
        assert broken(result) == set(), [c for c in result.checks if c.verdict != "pass"]
    assert first.evidence is not None
    assert first.evidence.round is not None
    legs = first.evidence.round.legs
    assert any(leg.run.durable for leg in legs)
    assert len(world.hypervisor.machines) <= 4, "a round that passed costs no guests"


def test_a_sound_pair_passes_many_rounds(world: ClusterWorld, tmp_path: Path) -> None:
    results = play(world, tmp_path, *(make_round(11, number) for number in range(1, 11)))
    assert [broken(result) for result in results] == [set()] * 10


def test_a_node_may_fail_what_it_cannot_replicate(world: ClusterWorld, tmp_path: Path) -> None:
    acts = (
        Disturbance(Act.KILL_BACKUP, after=1, suspends=False),
        Disturbance(Act.SWITCHOVER, after=1),
        Disturbance(Act.KILL_BACKUP, after=1),
    )
    (result,) = play(world, tmp_path, Round(5, 1, acts))
    assert broken(result) == set()
    assert result.evidence is not None
    assert result.evidence.round is not None
    last = result.evidence.round.legs[-1].run
    assert last.may_fail
    assert last.durable > 0
    assert all("EIO" in text for text in last.errors)


def test_a_lost_write_fails_after_a_crash(world: ClusterWorld, tmp_path: Path) -> None:
    world.drop = lambda batch, block: batch.number in (2, 3)
    (result,) = play(world, tmp_path, one(Act.KILL_PRIMARY))
    assert "load/durable" in broken(result)


def test_a_lost_write_fails_without_a_crash_too(world: ClusterWorld, tmp_path: Path) -> None:
    world.drop = lambda batch, block: batch.number == 2
    (result,) = play(world, tmp_path, one(Act.PAUSE_BACKUP))
    assert broken(result) == {"device/equal"}
    assert result.evidence is not None
    assert result.evidence.round is not None
    assert result.evidence.round.comparisons[0].differing


def test_reordered_writes_fail(world: ClusterWorld, tmp_path: Path) -> None:
    """A write that was not acknowledged is lost, later ones are not."""

    def drop(batch: Batch, block: int) -> bool:
        return batch.number == 1 and block < 400

    world.drop = drop
    (result,) = play(world, tmp_path, one(Act.KILL_PRIMARY))
    assert broken(result) & {"load/durable", "load/prefix"}


@pytest.mark.parametrize("disk", list(Disk))
def test_a_resync_that_skips_a_block_fails(world: ClusterWorld, tmp_path: Path, disk: Disk) -> None:
    world.resync_skips = lambda block: block % 3 == 0
    (result,) = play(world, tmp_path, one(Act.KILL_BACKUP, disk=disk))
    assert broken(result) == {"device/equal"}


def test_a_deposed_primary_that_acknowledges_fails(world: ClusterWorld, tmp_path: Path) -> None:
    world.lies = True
    (result,) = play(world, tmp_path, one(Act.DEPOSE))
    assert "round/fenced" in broken(result)


@pytest.mark.parametrize(
    ("refused", "act"),
    [("promote", Act.KILL_PRIMARY), ("promote", Act.SWITCHOVER), ("demote", Act.DEPOSE)],
)
def test_what_is_refused_fails(world: ClusterWorld, tmp_path: Path, refused: str, act: Act) -> None:
    world.refuses.add(refused)
    first, second = play(world, tmp_path, one(act), one(Act.CUT, 2))
    assert "round/works" in broken(first)
    assert first.verdict is Verdict.FAIL
    # The next round starts on a pair of its own.
    assert broken(second) == set()


def test_a_node_that_is_never_in_sync_again_fails(world: ClusterWorld, tmp_path: Path) -> None:
    refused = []

    def forget(role: str, node: Node) -> None:
        refused.append(role)
        world.refuses.add("insync")

    world.on_sample = forget
    first, second = play(world, tmp_path, one(Act.CUT), one(Act.CUT, 2))
    assert first.verdict is Verdict.PASS
    assert "round/rejoin" in broken(second)


@pytest.mark.parametrize("grows", ["memory", "slab"])
def test_memory_that_grows_fails(world: ClusterWorld, tmp_path: Path, grows: str) -> None:
    def grow(role: str, node: Node) -> None:
        setattr(node, grows, getattr(node, grows) + (1 << 20))

    world.on_sample = grow
    results = play(world, tmp_path, *(one(Act.PAUSE_BACKUP, number) for number in range(1, 5)))
    assert "round/memory" in set().union(*map(broken, results))


def test_a_guest_that_dies_unasked_is_no_verdict(world: ClusterWorld, tmp_path: Path) -> None:
    done: list[str] = []

    def die(role: str, node: Node) -> None:
        if not done:
            done.append(role)
            world.machines["backup"].end()

    world.on_sample = die
    (result,) = play(world, tmp_path, one(Act.CUT))
    assert result.verdict is Verdict.PASS
    assert len(result.attempts) == 1


def test_an_event_is_published_when_a_round_starts(world: ClusterWorld, tmp_path: Path) -> None:
    events: list[Event] = []
    worker = world.worker(tmp_path, events)
    played = one(Act.CUT)
    worker.run(Case(CaseId(played.id, "raw", "rollbaccine"), played))
    worker.close()
    assert any(type(event).__name__ == "CaseStarted" for event in events)
    assert played.id.startswith(SUITE)
