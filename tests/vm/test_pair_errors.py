# SPDX-License-Identifier: Apache-2.0
"""Disks that fail below either node of a real pair."""

from __future__ import annotations

import pytest
from pair_cluster import Cluster, Device, content, fault, judged

_SHORT = "peer_timeout_ms 1000"
# A peer reports every eighth of it, and may make no progress for all of it.
_PATIENT = "peer_timeout_ms 12000"


def test_failing_disk_of_the_backup_fails_the_flush(cluster: Cluster) -> None:
    """P12, P13: a flush that the backup's disk cannot do is an error on the primary."""
    layer = cluster.layer(cluster.backup)
    cluster.create(_SHORT, _SHORT)
    cluster.primary.must_write(0, 4, 7, 1, "sync")
    cluster.drained()
    layer.fail()
    done = cluster.primary.write(0, 4, 7, 2, "sync")
    assert "EIO" in done.text
    assert cluster.backup.wait("state==failed")["errors"] != "0"
    assert cluster.primary.read(0) == content(7, 2, 0), "reads go on"
    layer.heal()


@pytest.mark.parametrize("how", ["fail", "fail_writes"])
def test_failing_disk_of_the_primary_is_an_error(cluster: Cluster, how: str) -> None:
    """P12: no write or flush that the primary's disk refused succeeds."""
    layer = cluster.layer(cluster.primary)
    cluster.create(_SHORT, _SHORT)
    cluster.primary.must_write(0, 4, 7, 1, "sync")
    getattr(layer, how)()
    for mode in ("plain", "sync", "dsync"):
        assert "EIO" in cluster.primary.write(8, 4, 7, 2, mode).text, mode
    assert cluster.primary.get("errors") > 0
    layer.heal()


def test_block_that_cannot_be_read_comes_from_the_peer(cluster: Cluster) -> None:
    """P12, P6: with a peer the data, without one an error; never something else."""
    layer = cluster.layer(cluster.primary)
    cluster.create(_SHORT, _SHORT)
    cluster.primary.must_write(0, 8, 7, 1, "sync")
    cluster.drained()
    layer.fail()
    assert cluster.primary.read(3) == content(7, 1, 3)
    cluster.duo.link.cut = True
    cluster.primary.wait("state==connecting")
    assert "EIO" in cluster.primary.try_read(4).text
    layer.heal()
    assert cluster.primary.read(4) == content(7, 1, 4)


@pytest.mark.parametrize("defect", [None, "ack_before_durable"])
def test_flush_waits_for_the_backups_disk(cluster: Cluster, defect: str | None) -> None:
    """P1, the disk contract: what the backup acknowledges outlives the loss of its power."""
    layer = cluster.layer(cluster.backup)
    cluster.create(_PATIENT, f"{_PATIENT} {fault(defect)}")
    cluster.primary.must_write(0, 1, 7, 1, "sync")
    cluster.drained()
    layer.hold_flushes()
    last = cluster.primary.get("issued") + 2
    job = cluster.primary.write_job("flush", 0, 1, 7, 2, "sync")
    cluster.jobs.append(job)
    # The message by which the primary knows this says too what the backup calls durable, and its
    # disk has not flushed anything.
    status = cluster.primary.wait(f"received=={last}")
    with judged(defect):
        assert int(status["durable"]) < last
        assert int(status["acked"]) < last
        assert job.running
    layer.heal()
    assert job.join().ok
    cluster.primary.wait(f"acked=={last}")


def test_devices_of_different_size_do_not_meet(cluster: Cluster) -> None:
    """P8: a node that does not fit is refused, and said so; L2: nobody is harmed."""
    cluster.backup.blocks //= 2
    cluster.create(_SHORT, _SHORT, connect=False)
    cluster.primary.wait("rejected>=1")
    assert cluster.primary.status()["state"] == "connecting"
    assert not cluster.primary.write(0, 1, 7, 1, "sync").ok


def test_disk_smaller_than_the_device_is_refused(cluster: Cluster) -> None:
    """P12: a table line that cannot work is refused with a reason."""
    device: Device = cluster.backup
    device.blocks = 1 << 20
    done = device.try_create("backup")
    assert not done.ok
    assert "EINVAL" in done.text
