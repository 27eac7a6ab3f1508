# SPDX-License-Identifier: Apache-2.0
"""``harness ace import``, and the suites it makes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from ace_workloads.digest import digest_texts
from ace_workloads.errors import SuiteError
from ace_workloads.imported import guess_core
from ace_workloads.jlang import parse_run_section
from ace_workloads.listing import describe_op, describe_persist
from ace_workloads.ops import Mode
from ace_workloads.registry import load_suite, load_workload
from ace_workloads.suite import Suite
from harness.cli.ace import ace
from harness.cli.run import make_plan
from harness.errors import UsageError
from harness.run.options import RunOptions

HEADER = "# define\ntest\nA\nfoo\n\n# declare\nlocal_checkpoint\n\n# setup\n\n\n# run\n"
CREAT = "open foo O_RDWR|O_CREAT 0777\nfsync foo\ncheckpoint 1\nclose foo\n"


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(ace, [*map(str, words)], catch_exceptions=False)
    return result.exit_code, result.stdout


def imported(folder: Path, *words: object) -> tuple[int, dict[str, int], list[str]]:
    """Exit status, what the table's rows count, and the lines after it."""
    status, text = run(
        "import", folder, "--name", "own", "--out", folder.parent / "own.toml", *words
    )
    rows = text.splitlines()[:6]
    counts = {row.split(None, 1)[1].split(" ")[0]: int(row.split()[0]) for row in rows}
    return status, counts, text.splitlines()[6:]


def written(folder: Path, **files: str) -> Path:
    """A folder with J-lang files of these run sections."""
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("_", "-")).write_text(HEADER + text)
    return folder


def suite_of(folder: Path) -> Suite:
    return load_suite(folder.parent / "own.toml")


@pytest.mark.parametrize(
    ("suite", "words"),
    [
        ("ace-seq1-nested", []),
        ("ace-seq2", ["--sample", "200"]),
        ("paper-seq1", []),
        ("ace-seq1", ["--mode", "original"]),
    ],
)
def test_what_was_exported_comes_back(tmp_path: Path, suite: str, words: list[str]) -> None:
    folder = tmp_path / "files"
    assert run("export", suite, "--out", folder, *words)[0] == 0
    texts = [path.read_text() for path in folder.rglob("*.jlang")]
    before = digest_texts(text.partition("# run\n")[2] for text in texts)
    status, counts, _ = imported(folder, *(["--keep"] if words[:1] == ["--mode"] else []))
    assert status == 0
    assert counts["workloads"] == len(texts)
    made = suite_of(folder)
    assert digest_texts(made.texts()) == before
    numbers = sorted(int(path.stem) for path in folder.rglob("*.jlang"))
    assert list(made.indices()) == [workload.index for workload in made] == numbers
    assert made.count() == len(numbers)


def test_what_cannot_run_and_what_repeats_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    run("export", "ace-seq1", "--mode", "original", "--out", folder)
    status, counts, faults = imported(folder, "--show", "30")
    # Measured with the published generator: 423 different texts, of which 404 run without an error.
    assert counts == {
        "files": 435, "are": 0, "cannot": 19, "repeat": 12, "workloads": 404,
    }  # fmt: skip
    assert status == 0
    assert len(faults) == 19
    assert any(
        line.endswith("000000202.jlang:26: fsync can only fail with EBADF") for line in faults
    )


def test_numbers_are_those_of_the_files(tmp_path: Path) -> None:
    other = CREAT.replace("foo", "bar")
    folder = written(tmp_path / "f", j_lang12=CREAT, j_lang7=other)
    imported(folder)
    made = suite_of(folder)
    assert [workload.id for workload in made] == ["own/000000007", "own/000000012"]
    assert made.workload(12).canonical_text == CREAT
    assert load_workload("own/7", suite_file=tmp_path / "own.toml").canonical_text == other
    for index in (1, 8, 13):
        with pytest.raises(SuiteError, match=f"no workload {index} in own"):
            made.workload(index)


def test_files_without_numbers_are_counted(tmp_path: Path) -> None:
    deep = CREAT.replace("open foo", "mkdir A 0777\nopen Afoo").replace("c foo", "c Afoo")
    deep = deep.replace("close foo", "close Afoo")
    folder = written(tmp_path / "f", one=CREAT, two10=CREAT.replace("foo", "bar"), two9=deep)
    _, _, lines = imported(folder)
    assert "counted from 1" in lines[0]
    assert [workload.steps[-1].path for workload in suite_of(folder)] == ["foo", "A/foo", "bar"]


def test_an_imported_suite_can_be_run_sharded_and_sampled(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    run("export", "ace-seq1", "--out", folder)
    imported(folder)
    made = suite_of(folder)
    everything = {workload.id: workload for workload in made}
    shards = [workload for number in (1, 2, 3) for workload in made.iter((number, 3))]
    assert {workload.id: workload for workload in shards} == everything
    assert len(shards) == 300
    sampled = made.sample(20, seed=1)
    assert sampled == made.sample(20, seed=1)
    assert sampled != made.sample(20, seed=2)
    assert [w.index for w in sampled] == sorted({w.index for w in sampled})
    assert made.sample(1000, seed=1) == tuple(made)
    only = ("own/000000012",)
    plan = make_plan(RunOptions(suite=str(tmp_path / "own.toml"), only=only))
    case = plan.take()
    assert case is not None
    assert str(case.case_id) == "own/000000012@ext4@rollbaccine"
    assert case.workload == everything["own/000000012"]
    assert plan.take() is None


def test_the_core_ops_are_read_off_the_steps() -> None:
    for workload in load_suite("ace-seq2").sample(300, seed=9):
        core, persist = guess_core(workload.steps)
        assert len(core) == len(persist) == 2
        for found, real in zip(core, workload.core, strict=True):
            # A creat cannot be told from the open that some fsync needs, nor a mkdir.
            if real.kind not in ("creat", "mkdir"):
                assert (found.kind, found.path, found.path2) == (real.kind, real.path, real.path2)
        assert [describe_persist(p) for p in persist] == [
            describe_persist(p) for p in workload.persist
        ]
    ends = guess_core(parse_run_section("open foo O_RDWR 0777\nfdatasync foo\ncheckpoint 1"))
    assert describe_op(ends[0][0]) == "creat foo"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("none\nmsync foo 0 8192\n", 14, "unknown verb in 'msync foo 0 8192'"),
        ("open foo O_RDWR|O_CREAT\n", 13, "open takes 3 arguments, not 2"),
        ("fsync qux\n", 13, "no such name: 'qux'"),
        ("write foo x 5\n", 13, "invalid literal for int() with base 10: 'x'"),
        ("write foo 1_0 5\n", 13, "no step of J-lang"),
        ("checkpoint 2\n", 13, "checkpoint takes 0 or 1, not '2'"),
        ("sync\x1b[2J\n", 13, "no step of J-lang: sync\\x1b[2J"),
        ("", 0, "its run section is empty"),
    ],
)  # fmt: skip
def test_malformed_files_are_named_with_the_line(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    folder = written(tmp_path / "f", j_lang1=CREAT, j_lang2=text)
    status, counts, faults = imported(folder)
    assert status == 1
    assert counts["workloads"] == 1
    where = f"{folder}/j-lang2:{line}" if line else f"{folder}/j-lang2"
    assert faults == [f"{where}: {message}"] or faults[0].startswith(f"{where}: {message}")


def test_a_setup_section_is_not_passed_over(tmp_path: Path) -> None:
    folder = written(tmp_path / "f", j_lang1=CREAT)
    (folder / "j-lang2").write_text(HEADER.replace("# setup\n", "# setup\nmkdir A 0777\n") + CREAT)
    assert imported(folder)[2] == [
        f"{folder}/j-lang2:10: a step in the setup section, which is to be empty"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("open foo O_RDWR|O_CREAT 0777\nclose foo\n", ": no persistence point"),
        ("open foo O_RDWR|O_CREAT 0777\ndwrite foo 100 512\nsync\ncheckpoint 1\n",
         ":14: dwrite of parts of sectors"),
        ("open foo O_RDWR|O_CREAT 0777\nwrite foo 0 99999999999\nsync\ncheckpoint 1\n",
         ":14: write reaches beyond"),
        ("open foo O_RDWR|O_CREAT 0777\nwrite foo -2000 5000\nsync\ncheckpoint 1\n",
         ":14: write can only fail with EINVAL"),
        ("mkdir A 0777\nmkdir AC 0777\nrename A AC\nsync\ncheckpoint 1\n",
         ":15: rename can only fail with EINVAL"),
    ],
)  # fmt: skip
def test_what_can_only_fail_is_named(tmp_path: Path, text: str, message: str) -> None:
    folder = written(tmp_path / "f", j_lang1=CREAT, j_lang2=text)
    status, counts, faults = imported(folder)
    assert (status, counts["cannot"], counts["workloads"]) == (0, 1, 1)
    assert message in faults[0]


def test_hostile_folders(tmp_path: Path) -> None:
    folder = written(tmp_path / "f", j_lang1=CREAT)
    (folder / "binary").write_bytes(bytes(range(256)) * 100)
    (folder / "zeros").write_bytes(b"# run\n\0\0")
    (folder / "latin").write_bytes(b"# run\nopen f\xf6\xf6 O_RDWR 0777\n")
    with (folder / "sparse").open("wb") as huge:
        huge.truncate(1 << 30)
    (folder / "line").write_bytes(b"# run\n" + b"a" * (3 << 20))
    (folder / "long").write_bytes(b"# run\n" + b"sync\n" * 300_000)
    (folder / "loop").symlink_to(folder)
    (folder / "self").symlink_to("self")
    (folder / "link").symlink_to("j-lang1")
    os.mkfifo(folder / "pipe")
    (folder / os.fsdecode(b"bad\xff\n\x1bname")).write_text(HEADER + "what\n")
    status, counts, faults = imported(folder)
    assert status == 1
    assert counts["workloads"] == 1
    assert sorted(fault.removeprefix(f"{folder}/") for fault in faults) == [
        "bad\\udcff\\n\\x1bname:13: unknown verb in 'what'",
        "latin:2: not UTF-8",
        "line: longer than 1048576 bytes",
        "long: longer than 1048576 bytes",
    ]


@pytest.mark.parametrize("what", ["missing", "file", "empty", "nothing"])
def test_folders_without_workloads(tmp_path: Path, what: str) -> None:
    folder = tmp_path / what
    if what == "file":
        folder.write_text("")
    elif what != "missing":
        folder.mkdir()
    if what == "nothing":
        (folder / "j-lang1").write_text(HEADER + "what\n")
    message = "cannot be read" if what in ("missing", "file") else "has no workload"
    with pytest.raises(UsageError, match=message):
        imported(folder)
    assert not (tmp_path / "own.toml").exists()
    assert not (tmp_path / "own.jlang").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--name", "ace-seq1"), "'ace-seq1' is no name for a suite"),
        (("--name", "A/B"), "'A/B' is no name for a suite"),
        (("--out", "x.json"), "x.json is no suite file"),
    ],
)
def test_bad_names(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    folder = written(tmp_path / "f", j_lang1=CREAT)
    with pytest.raises(UsageError, match=message):
        run("import", folder, *words)


def test_an_earlier_import_stays(tmp_path: Path) -> None:
    folder = written(tmp_path / "f", j_lang1=CREAT)
    imported(folder)
    before = (tmp_path / "own.jlang").read_bytes()
    with pytest.raises(UsageError, match=r"own\.toml exists"):
        imported(folder)
    assert (tmp_path / "own.jlang").read_bytes() == before


def test_a_text_that_was_changed_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path / "f", j_lang1=CREAT)
    imported(folder)
    text, table = tmp_path / "own.jlang", tmp_path / "own.toml"
    good, described = text.read_text(), table.read_text()
    text.write_text(good.replace("fsync foo", "fsync bar"))
    with pytest.raises(SuiteError, match="not the text that was imported"):
        suite_of(folder)
    text.unlink()
    with pytest.raises(SuiteError, match="cannot read"):
        suite_of(folder)
    text.write_text(good + good)
    with pytest.raises(SuiteError, match="no heading of a next workload"):
        suite_of(folder)
    text.write_text(good)
    for old, new, message in (
        ('jlang = "own.jlang"', 'jlang = "../own.jlang"', "expected the name of a file"),
        ('sha256 = "', 'sha256 = "x', "expected 64 hex digits"),
        ("covers", "length = 2\ncovers", "does not go with jlang"),
        ('jlang = "own.jlang"\n', "", "jlang and sha256 go together"),
    ):
        table.write_text(described.replace(old, new))
        with pytest.raises(SuiteError, match=message):
            suite_of(folder)
    table.write_text(described)
    with pytest.raises(SuiteError, match="no original mode"):
        load_suite(table, mode=Mode.ORIGINAL)
    assert suite_of(folder).count() == 1
