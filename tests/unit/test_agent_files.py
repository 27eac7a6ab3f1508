# SPDX-License-Identifier: Apache-2.0
"""Files that the host puts into a guest, and what it reads there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_process import run, running_agent

from harness.guest.agent import Agent


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    with running_agent() as client:
        yield client


def test_a_file_is_put_in_pieces_and_read_back(agent: Agent, tmp_path: Path) -> None:
    data = os.urandom(300_001) + bytes(range(256))
    path = tmp_path / "module.ko"
    path.write_bytes(b"an older and longer one" * 100_000)
    first, second = data[:200_000], data[200_000:]
    done = run(
        agent,
        ["file-put", str(path), first.hex()],
        ["file-append", str(path), second.hex()],
        ["file-read", str(path)],
    )
    assert done.ok
    assert path.read_bytes() == data
    assert done.one("file-read").payload == data


def test_nothing_is_put_as_an_empty_file(agent: Agent, tmp_path: Path) -> None:
    path = tmp_path / "empty"
    assert run(agent, ["file-put", str(path), ""], ["file-read", str(path)]).ok
    assert path.read_bytes() == b""


def test_a_file_of_the_kernel_that_claims_to_be_empty(agent: Agent) -> None:
    assert run(agent, ["file-read", "/proc/version"]).results[0].text.startswith("Linux version")


def test_only_the_beginning_of_a_long_file_is_read(agent: Agent, tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(b"x" * (3 << 20))
    assert run(agent, ["file-read", str(path)]).results[0].payload == b"x" * (1 << 20)


@pytest.mark.parametrize("text", ["0", "0g", "abc", "AB", "00 "])
def test_what_is_not_hexadecimal_changes_nothing(agent: Agent, tmp_path: Path, text: str) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    result = run(agent, ["file-put", str(path), text]).results[0]
    assert (result.ok, result.status) == (False, -22)
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("name", ["file-read", "file-put", "file-append"])
def test_a_path_that_cannot_be_opened_is_named(agent: Agent, name: str) -> None:
    command = [name, "/proc/nowhere/file", *([] if name == "file-read" else ["00"])]
    result = run(agent, command).results[0]
    assert not result.ok
    assert result.text == "open: ENOENT: /proc/nowhere/file"


def test_a_folder_is_not_read(agent: Agent, tmp_path: Path) -> None:
    result = run(agent, ["file-read", str(tmp_path)]).results[0]
    assert not result.ok
    assert result.text == f"read: EISDIR: {tmp_path}"
