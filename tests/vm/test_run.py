# SPDX-License-Identifier: Apache-2.0
"""The main job on real guests: what is sound passes, on every kernel and file system."""

from __future__ import annotations

import dataclasses

import pytest
from conftest import Harness

from ace_workloads.jlang import parse_run_section
from ace_workloads.ops import Verb
from ace_workloads.registry import load_suite
from harness.model.case import CaseResult
from harness.model.codec import encode_case
from harness.model.evidence import CrashEvidence
from harness.model.tree import Tree
from harness.model.verdict import Verdict
from harness.report.lines import seal


def _assert_looked_at(result: CaseResult) -> None:
    """Every persistence point was crashed at, and something persisted was compared there.

    Where a file was made and removed again, what is persisted is that it stays gone.
    """
    points = sum(step.verb is Verb.CHECKPOINT for step in parse_run_section(result.jlang))
    assert result.evidence is not None
    assert [crash.checkpoint for crash in result.evidence.crashes] == list(range(1, points + 1))
    assert all(crash.recovered is not None for crash in result.evidence.crashes)
    assert any("persisted" in c.rule or c.rule == "name/gone" for c in result.checks)


@pytest.mark.parametrize(
    ("profile", "file_systems", "options"),
    [
        ("debian-12", ("ext4", "xfs", "btrfs"), ()),
        ("debian-12-6.12", ("ext4",), ("--pairs", "2")),
    ],
    ids=["6.1", "6.12 on two pairs"],
)
def test_smoke_passes_and_every_crash_point_was_seen(
    harness: Harness, profile: str, file_systems: tuple[str, ...], options: tuple[str, ...]
) -> None:
    words = [word for fs in file_systems for word in ("--fs", fs)]
    done = harness("run", "--suite", "smoke", "--profile", profile, *words, *options)
    assert done.code == 0, done.output
    results = done.results("smoke")
    assert len({result.case_id for result in results}) == len(results)
    assert len(results) == load_suite("smoke").count() * len(file_systems)
    for result in results:
        assert result.verdict is Verdict.PASS
        _assert_looked_at(result)
        assert result.evidence is not None
        assert result.evidence.primary_device == result.evidence.backup_device is not None
    assert (done.run("smoke").path / "junit.xml").is_file()


def test_all_of_seq1_passes_in_any_order(harness: Harness) -> None:
    done = harness("run", "--suite", "ace-seq1", "--seed", "7")
    assert done.code == 0, done.output
    results = done.results("ace-seq1")
    assert len(results) == load_suite("ace-seq1").count()
    for result in results:
        _assert_looked_at(result)


def test_block_level_suite_passes(harness: Harness) -> None:
    done = harness("run", "--suite", "device")
    assert done.code == 0, done.output


def test_control_arm_passes_and_its_record_is_judged_again(harness: Harness) -> None:
    """The judge works from the record alone: one lost name in it turns a pass into a fail."""
    done = harness("run", "--suite", "smoke", "--target", "linear")
    assert done.code == 0, done.output
    run = done.run("smoke").path
    assert harness("check", str(run)).code == 0
    results = done.results("smoke")
    lines = [seal(encode_case(each)) for each in (_without_a_file(results[0]), *results[1:])]
    (run / "results.jsonl").write_bytes(b"".join(lines))
    again = harness("check", str(run))
    assert again.code == 1, again.output
    assert f"{results[0].case_id}: pass -> fail" in again.output


def _without_a_file(result: CaseResult) -> CaseResult:
    assert result.evidence is not None
    crash = result.evidence.crashes[-1]
    evidence = dataclasses.replace(result.evidence, crashes=(_lose_files(crash),))
    return dataclasses.replace(result, evidence=evidence)


def _lose_files(crash: CrashEvidence) -> CrashEvidence:
    assert crash.recovered is not None
    root = {path: entry for path, entry in crash.recovered.entries.items() if not path}
    return dataclasses.replace(crash, recovered=Tree(root))


def test_replay_runs_one_case_and_shows_it(harness: Harness) -> None:
    case = f"{next(iter(load_suite('smoke'))).id}@ext4@rollbaccine"
    done = harness("replay", case, "--defect", "drop_write:3")
    assert done.code == 1, done.output
    assert "expected after line" in done.output
    assert case in done.output
