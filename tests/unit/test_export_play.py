# SPDX-License-Identifier: Apache-2.0
"""``ace-play``: system calls and programs leave the same tree, and a refusal is in its words."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from exported import FILES, PERL
from standin import Sandbox, sandbox

from ace_workloads.registry import load_suite
from harness.export.tree import common_files, export_tests
from harness.run.xfstests.bundle import step_errors

LISTING = """\
#!/bin/bash
# Of the tree at each crash point what steps are for; blocks are the file system's business.
[ "$1" = point ] || exit 0
cd "$SCRATCH_MNT" || exit
{
    echo "$2 $3"
    find . -printf '%P %y %m %n %s %l\\n' | sort
    find . -type f | sort | xargs -r sha256sum
    getfattr -R -d -m '^user\\.' . 2> /dev/null
} >> "$LISTED"
"""


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with sandbox() as made:
        for suite in ("ace-seq1", "ace-seq2", "paper-seq2"):
            sampled = load_suite(suite).sample(12, seed=6)
            export_tests(sampled, made.tree, suite, bundle=12, size=12)
        export_tests(load_suite("smoke"), made.tree, "smoke", bundle=13, size=13)
        yield made


@pytest.mark.whole
@pytest.mark.parametrize("suite", ["smoke", "ace-seq1", "ace-seq2", "paper-seq2"])
def test_system_calls_do_what_programs_do(box: Sandbox, tmp_path: Path, suite: str) -> None:
    hook = tmp_path / "hook"
    hook.write_text(LISTING)
    hook.chmod(0o755)
    seen = []
    for programs in ("", "yes"):
        listed = tmp_path / f"listed{programs}"
        ran = box.run(
            f"{suite}/001", HARNESS_RENDEZVOUS=str(hook), LISTED=str(listed), ACE_PROGRAMS=programs
        )
        assert ran.passed, ran.unexpected
        seen.append(listed.read_text())
    assert seen[0] == seen[1]
    assert seen[0].count(" f 7") > 5


class Player:
    """``ace-play`` below a folder, asked once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.top = folder / "top"
        self.top.mkdir()
        (folder / "common").mkdir()
        for name, text in common_files().items():
            (folder / "common" / name).write_text(text)

    def ask(self, *words: str, **environment: str) -> list[str]:
        """Lines of the answer."""
        done = subprocess.run(
            [PERL, FILES / "ace-play", self.top, self._folder / "data"],
            input="\t".join(words) + "\n", cwd=self._folder, env=environment,
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.stderr == ""
        assert done.returncode == 0
        return done.stdout.splitlines()

    def play(self, *steps: str, **environment: str) -> list[str]:
        """Lines of the answer, of these steps from the first to the last."""
        table = self._folder / "table"
        table.write_text("".join(f"do {step}\n" for step in steps))
        return self.ask("steps", str(table), "1", str(len(steps)), "0", **environment)


@pytest.fixture
def player(tmp_path: Path) -> Player:
    return Player(tmp_path)


@pytest.mark.parametrize(
    ("steps", "said", "error"),
    [
        (["unlink foo"], "step 1: unlink: No such file or directory", "unlink: ENOENT"),
        (["mkdir A", "mkdir A"], "step 2: mkdir: File exists", "mkdir: EEXIST"),
        (["mkdir A", "open A/foo", "rmdir A"], "step 3: rmdir: Directory not empty",
         "rmdir: ENOTEMPTY"),
        (["open foo", "removexattr foo"], "step 2: removexattr: No data available",
         "removexattr: ENODATA"),
        (["fsync foo"], "step 1: open: No such file or directory", "open: ENOENT"),
        (["open foo", "falloc foo FALLOC_FL_ZERO_RANGE 0 0"], "step 2: fallocate: Invalid argument",
         "fallocate: EINVAL"),
    ],
)  # fmt: skip
def test_a_step_that_is_refused(player: Player, steps: list[str], said: str, error: str) -> None:
    assert player.play(*steps, LC_ALL="C") == [said, "end 1"]
    assert step_errors([said]) == ((len(steps), error),)


def test_the_steps_after_one_that_is_refused_are_not_carried_out(player: Player) -> None:
    assert player.play("mkdir A", "rmdir B", "mkdir C", LC_ALL="C")[-1] == "end 1"
    assert [path.name for path in player.top.iterdir()] == ["A"]


def test_a_program_that_refuses_is_quoted_line_by_line(player: Player, tmp_path: Path) -> None:
    program = tmp_path / "refuse"
    program.write_text("#!/bin/sh\necho first: Input/output error\necho second >&2\nexit 1\n")
    program.chmod(0o755)
    said = player.play("mkdir A", "opendir A", "fsync A", ACE_PROGRAMS="yes",
                       XFS_IO_PROG=f"{program} -i")  # fmt: skip
    assert said == ["step 3: first: Input/output error", "step 3: second", "end 1"]


@pytest.mark.parametrize(
    "words",
    [
        ("mount", "/dev/nothing", "ext4", ""),
        ("mount", "/dev/nothing", "ext4", "-o acl -t xfs"),
        ("unmount",),
        ("flakey", "no such device", "0 8 flakey /dev/nothing 0 180 0"),
        ("flakey", "x", "no table"),
        ("steps", "/nothing", "1", "1", "0"),
        ("live", "/nothing", "ext4", "1", "0", "/", "/nothing"),
        ("nonsense",),
        ("close", "too many words"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(player: Player, words: tuple[str, ...]) -> None:
    said = player.ask(*words)
    assert said[-1] == "end 2"
    assert len(said) == 2
    refused = player.ask(*words, ACE_PROGRAMS="yes")
    assert refused[-1] == "end 2"
    assert len(refused) == 2


@pytest.mark.parametrize("options", ["", "  ", "-o acl,user_xattr ", " -oacl -o noatime  "])
def test_options_that_mount_takes_are_not_what_it_refuses(player: Player, options: str) -> None:
    assert "not with" not in player.ask("mount", "/dev/nothing", "ext4", options)[0]
    assert "not with" in player.ask("mount", "/dev/nothing", "ext4", f"{options} -t xfs")[0]
