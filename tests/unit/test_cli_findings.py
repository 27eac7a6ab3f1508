# SPDX-License-Identifier: Apache-2.0
"""``harness findings`` and ``harness diff`` from the outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from report_cases import info, result

from harness.cli.diff import diff
from harness.cli.findings import findings
from harness.cli.main import run_command_line
from harness.errors import UsageError
from harness.findings import finding_id
from harness.model.case import CaseResult
from harness.model.verdict import Check, Verdict
from harness.report.store import RESULTS, RUN, RunStore

F, U = Verdict.FAIL, Verdict.UNKNOWN
MOUNT = (Check("mount", F),)


def stored(reports: Path, name: str, *cases: CaseResult, **facts: object) -> Path:
    with RunStore.create(reports, info(len(cases), run_id=name, **facts)) as store:
        for case in cases:
            store.append(case)
    return store.path


def show(*words: object) -> Result:
    return CliRunner().invoke(findings, [str(word) for word in words])


def compare(*words: object) -> Result:
    return CliRunner().invoke(diff, [str(word) for word in words])


def known_list(folder: Path, expires: str = "2099-01-01") -> Path:
    path = folder / "known.toml"
    path.write_text(
        '[[known]]\nsignature = "*:fsync:lost:data"\nreason = "being mended"\n'
        f'link = "https://example.org/7"\nexpires = {expires}\n'
    )
    return path


def test_findings_most_frequent_first(tmp_path: Path) -> None:
    first, small = result(1, F, skeleton="creat-link"), result(2, F)
    run = stored(tmp_path, "a", first, small, result(3, F, checks=MOUNT), result(4))
    said = show(run)
    assert said.exit_code == 1
    lines = [line for line in said.output.splitlines() if line.strip()]
    assert lines[0].strip() == "findings"
    assert lines[2].split()[:3] == ["2", "fail", finding_id(small)]
    assert "creat:fsync:lost:data and 1 more" in lines[2]
    assert lines[2].split()[-1] == str(small.case_id)
    assert lines[3].split()[:2] == ["1", "fail"]
    assert f"{finding_id(small)}  harness replay {small.case_id}" in said.output
    assert "3 failures in 4 cases: rate 30.1 % to 95.4 % (95 %)" in said.output
    assert lines[-1] == "exit code 1: findings: at least one case failed"


def test_nothing_found_has_a_bound(tmp_path: Path) -> None:
    said = show(stored(tmp_path, "a", *(result(number) for number in range(30))))
    assert said.exit_code == 0
    assert "0 failures in 30 cases: rate below 3/30 = 10.0 % (95 %)" in said.output
    assert "findings" not in said.output.splitlines()[0]


def test_several_runs_count_together_and_each_case_is_replayed_as_in_its_run(
    tmp_path: Path,
) -> None:
    a = stored(tmp_path, "a", result(1, F, skeleton="creat-link"), options={"defect": "drop"})
    b = stored(tmp_path, "b", result(2, F), options={"defect": "late"})
    said = json.loads(show("--json", a, b).output)
    (only,) = said["findings"]
    assert only["cases"] == 2
    assert only["replay"] == "harness replay ace-seq1/000002@ext4@rollbaccine --defect late"
    assert [run["run"] for run in said["runs"]] == ["a", "b"]
    (only,) = json.loads(show("--json", b, a).output)["findings"]
    assert only["replay"].endswith("--defect late")


def test_json_has_all_that_the_table_has(tmp_path: Path) -> None:
    said = json.loads(show(stored(tmp_path, "a", result(1, F), result(2, U)), "--json").output)
    assert said["schema"] == 1
    assert said["counts"]["fail"] == said["counts"]["unknown"] == 1
    assert said["rate"]["failures"] == said["rate"]["cases"] == 1
    assert said["exit_code"] == 1
    assert [one["outcome"] for one in said["findings"]] == ["fail", "unknown"]
    assert said["findings"][0]["signatures"] == [{"signature": "creat:fsync:lost:data", "cases": 1}]


def test_what_is_known_is_shown_counted_and_no_reason_for_1(tmp_path: Path) -> None:
    run = stored(tmp_path, "a", result(1, F), result(2, F), result(3))
    said = show(run, "--known", known_list(tmp_path))
    assert said.exit_code == 0
    assert "known: *:fsync:lost:data: 2 cases; being mended (https://example.org/7" in said.output
    assert "2 of the failures known" in said.output
    assert "2 failures in 3 cases" in said.output
    assert "all cases passed but those that are known to fail" in said.output
    found = json.loads(show(run, "--known", known_list(tmp_path), "--json").output)
    assert found["findings"][0]["known_cases"] == 2
    assert found["known"][0]["cases"] == 2


def test_an_entry_that_was_not_seen_is_said(tmp_path: Path) -> None:
    said = show(stored(tmp_path, "a", result(1)), "--known", known_list(tmp_path))
    assert "known: *:fsync:lost:data: not seen" in said.output


def test_an_expired_entry_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, known = stored(tmp_path, "a", result(1)), known_list(tmp_path, "2020-01-31")
    assert run_command_line(["findings", str(run), "--known", str(known)]) == 64
    said = capsys.readouterr()
    assert str(known) in said.err
    assert "1 (*:fsync:lost:data, expired on 2020-01-31)" in said.err


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"[[known"])
def test_a_list_that_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    run, known = stored(tmp_path, "a", result(1)), tmp_path / "known.toml"
    if content is not None:
        known.write_bytes(content)
    for command in (["findings", str(run)], ["run", "--suite", "smoke"]):
        assert run_command_line([*command, "--known", str(known)]) == 64
        said = capsys.readouterr().err
        assert str(known) in said
        assert "Traceback" not in said


def test_a_damaged_line_is_unknown_and_shown(tmp_path: Path) -> None:
    run = stored(tmp_path, "a", result(1), result(2))
    lines = (run / RESULTS).read_bytes().splitlines(keepends=True)
    (run / RESULTS).write_bytes(lines[0] + lines[1].replace(b"000002", b"000003"))
    said = show(run)
    assert said.exit_code == 2
    assert "%28damaged%29:none:unknown:store/damaged" in said.output
    assert compare(run, run).exit_code == 0


def test_a_line_of_another_version_is_unknown(tmp_path: Path) -> None:
    from harness.report.lines import seal

    run = stored(tmp_path, "a", result(1))
    (run / RESULTS).write_bytes(seal('{"schema":99,"id":"x"}'))
    assert show(run).exit_code == 2


def test_a_torn_line_is_said_and_its_case_missing(tmp_path: Path) -> None:
    run = stored(tmp_path, "a", result(1), result(2))
    whole = (run / RESULTS).read_bytes()
    (run / RESULTS).write_bytes(whole[:-20])
    said = show(run)
    assert said.exit_code == 2
    assert "was cut off after" in said.output
    assert "1 planned cases left no result" in said.output
    assert "was cut off after" in compare(run, run).output


@pytest.mark.parametrize("command", ["findings", "diff"])
@pytest.mark.parametrize("fault", ["missing", "file", "no record", "schema", "no json"])
def test_what_is_no_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, fault: str
) -> None:
    good = stored(tmp_path / "good", "a", result(1))
    bad = stored(tmp_path / "bad", "b", result(1))
    if fault == "missing":
        bad = tmp_path / "nothing"
    elif fault == "file":
        bad = bad / RUN
    elif fault == "no record":
        (bad / RESULTS).unlink()
    else:
        text = (bad / RUN).read_text()
        (bad / RUN).write_text(
            text.replace('"schema": 1', '"schema": 99').replace('"schema":1', '"schema":99')
            if fault == "schema"
            else "{"
        )
    assert run_command_line([command, str(good), str(bad)]) == 64
    said = capsys.readouterr().err
    assert str(bad) in said
    assert "Traceback" not in said


def test_no_run_at_all_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["findings"]) == 64
    assert run_command_line(["diff", "one"]) == 64
    assert "Missing argument" in capsys.readouterr().err


def test_text_of_a_guest_is_neither_markup_nor_control(tmp_path: Path) -> None:
    hostile = result(1, None, infra_error="[bold]x[/nope] \x1b[2J\0\udcff", skeleton="[red]\x1b[2J")
    run = stored(tmp_path, "a", hostile, result(2, F, skeleton="\x1b[31m"))
    for output in (show(run).output, show(run, "--json").output, compare(run, run).output):
        assert "\x1b" not in output
        assert "\0" not in output


def test_diff_new_fixed_still(tmp_path: Path) -> None:
    lost, mount, fsck = ((Check(rule, F),) for rule in ("name/persisted", "mount", "fsck"))
    a = stored(tmp_path, "a", result(1, F, checks=lost), result(2, F, checks=mount), result(3))
    b = stored(
        tmp_path, "b", result(1, F, checks=lost), result(2), result(4, F, checks=fsck),
        versions={"profile": "debian-13"},
    )  # fmt: skip
    said = compare(a, b)
    assert said.exit_code == 1
    rows = [line.split()[:4] for line in said.output.splitlines() if " fail " in line]
    assert [row[:3] for row in rows[:3]] == [
        ["new", "0", "1"],
        ["still", "1", "1"],
        ["fixed", "1", "0"],
    ]
    for line in (
        "not the same in both: profile debian-12 -> debian-13",
        "fail -> pass: 1 cases: ace-seq1/000002@ext4@rollbaccine",
        "2 cases compared, 1 only in A, 1 only in B",
        "1 new, 1 still, 1 fixed",
        "exit code 1: new findings",
    ):
        assert line in said.output
    found = json.loads(compare(a, b, "--json").output)
    assert [each["change"] for each in found["findings"]] == ["new", "still", "fixed"]
    assert found["only_in_b"] == ["ace-seq1/000004@ext4@rollbaccine"]
    assert found["circumstances"] == ["profile debian-12 -> debian-13"]


def test_diff_without_new_findings(tmp_path: Path) -> None:
    a = stored(tmp_path, "a", result(1, F), result(2))
    b = stored(tmp_path, "b", result(1), result(2))
    assert compare(a, b).exit_code == 0
    assert compare(a, a).exit_code == 0


def test_diff_of_runs_without_a_common_case_says_so(tmp_path: Path) -> None:
    said = compare(stored(tmp_path, "a", result(1)), stored(tmp_path, "b", result(2)))
    assert said.exit_code == 2
    assert "no case came to a verdict in both runs" in said.output


def test_errors_are_usage_errors(tmp_path: Path) -> None:
    assert isinstance(show(tmp_path).exception, UsageError)
