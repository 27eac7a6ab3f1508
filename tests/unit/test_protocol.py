# SPDX-License-Identifier: Apache-2.0
"""Frames, scripts and blocks as bytes and back."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.guest.protocol import (
    PAYLOAD_MAX_BYTES,
    Block,
    BlockState,
    Frame,
    FrameReader,
    FrameType,
    ProtocolError,
    decode_word,
    encode_frame,
    encode_script,
    encode_word,
    parse_blocks,
    parse_event,
)

frames = st.builds(
    Frame, st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.binary(max_size=200)
)
words = st.text(
    st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20
) | st.binary(max_size=20).filter(lambda raw: 0 not in raw).map(
    lambda raw: raw.decode("utf-8", "surrogateescape")
)


def crc32_bit_by_bit(data: bytes) -> int:
    """CRC-32 of ISO 3309 from its polynomial."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xEDB88320 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_the_bytes_of_a_frame_are_the_documented_ones() -> None:
    data = encode_frame(Frame(FrameType.REQUEST, 0x01020304, b"sync\n"))
    head = b"HAG1\x01\x00\x02\x00\x04\x03\x02\x01\x05\x00\x00\x00"
    assert data == head + crc32_bit_by_bit(b"sync\n").to_bytes(4, "little") + b"sync\n"


def test_a_payload_over_the_cap_is_not_sent() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        encode_frame(Frame(FrameType.REQUEST, 1, bytes(PAYLOAD_MAX_BYTES + 1)))


@given(st.lists(frames, max_size=5), st.data())
def test_frames_survive_any_cutting_of_the_stream(sent: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(map(encode_frame, sent))
    reader = FrameReader()
    received: list[Frame] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        received += reader.feed(stream[:size])
        stream = stream[size:]
    assert received == sent
    assert reader.skipped_bytes == 0


@given(st.binary(max_size=100), frames, st.integers(0, 200))
def test_a_frame_after_the_rest_of_another_is_found(garbage: bytes, frame: Frame, cut: int) -> None:
    stale = encode_frame(Frame(FrameType.RESPONSE, 1, b"x" * 200))
    reader = FrameReader()
    noise = garbage.replace(b"H", b"h") + stale[len(stale) - cut :]
    assert reader.feed(noise + encode_frame(frame)) == [frame]
    assert reader.skipped_bytes == len(noise)


@pytest.mark.parametrize("at", [4, 12, 15, 16, 20, 24])
def test_a_damaged_frame_is_dropped_and_the_next_found(at: int) -> None:
    damaged = bytearray(encode_frame(Frame(FrameType.RESPONSE, 1, b"payload")))
    damaged[at] ^= 0x80
    good = Frame(FrameType.RESPONSE, 2, b"good")
    # Enough bytes behind it that no damaged length below the cap can wait for more.
    reader = FrameReader()
    assert good in reader.feed(bytes(damaged) + encode_frame(good) + bytes(200))


@given(words)
def test_a_word_survives(word: str) -> None:
    encoded = encode_word(word)
    assert encoded
    assert not set(encoded) & set(" \n")
    assert encoded.isascii()
    assert decode_word(encoded) == word


def test_a_script_is_lines_of_words() -> None:
    script = [("begin", "/mnt/a b"), ("step", "1", "symlink", "", "50%"), ("end",)]
    assert encode_script(script) == b"begin /mnt/a%20b\nstep 1 symlink % 50%25\nend\n"


@pytest.mark.parametrize("line", [[], ["a\0b"]])
def test_what_no_script_can_say_is_refused(line: list[str]) -> None:
    with pytest.raises(ValueError, match="script"):
        encode_script([line])


def test_blocks_hold_any_bytes() -> None:
    payload = b"R 0 ok 0 12 5\na\nR 1\nR 1 err -5 7 0\n\nR 2 skipped 0 0 0\n\n"
    assert parse_blocks(payload) == [
        Block(0, BlockState.OK, 0, 12, b"a\nR 1"),
        Block(1, BlockState.ERR, -5, 7, b""),
        Block(2, BlockState.SKIPPED, 0, 0, b""),
    ]


@pytest.mark.parametrize(
    "payload",
    [
        b"R 0 ok 0 12 5\nab",
        b"R 0 ok 0 12 1\nab\n",
        b"R 0 ok 0 12 -1\n",
        b"R 0 fine 0 12 0\n\n",
        b"R zero ok 0 12 0\n\n",
        b"R 0 ok 0 0\n\n",
        b"Q 0 ok 0 12 0\n\n",
        b"R 0 ok 0 12 0",
        b"\n",
    ],
)
def test_malformed_blocks_are_an_error(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_blocks(payload)


def test_an_event_names_its_checkpoint_and_line() -> None:
    number, line, blocks = parse_event(b"checkpoint 2 14\nR 0 ok 0 3 1\nx\n")
    assert (number, line, blocks) == (2, 14, [Block(0, BlockState.OK, 0, 3, b"x")])


@pytest.mark.parametrize(
    "payload", [b"", b"checkpoint 2 14", b"checkpoint 2\n", b"checkpoint x 1\n", b"mark 1 2\n"]
)
def test_a_malformed_event_is_an_error(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_event(payload)


@given(st.binary(max_size=60))
def test_parsers_raise_nothing_else(payload: bytes) -> None:
    for parse in (parse_blocks, parse_event):
        with contextlib.suppress(ProtocolError):
            parse(payload)
