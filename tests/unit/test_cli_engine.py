# SPDX-License-Identifier: Apache-2.0
"""Options of the engine that xfstests is: what does not fit is refused before anything boots."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_check_bundle import tree as partial_tree

from harness.build.xfstests import ENVIRONMENT
from harness.cli import run as run_module
from harness.cli.main import run_command_line
from harness.model.case import CaseId, CaseResult, RunInfo
from harness.model.evidence import Aftermath, CaseEvidence, ToolResult
from harness.model.verdict import Verdict
from harness.report.evidence_text import evidence_text, replay_command
from harness.run.campaign import RunOutcome
from harness.run.options import Engine, RunOptions
from harness.run.plan import ForeignPlan, Plan, WorkloadPlan


@pytest.fixture(autouse=True)
def _no_tree_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.setenv("HARNESS_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Plan, RunOptions]]:
    calls: list[tuple[Plan, RunOptions]] = []

    def campaign(plan: Plan, options: RunOptions, *_: object) -> RunOutcome:
        calls.append((plan, options))
        return RunOutcome(tmp_path, 0)

    monkeypatch.setattr(run_module, "run_campaign", campaign)
    return calls


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = partial_tree(tmp_path / "tree")
    folder = made / "tests" / "generic"
    folder.mkdir(parents=True)
    (folder / "group.list").write_text("001 auto quick\n", encoding="ascii")
    (folder / "001").touch()
    return made


ENGINE = ("--engine", "xfstests")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "--suite", "smoke", *ENGINE), "needs an xfstests tree"),
        (("run", "--suite", "smoke", *ENGINE, "--xfstests", "/proc"), "no file check"),
        (("run", "--group", "generic/quick"), "--group names tests of xfstests"),
        (("run", "--group", "generic/quick", "--suite", "smoke"), "do not go together"),
        (("run", "--suite", "device", *ENGINE, "--xfstests", "TREE"), "by the agent only"),
        (("run", "--suite", "kmod-endurance", *ENGINE, "--xfstests", "TREE"), "by the agent only"),
        (("run", "--group", "generic/new", *ENGINE, "--xfstests", "TREE"), "in a group 'new'"),
        (("run", "--suite", "smoke", *ENGINE, "--xfstests", "TREE", "--guests", "full"),
         "leave --guests full out"),
        (("run", "--suite", "smoke", *ENGINE, "--xfstests", "TREE", "--bundle", "0"), "bundle"),
        (("compare-engines", "--xfstests", "TREE"), "which suite"),
        (("compare-engines", "--suite", "smoke"), "needs an xfstests tree"),
        (("compare-engines", "--suite", "smoke", "--group", "generic/001"), "only xfstests"),
        (("compare-engines", "--suite", "nosuch", "--xfstests", "TREE"), "nosuch"),
        (("compare-engines", "--suite", "device", "--xfstests", "TREE"), "by the agent only"),
        (("minimize", "smoke/000000001@ext4@linear", *ENGINE, "--xfstests", "TREE"),
         "both engines find the same"),
    ],
)  # fmt: skip
def test_refused(
    capsys: pytest.CaptureFixture[str], tree: Path, words: tuple[str, ...], message: str
) -> None:
    code = run_command_line([str(tree) if word == "TREE" else word for word in words])
    said = capsys.readouterr().err
    assert code == 64, said
    assert message in said
    assert "Traceback" not in said


def test_the_tree_comes_from_the_environment(
    ran: list[tuple[Plan, RunOptions]], tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(tree))
    assert run_command_line(["run", "--suite", "smoke", *ENGINE]) == 0
    assert run_command_line(["run", "--group", "generic/quick", *ENGINE]) == 0
    assert run_command_line(["run", "--suite", "smoke"]) == 0
    (first, with_tree), (second, _), (_, native) = ran
    assert isinstance(first, WorkloadPlan)
    assert isinstance(second, ForeignPlan)
    assert (with_tree.engine, with_tree.xfstests) == (Engine.XFSTESTS, tree)
    assert (native.engine, native.xfstests) == (Engine.NATIVE, None), "no disk is made for nothing"


def replayed(case: str, **options: str) -> str:
    result = CaseResult(CaseId.parse(case), "hash", "creat", "", Verdict.FAIL)
    info = RunInfo("run", "suite", 0.0, 1, options={"profile": "debian-12", **options})
    return replay_command(result, info)


def test_the_way_to_run_it_again_names_the_engine() -> None:
    assert replayed("smoke/1@xfs@linear", engine="native") == (
        "harness replay smoke/1@xfs@linear --profile debian-12"
    )
    engine = {"engine": "xfstests", "xfstests": "/opt/x"}
    assert replayed("smoke/1@xfs@linear", **engine) == (
        "harness replay smoke/1@xfs@linear --profile debian-12 --engine xfstests --xfstests /opt/x"
    )
    assert replayed("xfstests/generic/001@xfs@linear", group="generic/quick", **engine) == (
        "harness run --group generic/001 --fs xfs --target linear --profile debian-12"
        " --engine xfstests --xfstests /opt/x"
    )


def test_the_evidence_tells_what_xfstests_said() -> None:
    aftermath = Aftermath(ToolResult(True, 0), ToolResult(False, 4, "bitmap differs"))
    evidence = CaseEvidence((), complaints=("mount: wrong fs type",), aftermath=aftermath)
    result = CaseResult(
        CaseId("xfstests/generic/001", "xfs", "t"), "hash", "generic", "", Verdict.FAIL,
        evidence=evidence,
    )  # fmt: skip
    text = evidence_text(result, RunInfo("run", "xfstests", 0.0, 1))
    assert "said by xfstests:\n  mount: wrong fs type\n" in text
    assert "  primary: ok\n  backup: failed, status 4\n    bitmap differs\n" in text
