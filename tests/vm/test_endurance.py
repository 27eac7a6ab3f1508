# SPDX-License-Identifier: Apache-2.0
"""Suite ``kmod-endurance`` on real guests: a sound module passes, seeded defects do not."""

from __future__ import annotations

import pytest
from conftest import Harness

from harness.model.case import CaseResult
from harness.model.verdict import Verdict
from harness.run.endurance.schedule import SUITE, Act, Disk, make_round

_DURATION = "90s"
_SEED = 21
# Defect -> seed and number of a round that catches it, and what has to happen there for that.
_CAUGHT_IN = {
    # What was acknowledged early is missing when the primary is gone.
    "early_ack": (21, 3, (Act.KILL_PRIMARY,)),
    # Two primaries.
    "ignore_epoch": (24, 4, (Act.DEPOSE,)),
    # The backup comes back with an old disk, and some of it stays as it was.
    "resync_skip": (21, 2, (Act.KILL_BACKUP,)),
    # The same, and it has to do without its peer, which would mend it.
    "stale_tag": (22, 2, (Act.KILL_BACKUP, Act.KILL_PRIMARY)),
}


def _rounds(results: list[CaseResult]) -> list[str]:
    return [result.skeleton for result in results]


def test_the_rounds_are_what_the_tests_need() -> None:
    acts = {each.act for n in (1, 2, 3) for each in make_round(_SEED, n).disturbances}
    assert {Act.KILL_BACKUP, Act.KILL_PRIMARY} <= acts
    for defect, (seed, number, wanted) in _CAUGHT_IN.items():
        disturbances = make_round(seed, number).disturbances
        assert tuple(each.act for each in disturbances)[: len(wanted)] == wanted, defect
        if wanted[0] is Act.KILL_BACKUP:
            assert disturbances[0].disk is Disk.OLD, defect


@pytest.mark.slow
def test_nothing_acknowledged_is_lost(harness: Harness) -> None:
    done = harness("run", "--suite", SUITE, "--duration", _DURATION, "--seed", str(_SEED))
    assert done.code == 0, done.output
    results = done.results(SUITE)
    assert results
    assert _rounds(results)[0] == make_round(_SEED, 1).skeleton.replace(",", "-")
    assert done.run(SUITE).info.planned == len(results)
    for result in results:
        assert result.evidence is not None
        assert result.evidence.round is not None
        assert any(leg.run.durable for leg in result.evidence.round.legs)
    again = harness("check", str(harness.out / SUITE / "latest"))
    assert again.code == 0, again.output


@pytest.mark.slow
@pytest.mark.parametrize("defect", sorted(_CAUGHT_IN))
def test_defect_is_caught(harness: Harness, defect: str) -> None:
    seed, number, _ = _CAUGHT_IN[defect]
    case = f"{SUITE}/{seed}.{number:04}@raw@rollbaccine"
    done = harness("replay", case, "--defect", defect)
    assert done.code == 1, done.output
    (result,) = done.results(SUITE)
    assert result.verdict is Verdict.FAIL
    assert result.infra_error is None
