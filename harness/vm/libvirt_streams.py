# SPDX-License-Identifier: Apache-2.0
"""Console and agent's ports of a guest over the connection to libvirt."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import libvirt

from harness.vm.bridge import CHUNK_BYTES, Bridge, NearSocket, Recorder
from harness.vm.libvirt_loop import Watched, wait_in_loop

_WOULD_BLOCK = -2


class _Virtual:
    """A stream of libvirt as the port that ``bridge`` needs; used in the event loop only."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._ended = False
        self._open = True

    def call_back(self, ready: Callable[[], None]) -> None:
        """From now on ``ready`` is called when there is something to read."""
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
        with _as_os_error():
            taken = int(self._stream.send(data[:CHUNK_BYTES]))
            return 0 if taken == _WOULD_BLOCK else taken

    def want(self, *, read: bool, write: bool) -> None:
        events = libvirt.VIR_STREAM_EVENT_READABLE if read else 0
        events |= libvirt.VIR_STREAM_EVENT_WRITABLE if write else 0
        if self._open:
            with contextlib.suppress(libvirt.libvirtError):
                self._stream.eventUpdateCallback(events)

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        with contextlib.suppress(libvirt.libvirtError):
            self._stream.eventRemoveCallback()
        with contextlib.suppress(libvirt.libvirtError):
            if self._ended:
                self._stream.finish()
            else:
                self._stream.abort()


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
    with _as_os_error():
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
    with _as_os_error():
        stream = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
        domain.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
    file = open(console, "ab")  # noqa: SIM115 - closed with the recorder

    def listen() -> Recorder:
        far = _Virtual(stream)
        recorder = Recorder(far, file, on_loss)
        far.call_back(recorder.ready)
        return recorder

    return wait_in_loop(listen)
