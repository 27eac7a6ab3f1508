# SPDX-License-Identifier: Apache-2.0
"""Nodes on their way back, and what can be asked of them meanwhile."""

from __future__ import annotations

import time

import pytest
from pair_cluster import BLOCKS, Cluster, Device, Kind, Layer, content, prefix_of, until

_SHORT = "peer_timeout_ms 1000"
_WAITS = f"{_SHORT} on_peer_loss suspend"
_RESYNC_END = 36
_SCAN_BLOCKS = 64
"""So many blocks a scan reads at once, as in kmod/dm-rollbaccine-fill.c."""


def test_backup_that_missed_nothing_can_be_promoted_while_it_joins(cluster: Cluster) -> None:
    """P10, P15: the primary dies before it has said that there is nothing to resync."""
    proxy = cluster.proxy()
    cluster.create(_WAITS, _SHORT)
    backup = cluster.backup
    cluster.primary.load(7, 100)
    cluster.drained()
    proxy.ctl("clear")
    proxy.add("u", _RESYNC_END, "stall")
    proxy.add("u", Kind.PING, "cut")
    proxy.struck(2)
    assert backup.status()["state"] == "connecting"
    cluster.duo.link.cut = True
    backup.must_message("promote")
    assert prefix_of(backup.read_all(64), 7) == 100
    # It goes on where it was, not where the resync would have led.
    assert backup.get("issued") == cluster.primary.get("issued")


def test_backup_that_has_begun_to_take_over_cannot_be_promoted(cluster: Cluster) -> None:
    """P10: half of a resync is no state that there ever was; the other half makes it one."""
    proxy = cluster.proxy()
    cluster.create(_WAITS, _SHORT)
    backup = cluster.backup
    cluster.primary.load(7, 100)
    cluster.drained()
    proxy.ctl("clear")
    proxy.add("u", Kind.WRITE, "stall")
    proxy.add("d", Kind.BLOCK_REQ, "stall")
    cluster.primary.must_write(100, 10, 7, 1000, "plain")
    proxy.struck(2)
    assert backup.status()["state"] == "syncing"
    assert "EBUSY" in backup.message("promote").text
    cluster.connected()
    assert backup.read(105) == content(7, 1000, 105)
    cluster.same()


def test_state_that_a_resync_has_brought_outweighs_an_older_one(cluster: Cluster) -> None:
    """P1, P9: what a node was given after it lost its memory is not overlooked in a vote."""
    features = f"{_SHORT} quorum 1"
    a, b, c = cluster.primary, cluster.backup, cluster.third(cluster.backup)
    c.create("backup", *features.split())
    cluster.create(features, features)
    a.wait("synced==2")
    a.must_write(0, 8, 7, 1, "sync")
    for device in (a, b):
        device.must_message("disconnect", str(c.id))
    a.wait("synced==1")
    a.must_write(0, 8, 7, 2, "sync")
    b.must_message("promote")
    a.remove()
    a.create("backup", *features.split())
    a.wait("state==connected")
    b.remove()
    # The first attempt may fail for the number of the epoch alone.
    for _ in range(2):
        assert not c.message("promote").ok
    a.must_message("promote")
    assert a.read(0) == content(7, 2, 0)


_PATIENT = "peer_timeout_ms 3000"
"""A busy host delays what fills a disk more than other things."""


def _fill(cluster: Cluster) -> None:
    """Write every block of the device."""
    for block in range(0, BLOCKS, 256):
        cluster.primary.must_write(block, 256, 7, 1, "plain")
    cluster.primary.must_write(0, 1, 7, 2, "sync")
    cluster.drained()


def _return_blank(cluster: Cluster, layer: Layer, slow: str) -> None:
    """The backup comes back without memory and disk while somebody waits for a flush."""
    primary, backup = cluster.primary, cluster.backup
    cluster.duo.link.cut = True
    job = primary.write_job("waiting", 100, 1, 7, 1000, "sync")
    cluster.jobs.append(job)
    primary.wait("state==connecting")
    backup.remove()
    backup.put_raw(0, bytes(BLOCKS * 4096))
    layer.become(f"delay /dev/vda 0 {slow} /dev/vda 0 0 /dev/vda 0 0")
    backup.create("backup", *_PATIENT.split())
    cluster.duo.link.cut = False


@pytest.mark.slow
def test_scan_of_a_blank_disk_is_progress(cluster: Cluster) -> None:
    """L3: it takes longer than the primary's patience, and finds nothing."""
    layer = cluster.layer(cluster.backup)
    cluster.create(f"{_PATIENT} on_peer_loss suspend", _PATIENT)
    _fill(cluster)
    _return_blank(cluster, layer, "200")
    begun = time.monotonic()
    cluster.backup.wait("state==connected", timeout_s=180)
    assert time.monotonic() - begun > BLOCKS / _SCAN_BLOCKS * 0.2, "not a long scan"
    assert cluster.backup.get("resynced") >= BLOCKS, "the disk was not blank"
    assert cluster.jobs[-1].join().ok
    layer.heal()
    cluster.same()


@pytest.mark.slow
def test_scan_of_a_disk_that_hangs_is_not(cluster: Cluster) -> None:
    """L3: the patience has an end; with a disk that works the node gets in."""
    layer = cluster.layer(cluster.backup)
    cluster.create(f"{_PATIENT} on_peer_loss suspend", _PATIENT)
    _fill(cluster)
    _return_blank(cluster, layer, "20000")
    console = cluster.primary.node.spec.console
    seen = console.read_text(errors="replace").count("no progress")
    until(lambda: console.read_text(errors="replace").count("no progress") > seen, "its end", 40)
    layer.heal()
    assert cluster.jobs[-1].join().ok
    cluster.connected()
    cluster.same()


_HANDSHAKE_S = 2


def test_silent_strangers_keep_nobody_out(cluster: Cluster) -> None:
    """L2: however many say nothing on the port, who has something to say is heard."""
    primary, backup = cluster.primary, cluster.backup
    cluster.create(_SHORT, _SHORT)
    crowd = cluster.duo.a.job("crowd", "crowd", backup.node.address, backup.port, 40)
    cluster.jobs.append(crowd)
    primary.must_message("disconnect", str(backup.id))
    primary.wait("state==connecting")
    primary.must_message("connect", str(backup.id))
    begun = time.monotonic()
    cluster.connected()
    # One alone is through in no time: that is left of 40 times as long as each may take.
    assert time.monotonic() - begun < 3 * _HANDSHAKE_S


_FIO_S = 6
"""To start a program in an emulated guest."""


def test_read_of_a_lost_block_does_not_wait_for_a_silent_primary(cluster: Cluster) -> None:
    """P5, P6: it is an error within the peer's time-out, however many blocks are lost."""
    features = "peer_timeout_ms 2000"
    cluster.create(features, features)
    cluster.primary.must_write(0, 32, 7, 1, "sync")
    cluster.drained()
    for block in range(32):
        cluster.backup.flip_raw(block)
    cluster.duo.link.cut = True
    for _ in range(2):
        begun = time.monotonic()
        failed = cluster.backup.node.run(
            *("exec", "120000", "/usr/bin/fio", "--name=read", "--rw=read", "--direct=1"),
            *(f"--filename={cluster.backup.path}", "--bs=128k", "--size=128k"),
            timeout_s=150,
        )
        assert not failed.ok
        took = time.monotonic() - begun
        assert took < _FIO_S + 2.5, f"{took:.1f} s"
        assert "EILSEQ" in cluster.backup.try_read(31).text
    assert cluster.backup.status()["state"] == "lost"


_CHUNK = 128
_TREE_PAGES = 64


def _tear_up_tree(device: Device) -> None:
    for page in range(_TREE_PAGES):
        device.flip_raw(page)


def test_tags_that_the_primary_has_lost_come_from_the_backup(cluster: Cluster) -> None:
    """P5, P6: with a peer reads and writes go on, without one they fail and say so."""
    tree = f"{_SHORT} tree_pages {_TREE_PAGES} tree_cache_pages 16"
    cluster.create(tree, tree)
    primary = cluster.primary
    chunks = range(0, BLOCKS - _TREE_PAGES, _CHUNK)
    for block in chunks:
        primary.must_write(block, 4, 7, 1, "plain")
    primary.must_write(0, 4, 7, 1, "sync")
    _tear_up_tree(primary)
    for block in chunks:
        assert primary.read(block + 1) == content(7, 1, block + 1)
    _tear_up_tree(primary)
    for block in reversed(chunks):
        primary.must_write(block + 2, 4, 7, 2, "plain")
    primary.must_write(2, 4, 7, 2, "sync")
    console = primary.node.spec.console.read_text(errors="replace")
    assert "is not what was written" in console, "nothing was lost"
    cluster.same()
    cluster.duo.link.cut = True
    primary.wait("state==connecting")
    _tear_up_tree(primary)
    texts = [primary.try_read(block).text for block in chunks]
    assert any("EILSEQ" in text for text in texts)


def test_a_failed_promotion_leaves_everything_as_it_was(cluster: Cluster) -> None:
    """P9, L3: the primary is not fenced, the backup stays; later on it can be promoted."""
    features = f"{_SHORT} quorum 1"
    a, b, c = cluster.primary, cluster.backup, cluster.third(cluster.backup)
    c.create("backup", *features.split())
    cluster.create(features, features)
    a.wait("synced==2")
    a.must_write(0, 8, 7, 1, "sync")
    # One promise of two: nobody can be reached.
    cluster.duo.link.cut = True
    c.must_message("disconnect", str(b.id))
    assert "EHOSTUNREACH" in c.message("promote").text
    cluster.duo.link.cut = False
    a.wait("synced==2")
    # Later data on the primary.
    c.must_message("disconnect", str(a.id))
    a.wait("synced==1")
    a.must_write(0, 8, 7, 2, "sync")
    c.must_message("connect", str(b.id))
    assert "ESTALE" in c.message("promote").text
    c.must_message("connect", str(a.id))
    a.wait("synced==2")
    a.must_write(0, 8, 7, 3, "sync")
    assert a.get("epoch") == 1
    # And now one that has to succeed, at once.
    a.remove()
    b.must_message("promote")
    c.wait("state==connected", f"peer=={b.id}")
    b.must_write(8, 8, 7, 4, "sync")
    assert c.read(0) == content(7, 3, 0)


def test_promises_of_a_candidate_that_failed_are_outbid(cluster: Cluster) -> None:
    """P9, L3: who was promised an epoch and never led it keeps nobody from leading the next."""
    features = f"{_SHORT} quorum 1"
    a, b, c = cluster.primary, cluster.backup, cluster.third(cluster.backup)
    c.create("backup", *features.split())
    cluster.create(features, features)
    a.wait("synced==2")
    a.must_write(0, 8, 7, 1, "sync")
    b.must_message("promote")
    a.remove()
    for _ in range(3):
        b.wait("synced==1")
        c.must_message("promote")
        b.wait("state==fenced")
        b.must_message("demote")
        c.wait("synced==1")
        b.must_message("promote")
        c.wait("state==fenced")
        c.must_message("demote")
    b.wait("synced==1")
    assert c.read(0) == content(7, 1, 0)


def test_fenced_primary_whose_rival_never_led_can_lead_again(cluster: Cluster) -> None:
    """P2, P9: demoted, it has all that it ever wrote, and is the one that has most."""
    cluster.create(_SHORT, _SHORT)
    a, b = cluster.primary, cluster.backup
    a.must_write(0, 8, 7, 1, "sync")
    cluster.duo.link.cut = True
    a.must_write(0, 8, 7, 2, "plain")
    a.wait("state==connecting")
    b.must_message("promote")
    cluster.duo.link.cut = False
    a.wait("state==fenced")
    b.remove()
    a.must_message("demote")
    a.must_message("promote")
    assert a.read(0) == content(7, 2, 0)
    assert a.get("epoch") > 2


def test_epochs_without_blocks_are_forgotten(cluster: Cluster) -> None:
    """L3: leaderships may come and go for ever; the limit is lowered to see it (P11: keys stay)."""
    features = f"{_SHORT} fault few_epochs:3"
    cluster.create(features, features)
    leader, other = cluster.primary, cluster.backup
    leader.must_write(0, 8, 7, 1, "sync")
    for number in range(2, 8):
        other.must_message("promote")
        leader.wait("state==fenced")
        leader.must_message("demote")
        leader, other = other, leader
        leader.wait("synced==1")
        # The block of two leaderships ago is overwritten, so that one can go.
        leader.must_write(8 * (number % 2), 8, 7, number, "sync")
    assert leader.get("epoch") >= 7
    assert leader.read(0) == content(7, 6, 0)
    assert other.read(8) == content(7, 7, 8)


def test_at_the_limit_of_epochs_a_promotion_is_refused(cluster: Cluster) -> None:
    """P11, L3: it says so and changes nothing; what is written again makes room."""
    features = f"{_SHORT} fault few_epochs:3"
    cluster.create(features, features)
    leader, other = cluster.primary, cluster.backup
    leader.must_write(0, 8, 7, 1, "sync")
    for number in range(2, 4):
        other.must_message("promote")
        leader.wait("state==fenced")
        leader.must_message("demote")
        leader, other = other, leader
        leader.wait("synced==1")
        leader.must_write(8 * number, 8, 7, number, "sync")
    assert "ENOSPC" in other.message("promote").text
    assert leader.status()["state"] == "connected"
    leader.must_write(0, 8, 7, 4, "sync")
    other.must_message("promote")
    assert other.read(0) == content(7, 4, 0)
    assert other.read(24) == content(7, 3, 24)
