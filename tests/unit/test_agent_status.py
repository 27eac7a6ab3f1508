# SPDX-License-Identifier: Apache-2.0
"""Status files of the kernel as pairs, conditions over them, and a link made slow."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_process import run, running_agent

from harness.guest.agent import Agent, CommandResult
from harness.guest.replies import parse_status

PROC_DRBD = """\
version: 8.4.11 (api:1/proto:86-101)
GIT-hash: 0123 build by somebody, 2026
 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----
    ns:148 nr:0 dw:21720 dr:16421 al:12 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:0
"""


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    with running_agent() as client:
        yield client


@pytest.fixture
def status(tmp_path: Path) -> Path:
    path = tmp_path / "status"
    path.write_text(PROC_DRBD, encoding="ascii")
    return path


def only(agent: Agent, *words: str) -> CommandResult:
    return run(agent, list(words)).results[0]


def test_pairs_of_a_status_file(agent: Agent, status: Path) -> None:
    pairs = parse_status(only(agent, "file-status", str(status)).text)
    assert {key: pairs[key] for key in ("cs", "ds", "ns", "oos")} == {
        "cs": "Connected", "ds": "UpToDate/UpToDate", "ns": "148", "oos": "0",
    }  # fmt: skip
    assert pairs["version"] == "8.4.11"
    assert not {"0", "C", "build"} & pairs.keys()


def test_pairs_with_space_between_them(agent: Agent, tmp_path: Path) -> None:
    path = tmp_path / "meminfo"
    path.write_text("MemTotal:         498528 kB\nMemFree:\t 300 kB\nEmpty:\n", encoding="ascii")
    pairs = parse_status(only(agent, "file-status", str(path)).text)
    assert pairs == {"MemTotal": "498528", "MemFree": "300"}


@pytest.mark.parametrize(
    ("conditions", "holds"),
    [
        (["cs==Connected"], True),
        (["cs==WFConnection"], False),
        (["ns>=148", "ns<=148"], True),
        (["ns<=147"], False),
        (["ns>=149"], False),
        (["lo<=ep"], True),
        (["ep<=lo"], False),
        (["cs<=1"], False),
        (["none==0"], False),
        (["lo==0", "ep==0"], False),
    ],
)
def test_conditions(agent: Agent, status: Path, conditions: list[str], holds: bool) -> None:
    result = only(agent, "file-wait", str(status), "0", *conditions)
    assert result.ok is holds
    assert parse_status(result.text)["ns"] == "148", "the last status, whatever came of it"


@pytest.mark.parametrize("condition", ["ns", "==1", "ns=1", "ns<1", "ns=="])
def test_malformed_conditions_are_refused(agent: Agent, status: Path, condition: str) -> None:
    assert "EINVAL" in only(agent, "file-wait", str(status), "0", condition).text


def test_a_state_is_waited_for(agent: Agent, status: Path) -> None:
    """A reader that fell behind would see the old state for ever: the file is opened anew."""
    fresh = status.with_name("fresh")
    fresh.write_text(PROC_DRBD.replace("nr:0", "nr:7"), encoding="ascii")
    timer = threading.Timer(0.05, os.replace, (fresh, status))
    timer.start()
    assert only(agent, "file-wait", str(status), "20000", "nr==7").ok
    timer.join()


def test_a_file_that_is_not_there(agent: Agent, tmp_path: Path) -> None:
    assert "ENOENT" in only(agent, "file-status", str(tmp_path / "none")).text
    assert "ENOENT" in only(agent, "file-wait", str(tmp_path / "none"), "9000", "a==1").text


def test_a_long_file_is_read_in_part(agent: Agent, tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_text("a:1 " * 10_000, encoding="ascii")
    assert only(agent, "file-wait", str(path), "0", "a==1").ok


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("no-such-if", "10"), "ENODEV"),
        (("lo", "ten"), "EINVAL"),
        (("lo", "10001"), "EINVAL"),
    ],
)
def test_a_link_that_cannot_be_made_slow(agent: Agent, words: tuple[str, str], error: str) -> None:
    assert error in only(agent, "net-delay", *words).text
