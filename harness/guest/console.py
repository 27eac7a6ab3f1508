# SPDX-License-Identifier: Apache-2.0
"""A full guest's serial console, used as a person would: log in, run a command, see what it says.

The only file that imports pexpect. What is typed may be echoed, and the kernel may speak at any
moment, so an answer is known by a mark that was never typed in one piece.
"""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pexpect
from pexpect import fdpexpect

from harness.deadline import Deadline
from harness.errors import GuestLostError, InfraError, OverdueError

# A serial line has no flow control: no more is typed at once than a terminal holds (4 KiB).
_MOST_TYPED = 1024
_ASK_AGAIN_S = 3.0
_TAIL_BYTES = 400
_LOGIN = rb"login: "
_PASSWORD = rb"[Pp]assword: "
_PROMPT = rb"[#$] "
_REFUSED = rb"Login incorrect"
# Without line editing, prompts and pagers, so that all that comes is what a command says.
_PLAIN_SHELL = (
    "exec env PS1= PS2= TERM=dumb PAGER=cat SYSTEMD_PAGER= /bin/bash --noediting --norc --noprofile"
)


@dataclass(frozen=True, slots=True)
class Output:
    """What a command came to."""

    status: int
    text: str
    """Both of its outputs as they came, and what the kernel said meanwhile."""


class Console:
    """One conversation at a console. After an error it is of no further use."""

    def __init__(self, stream: Any, name: str = "console") -> None:
        """``stream`` is a pexpect object; ``name`` is for messages."""
        self._stream = stream
        self._name = name
        self._in_shell = False

    @classmethod
    def connect(cls, path: Path, name: str = "console") -> Console:
        """At the unix socket ``path`` of a guest. InfraError when nobody listens there."""
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            client.connect(str(path))
        except OSError as error:
            client.close()
            raise InfraError(f"{name}: cannot connect to {path}: {error.strerror}") from error
        stream = fdpexpect.fdspawn(client.detach(), maxread=1 << 16)
        stream.delaybeforesend = None
        return cls(stream, name)

    def login(self, user: str, password: str, deadline: Deadline) -> None:
        """Log in, unless somebody is, and have a shell that answers ``run``.

        Raises InfraError when the guest refuses, GuestLostError when it does not answer.
        """
        with self._told(deadline):
            where = self._ask("", [_LOGIN, _PASSWORD, _PROMPT], deadline)
            if where == 1:
                # Somebody has typed a name and left.
                where = self._ask("", [_LOGIN], deadline)
            if where == 0:
                self._type(f"{user}\n")
                self._expect([_PASSWORD], deadline)
                self._type(f"{password}\n")
                if self._expect([_PROMPT, _REFUSED], deadline) == 1:
                    raise InfraError(f"{self._name}: the guest does not let {user} log in")
            self._type(f" {_PLAIN_SHELL}\n")
            mark, typed = _mark()
            self._ask(f" stty -echo; echo {typed}", [re.escape(mark)], deadline)
            self._in_shell = True

    def run(self, command: str, deadline: Deadline) -> Output:
        """Run ``command`` in a shell of its own, without input, and wait for its end.

        Raises GuestLostError when the console closes, OverdueError when there is no end in time.
        """
        if not self._in_shell:
            raise InfraError(f"{self._name}: nobody has logged in")
        with self._told(deadline):
            coded = base64.b64encode(command.encode()).decode()
            self._dictate("c=", deadline)
            for start in range(0, len(coded), _MOST_TYPED):
                self._dictate(f"c=${{c}}{coded[start : start + _MOST_TYPED]}", deadline)
            begin, typed_begin = _mark()
            end, typed_end = _mark()
            self._type(
                f'echo {typed_begin}; ( eval "$(echo $c | base64 -d)" ) </dev/null; '
                f"printf '\\n%s:%d:\\n' {typed_end} $?\n"
            )
            self._expect([re.escape(begin) + rb"\r?\n"], deadline)
            self._expect([rb"\r?\n" + re.escape(end) + rb":(\d+):"], deadline)
        text: bytes = self._stream.before
        status = int(self._stream.match[1])
        return Output(status, text.replace(b"\r\n", b"\n").decode(errors="replace"))

    def close(self) -> None:
        """Log out and go; a second call does nothing."""
        if self._in_shell:
            with contextlib.suppress(OSError):
                self._type("exit\n")
        self._in_shell = False
        self._stream.close()

    def _dictate(self, line: str, deadline: Deadline) -> None:
        """A line whose end is waited for, so that the next one finds room."""
        mark, typed = _mark()
        self._type(f"{line}; echo {typed}\n")
        self._expect([re.escape(mark)], deadline)

    def _ask(self, line: str, answers: list[bytes], deadline: Deadline) -> int:
        """Type ``line`` again and again until one of ``answers`` comes: who listens may change."""
        while True:
            self._type(f"{line}\n")
            found = self._expect(
                [*answers, pexpect.TIMEOUT], deadline.within(_ASK_AGAIN_S, deadline.what)
            )
            if found < len(answers):
                return found
            if deadline.expired:
                raise pexpect.TIMEOUT("")

    def _type(self, text: str) -> None:
        self._stream.send(text.encode())

    def _expect(self, answers: list[Any], deadline: Deadline) -> int:
        found: int = self._stream.expect(answers, timeout=deadline.remaining)
        return found

    @contextlib.contextmanager
    def _told(self, deadline: Deadline) -> Iterator[None]:
        """Turn pexpect's errors into ours."""
        try:
            yield
        except pexpect.TIMEOUT as error:
            self._in_shell = False
            raise OverdueError(
                f"{self._name}: no answer in time to {deadline}{self._tail()}"
            ) from error
        except (pexpect.EOF, OSError) as error:
            self._in_shell = False
            raise GuestLostError(f"{self._name}: it was closed{self._tail()}") from error

    def _tail(self) -> str:
        left = self._stream.buffer if isinstance(self._stream.buffer, bytes) else b""
        last = (left or self._stream.before or b"")[-_TAIL_BYTES:]
        return f"; it ends with:\n{last.decode(errors='replace').strip()}" if last else ""


def _mark() -> tuple[bytes, str]:
    """A mark that was never seen before, and words for a shell that come to it, but are not it."""
    mark = uuid.uuid4().hex
    return mark.encode(), f"{mark[:16]}''{mark[16:]}"
