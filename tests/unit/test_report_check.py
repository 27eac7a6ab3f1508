# SPDX-License-Identifier: Apache-2.0
"""``harness check``: the verdict comes from the stored evidence, never from the stored verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from report_cases import JLANG, info, result

import harness.oracle
from ace_workloads.ops import Step
from harness.cli.check import check, rejudge
from harness.errors import UsageError
from harness.model.case import CaseId, CaseResult
from harness.model.evidence import CaseEvidence
from harness.model.verdict import Check, Verdict
from harness.report.store import RESULTS, RunStore

P, F, U = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN


def saying(verdict: Verdict):  # type: ignore[no-untyped-def]
    def judge(
        steps: Sequence[Step], fs: str, evidence: CaseEvidence, replicated: bool
    ) -> tuple[Check, ...]:
        assert len(steps) == len(JLANG.splitlines())
        assert fs == "ext4"
        return (Check("stub", verdict, message=f"replicated {replicated}"),)

    return judge


def raising(*_: object) -> tuple[Check, ...]:
    raise KeyError("A/foo")


@pytest.mark.parametrize("new", [P, F, U])
@pytest.mark.parametrize("old", [P, F, U])
def test_the_new_judgement_counts(old: Verdict, new: Verdict) -> None:
    assert rejudge(result(1, old), saying(new), replicated=True).verdict is new


def test_an_oracle_that_raises_makes_no_pass() -> None:
    judged = rejudge(result(1), raising, replicated=True)
    assert judged.verdict is U
    assert "KeyError" in judged.checks[0].message


@pytest.mark.parametrize("missing", [{"evidence": None}, {"jlang": "frobnicate A\n"}])
def test_what_cannot_be_judged_is_unknown(missing: dict[str, object]) -> None:
    assert rejudge(result(1, **missing), saying(P), replicated=True).verdict is U


def test_an_oracle_without_anything_to_say_makes_no_pass() -> None:
    assert rejudge(result(1), lambda *_: (), replicated=True).verdict is U


@pytest.mark.parametrize("verdict", [None, Verdict.SKIPPED])
def test_what_was_never_judged_stays(verdict: Verdict | None) -> None:
    case = result(1, verdict)
    assert rejudge(case, saying(P), replicated=True) == case


def test_checks_of_the_runner_are_carried_over() -> None:
    case = result(1, U, checks=(Check("run/timeout", U, message="no end after 30 s"),))
    judged = rejudge(case, saying(P), replicated=True)
    assert judged.verdict is U
    assert [each.rule for each in judged.checks] == ["stub", "run/timeout"]


def run_check(
    path: Path, monkeypatch: pytest.MonkeyPatch, new: Verdict, *cases: CaseResult
) -> Result:
    monkeypatch.setattr(harness.oracle, "judge_case", saying(new), raising=False)
    with RunStore.create(path, info(len(cases))) as store:
        for case in cases:
            store.append(case)
    return CliRunner().invoke(check, [str(store.path)])


def test_only_differences_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control = result(3, case_id=CaseId("ace-seq1/000003", "ext4", "linear"))
    done = run_check(tmp_path, monkeypatch, F, result(1), result(2, F), control)
    assert done.output.splitlines() == [
        "ace-seq1/000001@ext4@rollbaccine: pass -> fail  stub: replicated True",
        "ace-seq1/000003@ext4@linear: pass -> fail  stub: replicated False",
        "3 cases judged again, 2 with another verdict",
        "0 pass, 3 fail, 0 unknown, 0 infra",
        "exit code 1: findings: at least one case failed",
    ]
    assert done.exit_code == 1


def test_a_run_that_passes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run_check(tmp_path, monkeypatch, P, result(1), result(2))
    assert done.exit_code == 0
    assert done.output.splitlines()[0] == "2 cases judged again, 0 with another verdict"


def test_a_damaged_run_does_not_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunStore.create(tmp_path, info(2)) as store:
        store.append(result(1))
        store.append(result(2))
    record = store.path / RESULTS
    whole = record.read_bytes()
    monkeypatch.setattr(harness.oracle, "judge_case", saying(P), raising=False)

    record.write_bytes(whole[:-5])
    torn = CliRunner().invoke(check, [str(store.path)])
    assert torn.exit_code == 2
    assert "1 of 2 planned cases have no result" in torn.output

    record.write_bytes(whole.replace(b'"pass"', b'"fail"', 1))
    damaged = CliRunner().invoke(check, [str(store.path)])
    assert damaged.exit_code == 2
    assert "1 pass, 0 fail, 1 unknown, 0 infra" in damaged.output


def test_what_is_no_run_is_bad_usage(tmp_path: Path) -> None:
    done = CliRunner().invoke(check, [str(tmp_path / "nowhere")])
    assert isinstance(done.exception, UsageError)
