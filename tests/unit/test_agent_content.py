# SPDX-License-Identifier: Apache-2.0
"""Content as segments: lossless, canonical, and true to where bytes come from."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.content import RAW, ZERO, Content, decode, encode, pattern

LINES = (3, 12, 110)


def shape(content: Content) -> list[tuple[int, int]]:
    return [(segment.length, segment.line) for segment in content]


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Bytes put together from writes at their place, writes out of place, zeros and noise."""
    raw = b""
    for _ in range(draw(st.integers(0, 6))):
        length = draw(st.integers(1, 300))
        line = draw(st.sampled_from((0, *LINES, 4, RAW)))
        if line == RAW:
            raw += draw(st.binary(min_size=1, max_size=20))
        elif line == ZERO:
            raw += bytes(length)
        else:
            raw += pattern(line, len(raw) + draw(st.sampled_from((0, 0, 0, 32))), length)
    return raw


@given(files())
def test_nothing_is_lost(raw: bytes) -> None:
    assert decode(encode(raw, LINES)) == raw


@given(files())
def test_segments_do_not_touch_their_like(raw: bytes) -> None:
    content = encode(raw, LINES)
    assert all(segment.length > 0 for segment in content)
    assert all(a.line != b.line for a, b in itertools.pairwise(content))
    assert encode(decode(content), LINES) == content


@pytest.mark.parametrize("size", [9, 31, 32, 33, 4096, 32768, 1 << 20])
def test_a_whole_write_is_one_segment(size: int) -> None:
    assert shape(encode(pattern(12, 0, size), LINES)) == [(size, 12)]


def test_writes_and_holes_are_told_apart() -> None:
    raw = pattern(3, 0, 5000) + bytes(3192) + pattern(110, 8192, 4096)
    assert shape(encode(raw, LINES)) == [(5000, 3), (3192, ZERO), (4096, 110)]


def test_an_overwrite_in_the_middle_is_found_to_the_record() -> None:
    raw = bytearray(pattern(3, 0, 32768))
    raw[1000:2000] = pattern(12, 1000, 1000)
    first, second, third = encode(bytes(raw), LINES)
    assert (first.line, second.line, third.line) == (3, 12, 3)
    # Two streams differ in the line's digits only: the borders are exact up to a record.
    assert 1000 <= first.length < 1032
    assert 2000 <= first.length + second.length < 2032


def test_data_in_the_wrong_place_is_raw() -> None:
    raw = pattern(3, 4096, 4096)
    assert shape(encode(raw, LINES)) == [(4096, RAW)]
    assert shape(encode(bytes(4096) + pattern(3, 0, 4096), LINES)) == [(4096, 0), (4096, RAW)]


def test_data_of_an_unknown_write_is_raw() -> None:
    content = encode(pattern(4, 0, 64) + bytes(32), LINES)
    assert content[-1].line == ZERO
    assert any(segment.line == RAW for segment in content)


def test_a_few_equal_bytes_in_garbage_are_garbage() -> None:
    raw = b"\xff" * 100 + b"\0" + b"\xff" * 100
    assert shape(encode(raw, LINES)) == [(201, RAW)]


def test_a_single_flipped_bit_shows() -> None:
    raw = bytearray(pattern(3, 0, 4096))
    raw[2049] ^= 1
    content = encode(bytes(raw), LINES)
    assert shape(content) == [(2049, 3), (1, RAW), (2046, 3)]
    assert content[1].raw == raw[2049:2050]


def test_an_empty_file_has_no_segments() -> None:
    assert encode(b"", LINES) == ()
    assert encode(b"\0abc", ()) != ()
