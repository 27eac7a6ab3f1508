# SPDX-License-Identifier: Apache-2.0
"""The byte stream to a guest's agent, as a port, and its adapter for unix stream sockets."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Protocol

from harness.deadline import Deadline

_CHUNK_BYTES = 1 << 18
_SEND_TIMEOUT_S = 30.0
"""A guest that takes no bytes for this long is lost: its agent always reads between requests."""


class ByteChannel(Protocol):
    """An ordered, reliable stream of bytes in both directions."""

    def send(self, data: bytes) -> None:
        """Hand all of ``data`` over; ``OSError`` when the stream is broken or stuck."""

    def recv(self, deadline: Deadline) -> bytes:
        """At least one byte, or ``b""`` at the end of the stream.

        ``TimeoutError`` when nothing came before ``deadline``, other ``OSError`` when broken.
        """

    def close(self) -> None:
        """Give the stream up; a second call does nothing."""


class SocketChannel:
    """A ``ByteChannel`` over a connected stream socket."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

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
        # A timeout of 0 would mean non-blocking: what already arrived must still be returned.
        self._socket.settimeout(max(deadline.remaining, 0.001))
        return self._socket.recv(_CHUNK_BYTES)

    def close(self) -> None:
        self._socket.close()
