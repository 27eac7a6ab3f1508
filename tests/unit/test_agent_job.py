# SPDX-License-Identifier: Apache-2.0
"""Programs that meet the host while they run, and what is left of them afterwards: nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_process import agent_program, fault, running_agent, soon

from harness.guest.agent import Agent, Rendezvous, ScriptResult


@pytest.fixture
def agent() -> Iterator[Agent]:
    with running_agent() as client:
        yield client


class Job:
    """A shell script with ``$TELL`` as the command that meets the host."""

    def __init__(self, agent: Agent, folder: Path) -> None:
        self._agent = agent
        self._socket = str(folder / "s" / "rendezvous")
        self._tell = f"{agent_program()} --tell {self._socket}"

    def run(
        self,
        script: str,
        answer: Callable[[Rendezvous], bool] = lambda _: True,
        *before: list[str],
        timeout_ms: int = 20_000,
    ) -> ScriptResult:
        words = ["job", "/", self._socket, str(timeout_ms), "sh", "-c", f"TELL='{self._tell}'; "]
        words[-1] += script
        return self._agent.run_script([*before, words], soon(), on_rendezvous=answer)


@pytest.fixture
def job(agent: Agent, tmp_path: Path) -> Job:
    return Job(agent, tmp_path)


def test_the_host_hears_what_is_said_and_the_program_waits(job: Job, tmp_path: Path) -> None:
    heard: list[tuple[str, ...]] = []

    def answer(met: Rendezvous) -> bool:
        heard.append(met.words)
        assert not (tmp_path / f"after-{len(heard)}").exists(), "it has to wait for the answer"
        return True

    script = f"cd {tmp_path}; $TELL begin a/1; touch after-1; $TELL point 'b%  c'; touch after-2"
    result = job.run(f"{script}; echo said $?; exit 3", answer)
    assert heard == [("begin", "a/1"), ("point", "b%", "", "c")]
    assert (fault(result).status, fault(result).text) == (3, "said 0\n")
    assert (tmp_path / "after-2").exists()


def test_commands_are_run_for_the_word_they_are_meant_for(job: Job, tmp_path: Path) -> None:
    seen: list[list[tuple[str, ...]]] = []

    def answer(met: Rendezvous) -> bool:
        seen.append([result.command for result in met.results])
        return True

    file = str(tmp_path / "status")
    Path(file).write_text("a: 1\n", encoding="ascii")
    asked = [
        ["at-rendezvous", "end", "file-status", file],
        ["at-checkpoint", "file-status", "/proc/meminfo"],
        ["at-rendezvous", "point", "tree", str(tmp_path), "meta"],
        ["at-rendezvous", "end", "rmmod", "no-such-module"],
    ]
    assert job.run("$TELL begin; $TELL point 1; $TELL end", answer, *asked).ok
    status = ("file-status", file)
    assert seen == [[], [("tree", str(tmp_path), "meta")], [status, ("rmmod", "no-such-module")]]


def test_a_stop_ends_the_program_and_all_it_started(job: Job, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    # In a session and group of its own, as daemons are.
    script = f"setsid sh -c 'echo $$ >> {pids}; $TELL point; sleep 1000' & sleep 1000"
    script = script.replace("$TELL", job._tell)
    result = job.run(f"echo $$ >> {pids}; {script}", lambda _: False)
    assert fault(result).status == -errno.ECANCELED
    assert_gone(pids, 2)


def test_what_goes_on_in_the_background_ends_with_the_program(job: Job, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"setsid sh -c 'echo $$ > {pids}; $TELL up; exec sleep 1000' & $TELL up; "
    script = script.replace("$TELL", job._tell) + f"until [ -s {pids} ]; do :; done"
    assert job.run(script).ok
    assert_gone(pids, 1)


def assert_gone(pids: Path, count: int) -> None:
    found = pids.read_text(encoding="ascii").split()
    assert len(found) == count
    for pid in found:
        try:
            stat = (Path("/proc") / pid / "stat").read_text(encoding="ascii")
        except FileNotFoundError:
            continue
        # Nobody may have waited for it yet.
        assert stat.rpartition(")")[2].split()[0] == "Z"


def test_a_program_that_takes_too_long_is_ended(job: Job) -> None:
    assert fault(job.run("sleep 1000", timeout_ms=100)).status == -errno.ETIMEDOUT


def test_a_program_that_is_not_there(agent: Agent, tmp_path: Path) -> None:
    words = ["job", "/", str(tmp_path / "s"), "1000", "no-such-program"]
    assert fault(agent.run_script([words], soon())).text == "exec: ENOENT: no-such-program"


def test_a_socket_that_cannot_be(agent: Agent, tmp_path: Path) -> None:
    words = ["job", "/", str(tmp_path / ("x" * 200)), "1000", "true"]
    assert fault(agent.run_script([words], soon())).status == -errno.EINVAL


def test_nobody_to_meet_is_told(job: Job) -> None:
    result = job.run("$TELL-not x; echo $?")
    assert fault_free(result).endswith("2\n")


def fault_free(result: ScriptResult) -> str:
    assert result.ok
    return result.results[-1].text


def test_who_says_nothing_holds_up_nobody(job: Job) -> None:
    """A connection that ends before a line does is dropped."""
    heard: list[Rendezvous] = []
    script = "python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.connect("
    script += f'"{job._socket}"); s.send(b"point"); s.close()' + "'; $TELL end"
    assert job.run(script, lambda met: heard.append(met) is None).ok
    assert [met.words for met in heard] == [("end",)]


def test_the_agent_comes_along(agent: Agent, tmp_path: Path) -> None:
    program = tmp_path / "a" / "b" / "agent"
    assert agent.run_script([["install", str(program)]], soon()).ok
    assert program.read_bytes() == agent_program().read_bytes()
    assert os.access(program, os.X_OK)


def test_a_file_is_put_where_there_was_no_folder(agent: Agent, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    assert agent.run_script([["file-put", str(path), b"text".hex()]], soon()).ok
    assert path.read_bytes() == b"text"
