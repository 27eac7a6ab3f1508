# SPDX-License-Identifier: Apache-2.0
"""Order, failure, clean-up, checkpoints and programs of a script."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_process import disk_directory, fault, run, run_steps, running_agent, soon

from harness.errors import AgentError
from harness.guest.agent import Agent, CheckpointEvent
from harness.guest.replies import parse_failure, parse_tree


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    with running_agent() as client:
        yield client


@pytest.fixture
def root() -> Iterator[Path]:
    with disk_directory() as path:
        yield path


FAILS = "rmmod no-such-module"
WORKS = "exec 5000 true"


def states(agent: Agent, *lines: str) -> list[str]:
    return [str(result.state) for result in run(agent, *lines).results]


def test_a_failure_skips_the_rest_but_for_the_clean_up(agent: Agent) -> None:
    lines = (WORKS, FAILS, WORKS, f"always {WORKS}", WORKS)
    assert states(agent, *lines) == ["ok", "err", "skipped", "ok", "skipped"]


def test_what_is_tried_may_fail(agent: Agent) -> None:
    lines = (f"try {FAILS}", WORKS, FAILS, f"always try {FAILS}", f"always {WORKS}")
    assert states(agent, *lines) == ["err", "ok", "err", "err", "ok"]


def test_words_hold_any_text(agent: Agent) -> None:
    odd = "a b%\n\t\u00e4|'\"\\"
    result = run(agent, ["exec", "5000", "printf", "%s.%s", odd, ""])
    assert result.results[0].text == f"{odd}."


@pytest.mark.parametrize("payload", ["", "abc", "c0ffeeXX", "+1", "0x", "c0ff ee"])
def test_a_key_that_is_no_hex_is_refused_and_not_told(agent: Agent, payload: str) -> None:
    result = run(agent, ["key-add", "user", "harness:test", payload]).results[0]
    assert result.status == -errno.EINVAL
    assert result.text == "payload: EINVAL: is not told here"


def test_a_run_that_keeps_going_reports_every_failing_step(agent: Agent, root: Path) -> None:
    result = run(
        agent,
        f"begin {root} keep-going",
        "step 1 unlink foo",
        "step 2 mkdir A 0777",
        "step 3 rmdir B",
        "end",
    )
    assert [r.words[1] for r in result.failures] == ["1", "3"]
    assert (root / "A").is_dir()


def test_a_step_needs_a_run(agent: Agent, root: Path) -> None:
    assert fault(run(agent, "step 1 mkdir A 0777")).status == -errno.EINVAL
    assert fault(run(agent, "step 1 checkpoint 1")).status == -errno.EINVAL
    assert fault(run(agent, "end")).status == -errno.EINVAL
    assert fault(run(agent, f"begin {root}", f"begin {root}")).status == -errno.EBUSY


def test_a_failure_closes_the_handles_of_the_run(agent: Agent, root: Path) -> None:
    open_files = f"ls -l /proc/$PPID/fd | grep -c {root} || true"
    result = run(
        agent,
        f"begin {root}",
        "step 1 open foo O_RDWR|O_CREAT 0777",
        ["exec", "5000", "sh", "-c", open_files],
        FAILS,
        ["always", "exec", "5000", "sh", "-c", open_files],
    )
    assert (result.results[2].text, result.results[4].text) == ("1\n", "0\n")


class Watcher:
    """Keeps the events, and stops after a number of them."""

    def __init__(self, root: Path, stop_after: int = 99) -> None:
        self.root = root
        self.stop_after = stop_after
        self.events: list[CheckpointEvent] = []
        self.seen: list[bool] = []

    def __call__(self, event: CheckpointEvent) -> bool:
        self.events.append(event)
        self.seen.append((self.root / "later").exists())
        return len(self.events) < self.stop_after


CHECKPOINTS = (
    "step 1 open foo O_RDWR|O_CREAT 0777",
    "step 2 write foo 0 100",
    "step 3 fsync foo",
    "step 4 checkpoint 1",
    "step 5 mkdir later 0777",
    "step 6 sync",
    "step 7 checkpoint 2",
    "step 8 mkdir last 0777",
)


def test_the_agent_waits_at_each_checkpoint_with_what_was_asked_for(
    agent: Agent, root: Path
) -> None:
    watcher = Watcher(root)
    asked = (f"at-checkpoint tree {root} full", f"at-checkpoint {FAILS}")
    result = run(agent, *asked, f"begin {root}", *CHECKPOINTS, "end", on_event=watcher)
    assert result.ok
    assert [(e.checkpoint, e.line) for e in watcher.events] == [(1, 4), (2, 7)]
    assert watcher.seen == [False, True], "nothing may run before the host says go"
    first = watcher.events[0].results
    assert [r.ok for r in first] == [True, False], "a failure there is evidence, not an end"
    assert parse_tree(first[0].payload, [2]).entries["foo"].size == 100
    assert first[0].command == ("tree", str(root), "full")


def test_a_stop_leads_to_the_clean_up(agent: Agent, root: Path) -> None:
    watcher = Watcher(root, stop_after=1)
    clean_up = "always exec 5000 true"
    result = run(agent, f"begin {root}", *CHECKPOINTS, "end", clean_up, on_event=watcher)
    assert not (root / "later").exists()
    assert result.failures == ()
    assert [r.skipped for r in result.results[5:]] == [True] * 5 + [False]
    assert result.one("step", "4").text == "stop"
    assert run_steps(agent, root, "mkdir B 0777").ok, "the run has to be over"


def test_commands_of_a_checkpoint_belong_to_their_script(agent: Agent, root: Path) -> None:
    watcher = Watcher(root)
    run(agent, f"at-checkpoint {WORKS}", f"begin {root}", "step 1 checkpoint 1", "end")
    run(agent, f"begin {root}", "step 1 checkpoint 1", "end", on_event=watcher)
    assert watcher.events[0].results == ()


def test_too_many_checkpoint_commands_are_refused(agent: Agent) -> None:
    result = run(agent, *[f"at-checkpoint {WORKS}"] * 17)
    assert fault(result).index == 16


def test_a_client_that_gave_up_at_a_checkpoint_can_start_again(agent: Agent, root: Path) -> None:
    def give_up(_: CheckpointEvent) -> bool:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        run(agent, f"begin {root}", *CHECKPOINTS, "end", on_event=give_up)
    assert run(agent, WORKS).ok
    assert not (root / "later").exists()


def test_a_program_reports_output_and_exit_status(agent: Agent) -> None:
    result = run(agent, ["exec", "5000", "sh", "-c", "echo out; echo err >&2; exit 3"])
    failure = fault(result)
    assert (failure.status, failure.text) == (3, "out\nerr\n")


def test_a_program_killed_by_a_signal_reports_it(agent: Agent) -> None:
    assert fault(run(agent, ["exec", "5000", "sh", "-c", "kill -9 $$"])).status == 137


def test_a_program_that_does_not_exist(agent: Agent) -> None:
    failure = fault(run(agent, "exec 5000 no-such-program"))
    assert failure.status == -errno.ENOENT
    assert parse_failure(failure.payload).object == "no-such-program"


def test_the_process_group_dies_at_the_time_out(agent: Agent, root: Path) -> None:
    script = f"sleep 1000 & echo $! > {root}/child; echo started; wait"
    failure = fault(run(agent, ["exec", "2000", "sh", "-c", script]))
    assert (failure.status, failure.text) == (-errno.ETIMEDOUT, "started\n")
    child = int((root / "child").read_text())
    deadline = soon("the child to die")
    while _runs(child):
        assert not deadline.expired, str(deadline)
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    """Whether a process is neither gone nor dead and not reaped yet."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_child_in_the_background_does_not_delay_the_result(agent: Agent, root: Path) -> None:
    script = f"sleep 1000 & echo $! > {root}/child"
    result = run(agent, ["exec", "15000", "sh", "-c", script])
    assert result.ok
    assert result.results[0].elapsed_us < 14_000_000
    run(agent, ["exec", "5000", "sh", "-c", f"kill $(cat {root}/child)"])


def test_long_output_is_cut_and_does_not_block(agent: Agent) -> None:
    result = run(agent, ["exec", "15000", "head", "-c", "1000000", "/dev/zero"])
    assert result.ok
    assert result.results[0].payload == bytes(65536)


def test_a_program_that_prints_more_than_a_pipe_holds_ends(agent: Agent) -> None:
    script = "head -c 300000 /dev/zero; sleep 0.1; head -c 300000 /dev/zero; echo end >&2; exit 4"
    failure = fault(run(agent, ["exec", "15000", "sh", "-c", script]))
    assert failure.status == 4
    assert len(failure.payload) == 65536


@pytest.mark.parametrize("mtu", ["0", "65536", "x", "-1"])
def test_an_mtu_that_none_can_be_is_refused(agent: Agent, mtu: str) -> None:
    failure = fault(run(agent, f"netup no-such-link - {mtu}"))
    assert failure.status == -errno.EINVAL
    assert parse_failure(failure.payload).object == mtu


def test_programs_read_nothing_from_the_agents_stream(agent: Agent) -> None:
    assert run(agent, "exec 5000 cat").results[0].payload == b""


@pytest.mark.parametrize("command", ["poweroff", "panic"])
def test_a_host_is_not_a_machine_to_switch_off(agent: Agent, command: str) -> None:
    assert fault(run(agent, command)).status == -errno.EPERM


def test_a_required_command_names_itself_when_it_fails(agent: Agent) -> None:
    with pytest.raises(AgentError, match="guest local: `exec 5000 false` err with status 1"):
        agent.run(["exec", "5000", "false"], soon())
