# SPDX-License-Identifier: Apache-2.0
"""What a flush of a real pair promises, and that it promises nothing when it cannot."""

from __future__ import annotations

import pytest
from pair_cluster import Cluster, Kind, content, fault, judged, prefix_of, until

_SHORT = "peer_timeout_ms 1000"
# A peer reports every eighth of it, and may make no progress for all of it.
_PATIENT = "peer_timeout_ms 12000"
_WAITS = f"{_SHORT} on_peer_loss suspend"


@pytest.mark.parametrize("defect", [None, "early_ack:60000"])
def test_flush_is_held_by_the_backup_when_it_returns(cluster: Cluster, defect: str | None) -> None:
    """P1: everything up to a completed flush is applied and durable on the backup."""
    cluster.create(fault(defect))
    cluster.primary.must_write(0, 8, 7, 1, "sync")
    with judged(defect):
        status = cluster.backup.status()
        assert int(status["durable"]) >= cluster.primary.get("acked") >= 1
        assert cluster.primary.get("acked") == cluster.primary.get("issued")


@pytest.mark.parametrize("mode", ["sync", "dsync"])
def test_flush_waits_for_a_backup_that_holds_its_write_back(cluster: Cluster, mode: str) -> None:
    """P1: received is not enough. The write before it completes without the backup (L1)."""
    cluster.create(_PATIENT, _PATIENT)
    cluster.backup.must_message("hold", "0")
    cluster.primary.must_write(0, 1, 7, 1, "plain")
    job = cluster.primary.write_job("flush", 0, 1, 7, 2, mode)
    cluster.jobs.append(job)
    last = "3" if mode == "sync" else "2"
    assert cluster.backup.wait(f"received>={last}")["applied"] == "0"
    # Told so by a message that would have acknowledged the flush as well.
    assert cluster.primary.wait(f"received>={last}")["acked"] == "0"
    assert job.running
    cluster.backup.must_message("step", "1")
    assert cluster.backup.wait("applied>=1")["applied"] == "1"
    assert job.running
    assert cluster.backup.read(0) == content(7, 1, 0)
    cluster.backup.must_message("release")
    assert job.join().ok
    assert cluster.backup.read(0) == content(7, 2, 0)


@pytest.mark.parametrize("defect", [None, "drop_write:50", "skip_last_page:2", "corrupt_byte:50"])
def test_backup_holds_a_prefix_of_the_writes(cluster: Cluster, defect: str | None) -> None:
    """P2: all of 200 writes up to some point, and that point is not before the last flush."""
    cluster.create("", fault(defect))
    for number in range(1, 5):
        cluster.primary.must_write(200 + 16 * number, 16, 7, number, "plain")
    cluster.primary.load(7, 200)
    cluster.drained()
    with judged(defect):
        assert prefix_of(cluster.backup.read_all(64), 7) == 200
        cluster.same()


@pytest.mark.parametrize("defect", [None, "reorder_overlap:2000"])
def test_overlapping_writes_take_effect_in_order(cluster: Cluster, defect: str | None) -> None:
    """P3: the last of many writes of one block is what both nodes hold."""
    # It pings more often than the backup would call it silent: what the defect holds back for a
    # time must come out all the same.
    cluster.create("peer_timeout_ms 4000", fault(defect))
    for number in range(1, 9):
        cluster.primary.must_write(0, 1, 7, number, "plain")
    cluster.drained()
    with judged(defect):
        assert cluster.primary.read(0) == content(7, 8, 0)
        assert cluster.backup.read(0) == content(7, 8, 0)


def test_read_after_write_gives_the_write_though_it_is_queued(cluster: Cluster) -> None:
    """P4: also while the write still waits for its way to the backup."""
    cluster.create()
    cluster.backup.must_message("hold", "0")
    for number in range(1, 6):
        cluster.primary.must_write(0, 2, 7, number, "plain")
        assert cluster.primary.read(1) == content(7, number, 1)
    assert cluster.backup.get("applied") == 0
    cluster.backup.must_message("release")
    cluster.same()


@pytest.mark.parametrize("defect", [None, "ignore_discard"])
def test_discarded_blocks_are_zeros_on_both_nodes(cluster: Cluster, defect: str | None) -> None:
    """P7: discarded and zeroed blocks read as zeros."""
    cluster.create("", fault(defect))
    cluster.primary.must_write(0, 64, 7, 1, "sync")
    for command, first in (("discard", 8), ("zeroes", 32)):
        done = cluster.primary.node.tool(command, cluster.primary.path, first, 8)
        cluster.primary.node.agent.require(done)
    cluster.primary.must_write(100, 1, 7, 2, "sync")
    cluster.drained()
    with judged(defect):
        for device in (cluster.primary, cluster.backup):
            blocks = device.read_all(64)
            gone = {number for number, data in blocks.items() if not any(data)}
            assert gone == {*range(8, 16), *range(32, 40)}


@pytest.mark.parametrize("defect", [None, "early_ack:3000"])
def test_no_flush_succeeds_without_the_backup(cluster: Cluster, defect: str | None) -> None:
    """P13: under policy `error` it fails in time. L1: a plain write before that does not wait."""
    cluster.create(f"{_SHORT} {fault(defect)}", _SHORT)
    cluster.primary.must_write(0, 4, 7, 1, "sync")
    cluster.duo.link.cut = True
    cluster.primary.must_write(8, 4, 7, 2, "plain")
    refused = cluster.primary.write(16, 1, 7, 3, "sync")
    with judged(defect):
        assert "EIO" in refused.text
    assert cluster.primary.read(8) == content(7, 2, 8)


def test_flush_waits_for_the_link_to_come_back(cluster: Cluster) -> None:
    """P13, L3: under policy `suspend` it waits, and completes once the backup has everything."""
    cluster.create(_WAITS, _SHORT)
    cluster.primary.must_write(0, 4, 7, 1, "sync")
    cluster.duo.link.cut = True
    job = cluster.primary.write_job("flush", 0, 4, 7, 2, "sync")
    cluster.jobs.append(job)
    cluster.primary.wait("state==connecting")
    assert job.running
    cluster.duo.link.cut = False
    assert job.join().ok
    assert cluster.backup.read(3) == content(7, 2, 3)
    cluster.same()


_FATES = ("cut", "cutafter", "stall", "stallafter")


def test_link_lost_at_every_message_of_a_flush(cluster: Cluster) -> None:
    """P1, P2, P13: before and after each message, with and without notice; L3: it recovers.

    The messages are those that one flushed write takes when nothing happens.
    """
    proxy = cluster.proxy()
    cluster.create(_WAITS, _SHORT)
    cluster.primary.must_write(0, 2, 7, 1, "sync")
    cluster.drained()
    proxy.ctl("clear")
    cluster.primary.must_write(0, 2, 7, 2, "sync")
    seen = [word.split(":")[1:] for word in proxy.log()]
    messages = [(d, int(kind)) for d, kind in seen if int(kind) != Kind.PING]
    assert {("u", Kind.WRITE), ("u", Kind.FLUSH), ("d", Kind.PROGRESS)} <= set(messages)
    number = 2
    for direction, kind in sorted(set(messages)):
        for fate in _FATES:
            number += 1
            proxy.ctl("clear")
            proxy.add(direction, kind, fate)
            job = cluster.primary.write_job("flush", 0, 2, 7, number, "sync")
            proxy.struck()
            assert job.join().ok, f"{fate} at {kind}"
            # The proxy knows no more rules: all of it went over a new connection, or had gone.
            assert cluster.backup.get("durable") >= cluster.primary.get("acked")
            assert cluster.backup.read(1) == content(7, number, 1), f"{fate} at {kind}"
            proxy.reconnected(cluster)
    cluster.same()


def test_flush_fails_when_the_link_is_lost_at_any_message_of_it(cluster: Cluster) -> None:
    """P13, P12: policy `error`; what did not get through is an error, never a success."""
    proxy = cluster.proxy()
    cluster.create(_SHORT, _SHORT)
    for number, (direction, kind) in enumerate(
        [("u", Kind.WRITE), ("u", Kind.FLUSH), ("d", Kind.PROGRESS)], 1
    ):
        cluster.connected()
        proxy.ctl("clear")
        proxy.ctl("stall", "on")
        proxy.add(direction, kind, "stall")
        done = cluster.primary.write(0, 2, 7, number, "sync")
        assert proxy.hits == 1
        assert "EIO" in done.text, f"stalled at {kind}"
        proxy.ctl("stall", "off")
    cluster.connected()
    cluster.primary.must_write(0, 2, 7, 9, "sync")
    until(lambda: cluster.backup.read(0) == content(7, 9, 0), "the last write")
    cluster.same()
