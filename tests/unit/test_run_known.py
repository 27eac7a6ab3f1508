# SPDX-License-Identifier: Apache-2.0
"""``harness run --known``: what is on the list counts, and is no reason for exit code 1."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from test_run_campaign import ALL, Rig, at_case, forgets_files, press_ctrl_c, rig

from harness.cli.main import run_command_line
from harness.errors import EXIT_FINDINGS, EXIT_INTERRUPTED, EXIT_PASS, EXIT_USAGE
from harness.findings import findings
from harness.model.case import Outcome

__all__ = ["rig"]


def entry(folder: Path, finding: str, expires: str = "2099-12-31") -> Path:
    path = folder / "known.toml"
    path.write_text(
        f'[[known]]\nfinding = "{finding}"\nreason = "being mended"\n'
        f'link = "https://example.org/7"\nexpires = {expires}\n'
    )
    return path


def run(rig: Rig, *words: str) -> int:
    folder = str(rig.folder / "reports")
    return run_command_line(
        ["run", "--suite", "smoke", "--out", folder, "--confirm", "0", "--heartbeat-s", "0",
         "--state-dir", str(rig.folder), *words]
    )  # fmt: skip


def failing(rig: Rig) -> str:
    """Make every case fail; returns the id of the one finding that they are."""
    rig.world.rules.append(forgets_files)
    assert run(rig) == EXIT_FINDINGS
    (only,) = findings(rig.record().results())
    return only.id


def test_known_failures_alone_end_with_0(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    known = entry(rig.folder, failing(rig))
    assert run(rig, "--known", str(known)) == EXIT_PASS
    said = capsys.readouterr().out
    assert f"{ALL} of the failures known" in said
    assert "all cases passed but those that are known to fail" in said
    info = rig.record().info
    assert info.counts[Outcome.CONTROL_FAIL] == ALL
    assert (info.exit_code, info.options["known"]) == (EXIT_PASS, str(known))
    root = ElementTree.parse(rig.record().path / "junit.xml").getroot()
    assert root.get("failures") == "0"
    assert len(list(root.iter("skipped"))) == ALL


def test_other_failures_end_with_1(rig: Rig) -> None:
    failing(rig)
    assert run(rig, "--known", str(entry(rig.folder, "f000000000"))) == EXIT_FINDINGS


def test_known_findings_do_not_end_a_run(rig: Rig) -> None:
    known = entry(rig.folder, failing(rig))
    assert run(rig, "--known", str(known), "--max-findings", "1") == EXIT_PASS
    assert len(rig.outcomes()) == ALL


def test_a_resumed_run_knows_what_it_knew(rig: Rig) -> None:
    known = entry(rig.folder, failing(rig))
    at_case(rig.world.seen["primary", "image-restore"] + 3, rig, press_ctrl_c)
    rig.world.rules.reverse()
    assert run(rig, "--known", str(known)) == EXIT_INTERRUPTED
    rig.world.rules[:] = [forgets_files]
    resume = ["run", "--resume", str(rig.record().path)]
    assert run_command_line(resume) == EXIT_PASS
    assert len(rig.outcomes()) == ALL


def test_an_expired_entry_ends_a_run_before_it_begins(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    known = entry(rig.folder, "f42c402886", "2020-01-31")
    assert run(rig, "--known", str(known)) == EXIT_USAGE
    assert f"{known}: known issues that expired: 1 (f42c402886" in capsys.readouterr().err
    assert not (rig.folder / "reports").exists()
