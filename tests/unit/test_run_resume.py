# SPDX-License-Identifier: Apache-2.0
"""Runs that end early and go on: every case once, whatever ended them."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from run_world import options
from test_run_campaign import ALL, Rig, at_case, forgets_files, press_ctrl_c, rig

from ace_workloads.registry import load_suite
from harness.cli.main import run_command_line
from harness.errors import EXIT_FINDINGS, EXIT_INTERRUPTED, EXIT_PASS, EXIT_USAGE, UsageError
from harness.events import CaseKnown, EventBus, PhaseNote
from harness.model.case import Outcome
from harness.report.load import load_run
from harness.report.store import RESULTS, RunStore
from harness.run import campaign
from harness.run.campaign import RunOutcome, run_campaign
from harness.run.options import AcceleratorChoice, Encryption, Guests, Impostor
from harness.run.plan import WorkloadPlan
from harness.run.resume import restored, resume_run

__all__ = ["rig"]
CUTS = 12


def resume(rig: Rig, **given: object) -> RunOutcome:
    """Go on with the latest run of ``rig``."""
    resumed = resume_run(rig.record().path, given)
    bus = EventBus()
    bus.subscribe(rig.events.append)
    plan = resumed.remaining(WorkloadPlan(load_suite("smoke"), resumed.options))
    return run_campaign(plan, resumed.options, bus, None, resumed.run)


def every_case_once(rig: Rig) -> None:
    ids = Counter(str(result.case_id) for result in rig.record().results())
    assert len(ids) == ALL
    assert set(ids.values()) == {1}


def test_an_interrupted_run_goes_on(rig: Rig) -> None:
    at_case(3, rig, press_ctrl_c)
    assert rig.run().exit_code == EXIT_INTERRUPTED
    done = len(rig.outcomes())
    assert 0 < done < ALL
    rig.world.rules.clear()
    rig.events.clear()
    assert resume(rig).exit_code == EXIT_PASS
    every_case_once(rig)
    assert sum(isinstance(event, CaseKnown) for event in rig.events) == done
    info = rig.record().info
    assert (info.planned, info.exit_code, info.left) == (ALL, EXIT_PASS, 0)
    assert any(warning.startswith("resumed ") for warning in info.warnings)


def test_a_run_cut_off_at_any_byte_goes_on(rig: Rig) -> None:
    rig.run()
    record = rig.record().path / RESULTS
    whole = record.read_bytes()
    for at in random.Random(20).sample(range(len(whole)), CUTS):
        record.write_bytes(whole[:at])
        finished = whole[:at].count(b"\n")
        assert resume(rig).exit_code == EXIT_PASS
        every_case_once(rig)
        assert record.read_bytes().startswith(whole[: whole.find(b"\n") + 1] if finished else b"{")


def test_a_finished_run_has_nothing_left_to_do(rig: Rig) -> None:
    rig.run()
    before = (rig.record().path / RESULTS).read_bytes()
    assert resume(rig).exit_code == EXIT_PASS
    assert (rig.record().path / RESULTS).read_bytes() == before


def test_findings_of_before_count(rig: Rig) -> None:
    rig.world.rules.append(forgets_files)
    rig.run(max_findings=1)
    rig.world.rules.clear()
    assert resume(rig).exit_code == EXIT_FINDINGS
    every_case_once(rig)


def test_a_run_under_way_is_not_resumed(rig: Rig) -> None:
    rig.run()
    with RunStore.reopen(rig.record().path), pytest.raises(UsageError, match="under way"):
        resume(rig)
    assert resume(rig).exit_code == EXIT_PASS


def test_another_workload_under_the_same_id_is_refused(rig: Rig) -> None:
    rig.run(limit=3)
    path = rig.record().path
    results = [replace(result, workload_hash="0" * 64) for result in rig.record().results()]
    (path / RESULTS).unlink()
    with RunStore(path) as store:
        for result in results:
            store.append(result)
    with pytest.raises(UsageError, match="another workload"):
        resume(rig)
    assert [result.workload_hash for result in load_run(path).results()] == ["0" * 64] * 3


def test_what_changed_on_the_host_is_said(rig: Rig) -> None:
    at_case(2, rig, press_ctrl_c)
    rig.run()
    rig.world.rules.clear()
    store = RunStore.reopen(rig.record().path)
    store.write_info(replace(rig.record().info, versions={"qemu": "0.1"}))
    store.close()
    resume(rig)
    assert any("qemu 0.1 -> " in warning for warning in rig.record().info.warnings)


def test_time_budget_leaves_cases_that_resume_takes_up(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(campaign, "_clock", lambda: now[0])

    def late() -> None:
        now[0] = 61.0

    at_case(4, rig, late)
    assert rig.run(time_budget_s=60.0).exit_code == EXIT_PASS
    info = rig.record().info
    assert (len(rig.outcomes()), info.left, info.planned) == (4, ALL - 4, ALL)
    assert 'name="cases left for later"' in (rig.record().path / "junit.xml").read_text()
    rig.world.rules.clear()
    assert resume(rig).exit_code == EXIT_PASS
    every_case_once(rig)
    assert "left for later" not in (rig.record().path / "junit.xml").read_text()


def test_max_findings(rig: Rig) -> None:
    rig.world.rules.append(forgets_files)
    assert rig.run(max_findings=1).exit_code == EXIT_FINDINGS
    assert 1 <= rig.outcomes().count(Outcome.CONTROL_FAIL) < ALL
    assert rig.record().info.left == ALL - len(rig.outcomes())


def test_consoles_of_before_are_kept_and_not_read_again(rig: Rig) -> None:
    at_case(2, rig, press_ctrl_c)
    rig.run()
    store = RunStore.reopen(rig.record().path)
    (store.path / "consoles").mkdir(exist_ok=True)
    assert store.new_folder("consoles").name == "consoles-2"
    store.close()


def test_options_are_restored_as_recorded(tmp_path: Path) -> None:
    asked = options(
        tmp_path,
        fs=("xfs", "ext4"),
        shard=(2, 5),
        sample=7,
        seed=3,
        accel=AcceleratorChoice.TCG,
        encryption=Encryption.OFF,
        guests=Guests.FULL,
        impostor=Impostor.STALE,
        defect="drop_write:3",
        timeout_s=17.0,
    )
    assert restored(asked.recorded()) == asked
    with pytest.raises(UsageError, match="does not know: moon"):
        restored({**asked.recorded(), "moon": "full"})
    with pytest.raises(UsageError, match="cannot be read"):
        restored({**asked.recorded(), "encryption": "perhaps"})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run"], "which suite?"),
        (["run", "--resume", "{run}", "--fs", "xfs"], "--fs cannot be changed"),
        (["run", "--resume", "{run}", "--suite", "smoke"], "--suite cannot be changed"),
        (["run", "--resume", "{run}/nowhere"], "not the folder of a run"),
        (["run", "--suite", "smoke", "--time-budget", "soon"], "no duration"),
    ],
)
def test_bad_input(
    words: list[str], said: str, rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.run(limit=1)
    path = str(rig.record().path)
    assert run_command_line([word.replace("{run}", path) for word in words]) == EXIT_USAGE
    assert said in capsys.readouterr().err


def test_resume_by_command_line(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    at_case(3, rig, press_ctrl_c)
    rig.run()
    rig.world.rules.clear()
    folder = str(rig.record().path)
    assert run_command_line(["run", "--resume", folder, "--pairs", "2"]) == EXIT_PASS
    every_case_once(rig)
    assert f"{ALL} of {ALL} cases, " in capsys.readouterr().out
    assert not any(isinstance(event, PhaseNote) and "pair 2" in event.text for event in rig.events)


def test_reopening_takes_off_what_is_unfinished(rig: Rig) -> None:
    rig.run(limit=2)
    record = rig.record().path / RESULTS
    whole = record.read_bytes()
    record.write_bytes(whole + whole[: len(whole) // 3])
    RunStore.reopen(rig.record().path).close()
    assert record.read_bytes() == whole
