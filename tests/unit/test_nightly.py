# SPDX-License-Identifier: Apache-2.0
"""``scripts/nightly``: when a run goes on, and when one begins."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest
from report_cases import info

from harness.cli.options import machine_options, selection_options
from harness.config import CHECKOUT
from harness.model.case import RunInfo
from harness.report.store import RunStore
from harness.run.resume import FREE

SCRIPT = CHECKOUT / "scripts" / "nightly"
TODAY = date(2027, 1, 15)


def load() -> object:
    loader = SourceFileLoader("nightly", str(SCRIPT))
    spec = spec_from_loader("nightly", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


nightly = load()
command: Callable[..., list[str]] = nightly.command  # type: ignore[attr-defined]


def night(store: Path, *more: str, revision: str = "abc123") -> list[str]:
    words = ["--store", str(store), "--shard", "2/4", "--revision", revision]
    return command([*words, "--suite", "ace-seq1", *more], TODAY)


def earlier(store: Path, facts: RunInfo) -> Path:
    out = store / "abc123" / "shard-2-of-4"
    RunStore.create(out, facts).close()
    return out / "ace-seq1" / "latest"


ENDED = info(4, ended_unix_s=1_800_000_100.0, exit_code=1)


def test_the_first_night_begins_a_run(tmp_path: Path) -> None:
    assert night(tmp_path, "--time-budget", "6h", "--fs", "xfs") == [
        "run", "--suite", "ace-seq1", "--shard", "2/4",
        "--out", str(tmp_path / "abc123" / "shard-2-of-4"), "--seed", "20270115",
        "--time-budget", "6h", "--fs", "xfs",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "facts",
    [
        replace(ENDED, ended_unix_s=None, exit_code=None),
        replace(ENDED, left=3, exit_code=0),
        replace(ENDED, exit_code=130),
    ],
)
def test_an_unfinished_run_goes_on(tmp_path: Path, facts: RunInfo) -> None:
    latest = earlier(tmp_path, facts)
    # Which cases, and on what, is in the record: given again it would be refused.
    words = night(tmp_path, "--fs", "xfs", "--time-budget", "6h", "--confirm=2", "--seed", "5")
    assert words == ["run", "--resume", str(latest), "--time-budget", "6h", "--confirm=2"]


def test_a_finished_run_is_followed_by_another(tmp_path: Path) -> None:
    earlier(tmp_path, ENDED)
    assert night(tmp_path)[1] == "--suite"


def test_another_revision_begins_anew(tmp_path: Path) -> None:
    earlier(tmp_path, replace(ENDED, left=3))
    assert night(tmp_path)[1] == "--resume"
    assert night(tmp_path, revision="def456")[1] == "--suite"


def test_a_damaged_record_of_a_run_is_left_alone(tmp_path: Path) -> None:
    (earlier(tmp_path, replace(ENDED, left=3)) / "run.json").write_text("{")
    assert night(tmp_path)[1] == "--suite"


@pytest.mark.parametrize("wrong", [("--shard", "2"), ("--revision", "../x"), ("--shard", "a/b")])
def test_wrong_words_are_refused(tmp_path: Path, wrong: tuple[str, str]) -> None:
    with pytest.raises(SystemExit):
        night(tmp_path, *wrong)


def test_what_may_be_given_to_a_resumed_run_is_what_it_takes() -> None:
    flags = {"keep_pair", "fail_fast"}
    free: tuple[str, ...] = nightly.HOW_TO_RUN  # type: ignore[attr-defined]
    names = {name.removeprefix("--").replace("-", "_") for name in free}
    # Times with a unit have none in their names; flags are of no use where nobody looks on.
    assert names == {re.sub("^(time_.*)_s$", r"\1", name) for name in FREE - flags}
    written: list[str] = []

    def no_command() -> None:
        """Carries the options."""

    for parameter in machine_options(selection_options(no_command)).__click_params__:  # type: ignore[attr-defined]
        written += parameter.opts
    assert set(free) <= set(written)


def test_it_becomes_the_harness(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--store", tmp_path, "--shard", "1/1", "--revision", "a",
         "--suite", "no-such-suite"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 64
    assert done.stdout.startswith("harness run --suite no-such-suite --shard 1/1 --out")
    assert "no-such-suite" in done.stderr
