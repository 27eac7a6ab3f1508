# SPDX-License-Identifier: Apache-2.0
"""Bytes on their way between a stream of libvirt and a socket or file, one step at a time."""

from __future__ import annotations

import errno
import io
import socket
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.vm.bridge import Bridge, NearSocket, Recorder


@dataclass
class Far:
    """A stream that has what a test puts in, and takes as much as a test lets it."""

    coming: list[bytes | OSError] = field(default_factory=list)
    room: int = 1 << 30
    """Bytes it takes before it has to be asked again later."""
    broken: bool = False
    sent: bytes = b""
    wants: tuple[bool, bool] = (False, False)
    closed: int = 0

    def receive(self) -> bytes | None:
        if not self.coming:
            return None
        data = self.coming.pop(0)
        if isinstance(data, OSError):
            raise data
        return data

    def send(self, data: bytes) -> int:
        if self.broken:
            raise ConnectionResetError(errno.ECONNRESET, "gone")
        taken = data[: self.room]
        self.room -= len(taken)
        self.sent += taken
        return len(taken)

    def want(self, *, read: bool, write: bool) -> None:
        self.wants = (read, write)

    def close(self) -> None:
        self.closed += 1


class Unwatched(NearSocket):
    """A socket that a test looks after itself."""

    def want(self, *, read: bool, write: bool) -> None:
        pass


def test_bytes_go_both_ways() -> None:
    far, near = Far([b"from ", b"afar"]), Far([b"from here"])
    bridge = Bridge(far, near)
    bridge.ready()
    assert (near.sent, far.sent) == (b"from afar", b"from here")
    assert (far.wants, near.wants) == ((True, False), (True, False))
    assert not bridge.closed


def test_a_reader_that_is_slow_slows_the_writer() -> None:
    far, near = Far([b"0123456789", b"abc"]), Far(room=4)
    bridge = Bridge(far, near)
    bridge.ready()
    assert near.sent == b"0123"
    assert far.coming == [b"abc"], "nothing more is taken while some is on its way"
    assert (far.wants, near.wants) == ((False, False), (True, True))
    near.room = 3
    bridge.ready()
    assert near.sent == b"0123456"
    near.room = 100
    bridge.ready()
    assert near.sent == b"0123456789abc"
    assert (far.wants, near.wants) == ((True, False), (True, False))


def test_a_far_end_without_room_is_asked_again() -> None:
    far, near = Far(room=2), Far([b"hello", b" world"])
    bridge = Bridge(far, near)
    bridge.ready()
    assert (far.sent, near.coming) == (b"he", [b" world"])
    assert (far.wants, near.wants) == ((True, True), (False, False))
    far.room = 100
    bridge.ready()
    assert far.sent == b"hello world"


def test_last_words_arrive_before_the_end() -> None:
    far, near = Far([b"last words", b""]), Far(room=4)
    bridge = Bridge(far, near)
    bridge.ready()
    assert not bridge.closed, "some of it is still on its way"
    assert far.wants == (False, False)
    near.room = 100
    bridge.ready()
    assert near.sent == b"last words"
    assert (bridge.closed, far.closed, near.closed) == (True, 1, 1)


@pytest.mark.parametrize("side", ["far", "near", "sending"])
def test_a_broken_end_ends_both(side: str) -> None:
    reset = ConnectionResetError(errno.ECONNRESET, "reset")
    far = Far([reset] if side == "far" else [], broken=side == "sending")
    near = Far([reset] if side == "near" else [b"x"])
    bridge = Bridge(far, near)
    bridge.ready()
    assert (bridge.closed, far.closed, near.closed) == (True, 1, 1)
    bridge.ready()
    bridge.close()
    assert (far.closed, near.closed) == (1, 1)


def test_hanging_up_here_ends_the_far_side() -> None:
    far, near = Far(), Far([b""])
    bridge = Bridge(far, near)
    bridge.ready()
    assert (bridge.closed, far.closed) == (True, 1)


def test_a_socket_that_is_full_takes_part_and_never_waits() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        near, far = Unwatched(theirs), Far([b"x" * (1 << 22), b""])
        bridge = Bridge(far, near)
        bridge.ready()
        assert not bridge.closed
        read = 0
        while data := ours.recv(1 << 20):
            read += len(data)
            bridge.ready()
        assert read == 1 << 22
        assert bridge.closed


def test_a_console_is_written_as_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    far, lost = Far([b"one ", b"two"]), list[str]()
    recorder = Recorder(far, path.open("ab"), lambda: lost.append("lost"))
    recorder.ready()
    assert (path.read_bytes(), recorder.length, recorder.closed) == (b"one two", 7, False)
    assert far.wants == (True, False)
    far.coming = [b" three", b""]
    recorder.ready()
    assert path.read_bytes() == b"one two three"
    assert (recorder.closed, recorder.why, lost, far.closed) == (True, "", [], 1)
    recorder.ready()
    recorder.close("too late")
    assert (recorder.why, lost, far.closed) == ("", [], 1)


def test_a_console_that_breaks_off_says_so() -> None:
    far, lost = Far([b"one", ConnectionResetError(errno.ECONNRESET, "reset")]), list[str]()
    file = io.BytesIO()
    recorder = Recorder(far, file, lambda: lost.append("lost"))
    recorder.ready()
    assert "reset" in recorder.why
    assert (recorder.over.is_set(), lost, far.closed, file.closed) == (True, ["lost"], 1, True)


def test_a_console_that_cannot_be_written_is_not_complete() -> None:
    lost = list[str]()
    with open("/dev/full", "wb", buffering=0) as full:
        recorder = Recorder(Far([b"one"]), full, lambda: lost.append("lost"))
        recorder.ready()
    assert "No space left" in recorder.why
    assert lost == ["lost"]
