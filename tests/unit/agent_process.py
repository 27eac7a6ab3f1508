# SPDX-License-Identifier: Apache-2.0
"""A real agent on this host, compiled once per session, for the tests of the agent."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from harness.deadline import Deadline
from harness.guest.agent import Agent, CommandResult, OnEvent, ScriptResult, Words
from harness.guest.ports import SocketChannel

SOURCE = Path(__file__).parents[2] / "vm_images" / "agent"
BLOCK = 4096


@lru_cache(maxsize=1)
def agent_program() -> Path:
    """The agent, built with the host's compiler as the Makefile says; once for all processes."""
    build = Path(os.environ["HARNESS_TESTS_BUILD"])
    program = build / "harness-agent"
    with open(build / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _compile(program)
    return program


def _compile(program: Path) -> None:
    made = program.with_suffix(".new")
    # -O1 halves the time to compile; a frame that stops half-way is given up after 1 s, not 5.
    command = ["make", "-s", "-C", str(SOURCE), f"OUT={made}", "CFLAGS=-O1 -g -DSTALL_MS=1000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"the agent does not build:\n{done.stderr}"
    made.rename(program)


@contextmanager
def raw_agent(user: int | None = None) -> Iterator[socket.socket]:
    """An agent serving a connected socket, run as user id ``user`` if given."""
    ours, theirs = socket.socketpair()
    command = [str(agent_program()), "--stdio"]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, user=user)
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        assert process.wait(timeout=10) == 0, "the agent must end well when its stream ends"


@contextmanager
def running_agent(user: int | None = None) -> Iterator[Agent]:
    """A client connected to an agent of its own."""
    with raw_agent(user) as connected:
        yield Agent(SocketChannel(connected), "local")


@contextmanager
def disk_directory() -> Iterator[Path]:
    """A directory on a disk: the tmpfs of older kernels knows neither O_DIRECT nor user xattrs."""
    path = Path(tempfile.mkdtemp(prefix="harness-agent-", dir="/var/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def soon(what: str = "test") -> Deadline:
    """Enough for anything an agent does here, on the busiest host."""
    return Deadline.after(20, what)


def run(agent: Agent, *lines: str | Words, on_event: OnEvent | None = None) -> ScriptResult:
    """Run a script; a line given as one text is split at its spaces."""
    script = [line.split(" ") if isinstance(line, str) else line for line in lines]
    return agent.run_script(script, soon(), on_event)


def run_steps(agent: Agent, root: Path, *steps: str) -> ScriptResult:
    """Run a workload in ``root``, one text per step; numbers them from 1."""
    numbered = [f"step {n} {step}" for n, step in enumerate(steps, start=1)]
    return run(agent, f"begin {root}", *numbered, "end")


def fault(result: ScriptResult) -> CommandResult:
    """The one command of ``result`` that failed."""
    (failure,) = result.failures
    return failure


def is_root() -> bool:
    """Whether device nodes can be made."""
    return os.geteuid() == 0
