# SPDX-License-Identifier: Apache-2.0
"""``harness suites`` and ``harness ace`` from the outside."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from ace_workloads.jlang import parse_run_section
from ace_workloads.registry import SUITE_NAMES, load_suite
from harness.cli import suites as suites_module
from harness.cli.ace import ace
from harness.cli.suites import suites
from harness.errors import InfraError, UsageError


def output(*words: str) -> str:
    result = CliRunner().invoke(ace, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_suites_lists_name_counts_and_purpose() -> None:
    lines = CliRunner().invoke(suites, catch_exceptions=False).stdout.splitlines()
    assert lines[0].split("\t") == ["suite", "workloads", "original", "covers"]
    assert [line.split("\t")[0] for line in lines[1:]] == [
        *SUITE_NAMES,
        "device",
        "kmod-endurance",
    ]
    assert "ace-seq2\t198361\t466382\tevery pair of core ops" in "\n".join(lines)


def test_suites_is_a_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    monkeypatch.setattr(suites_module, "Console", lambda: console)
    monkeypatch.setattr(suites_module, "_on_terminal", lambda: True)
    CliRunner().invoke(suites, catch_exceptions=False)
    assert isinstance(console.file, io.StringIO)
    assert "18,654,174" in console.file.getvalue()


def test_count() -> None:
    assert output("count", "ace-seq1") == "300\n"
    assert output("count", "ace-seq3", "--mode", "original") == "18654174\n"


def test_digest() -> None:
    lines = output("digest", "ace-seq1", "--mode", "original", "--distinct").splitlines()
    assert lines == [
        "workloads        435",
        "distinct         423",
        "canonical bytes  54188",
        "sum digest       cde3d6e25f94821d5d4625269b22a06895a9d2672cd1a8b8d5b20736057b6e9a",
    ]
    assert "distinct" not in output("digest", "smoke")


def test_digests_of_shards_add_up() -> None:
    whole, *parts = (
        int(output("digest", "ace-seq1", "--shard", shard).split()[-1], 16)
        for shard in ("1/1", "1/3", "2/3", "3/3")
    )
    assert sum(parts) % 2**256 == whole


def test_show() -> None:
    shown = output("show", "ace-seq2/000123456")
    assert "op        link foo A/bar; fsync A/bar\n" in shown
    assert shown.endswith("close foo\nclose Abar\nclose Afoo\n")


def test_export_to_files(tmp_path: Path) -> None:
    output("export", "ace-seq1", "--shard", "2/5", "--out", str(tmp_path))
    expected = {f"{w.id}.jlang": w.steps for w in load_suite("ace-seq1").iter((2, 5))}
    written = {str(path.relative_to(tmp_path)): path for path in tmp_path.rglob("*.jlang")}
    assert expected
    assert written.keys() == expected.keys()
    for name, path in written.items():
        assert parse_run_section(path.read_text()) == expected[name]


def test_export_to_standard_output() -> None:
    text = output("export", "smoke", "--stdout")
    documents = text.split("# workload ")[1:]
    assert [parse_run_section(document) for document in documents] == [
        workload.steps for workload in load_suite("smoke")
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("count", "nope"), "no suite 'nope'"),
        (("digest", "smoke", "--shard", "3"), "no shard '3'"),
        (("digest", "smoke", "--shard", "3/2"), "no shard '3/2'"),
        (("export", "smoke"), "export goes to one place"),
        (("export", "smoke", "--stdout", "--out", "x"), "export goes to one place"),
        (("show", "smoke/99"), "no workload 99 in smoke"),
        (("show", "own/1", "--suite-file", "gone.toml"), "cannot read suite gone.toml"),
    ],
)
def test_bad_requests_are_usage_errors(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        output(*words)
    assert caught.value.hint


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InfraError, match=r"cannot write .*file/smoke/000000001\.jlang"):
        output("export", "smoke", "--out", str(tmp_path / "file"))
