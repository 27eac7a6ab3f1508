# SPDX-License-Identifier: Apache-2.0
"""Console and agent's ports of a guest over the connection to libvirt."""

from __future__ import annotations

import contextlib
import errno
import functools
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import libvirt

from harness.vm.bridge import CHUNK_BYTES, Bridge, NearSocket, Recorder
from harness.vm.libvirt_loop import Watched, in_loop, turn, wait_in_loop

_WOULD_BLOCK = -2


class _Virtual:
    """A stream of libvirt as the port that ``bridge`` needs; used in the event loop only.

    Sending and ending wait for a daemon that does not read or answer. The event loop must not, for
    it is what notices a dead one; so both are done by a thread, one chunk at a time.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._ready: Callable[[], None] = lambda: None
        self._ended = False
        self._open = True
        self._sending = False
        self._broken: OSError | None = None
        self._tasks: queue.SimpleQueue[bytes | None] | None = None
        """For the thread; None is the last."""

    def call_back(self, ready: Callable[[], None]) -> None:
        """From now on ``ready`` is called when there is something to do."""
        self._ready = ready
        self._stream.eventAddCallback(
            libvirt.VIR_STREAM_EVENT_READABLE, lambda _stream, _events, _opaque: ready(), None
        )

    def receive(self) -> bytes | None:
        with _as_os_error():
            data = self._stream.recv(CHUNK_BYTES)
        if data == _WOULD_BLOCK:
            return None
        self._ended = not data
        return bytes(data)

    def send(self, data: bytes) -> int:
        if self._broken is not None:
            raise self._broken
        if self._sending:
            return 0
        self._sending = True
        chunk = data[:CHUNK_BYTES]
        self._thread().put(chunk)
        return len(chunk)

    def want(self, *, read: bool, write: bool) -> None:
        """``write`` needs nothing: the thread calls back when it has sent what it had."""
        if self._open:
            with contextlib.suppress(libvirt.libvirtError):
                self._stream.eventUpdateCallback(libvirt.VIR_STREAM_EVENT_READABLE if read else 0)

    def close(self) -> None:
        if self._open:
            self._open = False
            with contextlib.suppress(libvirt.libvirtError):
                self._stream.eventRemoveCallback()
            self._thread().put(None)

    def _thread(self) -> queue.SimpleQueue[bytes | None]:
        if self._tasks is None:
            self._tasks = queue.SimpleQueue()
            threading.Thread(target=self._work, name="libvirt-send", daemon=True).start()
        return self._tasks

    def _work(self) -> None:
        assert self._tasks is not None
        while (chunk := self._tasks.get()) is not None:
            error: OSError | None = None
            try:
                _send_all(self._stream, chunk)
            except OSError as why:
                error = why
            in_loop(functools.partial(self._sent, error))
        with turn(), contextlib.suppress(libvirt.libvirtError):
            if self._ended:
                self._stream.finish()
            else:
                self._stream.abort()

    def _sent(self, error: OSError | None) -> None:
        self._sending = False
        self._broken = error
        if self._open:
            self._ready()


def _send_all(stream: Any, data: bytes) -> None:
    with _as_os_error():
        while data:
            with turn():
                taken = stream.send(data)
            if taken == _WOULD_BLOCK:
                # Not seen of a remote stream, whose every send waits; and nothing to wait on here.
                raise BlockingIOError(errno.EAGAIN, "the stream takes nothing")
            data = data[taken:]


class _Socket(NearSocket):
    """This process's end of a bridge, watched by the event loop."""

    def __init__(self, near: socket.socket, ready: Callable[[], None]) -> None:
        super().__init__(near)
        self._watched = Watched(self.fileno(), ready)

    def want(self, *, read: bool, write: bool) -> None:
        self._watched.want(read=read, write=write)

    def close(self) -> None:
        # In this order: a descriptor that is closed may be somebody else's in a moment.
        self._watched.close()
        super().close()


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    """What libvirt says of a stream, as an error of the operating system."""
    try:
        yield
    except libvirt.libvirtError as error:
        raise ConnectionResetError(errno.ECONNRESET, error.get_error_message()) from error


def open_channel(connection: Any, domain: Any, port: str) -> tuple[socket.socket, Bridge]:
    """A socket joined to the virtio-serial port ``port``; ConnectionError when it cannot be had."""
    with turn(), _as_os_error():
        stream = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
        # Who had it before is gone, but the daemon may not have noticed yet.
        domain.openChannel(port, stream, libvirt.VIR_DOMAIN_CHANNEL_FORCE)
    ours, theirs = socket.socketpair()

    def join() -> Bridge:
        far = _Virtual(stream)
        bridge: list[Bridge] = []
        near = _Socket(theirs, lambda: bridge[0].ready())
        bridge.append(Bridge(far, near))
        far.call_back(bridge[0].ready)
        bridge[0].ready()
        return bridge[0]

    return ours, wait_in_loop(join)


def record_console(
    connection: Any, domain: Any, console: Path, on_loss: Callable[[], None]
) -> Recorder:
    """Append all that the guest says from now on to the file ``console``; ``on_loss`` as of it.

    ConnectionError when its console cannot be had, OSError when the file cannot be written.
    """
    with turn(), _as_os_error():
        stream = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
        domain.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
    file = open(console, "ab")  # noqa: SIM115 - closed with the recorder

    def listen() -> Recorder:
        far = _Virtual(stream)
        recorder = Recorder(far, file, on_loss)
        far.call_back(recorder.ready)
        return recorder

    return wait_in_loop(listen)
