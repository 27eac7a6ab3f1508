# SPDX-License-Identifier: Apache-2.0
"""The byte stream to a guest's agent, as a port, and its adapter for unix stream sockets."""

from __future__ import annotations

import errno
import math
import os
import select
import socket
from pathlib import Path
from typing import Protocol

from harness.deadline import Deadline

_CHUNK_BYTES = 1 << 18
_SEND_TIMEOUT_S = 30.0
"""A guest that takes no bytes for this long is lost: its agent always reads between requests."""


class CompanionEndedError(ConnectionError):
    """The stream to another guest, without which there is nothing to wait for, has ended."""


class ByteChannel(Protocol):
    """An ordered, reliable stream of bytes in both directions."""

    def send(self, data: bytes) -> None:
        """Hand all of ``data`` over; ``OSError`` when the stream is broken or stuck."""

    def recv(self, deadline: Deadline) -> bytes:
        """At least one byte, or ``b""`` at the end of the stream.

        ``TimeoutError`` when nothing came before ``deadline``, ``CompanionEndedError`` when nothing
        came and a companion's stream has ended, other ``OSError`` when broken.
        """

    def ended(self) -> bool:
        """Whether the guest has ended, or the stream was given up; takes no time."""

    def accompany(self, other: ByteChannel) -> None:
        """From now on the end of ``other`` ends every ``recv`` that would have to wait."""

    def close(self) -> None:
        """Give the stream up; a second call does nothing."""


class SocketChannel:
    """A ``ByteChannel`` over a connected stream socket."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._companions: list[ByteChannel] = []

    @classmethod
    def connect(cls, path: Path) -> SocketChannel:
        """Connect to the listening unix socket ``path``; ``OSError`` when nobody listens."""
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            client.connect(str(path))
        except OSError:
            client.close()
            raise
        return cls(client)

    def send(self, data: bytes) -> None:
        self._socket.settimeout(_SEND_TIMEOUT_S)
        self._socket.sendall(data)

    def recv(self, deadline: Deadline) -> bytes:
        own = self._socket.fileno()
        if own < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        waiting = select.poll()
        waiting.register(own, select.POLLIN)
        for other in self._companions:
            if other.ended():
                # What has already arrived must still be returned, here and at a deadline passed.
                deadline = deadline.within(0, deadline.what)
            elif isinstance(other, SocketChannel) and (fd := other._socket.fileno()) >= 0:
                waiting.register(fd, select.POLLRDHUP)
        ready = dict(waiting.poll(max(1, math.ceil(deadline.remaining * 1000))))
        if own in ready:
            return self._socket.recv(_CHUNK_BYTES)
        if any(other.ended() for other in self._companions):
            raise CompanionEndedError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        raise TimeoutError

    def ended(self) -> bool:
        fd = self._socket.fileno()
        if fd < 0:
            return True
        waiting = select.poll()
        waiting.register(fd, select.POLLRDHUP)
        return bool(waiting.poll(0))

    def accompany(self, other: ByteChannel) -> None:
        self._companions.append(other)

    def close(self) -> None:
        self._socket.close()
