# SPDX-License-Identifier: Apache-2.0
"""``harness minimize`` and ``replay --workload`` as a user meets them, on guests in memory."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from oracle_trees import without
from pulse_world import PulseWorld
from run_world import tree_payload
from test_run_campaign import Rig, at_case, press_ctrl_c, rig

from ace_workloads.ops import Step, Verb
from ace_workloads.registry import load_suite
from ace_workloads.workload import Workload
from harness.cli.main import run_command_line
from harness.events import Warned
from harness.guest.fake import Command, Reply
from harness.report.load import load_run
from harness.run import campaign

__all__ = ["rig"]

Needs = Callable[[Sequence[Step]], bool]


@pytest.fixture(autouse=True)
def _signs_of_life(rig: Rig) -> None:
    """Commands ask for them unless told otherwise."""
    rig.world = PulseWorld()


def loses_files(rig: Rig, needs: Needs, runs: Callable[[int], bool] = lambda run: True) -> None:
    """The backup loses every file of a workload that ``needs`` says so of, in those ``runs``.

    Runs are counted from 1, those on the control arm left out; that always passes.
    """

    def rule(role: str, command: Command) -> Reply | None:
        if (role, command[0]) != ("backup", "tree"):
            return None
        replicated = rig.world.crash_device() == "/dev/mapper/replicated"
        if not replicated or not needs(rig.world.steps()):
            return None
        if not runs(replicated_runs(rig)):
            return None
        tree = rig.world.crash_tree()
        return Reply(tree_payload(without(*(path for path in tree.entries if path))(tree)))

    rig.world.rules.append(rule)


def replicated_runs(rig: Rig) -> int:
    return sum(
        (role, command[0]) == ("primary", "mount") and command[1] == "/dev/mapper/replicated"
        for role, command in rig.world.log
    )


def has(*verbs: Verb) -> Needs:
    return lambda steps: set(verbs) <= {step.verb for step in steps}


def command(rig: Rig, *words: str) -> tuple[str, ...]:
    return (
        *words, "--out", str(rig.folder / "reports"), "--state-dir", str(rig.folder / "state"),
    )  # fmt: skip


def workload(*kinds: str, last: Verb = Verb.FSYNC) -> Workload:
    """The first of ace-seq2 with these core ops that ends in this persistence op."""
    suite = load_suite("ace-seq2")
    address = 0
    for skeleton in suite.addresses.skeletons:  # type: ignore[attr-defined]
        if skeleton == kinds:
            break
        address += suite.addresses.skeleton_size(skeleton)  # type: ignore[attr-defined]
    for index in range(address + 1, address + 5000):
        made = suite._find(index)
        if made is not None and made.persist[-1].verb is last and made.persist[0].verb is last:
            return made
    raise LookupError(kinds)


@pytest.fixture
def case() -> str:
    return f"{workload('link', 'write').id}@ext4@rollbaccine"


def minimal(rig: Rig) -> tuple[str, Path]:
    """Core ops in the file of the smallest workload, and the script."""
    folder = rig.folder / "reports" / "minimize" / "latest"
    (text,) = folder.glob("minimal-*.jlang")
    (script,) = folder.glob("reproduce-*.sh")
    return text.read_text(encoding="utf-8"), script


def test_the_smallest_workload_is_found_and_written_down(
    rig: Rig, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    loses_files(rig, has(Verb.LINK))
    assert run_command_line(command(rig, "minimize", case)) == 0
    said = capsys.readouterr().out
    assert "the smallest that fails this way: 1 core ops, 2 at first" in said
    assert re.search(r"^  link \S+ \S+; fsync \S+$", said, re.MULTILINE)
    assert "it failed in 3 of 3 runs" in said
    assert rig.world.boots() == 1, "one pair serves all candidates"
    text, script = minimal(rig)
    assert text.startswith("# core link\n")
    assert "write" not in text.partition("# run")[2]
    shell = script.read_text(encoding="utf-8")
    assert f"of case {case}; failed in 3 of 3 runs" in shell
    assert '\tln "$dir/' in shell
    recorded = list(load_run(rig.folder / "reports" / "minimize" / "latest").results())
    asked = int(re.search(r"^(\d+) candidates tried", said, re.MULTILINE)[1])  # type: ignore[index]
    assert len(recorded) == 3 + asked + 3
    assert not list(script.parent.glob("junit*.xml")), "candidates are no news to Jenkins"
    assert len({result.workload_hash for result in recorded}) == 1 + asked, "none is run twice"


def test_what_it_writes_can_be_replayed(
    rig: Rig, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    loses_files(rig, has(Verb.LINK))
    assert run_command_line(command(rig, "minimize", case)) == 0
    replay = re.search(r"^replay:   harness (.*)$", capsys.readouterr().out, re.MULTILINE)
    assert replay is not None
    assert run_command_line(command(rig, *replay[1].split())) == 1
    said = capsys.readouterr().out
    assert "\nlink " in said
    assert "replay the first finding: harness replay --workload" in said
    rig.world.rules.clear()
    assert run_command_line(command(rig, *replay[1].split())) == 0


def test_a_case_that_passes(rig: Rig, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(command(rig, "minimize", case, "--tries", "2")) == 2
    assert "did not fail in 2 runs: nothing to minimize" in capsys.readouterr().out
    assert not list((rig.folder / "reports" / "minimize" / "latest").glob("*.sh"))


def test_another_way_to_fail_does_not_count(
    rig: Rig, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the link the backup differs too, but in its device."""
    loses_files(rig, has(Verb.LINK))

    def differs(role: str, command: Command) -> Reply | None:
        if (role, command[0]) != ("backup", "digest") or has(Verb.LINK)(rig.world.steps()):
            return None
        return Reply(b"f" * 32 + b" 7")

    rig.world.rules.append(differs)
    assert run_command_line(command(rig, "minimize", case)) == 0
    said = capsys.readouterr().out
    assert "runs failed in another way and do not count" in said
    assert minimal(rig)[0].startswith("# core link\n")


def test_what_fails_now_and_then_is_given_more_chances(
    rig: Rig, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    loses_files(rig, has(Verb.LINK), lambda run: run % 2 == 1)
    assert run_command_line(command(rig, "minimize", case, "--tries", "4")) == 0
    said = capsys.readouterr().out
    assert "the case failed in 2 of 4 runs" in said
    assert "1 core ops, 2 at first" in said
    assert re.search(r"it failed in [23] of 4 runs", said)


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Presses Ctrl-C and returns when the run has taken notice."""
    noticed = threading.Event()

    def warned(text: str) -> Warned:
        noticed.set()
        return Warned(text)

    monkeypatch.setattr(campaign, "Warned", warned)

    def press() -> None:
        press_ctrl_c()
        assert noticed.wait(10)

    return press


def test_ctrl_c_keeps_the_smallest_so_far(
    rig: Rig, case: str, capsys: pytest.CaptureFixture[str], interrupt: Callable[[], None]
) -> None:
    loses_files(rig, has(Verb.LINK))
    # Three runs of the case and of its control arm, then it without the link, then without the
    # write: that fails, and nobody asks for another.
    at_case(8, rig, interrupt)
    assert run_command_line(command(rig, "minimize", case)) == 130
    said = capsys.readouterr().out
    assert "2 candidates tried" in said
    assert "the search was not finished" in said
    assert "the smallest so far that fails this way: 1 core ops, 2 at first" in said
    assert minimal(rig)[0].startswith("# core link\n")


def test_ctrl_c_before_anything_failed(
    rig: Rig, case: str, capsys: pytest.CaptureFixture[str], interrupt: Callable[[], None]
) -> None:
    at_case(1, rig, interrupt)
    assert run_command_line(command(rig, "minimize", case)) == 130
    assert "interrupted before the case had failed" in capsys.readouterr().out


def test_so_many_candidates_and_no_more(
    rig: Rig, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    loses_files(rig, has(Verb.LINK))
    assert run_command_line(command(rig, "minimize", case, "--max-candidates", "2")) == 0
    said = capsys.readouterr().out
    assert "2 candidates tried" in said
    assert "the search was not finished" in said


def test_guests_that_are_lost_each_time(
    rig: Rig, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.world.rules.append(
        lambda role, command: rig.world.lose(role) if command[0] == "mount" else None
    )
    assert run_command_line(command(rig, "minimize", case)) == 3
    said = capsys.readouterr()
    assert "the case came to no verdict" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ace-seq2/1"], ["SUITE/INDEX@FS@TARGET"]),
        (["ace-seq2/999999999@ext4@rollbaccine"], ["no workload 999999999"]),
        (["ace-seq9/1@ext4@rollbaccine"], ["ace-seq9"]),
        (["ace-seq2/5@zfs@rollbaccine"], ["zfs", "btrfs"]),
        (["ace-seq2/5@ext4@nowhere"], ["nowhere", "linear"]),
        (["device/overlap@raw@rollbaccine"], ["no core ops"]),
        (["kmod-endurance/42.0007@raw@rollbaccine"], ["no core ops"]),
        (["written/0123456789abcdef@ext4@rollbaccine"], ["no core ops"]),
        (["ace-seq2/5@ext4@rollbaccine", "--defect", "none"], ["none", "drop_write"]),
        (["ace-seq2/5@ext4@rollbaccine", "--tries", "0"], ["--tries"]),
        (["ace-seq2/5@ext4@rollbaccine", "--suite-file", "no.toml"], ["no.toml"]),
        ([], ["CASE"]),
    ],
)
def test_bad_input(
    rig: Rig, words: list[str], said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(command(rig, "minimize", *words)) == 64
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    assert all(text in shown for text in said), shown
    assert rig.world.boots() == 0


@pytest.mark.parametrize(
    ("words", "text", "said"),
    [
        (["--workload", "FILE"], "frobnicate foo\n", ["line 1", "frobnicate", "no workload"]),
        (["--workload", "FILE"], "sync\n", ["no checkpoint"]),
        (["--workload", "FILE"], "\udcff", ["no workload"]),
        (["--workload", "FILE.none"], "", ["cannot read"]),
        (["smoke/1@ext4@linear", "--workload", "FILE"], "", ["either"]),
        ([], "", ["which case?", "--workload"]),
        (["smoke/1@ext4@linear", "--fs", "xfs"], "", ["--workload"]),
        (["written/0123456789abcdef@ext4@linear"], "", ["--workload FILE"]),
    ],
)
def test_bad_input_of_replay(
    rig: Rig, words: list[str], text: str, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = rig.folder / "mine.jlang"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    named = [word.replace("FILE", str(file)) for word in words]
    assert run_command_line(command(rig, "replay", *named)) == 64
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    assert all(each in shown for each in said), shown


# -- the script ---------------------------------------------------------------------------------


@pytest.fixture
def script(rig: Rig, case: str) -> Path:
    loses_files(rig, has(Verb.LINK, Verb.WRITE))
    assert run_command_line(command(rig, "minimize", case)) == 0
    return minimal(rig)[1]


def test_the_script_runs_its_steps(script: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    done = subprocess.run([script, "dir", target], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "all as expected\n"), done.stderr


@pytest.mark.parametrize("broken", ["is_file", "has_size", "has_bytes"])
def test_the_script_sees_what_is_wrong(script: Path, tmp_path: Path, broken: str) -> None:
    text = script.read_text(encoding="utf-8")
    _, path, *_ = next(x for x in text.splitlines() if x.startswith(f"\t{broken} ")).split()
    harm = {
        "is_file": f'rm "$dir/{path}"',
        "has_size": f'echo more >>"$dir/{path}"',
        "has_bytes": f'printf x | dd of="$dir/{path}" conv=notrunc 2>/dev/null',
    }
    target = tmp_path / "target"
    target.mkdir()
    script.write_text(text.replace("\n\t:\n}\n", f"\n\t{harm[broken]}\n}}\n", 1), "utf-8")
    done = subprocess.run([script, "dir", target], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"NOT AS EXPECTED: {path}: " in done.stdout
    assert done.stdout.endswith("reproduced\n")


@pytest.mark.parametrize("words", [[], ["replica"], ["dir", "/nowhere"], ["flakey", "/dev/null"]])
def test_the_script_says_what_it_cannot_do(script: Path, words: list[str]) -> None:
    done = subprocess.run([script, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr


def test_the_script_is_clean(script: Path) -> None:
    done = subprocess.run(
        ["shellcheck", "-s", "sh", script], capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
    assert done.returncode == 0
