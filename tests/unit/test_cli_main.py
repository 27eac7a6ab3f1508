# SPDX-License-Identifier: Apache-2.0
"""The command line from the outside: exit codes, hints, and no traceback for bad input."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.build.profile import load_profile
from harness.cli import main as main_module
from harness.cli.main import run_command_line
from harness.config import CHECKOUT
from harness.errors import InfraError
from harness.run import laboratory
from harness.run.campaign import RunOutcome
from harness.run.options import DEFAULT_BOOT_TIMEOUT_S, DEFAULT_TIMEOUT_S, RunOptions
from harness.run.plan import Plan


@pytest.fixture(autouse=True)
def _no_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No command of a test may touch what the user has built, nor build anything."""
    monkeypatch.setenv("HARNESS_STATE_DIR", str(tmp_path / "state"))

    def nothing_is_built(*_: object, **__: object) -> None:
        raise AssertionError("bad input came as far as building the guests")

    monkeypatch.setattr(laboratory, "build_micro", nothing_is_built)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Plan, RunOptions]]:
    """Takes the place of the run itself, and is given what would have run."""
    calls: list[tuple[Plan, RunOptions]] = []

    def campaign(plan: Plan, options: RunOptions, *_: object) -> RunOutcome:
        calls.append((plan, options))
        return RunOutcome(tmp_path, 1)

    for command in ("run", "replay"):
        monkeypatch.setattr(sys.modules[f"harness.cli.{command}"], "run_campaign", campaign)
    return calls


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command said when it refused to start."""
    code = run_command_line(words)
    said = capsys.readouterr()
    assert code == 64, said
    assert "Traceback" not in said.out + said.err
    assert said.err.strip()
    return said.err


BAD_SUITE = 'name = "mine"\nlength = "two"\n'
BAD_PROFILE = 'suite = "bookworm"\n'


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--suite", "ace-seq9"], ["'ace-seq9'", "ace-seq1", "harness suites"]),
        (["run", "--suite", "none.toml"], ["none.toml"]),
        (["run"], ["--suite"]),
        (["run", "--suite", "smoke", "--fs", "zfs"], ["zfs", "btrfs"]),
        (["run", "--suite", "smoke", "--target", "drdb"], ["drdb", "linear"]),
        (["run", "--suite", "smoke", "--target", "drbd", "--defect", "drop_write"], ["drbd"]),
        (["run", "--suite", "smoke", "--target", "linear", "--link-delay-ms", "9"], ["link-delay"]),
        (["run", "--suite", "smoke", "--link-delay-ms", "-1"], ["--link-delay-ms"]),
        (["run", "--suite", "smoke", "--defect", "none"], ["none", "drop_write"]),
        (["run", "--suite", "smoke", "--target", "linear", "--defect", "drop_write"], ["linear"]),
        (["run", "--suite", "smoke", "--target", "linear", "--impostor", "stale"], ["linear"]),
        (["run", "--suite", "smoke", "--impostor", "liar"], ["liar", "stale"]),
        (["run", "--suite", "smoke", "--accel", "hvf"], ["hvf", "tcg"]),
        (["run", "--suite", "smoke", "--profile", "debian-3"], ["debian-3", "debian-12"]),
        (["run", "--suite", "smoke", "--shard", "0/2"], ["'0/2'", "i/n"]),
        (["run", "--suite", "smoke", "--shard", "3/2"], ["'3/2'"]),
        (["run", "--suite", "smoke", "--shard", "1"], ["'1'"]),
        (["run", "--suite", "smoke", "--shard", f"1/{'9' * 5000}"], ["no shard"]),
        (["run", "--suite", "smoke", "--pairs", "0"], ["--pairs"]),
        (["run", "--suite", "smoke", "--sample", "0"], ["--sample"]),
        (["run", "--suite", "smoke", "--limit", "-1"], ["--limit"]),
        (["run", "--suite", "smoke", "--seed", "x"], ["--seed"]),
        (["run", "--suite", "smoke", "--timeout-s", "0"], ["--timeout-s"]),
        (["run", "--suite", "smoke", "--timeout-s", "nan"], ["--timeout-s"]),
        (["run", "--suite", "smoke", "--boot-timeout-s", "inf"], ["--boot-timeout-s"]),
        (["run", "--suite", "smoke", "--only", "999"], ["999"]),
        (["run", "--suite", "smoke", "--only", "ace-seq1/1"], ["ace-seq1/1", "smoke/"]),
        (["run", "--suite", "smoke", "--only", "1", "--shard", "1/99"], ["no workload is left"]),
        (["run", "--suite", "device", "--target", "linear"], ["device"]),
        (["run", "--no-such-option"], ["--no-such-option"]),
        (["replay", "smoke"], ["smoke", "SUITE/INDEX@FS@TARGET"]),
        (["replay", "smoke/1@zfs@rollbaccine"], ["zfs", "ext4"]),
        (["replay", "smoke/1@ext4@drdb"], ["drdb", "linear"]),
        (["replay", "smoke/999@ext4@linear"], ["999"]),
        (["replay", "none/1@ext4@linear"], ["none"]),
        (["replay", "smoke/../1@ext4@linear"], ["not a case id"]),
        (["check", "/no/such/run"], ["/no/such/run"]),
        (["ace", "show", "ace-seq1/0"], ["ace-seq1"]),
        (["clean", "--state-dir", "/proc/version/x"], ["/proc/version/x", "--state-dir"]),
        (["no-such-command"], ["no-such-command"]),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else None,
)
def test_bad_input_is_refused_before_anything_starts(
    words: list[str], said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = refused(capsys, *words)
    for part in said:
        assert part in text


@pytest.mark.parametrize("kind", ["profile", "suite"])
def test_an_unreadable_file(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.toml"
    words = ["run", "--suite", "smoke", f"--{kind}", str(path)]
    for text in (b"", b"= no toml", b'"\xff"', BAD_SUITE.encode(), BAD_PROFILE.encode()):
        path.write_bytes(text)
        assert "mine.toml" in refused(capsys, *words)
    path.unlink()
    path.mkdir()
    assert "mine.toml" in refused(capsys, *words)


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["run", "--help"], ["replay", "-h"]])
def test_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(words) == 0
    assert "Usage: harness" in capsys.readouterr().out


def test_help_names_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    run_command_line(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for word in ("1 findings", "2 some unknown", "3 infra", "64 usage", "70 inter", "130 inter"):
        assert word in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["--version"]) == 0
    assert "harness" in capsys.readouterr().out


def test_the_exit_code_of_a_run_is_that_of_its_record(
    ran: list[tuple[Plan, RunOptions]],
) -> None:
    words = ["run", "--suite", "smoke", "--fs", "xfs", "--fs", "ext4", "--fs", "xfs", "--seed", "5",
             "--shard", "1/1", "--limit", "3", "--timeout-s", "7"]  # fmt: skip
    assert run_command_line(words) == 1
    ((plan, options),) = ran
    assert (plan.name, plan.planned) == ("smoke", 6)
    assert (options.fs, options.seed, options.limit) == (("xfs", "ext4"), 5, 3)
    assert (options.shard, options.timeout_s) == ((1, 1), 7)


def test_a_slow_profile_is_given_more_time(ran: list[tuple[Plan, RunOptions]]) -> None:
    for name in ("debian-12", "debian-12-6.12-sanitizer"):
        run_command_line(["run", "--suite", "smoke", "--profile", name, "--limit", "1"])
    usual, slow = (options for _, options in ran)
    factor = load_profile("debian-12-6.12-sanitizer").patience
    assert factor > 1
    assert (usual.timeout_s, usual.boot_timeout_s) == (DEFAULT_TIMEOUT_S, DEFAULT_BOOT_TIMEOUT_S)
    assert slow.timeout_s == factor * usual.timeout_s
    assert slow.boot_timeout_s == factor * usual.boot_timeout_s


def test_replay_runs_the_one_case(ran: list[tuple[Plan, RunOptions]]) -> None:
    assert run_command_line(["replay", "smoke/000000004@xfs@rollbaccine", "--pause"]) == 1
    ((plan, options),) = ran
    case = plan.take()
    assert case is not None
    assert str(case.case_id) == "smoke/000000004@xfs@rollbaccine"
    assert plan.take() is None
    assert options.keep_pair


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InfraError("no QEMU", hint="do this"), 3, "harness: no QEMU\n  [do this]\n"),
        (KeyboardInterrupt(), 130, "harness: interrupted\n"),
        (EOFError(), 130, "harness: interrupted\n"),
        (BrokenPipeError(), 141, ""),
    ],
)  # fmt: skip
def test_errors_become_exit_codes(
    error: BaseException, code: int, said: str, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert failing(error, monkeypatch) == code
    assert capfd.readouterr().err == said


def test_a_bug_of_ours_is_shown_with_its_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert failing(ZeroDivisionError("a bug"), monkeypatch) == 70
    said = capsys.readouterr().err
    assert "internal error, please report" in said
    assert "ZeroDivisionError: a bug" in said


def failing(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(main_module.harness, "invoke", fails)
    return run_command_line(["suites"])


def test_nobody_at_the_prompt_ends_the_wait() -> None:
    from harness.cli.run import keep_guests

    def closed(_: str) -> str:
        raise EOFError

    keep_guests(closed)


def test_clean_leaves_what_is_built_unless_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    product = tmp_path / "state" / "cache" / "thing" / "product"
    product.parent.mkdir(parents=True)
    product.touch()
    assert run_command_line(["clean"]) == 0
    assert product.is_file()
    for _ in range(2):
        assert run_command_line(["clean", "--cache"]) == 0
        assert not product.parent.parent.exists()
    assert "0 left-over guests ended" in capsys.readouterr().out


def started(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=CHECKOUT, env={**os.environ, **environment}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_a_missing_library_is_said_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "libvirt.py").write_text("raise ImportError('libvirt.so.0: no such file')\n")
    done = started(sys.executable, "-m", "harness", "suites", PYTHONPATH=str(tmp_path))
    assert done.returncode == 3
    assert done.stderr == (
        "harness: cannot start: libvirt.so.0: no such file\n  [run 'make setup']\n"
    )


def test_a_reader_that_leaves_is_no_finding() -> None:
    command = f"'{sys.executable}' -m harness ace export ace-seq1 --stdout | head -n 1"
    done = started("bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (141, "")
    assert done.stdout.count("\n") == 1
