# SPDX-License-Identifier: Apache-2.0
"""Nodes that go away and come back, with and without their memory."""

from __future__ import annotations

import pytest
from pair_cluster import Cluster, Kind, content, fault, judged, prefix_of

_SHORT = "peer_timeout_ms 1000"
_WAITS = f"{_SHORT} on_peer_loss suspend"


@pytest.mark.parametrize("defect", [None, "resync_skip:1"])
def test_only_what_was_missed_is_copied_after_a_cut(cluster: Cluster, defect: str | None) -> None:
    """P10, L3: reconnect by itself, resync of what differs."""
    cluster.create(f"{_WAITS} {fault(defect)}", _SHORT)
    cluster.primary.load(7, 200)
    cluster.drained()
    cluster.duo.link.cut = True
    # Nobody has noticed yet: it completes, and nothing is kept of it for the backup.
    cluster.primary.must_write(100, 10, 7, 1000, "plain")
    cluster.primary.wait("state==connecting")
    cluster.duo.link.cut = False
    cluster.connected()
    with judged(defect):
        assert cluster.backup.get("resynced") == 10
        assert cluster.backup.read(105) == content(7, 1000, 105)
        cluster.same()


def test_guest_of_the_backup_loses_power(cluster: Cluster) -> None:
    """P10, P15, L3: it comes back with an empty memory and its disk as it was."""
    cluster.create(_WAITS, _SHORT)
    cluster.primary.load(7, 300)
    cluster.backup.node.kill()
    cluster.backup.exists = False
    job = cluster.primary.write_job("waiting", 100, 1, 7, 1000, "sync")
    cluster.jobs.append(job)
    cluster.primary.wait("state==connecting")
    cluster.backup.node.reboot()
    assert job.running
    cluster.backup.create("backup", *_SHORT.split())
    assert job.join().ok
    cluster.connected()
    assert prefix_of(cluster.backup.read_all(64), 7) == 300
    cluster.same()


def test_recovering_node_takes_no_io(cluster: Cluster) -> None:
    """P10: a node with an empty memory serves nothing before it has tags."""
    cluster.backup.create("backup", *_SHORT.split())
    assert cluster.backup.status()["state"] == "recovering"
    assert not cluster.backup.try_read(0).ok
    assert not cluster.backup.write(0, 1, 7, 1, "plain").ok
    assert not cluster.backup.message("promote").ok


def test_primary_without_create_is_not_believed(cluster: Cluster) -> None:
    """P10: a primary that lost its memory does not serve what its disk holds."""
    cluster.create(_SHORT, _SHORT)
    cluster.primary.must_write(0, 4, 7, 1, "sync")
    cluster.primary.remove()
    cluster.primary.create("primary", *_SHORT.split())
    assert not cluster.primary.try_read(0).ok
    assert not cluster.primary.write(0, 4, 7, 2, "sync").ok


@pytest.mark.parametrize("position", ["before", "after"])
@pytest.mark.parametrize("kind", [Kind.WRITE, Kind.FLUSH, Kind.PROGRESS], ids=lambda k: k.name)
def test_backup_dies_around_a_message_of_a_flush(
    cluster: Cluster, kind: Kind, position: str
) -> None:
    """P1, P2, P15: its memory is gone, its disk is what it is; what was promised is found again."""
    proxy = cluster.proxy()
    cluster.create(_WAITS, _SHORT)
    cluster.primary.load(7, 64)
    proxy.ctl("clear")
    proxy.ctl("stall", "on")
    direction = "d" if kind is Kind.PROGRESS else "u"
    proxy.add(direction, kind, "stall" if position == "before" else "stallafter")
    job = cluster.primary.write_job("flush", 70, 2, 7, 1000, "sync")
    cluster.jobs.append(job)
    proxy.struck()
    cluster.backup.remove()
    cluster.backup.create("backup", *_SHORT.split())
    proxy.ctl("stall", "off")
    assert job.join().ok
    cluster.connected()
    assert cluster.backup.read(71) == content(7, 1000, 71)
    assert prefix_of(cluster.backup.read_all(64), 7) == 64
    cluster.same()


def test_tags_on_disk_pass_the_same(cluster: Cluster) -> None:
    """P5, P6, P10 with tree_pages: a restart with empty memory, and a tampered tree."""
    tree = f"{_SHORT} tree_pages 64 tree_cache_pages 16"
    cluster.create(f"{tree} on_peer_loss suspend", tree)
    cluster.primary.load(7, 200)
    cluster.drained()
    cluster.same()
    for page in range(64):
        cluster.backup.flip_raw(page)
    assert prefix_of(cluster.backup.read_all(64), 7) == 200
    cluster.same()
