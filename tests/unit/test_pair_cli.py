# SPDX-License-Identifier: Apache-2.0
"""``harness pair`` from the outside, where no pair is up; what is shown of one; the console."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from test_target_file import written

from harness.cli.main import run_command_line
from harness.cli.pair_view import next_steps, status_view
from harness.cli.shell import ESCAPE, relay, run_shell
from harness.config import StateDir
from harness.errors import InfraError, UsageError
from harness.run.devpair.options import PairOptions
from harness.run.options import Encryption, Guests, RunOptions
from harness.vm.live import claim_name, find_name, live_dir


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDir:
    monkeypatch.setenv("HARNESS_STATE_DIR", str(tmp_path / "state"))
    return StateDir(tmp_path / "state")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["up", "--size", "big"], ["'big'", "256M"]),
        (["up", "--size", "1M"], ["'1M'", "16M"]),
        (["up", "--size", "999999G"], ["64G"]),
        (["up", "--name", "../dev"], ["'../dev'"]),
        (["up", "--target", "drdb"], ["drdb", "linear"]),
        (["up", "--target", "linear", "--encryption", "off"], ["encryption", "linear"]),
        (["up", "--target", "linear", "--link-delay-ms", "5"], ["link-delay-ms"]),
        (["up", "--guests", "huge"], ["huge", "micro"]),
        (["up", "--profile", "debian-3"], ["debian-3"]),
        (["up", "--kmod", "/no/such/folder"], ["/no/such/folder"]),
        (["reload"], ["no pair 'dev'", "harness pair up"]),
        (["reload", "--name", "other"], ["no pair 'other'", "harness pair up --name other"]),
        (["cut"], ["no pair"]),
        (["heal"], ["no pair"]),
        (["kill"], ["primary", "backup"]),
        (["kill", "third"], ["third", "primary"]),
        (["kill", "primary"], ["no pair"]),
        (["start", "backup"], ["no pair"]),
        (["promote", "backup"], ["no pair"]),
        (["run", "primary"], ["COMMAND"]),
        (["run", "primary", "--", "true"], ["no pair"]),
        (["log", "primary", "-n", "0"], ["-n"]),
        (["log", "primary"], ["no pair"]),
        (["shell", "primary"], ["no pair"]),
        (["none"], ["none"]),
        (["status", "--state-dir", "/proc/version/x"], ["/proc/version/x"]),
    ],
    ids=lambda value: " ".join(value)[:40],
)
def test_bad_input_is_refused(
    words: list[str], said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["pair", *words]) == 64
    text = capsys.readouterr()
    assert "Traceback" not in text.err
    for part in said:
        assert part in text.err


def test_no_pair_is_an_answer_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["pair", "status"]) == 1
    assert run_command_line(["pair", "down"]) == 0
    assert capsys.readouterr().out == "no pair 'dev' is up\n" * 2
    assert run_command_line(["pair", "status", "--json"]) == 1
    assert '"up": false' in capsys.readouterr().out


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["pair", "--help"]) == 0
    said = capsys.readouterr().out
    for command in ("up", "shell", "reload", "status", "cut", "heal", "kill", "start", "down"):
        assert f"\n  {command} " in said
    assert "leash" not in said
    assert "\n  keep" not in said


def test_options_survive_the_way_to_the_keeper(tmp_path: Path) -> None:
    run = RunOptions(
        suite="pair", kmod=written(tmp_path / "mine"), guests=Guests.FULL,
        encryption=Encryption.OFF, target="mine", state_dir=tmp_path, link_delay_ms=7,
    )  # fmt: skip
    options = PairOptions(run, "other", 1 << 30)
    text = options.dump()
    assert "\n" not in text
    again = PairOptions.load(text)
    assert again.dump() == text
    assert (again.run.kmod, again.run.guests, again.device_bytes) == (run.kmod, run.guests, 1 << 30)
    for bad in ("", "{}", "[]", '{"name": 1, "bytes": 2, "run": 3}'):
        with pytest.raises(InfraError, match="cannot be read"):
            PairOptions.load(bad)


def test_a_name_is_claimed_once_and_found_as_long_as_its_process_lives(state: StateDir) -> None:
    with live_dir(state) as one, live_dir(state) as other:
        assert find_name(state, "pair dev") is None
        claim_name(state, one, "pair dev")
        found = find_name(state, "pair dev")
        assert found is not None
        assert (found.owner, found.path.resolve()) == (one.owner, one.path.resolve())
        with pytest.raises(UsageError, match="pair dev"):
            claim_name(state, other, "pair dev")
        claim_name(state, other, "pair other")
        assert find_name(state, "pair de") is None
    assert find_name(state, "pair dev") is None


def test_a_long_state_directory_is_found_by_its_short_name(tmp_path: Path) -> None:
    state = StateDir(tmp_path / ("long" * 20))
    with live_dir(state) as live:
        claim_name(state, live, "pair dev")
        found = find_name(state, "pair dev")
        assert found is not None
        assert found.path == live.path
        assert found.path.is_symlink()


def test_the_name_of_a_dead_process_is_free(state: StateDir) -> None:
    dead = state.live / "dead"
    dead.mkdir(parents=True)
    (dead / "owner.lock").touch()
    (dead / "name").write_text("pair dev")
    assert find_name(state, "pair dev") is None
    with live_dir(state) as live:
        claim_name(state, live, "pair dev")


GUEST = {
    "power": "on", "since_unix_s": 1000.0, "boots": 1, "kernel": "6.1", "console": "/x.log",
    "console_socket": None, "running": "", "reports": [], "tail": [],
    "node": {"connected": True, "problem": "", "loaded": {
        "dm_x": {"refcnt": "1", "version": "2.0", "srcversion": "ABC"}},
        "status": {"role": "primary", "state": "connected", "received": "57"}},
}  # fmt: skip


def seen(**changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "name": "dev", "connected": True, "busy": "", "link": "up", "profile": "debian-12",
        "kind": "micro", "accelerator": "tcg", "target": "x", "device": "/dev/mapper/x",
        "bytes": 32 << 20, "set_up_unix_s": 1000.0, "source": "/src",
        "built": [{"name": "dm_x", "version": "2.0", "srcversion": "ABC", "sha256": "f" * 64}],
        "guests": {"primary": GUEST, "backup": GUEST},
    }  # fmt: skip
    return plain | changes


def shown(status: dict[str, Any]) -> str:
    text = io.StringIO()
    status_view(Console(file=text, width=200, highlight=False), status, 1075.0)
    return text.getvalue()


def test_a_pair_that_is_well() -> None:
    text = shown(seen())
    for part in ("connected; link up", "1 min 15 s", "57", "dm_x 2.0 ABC", "/src", "ffffffffffff"):
        assert part in text
    assert "not connected" not in text


def test_a_pair_with_troubles() -> None:
    ended = GUEST | {
        "power": "ended", "tail": ["line one", "\x1b[2Jpanic"], "node": None,
        "reports": ["oops: BUG: page fault\nCall Trace:"],
    }  # fmt: skip
    silent = GUEST | {"node": {
        "connected": False, "problem": "no answer", "loaded": {}, "status": {}}}  # fmt: skip
    text = shown(seen(connected=False, link="cut", busy="reload, for 3 s",
                      guests={"primary": ended, "backup": silent}))  # fmt: skip
    for part in ("not connected; link cut", "busy: reload, for 3 s", "ended by itself",
                 "line one", "oops: BUG: page fault", "no answer"):  # fmt: skip
        assert part in text
    assert "\x1b" not in text


def test_what_to_do_next_in_four_lines() -> None:
    first, *steps = next_steps(seen(name="other")).splitlines()
    assert "'other' is up" in first
    assert len(steps) == 4
    assert all("--name other" in step for step in steps)
    assert "pair run" in steps[1]
    assert "pair shell" in next_steps(seen(kind="full")).splitlines()[2]


class Terminal:
    """A keyboard and a screen, and what is on the other side of the console."""

    def __init__(self) -> None:
        self.keyboard, self.typing = os.pipe()
        self.seeing, self.screen = os.pipe()
        self.console, self.guest = socket.socketpair()
        self.thread = threading.Thread(
            target=relay, args=(self.keyboard, self.screen, self.console)
        )
        self.thread.start()

    def close(self) -> None:
        for descriptor in (self.keyboard, self.typing, self.seeing, self.screen):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self.console.close()
        self.guest.close()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.guest.close()
    made.thread.join(10)
    assert not made.thread.is_alive()
    made.close()


def test_what_is_typed_and_what_is_said_pass(terminal: Terminal) -> None:
    os.write(terminal.typing, b"ls\r\x03")
    assert terminal.guest.recv(100) == b"ls\r\x03"
    terminal.guest.sendall(b"file\r\n")
    assert os.read(terminal.seeing, 100) == b"file\r\n"


def test_ctrl_bracket_leaves_and_is_not_passed_on(terminal: Terminal) -> None:
    os.write(terminal.typing, b"ab" + ESCAPE + b"cd")
    terminal.thread.join(10)
    assert not terminal.thread.is_alive()
    terminal.console.close()
    assert terminal.guest.recv(100) == b"ab"
    assert terminal.guest.recv(100) == b""


def test_the_end_of_the_guest_or_of_the_keyboard_ends_it(terminal: Terminal) -> None:
    os.close(terminal.typing)
    terminal.thread.join(10)
    assert not terminal.thread.is_alive()


def test_a_shell_needs_a_terminal(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="terminal"):
        run_shell(tmp_path / "console.sock", lambda rows, columns: None, "")


def test_one_person_at_a_console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl
    import sys

    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Tty())
    monkeypatch.setattr(sys, "stdout", Tty())
    path = tmp_path / "console.sock"
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="somebody else"):
            run_shell(path, lambda rows, columns: None, "")
    with pytest.raises(InfraError, match="no console at"):
        run_shell(path, lambda rows, columns: None, "")


def test_the_terminal_is_as_it_was_afterwards(tmp_path: Path) -> None:
    import termios

    from harness.cli.shell import _raw

    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    with _raw(theirs):
        assert termios.tcgetattr(theirs) != before
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)
