# SPDX-License-Identifier: Apache-2.0
"""Options of the engine that xfstests is: what does not fit is refused before anything boots."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_check_bundle import tree as partial_tree

from harness.build.xfstests import ENVIRONMENT
from harness.cli import run as run_module
from harness.cli.main import run_command_line
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
