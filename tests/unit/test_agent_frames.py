# SPDX-License-Identifier: Apache-2.0
"""Bad bytes on the wire: whatever comes, the agent answers the next good frame."""

from __future__ import annotations

import random
import socket
import struct
import subprocess
import zlib
from collections.abc import Iterator

import pytest
from agent_process import agent_program, disk_directory, raw_agent, soon

from harness.guest.agent import Agent
from harness.guest.ports import SocketChannel
from harness.guest.protocol import Frame, FrameReader, FrameType, encode_frame, parse_blocks


@pytest.fixture
def wire() -> Iterator[socket.socket]:
    with raw_agent() as connected:
        connected.settimeout(20)
        yield connected


HELLO = encode_frame(Frame(FrameType.HELLO, 99))


def answers(wire: socket.socket, data: bytes) -> list[Frame]:
    """Send ``data`` and a greeting; everything that comes back up to the greeting's answer."""
    reader = FrameReader()
    frames: list[Frame] = []
    wire.sendall(data + HELLO)
    while not frames or frames[-1].request_id != 99:
        received = wire.recv(65536)
        assert received, "the agent has gone"
        frames += reader.feed(received)
    assert reader.skipped_bytes == 0
    return frames[:-1]


def header(
    *, magic: bytes = b"HAG1", version: int = 1, length: int = 0, crc: int = 0, number: int = 5
) -> bytes:
    return struct.pack("<4sHHIII", magic, version, FrameType.REQUEST, number, length, crc)


def test_garbage_between_frames_is_skipped(wire: socket.socket) -> None:
    assert answers(wire, b"HAHAG\r\nlogin: " + random.Random(1).randbytes(200_000)) == []


@pytest.mark.parametrize("kept", [1, 4, 8, 19])
def test_a_header_cut_short_is_skipped(wire: socket.socket, kept: int) -> None:
    frames = answers(wire, header()[:kept])
    assert all(frame.type == FrameType.ERROR for frame in frames)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (header(version=2), b"version"),
        (header(length=(64 << 20) + 1), b"64 MiB"),
        (header(length=4, crc=1) + b"true", b"CRC-32"),
        (header(length=len(HELLO), crc=1), b"CRC-32"),
    ],
)
def test_a_bad_frame_is_answered_with_why(wire: socket.socket, data: bytes, why: bytes) -> None:
    (error,) = answers(wire, data)
    assert (error.type, error.request_id) == (FrameType.ERROR, 5)
    assert why in error.payload


def test_a_frame_that_stops_half_way_is_given_up(wire: socket.socket) -> None:
    wire.sendall(header(length=10_000) + b"x" * 100)
    (error,) = FrameReader().feed(wire.recv(65536))
    assert b"half-way" in error.payload
    assert answers(wire, b"") == []


def test_a_greeting_ends_a_frame_that_was_cut_short(wire: socket.socket) -> None:
    cut = encode_frame(Frame(FrameType.REQUEST, 5, b"rmmod " + b"x" * 10_000))[:5000]
    (error,) = answers(wire, cut)
    assert b"greeting" in error.payload


def test_a_frame_type_of_the_agents_own_is_refused(wire: socket.socket) -> None:
    (error,) = answers(wire, encode_frame(Frame(FrameType.CONTINUE, 5, b"go")))
    assert (error.type, error.request_id) == (FrameType.ERROR, 5)


def test_frames_may_come_in_any_pieces(wire: socket.socket) -> None:
    for byte in encode_frame(Frame(FrameType.REQUEST, 5, b"exec 5000 true\n")):
        wire.sendall(bytes([byte]))
    (response,) = answers(wire, b"")
    assert response.payload.startswith(b"R 0 ok 0 ")


@pytest.mark.parametrize(
    "line",
    [
        b"no-such-command",
        b"zero /dev/null",
        b"exec 1000",
        b" ",
        b"rmmod  x",
        b"rmmod %zz",
        b"rmmod %4",
        b"rmmod %00",
        b"rmmod \xff\x80",
        b"rmmod " + b"x " * 600,
        b"at-checkpoint  x",
        b"at-checkpoint",
        b"step",
        b"step 1",
        b"step x checkpoint 1",
        b"always",
        b"try",
    ],
)
def test_a_malformed_line_fails_and_the_agent_lives(wire: socket.socket, line: bytes) -> None:
    (response,) = answers(wire, encode_frame(Frame(FrameType.REQUEST, 5, line + b"\n")))
    (block,) = parse_blocks(response.payload)
    assert block.state == "err"


def test_noise_never_ends_the_agent(wire: socket.socket) -> None:
    """Valid frames around damaged scripts, and damaged frames around valid scripts."""
    chance = random.Random(20260101)
    words = [b"try", b"always", b"step", b"begin", b"end", b"tree", b"at-checkpoint", b"dm-wait"]
    words += [
        b"%",
        b"%41",
        b"%4",
        b"1",
        b"-1",
        b"99999999999999999999",
        b"/nonexistent",
        b"x" * 300,
    ]
    for _ in range(300):
        lines = [b" ".join(chance.choices(words, k=chance.randrange(7))) for _ in range(4)]
        data = bytearray(encode_frame(Frame(FrameType.REQUEST, 5, b"\n".join(lines))))
        if chance.random() < 0.3:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            # A damaged length would only be waited out; that is tested above.
            data[12:16] = struct.pack("<I", len(data) - 20)
        for frame in answers(wire, bytes(data)):
            if frame.type == FrameType.RESPONSE:
                parse_blocks(frame.payload)


def test_a_long_request_is_checked_as_a_whole(wire: socket.socket) -> None:
    payload = b"".join(b"try rmmod %s\n" % (b"x" * 1000) for _ in range(3000))
    data = bytearray(encode_frame(Frame(FrameType.REQUEST, 5, payload)))
    (response,) = answers(wire, bytes(data))
    assert len(parse_blocks(response.payload)) == 3000
    assert struct.unpack_from("<I", data, 16)[0] == zlib.crc32(payload)
    data[-2] ^= 1
    (error,) = answers(wire, bytes(data))
    assert error.type == FrameType.ERROR


def test_a_socket_serves_one_client_after_the_other() -> None:
    with disk_directory() as root:
        path = root / "agent.sock"
        process = subprocess.Popen(
            [agent_program(), "--socket", path], stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "harness-agent: ready\n"
            for _ in range(2):
                agent = Agent(SocketChannel.connect(path), "local")
                assert agent.hello(soon()).protocol == 1
                agent.close()
        finally:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
