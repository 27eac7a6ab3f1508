# SPDX-License-Identifier: Apache-2.0
"""The host changes the disks, reads them, listens to the link, and achieves nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pair_cluster import BLOCK_BYTES, ZEROS, Cluster, Device, content, fault, judged, prefix_of

_MARK = b"plain"
_WRITTEN = 9
_SHORT = "peer_timeout_ms 1000"
_ROLES = ("primary", "backup")
Attack = Callable[[Device, bytes], set[int]]
"""Changes the disk of a device, given an image of it from earlier on; the blocks it changed."""


def _flip(device: Device, old: bytes) -> set[int]:
    del old
    device.flip_raw(3)
    return {3}


def _swap(device: Device, old: bytes) -> set[int]:
    del old
    one, other = device.raw(4), device.raw(5)
    device.put_raw(4, other)
    device.put_raw(5, one)
    return {4, 5}


def _old_block(device: Device, old: bytes) -> set[int]:
    device.put_raw(6, old[6 * BLOCK_BYTES : 7 * BLOCK_BYTES])
    return {6}


def _old_disk(device: Device, old: bytes) -> set[int]:
    device.put_raw(0, old)
    return set(range(_WRITTEN))


def _junk(device: Device, old: bytes) -> set[int]:
    del old
    device.put_raw(7, bytes(range(256)) * 16)
    return {7}


ATTACKS: dict[str, Attack] = {
    "flip a bit": _flip,
    "swap two blocks": _swap,
    "an old block": _old_block,
    "an old disk": _old_disk,
    "junk": _junk,
}


def _two_generations(cluster: Cluster, device: Device) -> bytes:
    """The first blocks written twice; the disk's image after the first time."""
    cluster.primary.must_write(0, _WRITTEN, 7, 1, "sync")
    cluster.drained()
    old = device.image()
    cluster.primary.must_write(0, _WRITTEN, 7, 2, "sync")
    cluster.drained()
    return old


@pytest.mark.parametrize("defect", [None, "skip_tag_check"])
@pytest.mark.parametrize("role", _ROLES)
def test_tampered_blocks_are_repaired_from_the_peer(
    cluster: Cluster, role: str, defect: str | None
) -> None:
    """P5, P6: whatever is done to a disk while it is in use, reads give the current data."""
    words = {role: fault(defect)}
    cluster.create(words.get("primary", ""), words.get("backup", ""))
    device: Device = getattr(cluster, role)
    old = _two_generations(cluster, device)
    healthy = device.image()
    for name, attack in ATTACKS.items():
        changed = attack(device, old)
        before = device.get("repaired")
        with judged(defect):
            for block in range(_WRITTEN):
                assert device.read(block) == content(7, 2, block), f"{name}: block {block}"
            assert device.get("repaired") == before + len(changed), name
        if defect:
            return
        assert device.image() == healthy, f"{name}: the disk was not mended"
    assert device.get("corrupt") > 0


@pytest.mark.parametrize("role", _ROLES)
def test_tampered_blocks_are_errors_when_nobody_can_help(cluster: Cluster, role: str) -> None:
    """P5: no block whose tag does not fit is ever returned. P12: it is an error that says so."""
    cluster.create(_SHORT, _SHORT)
    device: Device = getattr(cluster, role)
    old = _two_generations(cluster, device)
    cluster.duo.link.cut = True
    cluster.primary.wait("state==connecting")
    for name, attack in ATTACKS.items():
        healthy = device.image()
        changed = attack(device, old)
        for block in range(_WRITTEN):
            done = device.try_read(block)
            if block in changed:
                assert "EILSEQ" in done.text, f"{name}: {done.text}"
            else:
                assert done.payload == content(7, 2, block)
        device.put_raw(0, healthy)
        assert device.read(3) == content(7, 2, 3), "a good disk is good again"
    assert device.get("corrupt") > 0


@pytest.mark.parametrize("role", _ROLES)
def test_never_written_blocks_are_zeros_whatever_the_disk_holds(
    cluster: Cluster, role: str
) -> None:
    """P7: before anything was written, and after it was discarded."""
    device: Device = getattr(cluster, role)
    device.put_raw(0, b"\xa5" * BLOCK_BYTES * 64)
    cluster.create()
    assert device.read(5) == ZEROS
    cluster.primary.must_write(6, 1, 7, 1, "sync")
    cluster.drained()
    assert device.read(6) == content(7, 1, 6)
    assert device.read(7) == ZEROS
    done = cluster.primary.node.tool("discard", cluster.primary.path, 6, 1)
    cluster.primary.node.agent.require(done)
    cluster.drained()
    device.put_raw(6, b"\x5a" * BLOCK_BYTES)
    assert device.read(6) == ZEROS


@pytest.mark.parametrize("key", ["logon", "-"])
def test_nothing_is_readable_on_disk_or_link(cluster: Cluster, key: str) -> None:
    """P11: without the key, which shows that this test can see plain text, all of it is."""
    if key == "-":
        cluster.primary.key = cluster.backup.key = "-"
    cluster.duo.link.frames = []
    cluster.create()
    cluster.primary.must_write(0, 1, 7, 1, "dsync")
    cluster.primary.must_write(10, 1, 7, 2, "plain")
    cluster.primary.must_write(0, 200, 7, 3, "sync")
    cluster.drained()
    frames = cluster.duo.link.frames
    assert sum(map(len, frames)) > 200 * BLOCK_BYTES
    wire = any(_MARK in frame for frame in frames)
    disks = [_MARK in device.image() for device in cluster.devices]
    assert [wire, *disks] == [key == "-"] * 3


@pytest.mark.parametrize("defect", [None, "nonce_reuse"])
def test_no_key_stream_is_used_twice(cluster: Cluster, defect: str | None) -> None:
    """P11: two writes of a block, told apart by nothing but their content, share no key stream."""
    cluster.create(fault(defect), fault(defect))
    seen = []
    for number in (1, 2):
        cluster.primary.must_write(9, 1, 7, number, "sync")
        cluster.drained()
        seen.append((cluster.primary.raw(9), content(7, number, 9)))
        assert cluster.backup.raw(9) == cluster.primary.raw(9)
    (one, plain_one), (other, plain_other) = seen
    with judged(defect):
        assert _xor(one, other) != _xor(plain_one, plain_other)


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("defect", [None, "stale_tag"])
def test_backup_with_an_old_disk_finds_every_stale_block(
    cluster: Cluster, defect: str | None
) -> None:
    """P6, P10: with an empty memory it trusts nothing that does not fit the primary's tags."""
    cluster.create(_SHORT, _SHORT)
    cluster.primary.load(7, 200)
    cluster.drained()
    old = cluster.backup.image()
    cluster.primary.must_write(20, 6, 7, 1000, "sync")
    cluster.drained()
    cluster.backup.remove()
    cluster.backup.put_raw(0, old)
    cluster.backup.create("backup", *f"{_SHORT} {fault(defect)}".split())
    cluster.connected()
    with judged(defect):
        assert cluster.backup.read(21) == content(7, 1000, 21)
        assert cluster.backup.get("resynced") == 6, "only what was stale is copied"
        cluster.same()


@pytest.mark.parametrize("role", _ROLES)
def test_scrub_finds_and_mends_what_nobody_has_read(cluster: Cluster, role: str) -> None:
    """P6: message `verify`."""
    cluster.create()
    device: Device = getattr(cluster, role)
    cluster.primary.load(7, 200)
    cluster.drained()
    healthy = device.image()
    for block in (5, 17, 40):
        device.flip_raw(block)
    device.must_message("verify")
    device.wait("repaired==3")
    assert device.image() == healthy
    assert prefix_of(device.read_all(64), 7) == 200
