# SPDX-License-Identifier: Apache-2.0
"""Logging in and running commands at a console: a shell behind a terminal of this host."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from harness.deadline import Deadline
from harness.errors import GuestLostError, InfraError, OverdueError
from harness.guest.console import Console, Output

# As agetty and login behave: an empty name asks again, echo is off for the password only.
LOGIN = r"""
printf '\r\nDebian: log in as root, password sesame\r\n'
while printf 'guest login: ' && read -r user; do
    [ -n "$user" ] || continue
    stty -echo; printf 'Password: '; read -r password; stty echo; printf '\n'
    if [ "$user/$password" = root/sesame ]; then
        printf 'Linux guest 6.1\n[   12.000000] kernel: something unrelated\n'
        exec env PS1='\[\e[1m\](debian-12)root@guest:\w# ' bash --norc --noprofile -i
    fi
    printf 'Login incorrect\n'
done
"""


def soon(seconds: float = 20) -> Deadline:
    return Deadline.after(seconds, "a test at the console")


@contextmanager
def getty() -> Iterator[pexpect.spawn]:
    environment = {"PATH": "/usr/bin:/bin", "TERM": "vt220"}
    made = pexpect.spawn("/bin/bash", ["-c", LOGIN], env=environment)
    made.delaybeforesend = None
    yield made
    made.close(force=True)


@pytest.fixture
def stream() -> Iterator[pexpect.spawn]:
    with getty() as made:
        yield made


@pytest.fixture(scope="module")
def shared() -> Iterator[Console]:
    """Logged in once: commands leave nothing behind."""
    with getty() as made:
        console = Console(made)
        console.login("root", "sesame", soon())
        yield console


@pytest.fixture
def console(stream: pexpect.spawn) -> Console:
    made = Console(stream, "guest primary")
    made.login("root", "sesame", soon())
    return made


@pytest.mark.parametrize(
    ("command", "status", "text"),
    [
        ("echo hello", 0, "hello\n"),
        ("printf 'no newline'", 0, "no newline"),
        ("true", 0, ""),
        ("echo out; echo err >&2; exit 7", 7, "out\nerr\n"),
        ("cd /usr\npwd", 0, "/usr\n"),
        ("kill -9 $BASHPID", 137, None),
        ("cat; echo \"'$0' \\$HOME\"", 0, "'/bin/bash' $HOME\n"),
        (f"echo {'long ' * 2000} | wc -w", 0, "2000\n"),
        ("echo '# $ login: Password: '", 0, "# $ login: Password: \n"),
        ("if", 2, None),
    ],
)
def test_a_command_gives_status_and_output(
    shared: Console, command: str, status: int, text: str | None
) -> None:
    done = shared.run(command, soon())
    assert done.status == status
    assert text is None or done.text == text


def test_one_command_leaves_nothing_to_the_next(shared: Console) -> None:
    before = shared.run("pwd", soon()).text
    shared.run("cd /; PS1='# '; X=1; seq 1000", soon())
    assert shared.run("pwd; echo $X", soon()).text == f"{before}\n"


def test_what_is_echoed_is_not_taken_for_an_answer(shared: Console) -> None:
    shared.run("stty echo </dev/tty", soon())
    assert shared.run("echo one; false", soon()) == Output(1, "one\n")
    shared.run("stty -echo </dev/tty", soon())


def test_wrong_password(stream: pexpect.spawn) -> None:
    console = Console(stream, "guest primary")
    with pytest.raises(InfraError, match="guest primary: the guest does not let root log in"):
        console.login("root", "wrong", soon())
    with pytest.raises(InfraError, match="nobody has logged in"):
        console.run("true", soon())


def test_who_is_logged_in_need_not_again(stream: pexpect.spawn, console: Console) -> None:
    console.run("true", soon())
    again = Console(stream)
    # The plain shell of the first has no prompt, but what it left is usable by who knows.
    stream.send("PS1='# '\n")
    again.login("root", "not asked for", soon())
    assert again.run("echo here", soon()).text == "here\n"


def test_a_name_that_somebody_typed_and_left(stream: pexpect.spawn) -> None:
    stream.expect("login: ")
    stream.send("somebody\n")
    stream.expect("Password: ")
    console = Console(stream)
    console.login("root", "sesame", soon())
    assert console.run("id -u >/dev/null", soon()).status == 0


def test_what_does_not_end_in_time(console: Console) -> None:
    with pytest.raises(OverdueError, match=r"no answer in time to a test .*(\n.*)*started"):
        console.run("echo started; read -r < /dev/tty", soon(2))
    with pytest.raises(InfraError, match="nobody has logged in"):
        console.run("true", soon())


def test_a_console_that_closes(console: Console) -> None:
    with pytest.raises(GuestLostError, match="it was closed"):
        console.run("kill -9 $$", soon())


def test_a_guest_that_says_nothing() -> None:
    silent = pexpect.spawn("/bin/bash", ["-c", f"read -r x; exec {shlex.join(['sleep', '60'])}"])
    try:
        with pytest.raises(OverdueError, match="no answer in time"):
            Console(silent).login("root", "sesame", soon(1))
    finally:
        silent.close(force=True)


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match=r"cannot connect to .*none.sock: No such file"):
        Console.connect(tmp_path / "none.sock")


def test_closing_logs_out(stream: pexpect.spawn, console: Console) -> None:
    console.close()
    console.close()
    assert not stream.isalive() or stream.wait() is not None
