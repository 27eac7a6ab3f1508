# SPDX-License-Identifier: Apache-2.0
"""Bytes between a stream of libvirt and what the rest of the harness reads and writes.

Everything here runs in the thread of libvirt's event loop, never waits, and knows no libvirt: what
is far is a port, and is asked to call again when there is something to do.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import BinaryIO, Protocol

CHUNK_BYTES = 1 << 16
_MOST_CHUNKS = 64
"""Read at a time, so that one busy stream does not keep others waiting."""


class Stream(Protocol):
    """One end of something that bytes go through; it calls back when it is ready."""

    def receive(self) -> bytes | None:
        """What has come, ``b""`` at the end, None when there is nothing; OSError when broken."""

    def send(self, data: bytes) -> int:
        """How many of ``data``'s bytes were taken, 0 for none now; OSError when broken."""

    def want(self, *, read: bool, write: bool) -> None:
        """Call back when it can be read, or written."""

    def close(self) -> None:
        """Never call back again."""


class NearSocket:
    """A socket that does not block, as a stream; ``want`` is for who watches it."""

    def __init__(self, near: socket.socket) -> None:
        near.setblocking(False)
        self._socket = near

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> bytes | None:
        try:
            return self._socket.recv(CHUNK_BYTES)
        except BlockingIOError:
            return None

    def send(self, data: bytes) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        self._socket.close()


class _Way:
    """One direction: what was received and not sent on yet."""

    def __init__(self, source: Stream, sink: Stream) -> None:
        self._source, self._sink = source, sink
        self.waiting = b""
        self.ended = False
        """Whether the source has come to its end; what is waiting still goes on its way."""

    def move(self) -> None:
        """Send on what there is; OSError when either end is broken."""
        for _ in range(_MOST_CHUNKS):
            if not self.waiting:
                fresh = None if self.ended else self._source.receive()
                if fresh is None:
                    return
                self.ended = not fresh
                self.waiting = fresh
            elif taken := self._sink.send(self.waiting):
                self.waiting = self.waiting[taken:]
            else:
                return

    @property
    def over(self) -> bool:
        return self.ended and not self.waiting


class Bridge:
    """Two streams joined: what is read on one is written to the other, until one of them ends."""

    def __init__(self, far: Stream, near: Stream) -> None:
        self._far, self._near = far, near
        self._inward, self._outward = _Way(far, near), _Way(near, far)
        self.closed = False

    def ready(self) -> None:
        """Something may have become possible at one of the ends."""
        if self.closed:
            return
        try:
            self._inward.move()
            self._outward.move()
        except OSError:
            self.close()
            return
        if self._inward.over or self._outward.ended:
            # Who hung up here has no use for an answer; the far side's last words were sent on.
            self.close()
            return
        # Nothing is read for which there is no room: a slow reader slows the writer, as on a pipe.
        into, out = bool(self._inward.waiting), bool(self._outward.waiting)
        self._far.want(read=not into and not self._inward.ended, write=out)
        self._near.want(read=not out, write=into)

    def close(self, _why: str = "") -> None:
        """Hang up on both sides; a second call does nothing."""
        if not self.closed:
            self.closed = True
            self._far.close()
            self._near.close()


class Recorder:
    """Writes what a stream brings to a file, as it comes."""

    def __init__(self, far: Stream, file: BinaryIO, on_loss: Callable[[], None]) -> None:
        """``on_loss`` is called when the record breaks off."""
        self._far, self._file, self._on_loss = far, file, on_loss
        self.length = 0
        """Bytes written, for whoever wants to know whether more has come."""
        self.why = ""
        """Why the record is not complete, if it is not."""
        self.over = threading.Event()
        """Set once nothing will be written any more."""

    def ready(self) -> None:
        """Something may have come."""
        for _ in range(_MOST_CHUNKS):
            if self.over.is_set():
                return
            try:
                data = self._far.receive()
                if data:
                    self._file.write(data)
                    self._file.flush()
                    self.length += len(data)
            except OSError as error:
                self.close(str(error))
                return
            if data is None:
                break
            if not data:
                self.close()
                return
        self._far.want(read=True, write=False)

    def close(self, why: str = "") -> None:
        """Write nothing any more; ``why`` if there was to be more. A second call does nothing."""
        if not self.over.is_set():
            self.why = why
            self._far.close()
            # What could not be written will not be on closing either.
            with contextlib.suppress(OSError):
                self._file.close()
            self.over.set()
            if why:
                self._on_loss()

    @property
    def closed(self) -> bool:
        return self.over.is_set()
