# SPDX-License-Identifier: Apache-2.0
"""Ask the keeper of a pair for something."""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

from harness.config import StateDir
from harness.deadline import Deadline
from harness.errors import InfraError, UsageError
from harness.run.devpair.wire import Json, decode, encode, lines, raise_failure, socket_path
from harness.vm.live import LiveDir, find_name

_MOST_BYTES = 16 << 20
_CHUNK_BYTES = 1 << 16
_CONNECT_TIMEOUT = struct.pack("ll", 10, 0)
_END_S = 120.0
Say = Callable[[str], None]


class _GoneError(InfraError):
    """There is no keeper, or none any more."""


def find_pair(state: StateDir, name: str) -> LiveDir:
    """The folder of the running keeper of ``name``. UsageError when there is none."""
    found = find_name(state, f"pair {name}")
    if found is None:
        raise UsageError(f"no pair {name!r} is up", hint=f"harness pair up{_option(name)}")
    return found


def _option(name: str) -> str:
    return "" if name == "dev" else f" --name {name}"


def ask(live: LiveDir, verb: str, say: Say, **arguments: object) -> Any:
    """What the keeper answers; ``say`` is told what it says meanwhile.

    Its errors are raised here; InfraError when it is not there or goes away.
    """
    gone = _GoneError(
        "the keeper of the pair has gone",
        hint="`harness clean` removes what it left, `harness pair up` starts again",
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connected:
        try:
            # Not settimeout(): with that a connection is refused where it would have to wait.
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _CONNECT_TIMEOUT)
            connected.connect(str(socket_path(live)))
            connected.sendall(encode({"verb": verb, **arguments}))
            for line in lines(_parts(connected), _MOST_BYTES):
                message = decode(line)
                if "note" in message:
                    say(str(message["note"]))
                    continue
                raise_failure(message)
                return message.get("result")
        except (OSError, ValueError) as error:
            raise gone from error
    raise gone


def end(live: LiveDir, say: Say) -> None:
    """Have the keeper end its guests and itself, and wait until it has.

    InfraError when it does not, or answers that it cannot.
    """
    pid = int(ask(live, "pid", say))
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        lost: _GoneError | None = None
        try:
            ask(live, "down", say)
        except _GoneError as error:
            # It may end before its answer is out. That it ends is what was asked for.
            lost = error
        deadline = Deadline.after(_END_S, "the keeper to end")
        waiting = select.poll()
        waiting.register(process, select.POLLIN)
        if not waiting.poll(deadline.remaining * 1000):
            raise InfraError(
                f"the keeper, process {pid}, does not end: {deadline}",
                hint=f"kill -9 {pid}, then harness clean",
            ) from lost
    finally:
        os.close(process)


def _parts(connected: socket.socket) -> Iterator[bytes]:
    while part := connected.recv(_CHUNK_BYTES):
        yield part


__all__ = ["Json", "ask", "end", "find_pair"]
