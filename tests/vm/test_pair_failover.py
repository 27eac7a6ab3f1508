# SPDX-License-Identifier: Apache-2.0
"""Promotion: the backup takes over, and the old primary can do no more harm."""

from __future__ import annotations

import pytest
from pair_cluster import Cluster, Device, content, fault, judged, prefix_of, until

# Guests are rebooted and time-outs waited for: longer than CI has.
pytestmark = pytest.mark.slow

_SHORT = "peer_timeout_ms 1000"
_WAITS = f"{_SHORT} on_peer_loss suspend"


def test_promoted_backup_has_everything_that_was_promised(cluster: Cluster) -> None:
    """P2, P10, P15: the primary's guest loses power under load; L3: the old one rejoins."""
    cluster.create(_WAITS, _SHORT)
    a, b = cluster.primary, cluster.backup
    words = ("load", a.path, 64, 7, 1, 0, 8, "/dev/vdb")
    cluster.jobs.append(a.node.job("load", *words))
    until(lambda: _promised(a) > 100, "the load to get going")
    a.node.kill()
    a.exists = False
    promised = _promised(a)
    b.must_message("promote")
    assert b.status()["role"] == "primary"
    assert prefix_of(b.read_all(64), 7) >= promised
    a.node.reboot()
    a.create("backup", *_SHORT.split())
    b.wait("state==connected")
    b.must_write(100, 4, 8, 1, "sync")
    cluster.primary, cluster.backup = b, a
    cluster.same()


@pytest.mark.parametrize("defect", [None, "early_ack:3000"])
def test_a_primary_cut_off_has_promised_nothing_that_the_backup_lacks(
    cluster: Cluster, defect: str | None
) -> None:
    """P1, P2, P13, P15: promises of a load under which the link is lost."""
    cluster.create(f"{_WAITS} {fault(defect)}", _SHORT)
    a, b = cluster.primary, cluster.backup
    words = ("load", a.path, 64, 7, 1, 0, 8, "/dev/vdb")
    cluster.jobs.append(a.node.job("load", *words))
    until(lambda: _promised(a) > 100, "the load to get going")
    cluster.duo.link.cut = True
    a.wait("state==connecting")
    b.must_message("promote")
    with judged(defect):
        assert prefix_of(b.read_all(64), 7) >= _promised(a)


def test_deposed_primary_cannot_complete_a_flush(cluster: Cluster) -> None:
    """P9: two primaries never both complete a flush; the old one notices and is fenced."""
    cluster.create(_SHORT, _SHORT)
    a, b = cluster.primary, cluster.backup
    a.must_write(0, 8, 7, 1, "sync")
    cluster.duo.link.cut = True
    a.wait("state==connecting")
    b.must_message("promote")
    cluster.duo.link.cut = False
    assert not a.write(0, 8, 7, 2, "sync").ok
    a.wait("state==fenced")
    assert not a.write(8, 8, 7, 3, "plain").ok
    assert not a.try_read(0).ok
    assert b.read(0) == content(7, 1, 0)
    assert int(b.status()["epoch"]) > 1


@pytest.mark.parametrize("defect", [None, "ignore_epoch"])
def test_a_third_node_does_not_follow_a_deposed_primary(
    cluster: Cluster, defect: str | None
) -> None:
    """P9: of three nodes one is enough for a flush, and it must not be one that has promised."""
    a, b, c = cluster.primary, cluster.backup, cluster.third(cluster.backup)
    bad = f"quorum 1 {fault(defect)}"
    c.create("backup", *f"{_SHORT} {bad}".split())
    cluster.create(f"{_WAITS} {bad}", f"{_SHORT} quorum 1")
    a.wait("synced==2")
    a.must_write(0, 8, 7, 1, "sync")
    cluster.duo.link.cut = True
    a.wait("state==connecting")
    b.must_message("promote")
    b.wait("synced==1")
    b.must_write(0, 8, 7, 2, "sync")
    # The new leader is gone again: what it has been promised is now on the third node alone.
    b.remove()
    cluster.duo.link.cut = False
    with judged(defect):
        assert not a.write(0, 8, 7, 3, "sync").ok
        assert a.wait("state==fenced")
        assert c.read(0) == content(7, 2, 0)


def test_deposed_primary_rejoins_as_a_backup(cluster: Cluster) -> None:
    """P9, P10, L3: what it had written and never got acknowledged is gone."""
    cluster.create(_SHORT, _SHORT)
    a, b = cluster.primary, cluster.backup
    a.load(7, 64)
    cluster.duo.link.cut = True
    a.must_write(0, 4, 7, 1000, "plain")
    a.wait("state==connecting")
    b.must_message("promote")
    cluster.duo.link.cut = False
    a.wait("state==fenced")
    a.must_message("demote")
    cluster.primary, cluster.backup = b, a
    cluster.connected()
    b.must_write(100, 4, 8, 1, "sync")
    cluster.same()
    assert prefix_of(a.read_all(64), 7) == 64


def test_backup_that_misses_something_cannot_be_promoted(cluster: Cluster) -> None:
    """P10: a node that is recovering, or has not got all data yet, does not become primary."""
    cluster.create(_WAITS, _SHORT)
    cluster.primary.must_write(0, 64, 7, 1, "sync")
    cluster.backup.remove()
    cluster.duo.link.cut = True
    cluster.backup.create("backup", *_SHORT.split())
    refused = cluster.backup.message("promote")
    assert "EBUSY" in refused.text
    cluster.duo.link.cut = False
    cluster.connected()
    cluster.same()


def test_no_key_stream_is_used_twice_across_a_failover(cluster: Cluster) -> None:
    """P11: the new leader has another key, also where indices are used again."""
    cluster.create(_SHORT, _SHORT)
    a, b = cluster.primary, cluster.backup
    a.must_write(0, 8, 7, 1, "sync")
    cluster.duo.link.cut = True
    a.must_write(0, 8, 7, 2, "plain")
    old = a.raw(0, 8)
    a.wait("state==connecting")
    b.must_message("promote")
    cluster.duo.link.cut = False
    a.wait("state==fenced")
    b.write(0, 8, 7, 3, "plain")
    new = b.raw(0, 8)
    for block in range(8):
        at = slice(block * 4096, (block + 1) * 4096)
        plain = _xor(content(7, 2, block), content(7, 3, block))
        assert _xor(old[at], new[at]) != plain


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("quorum", [1, 2])
def test_quorum_of_two_backups(cluster: Cluster, quorum: int) -> None:
    """P1, P13: with quorum 2 a flush needs both backups, with quorum 1 either is enough."""
    c = cluster.third(cluster.primary)
    features = f"{_SHORT} quorum {quorum}"
    c.create("backup", *features.split())
    cluster.create(features, features)
    cluster.primary.wait("synced==2")
    cluster.primary.must_write(0, 8, 7, 1, "sync")
    c.remove()
    cluster.primary.wait("synced==1")
    assert cluster.primary.write(0, 8, 7, 2, "sync").ok == (quorum == 1)


_MOUNT = "/mnt/target"
_FILE = f"{_MOUNT}/data"


def _read_file(device: Device) -> dict[int, bytes]:
    """Recover the file system as a fail-over would, read the file, and check all of it."""
    node = device.node
    node.must("mount", device.path, _MOUNT, "ext4", "-")
    done = node.script([("readblock", _FILE, str(block)) for block in range(64)])
    assert done.ok, [failed.text for failed in done.failures]
    node.must("umount", _MOUNT)
    node.must("exec", "60000", "/sbin/e2fsck", "-f", "-n", device.path)
    return {block: result.payload for block, result in enumerate(done.results)}


def test_file_system_survives_the_death_of_each_primary(cluster: Cluster) -> None:
    """P15, P14: kill under load, promote, mount, check, rejoin; the other way round."""
    cluster.create(_WAITS, _SHORT)
    a, b = cluster.primary, cluster.backup
    a.node.must("exec", "60000", "/sbin/mke2fs", "-q", "-t", "ext4", a.path)
    written = 0
    for _ in range(2):
        a.node.must("mount", a.path, _MOUNT, "ext4", "-")
        words = ("load", _FILE, 64, 7, written + 1, 0, 8, "/dev/vdb")
        cluster.jobs.append(a.node.job("load", *words))
        until(lambda a=a, goal=written + 150: _promised(a) > goal, "the load")  # type: ignore[misc]
        a.node.kill()
        a.exists = False
        promised = _promised(a)
        b.must_message("promote")
        # To replay its journal the file system has to write, and so the new primary needs a backup.
        a.node.reboot()
        a.create("backup", *_SHORT.split())
        b.wait("state==connected")
        written = prefix_of(_read_file(b), 7)
        assert written >= promised
        a, b = b, a


def _promised(device: Device) -> int:
    """The last write that a load has been promised to be durable."""
    text = device.node.notes.read_bytes()[:20].split(b"\n")[0]
    return int(text) if text.isdigit() else 0
