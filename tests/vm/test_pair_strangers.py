# SPDX-License-Identifier: Apache-2.0
"""Messages that are not what they should be: from strangers, and from a man in the middle."""

from __future__ import annotations

import struct

import pytest
from pair_cluster import Cluster, Kind, Proxy, content, until

# Guests are rebooted and time-outs waited for: longer than CI has.
pytestmark = pytest.mark.slow

_SHORT = "peer_timeout_ms 1500"
_WAITS = f"{_SHORT} on_peer_loss suspend"
_MAGIC = 0x32634252
_OTHER_KEY = "ff" * 32


def _header(kind: int, control: int, data: int = 0, version: int = 2) -> str:
    return struct.pack("<IHBBII16x", _MAGIC, version, kind, 0, control, data).hex()


_STRANGERS = {
    "nothing": ["end"],
    "silence": [],
    "zeros": ["zeros:4096"],
    "junk": ["junk:100000"],
    "half a header": [_header(Kind.HELLO, 96)[:20], "end"],
    "a header alone": [_header(Kind.HELLO, 96), "end"],
    "an endless control part": [_header(Kind.HELLO, 0xFFFFFFFF), "junk:100000"],
    "an endless write": [_header(Kind.WRITE, 0xFFFF, 0xFFFFFFFF), "junk:100000"],
    "a write of a stranger": [_header(Kind.WRITE, 48, 4096), "zeros:4144"],
    "a flush of a stranger": [_header(Kind.FLUSH, 32), "zeros:32"],
    "a hello of nobody": [_header(Kind.HELLO, 96), "zeros:96"],
    "a hello that goes on": [_header(Kind.HELLO, 96), "junk:5000"],
    "a proof before a hello": [_header(Kind.PROOF, 32), "zeros:32"],
}


@pytest.mark.parametrize("role", ["primary", "backup"])
def test_strangers_change_nothing(cluster: Cluster, role: str) -> None:
    """P8, L2: neither before nor while a pair is at work, on either node's port."""
    device = getattr(cluster, role)
    peer = cluster.duo.b if role == "primary" else cluster.duo.a
    crowd = peer.job("crowd", "crowd", device.node.address, device.port, 3)
    cluster.jobs.append(crowd)
    cluster.create(_SHORT, _SHORT)
    before = cluster.backup.status()
    for name, words in _STRANGERS.items():
        heard = peer.tool("say", device.node.address, device.port, 5000, *words, timeout_s=20)
        assert heard.ok, f"{name}: {heard.text}"
        assert heard.text.endswith(" closed\n") or name == "silence", f"{name}: {heard.text}"
    cluster.primary.must_write(0, 8, 7, 1, "sync")
    cluster.connected()
    after = cluster.backup.status()
    assert after["epoch"] == before["epoch"]
    assert after["cluster"] == before["cluster"]
    assert device.get("rejected") > 0
    cluster.same()


def test_another_version_is_told_so(cluster: Cluster) -> None:
    """P8: a node of another wire version gets an answer, and no more."""
    cluster.create()
    hello = _header(Kind.HELLO, 96, version=3)
    peer, backup = cluster.duo.a, cluster.backup
    heard = peer.tool("say", backup.node.address, backup.port, 5000, hello, "zeros:96").text
    welcome = bytes.fromhex(heard.split()[0])
    magic, version, kind = struct.unpack_from("<IHB", welcome)
    assert (magic, version, kind) == (_MAGIC, 2, Kind.WELCOME)
    assert struct.unpack_from("<I", welcome, 32)[0] == 2, "the verdict"
    assert not any(welcome[36:]), "and nothing about the node"


def test_another_key_does_not_connect(cluster: Cluster) -> None:
    """P8: neither node believes one that has not got the key; the right one still can connect."""
    cluster.duo.b.must("key-add", "logon", "harness:other", _OTHER_KEY)
    right, cluster.backup.key = cluster.backup.key, "logon:harness:other"
    cluster.create(_SHORT, _SHORT, connect=False)
    cluster.primary.wait("rejected>=1")
    cluster.backup.wait("rejected>=1")
    assert cluster.primary.status()["state"] == "connecting"
    assert not cluster.primary.write(0, 1, 7, 1, "sync").ok
    cluster.backup.remove()
    cluster.backup.key = right
    cluster.backup.create("backup")
    cluster.connected()


@pytest.mark.parametrize("wrong", ["mode", "id", "peer"])
def test_a_node_that_is_not_the_one_meant_does_not_connect(cluster: Cluster, wrong: str) -> None:
    """P8: without a key against one with a key; under another id; a peer nobody told it of."""
    if wrong == "mode":
        cluster.backup.key = "-"
    elif wrong == "id":
        cluster.backup.id += 1000
    else:
        cluster.primary.id += 1000
    cluster.create(_SHORT, _SHORT, connect=False)
    cluster.primary.wait("rejected>=1")
    assert cluster.primary.status()["state"] == "connecting"
    assert cluster.backup.get("received") == 0


_MESSAGES = {
    Kind.WRITE: "u",
    Kind.FLUSH: "u",
    Kind.PROGRESS: "d",
    Kind.HELLO: "u",
    Kind.CHALLENGE: "d",
    Kind.PROOF: "u",
    Kind.WELCOME: "d",
}
_WAYS = [
    ("flip", 40), ("flip", -1), ("flip", 16), ("drop", 0), ("dup", 0), ("swap", 0),
    ("truncate", 20), ("truncate", 33), ("grow", 100), ("reflect", 0),
]  # fmt: skip
# The field for a MAC says nothing before there are keys.
_UNSAID = (16,)
_ATTACKED = (Kind.WRITE, Kind.FLUSH, Kind.PROGRESS)


def _attack(cluster: Cluster, proxy: Proxy, kind: Kind, number: int) -> None:
    """One flushed write with the rules in place; it must survive, and end as it should."""
    if kind not in _ATTACKED:
        # Of a handshake: there has to be one.
        proxy.add("u", Kind.WRITE, "cut")
    job = cluster.primary.write_job("flush", 0, 4, 7, number, "sync")
    proxy.struck(2 if kind not in _ATTACKED else 1)
    done = job.join()
    assert done.ok, done.text
    cluster.drained()
    assert cluster.backup.read(2) == content(7, number, 2)
    assert cluster.primary.read(2) == content(7, number, 2)


@pytest.mark.parametrize("kind", list(_MESSAGES), ids=lambda kind: kind.name)
def test_mangled_messages_are_rejected(cluster: Cluster, kind: Kind) -> None:
    """P8: changed, lost, doubled, reordered, cut, lengthened, reflected; it goes on afterwards."""
    proxy = cluster.proxy()
    cluster.create(_WAITS, _SHORT)
    cluster.primary.must_write(0, 4, 7, 1, "sync")
    for number, (way, arg) in enumerate(_WAYS, 2):
        before = cluster.primary.get("rejected") + cluster.backup.get("rejected")
        proxy.ctl("clear")
        proxy.add(_MESSAGES[kind], kind, way, arg)
        _attack(cluster, proxy, kind, number)
        if way == "flip" and (kind in _ATTACKED or arg not in _UNSAID):
            after = cluster.primary.get("rejected") + cluster.backup.get("rejected")
            assert after > before, f"{way} {arg} of {kind.name} went unnoticed"
    cluster.connected()
    cluster.same()


@pytest.mark.parametrize("kind", [Kind.WRITE, Kind.FLUSH, Kind.PROGRESS], ids=lambda k: k.name)
def test_replayed_messages_are_rejected(cluster: Cluster, kind: Kind) -> None:
    """P8: a message of this or of an earlier connection, put in later."""
    proxy = cluster.proxy()
    cluster.create(_WAITS, _SHORT)
    direction = _MESSAGES[kind]
    proxy.add(direction, kind, "keep", 1)
    cluster.primary.must_write(0, 4, 7, 1, "sync")
    proxy.struck()
    for number, other_connection in enumerate((False, True), 2):
        if other_connection:
            proxy.ctl("clear")
            proxy.add("u", Kind.WRITE, "cut")
            cluster.primary.must_write(0, 4, 7, 9, "sync")
        before = cluster.primary.get("rejected") + cluster.backup.get("rejected")
        proxy.ctl("clear")
        proxy.add(direction, kind, "inject", 1)
        _attack(cluster, proxy, kind, number)
        assert cluster.primary.get("rejected") + cluster.backup.get("rejected") > before
    cluster.same()


def test_an_acknowledgement_played_back_completes_nothing(cluster: Cluster) -> None:
    """P8: an old PROGRESS in place of the one that is held back."""
    proxy = cluster.proxy()
    cluster.create(_WAITS, _SHORT)
    proxy.add("d", Kind.PROGRESS, "keep", 1)
    cluster.primary.must_write(0, 4, 7, 1, "sync")
    proxy.struck()
    issued = cluster.primary.get("issued")
    cluster.backup.must_message("hold", str(issued))
    proxy.ctl("clear")
    proxy.add("d", Kind.PROGRESS, "replace", 1)
    job = cluster.primary.write_job("flush", 0, 4, 7, 2, "sync")
    cluster.jobs.append(job)
    proxy.struck()
    until(lambda: cluster.primary.get("rejected") > 0, "the replay to be noticed")
    assert job.running
    cluster.backup.must_message("release")
    assert job.join().ok
    cluster.same()
