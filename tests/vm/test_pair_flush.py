# SPDX-License-Identifier: Apache-2.0
"""Flushes of a real pair: what they promise, and what happens when they cannot."""

from __future__ import annotations

from pair_cluster import BLOCKS, Cluster, content, prefix_of, until


def test_flush_is_held_by_both_nodes(cluster: Cluster) -> None:
    """P1, P2: what a flush covers is on the backup, in order, when it returns."""
    cluster.create()
    cluster.primary.load(7, 200)
    status = cluster.primary.status()
    assert int(status["acked"]) >= 200
    assert cluster.backup.get("durable") >= 200
    assert prefix_of(cluster.backup.read_all(64), 7) == 200
    cluster.same()


def test_lost_link(cluster: Cluster) -> None:
    """P13: without the backup no flush succeeds. L1: plain writes do not wait for the network."""
    cluster.create("peer_timeout_ms 1000", "peer_timeout_ms 1000")
    cluster.primary.must_write(0, 4, 7, 1, "sync")
    cluster.duo.link.cut = True
    cluster.primary.must_write(8, 4, 7, 2, "plain")
    assert not cluster.primary.write(16, 1, 7, 3, "sync").ok
