# SPDX-License-Identifier: Apache-2.0
"""Devices block by block: a file stands in for one, Python for the agent's arithmetic."""

from __future__ import annotations

import errno
import random
import struct
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import pytest
from agent_process import BLOCK, disk_directory, fault, run, running_agent

from harness.guest.agent import Agent
from harness.guest.replies import differing_blocks, parse_blockmap, parse_digest
from harness.model.device import DeviceDigest

BLOCKS = 700
"""Not a multiple of what the agent reads at once (256)."""


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    with running_agent() as client:
        yield client


@pytest.fixture
def device() -> Iterator[Path]:
    with disk_directory() as path:
        yield path / "device"


def blocks_of(raw: bytes) -> dict[int, bytes]:
    cut = {n: raw[n * BLOCK : (n + 1) * BLOCK] for n in range(len(raw) // BLOCK)}
    return {n: block for n, block in cut.items() if any(block)}


def digest_of(raw: bytes) -> DeviceDigest:
    state = blake2b(digest_size=16)
    blocks = blocks_of(raw)
    for number, block in blocks.items():
        state.update(struct.pack("<Q", number) + block)
    return DeviceDigest(state.hexdigest(), len(blocks))


def image(seed: int, density: float = 0.3) -> bytes:
    """A device with runs of data and zeros, among them blocks with a single non-zero byte."""
    chance = random.Random(seed)
    raw = bytearray(BLOCKS * BLOCK)
    for number in range(BLOCKS):
        if chance.random() < density or (number and chance.random() < 0.7 and raw[-1]):
            raw[number * BLOCK : (number + 1) * BLOCK] = chance.randbytes(BLOCK)
    raw[9 * BLOCK : 11 * BLOCK] = bytes(2 * BLOCK)
    raw[10 * BLOCK - 1] = 1
    raw[10 * BLOCK] = 1
    return bytes(raw)


def test_a_digest_is_what_the_evidence_says_it_is(agent: Agent, device: Path) -> None:
    raw = image(1)
    device.write_bytes(raw)
    for length in (0, len(raw), 300 * BLOCK, BLOCK):
        result = run(agent, f"digest {device} {length}").results[0]
        assert parse_digest(result.payload) == digest_of(raw[: length or len(raw)])


@pytest.mark.parametrize("at", [0, 1, 7, 8, 4095, 4096 * 255 + 4088, 4096 * 699 + 4095])
def test_a_single_byte_anywhere_counts(agent: Agent, device: Path, at: int) -> None:
    raw = bytearray(BLOCKS * BLOCK)
    raw[at] = 0x80
    device.write_bytes(raw)
    digest = parse_digest(run(agent, f"digest {device} 0").results[0].payload)
    assert digest == digest_of(bytes(raw))
    assert digest.blocks == 1


def test_a_block_at_another_place_is_another_device(agent: Agent, device: Path) -> None:
    digests = set()
    for number in (3, 4):
        device.write_bytes(bytes(number * BLOCK) + b"x" * BLOCK + bytes((8 - number) * BLOCK))
        digests.add(parse_digest(run(agent, f"digest {device} 0").results[0].payload))
    assert len(digests) == 2


def test_a_block_map_finds_what_differs(agent: Agent, device: Path) -> None:
    raw = bytearray(image(2))
    device.write_bytes(raw)
    one = parse_blockmap(run(agent, f"blockmap {device} 0").results[0].payload)
    want = {n: blake2b(b, digest_size=8).hexdigest() for n, b in blocks_of(bytes(raw)).items()}
    assert one == want
    raw[5 * BLOCK + 17] ^= 1
    raw[9 * BLOCK : 10 * BLOCK] = bytes(BLOCK)
    device.write_bytes(raw)
    other = parse_blockmap(run(agent, f"blockmap {device} 0").results[0].payload)
    assert differing_blocks(one, other) == (5, 9)


def test_a_block_reads_as_it_is(agent: Agent, device: Path) -> None:
    raw = image(3)
    device.write_bytes(raw)
    result = run(agent, f"readblock {device} 10").results[0]
    assert result.payload == raw[10 * BLOCK : 11 * BLOCK]
    assert fault(run(agent, f"readblock {device} {BLOCKS}")).status == -errno.ENODATA


def test_zeroing_stops_at_its_length(agent: Agent, device: Path) -> None:
    raw = image(4)
    device.write_bytes(raw)
    assert run(agent, f"zero {device} {300 * BLOCK}").ok
    assert device.read_bytes() == bytes(300 * BLOCK) + raw[300 * BLOCK :]


@pytest.mark.parametrize("command", ["image-restore", "image-restore-diff"])
@pytest.mark.parametrize("before", ["same", "zeros", "ones", "other"])
def test_a_saved_image_comes_back_whatever_was_there(
    agent: Agent, device: Path, command: str, before: str
) -> None:
    raw = image(5)
    device.write_bytes(raw)
    saved = run(agent, f"image-save key {device} 0").results[0]
    assert int(saved.text) == len(blocks_of(raw))
    there = {"same": raw, "zeros": bytes(len(raw)), "ones": b"\1" * len(raw), "other": image(6)}
    device.write_bytes(there[before])
    assert run(agent, f"{command} key {device}").ok
    assert device.read_bytes() == raw


def test_a_diff_writes_only_what_differs(agent: Agent, device: Path) -> None:
    raw = bytearray(image(7))
    device.write_bytes(raw)
    run(agent, f"image-save key {device} 0")
    assert run(agent, f"image-restore-diff key {device}").results[0].text == "0"
    # Data over a hole, other data, and zeros over data, two blocks each at a chunk's border.
    for number in (9, 10, 255, 256):
        raw[number * BLOCK : (number + 1) * BLOCK] = b"\7" * BLOCK
    device.write_bytes(raw)
    assert run(agent, f"image-restore-diff key {device}").results[0].text == "4"


def test_what_lies_beyond_the_saved_length_is_left_alone(agent: Agent, device: Path) -> None:
    raw = image(8)
    device.write_bytes(raw)
    run(agent, f"image-save part {device} {100 * BLOCK}")
    for command in ("image-restore", "image-restore-diff"):
        device.write_bytes(b"\1" * len(raw))
        run(agent, f"{command} part {device}")
        assert device.read_bytes() == raw[: 100 * BLOCK] + b"\1" * (600 * BLOCK)


def test_images_are_told_apart_by_key_replaced_and_dropped(agent: Agent, device: Path) -> None:
    for key, raw in (("a", image(9)), ("b", image(10)), ("a", image(11))):
        device.write_bytes(raw)
        assert run(agent, f"image-save {key} {device} 0").ok
    for key, raw in (("b", image(10)), ("a", image(11))):
        assert run(agent, f"image-restore {key} {device}").ok
        assert device.read_bytes() == raw
    assert run(agent, "image-drop a").ok
    assert fault(run(agent, f"image-restore a {device}")).status == -errno.ENOENT
    assert run(agent, f"image-restore b {device}").ok


def test_an_image_that_could_not_be_saved_is_not_the_one_before(agent: Agent, device: Path) -> None:
    device.write_bytes(image(12))
    assert run(agent, f"image-save key {device} 0").ok
    assert not run(agent, f"image-save key {device} {(BLOCKS + 1) * BLOCK}").ok
    assert fault(run(agent, f"image-restore key {device}")).status == -errno.ENOENT
    device.write_bytes(image(13))
    assert run(agent, f"image-save key {device} 0").ok
    device.write_bytes(b"\1" * len(image(13)))
    assert run(agent, f"image-restore key {device}").ok
    assert device.read_bytes() == image(13)


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("flush {device}.none", errno.ENOENT),
        ("digest {device} 4097", errno.EINVAL),
        ("digest {device} -4096", errno.EINVAL),
        ("digest {device} 8192", errno.ENODATA),
        ("digest {device}.none 0", errno.ENOENT),
        ("image-restore none {device}", errno.ENOENT),
        ("image-drop none", errno.ENOENT),
        ("readblock {device} x", errno.EINVAL),
    ],
)
def test_what_cannot_be_done_is_said(agent: Agent, device: Path, line: str, number: int) -> None:
    device.write_bytes(b"x" * BLOCK)
    assert fault(run(agent, line.format(device=device))).status == -number
