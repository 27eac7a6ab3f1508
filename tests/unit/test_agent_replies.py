# SPDX-License-Identifier: Apache-2.0
"""Payloads of commands as the model's types; what is malformed is never taken for evidence."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.guest.protocol import ProtocolError
from harness.guest.replies import (
    Failure,
    parse_blockmap,
    parse_digest,
    parse_failure,
    parse_status,
    parse_tree,
)
from harness.model.device import DeviceDigest

FILE = b"E foo file 644 0 0 1 3 8 12 5 6 0 - - - 3 -\nabc\n"


def test_a_failure_has_parts_and_the_kernels_words() -> None:
    payload = b"mount: EUCLEAN: /dev/x: y on /mnt (xfs)\nkernel: XFS (dm-0): bad\nkernel: worse"
    want = Failure("mount", "EUCLEAN", "/dev/x: y on /mnt (xfs)", ("XFS (dm-0): bad", "worse"))
    assert parse_failure(payload) == want


def test_output_of_a_program_is_no_failure_text() -> None:
    assert parse_failure(b"e2fsck: bad\n").object == "e2fsck: bad"


def test_a_digest_of_the_right_length_only() -> None:
    assert parse_digest(b"ab" * 16 + b" 17") == DeviceDigest("ab" * 16, 17)
    for payload in (b"", b"ab 17", b"ab" * 16, b"ab" * 16 + b" x"):
        with pytest.raises(ProtocolError):
            parse_digest(payload)


def test_a_block_map_line_without_a_hash_is_an_error() -> None:
    assert parse_blockmap(b"7 0123456789abcdef\n") == {7: "0123456789abcdef"}
    with pytest.raises(ProtocolError):
        parse_blockmap(b"7 0123456789abcdef\n8 0123")


def test_a_status_is_made_of_pairs() -> None:
    assert parse_status("role backup applied 12\n") == {"role": "backup", "applied": "12"}
    with pytest.raises(ProtocolError):
        parse_status("role backup applied")
    listed = parse_status("epoch 1 peers 2 7:insync:9 8:down:0 injected 3")
    assert listed == {"epoch": "1", "peers": "7:insync:9,8:down:0", "injected": "3"}


def test_a_name_listed_twice_is_two_entries() -> None:
    entries = parse_tree(FILE + FILE + FILE, ()).entries
    assert list(entries) == ["foo", "foo (listed again, 2)", "foo (listed again, 3)"]
    assert entries["foo"].error is None
    assert entries["foo (listed again, 2)"].error == "readdir: listed more than once"


@pytest.mark.parametrize(
    "payload",
    [
        FILE[:-5],
        FILE.replace(b"644", b"999"),
        FILE.replace(b"file", b"film"),
        FILE.replace(b" 12 ", b" twelve "),
        FILE.replace(b" 12 ", b" "),
        FILE.replace(b"- - - 3", b"user.x=0 - - 3"),
        FILE.replace(b"- - - 3", b"user.x - - 3"),
        b"\n",
        b"R" + FILE[1:],
    ],
)
def test_a_malformed_tree_is_an_error(payload: bytes) -> None:
    parse_tree(FILE, ())
    with pytest.raises(ProtocolError):
        parse_tree(payload, ())


@given(st.binary(max_size=80), st.integers(0, len(FILE)))
def test_a_tree_parser_raises_nothing_else(noise: bytes, at: int) -> None:
    with contextlib.suppress(ProtocolError):
        parse_tree(FILE[:at] + noise + FILE[at:], ())
