# SPDX-License-Identifier: Apache-2.0
"""Replicated devices on a pair of guests: made afresh for every test, looked at from all sides."""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import pytest
from pair_guest import KEY, TOOL, Duo, Job, Node

from harness.guest.agent import CommandResult
from harness.guest.replies import parse_blockmap, parse_status

BLOCK_BYTES = 4096
BLOCKS = 4096
"""Of a device, unless a test says otherwise: 32 chunks of tags."""
STRIDE = 7919
"""As in guest_tool/blockio.c."""
ZEROS = bytes(BLOCK_BYTES)
WAIT_S = 30
# Longer than any test takes.
_FOR_GOOD_MS = 3_600_000
_RECORD = re.compile(rb"plain([0-9a-f]{8}) ([0-9a-f]{8}) ([0-9a-f]{8})\n")
_ids = itertools.count(1)
_ports = itertools.count(20000, 4)


def content(seed: int, write: int, block: int) -> bytes:
    """What the tool's write number ``write`` puts into ``block``."""
    return b"plain%08x %08x %08x\n" % (seed, write, block) * (BLOCK_BYTES // 32)


def write_of(data: bytes, seed: int, block: int) -> int:
    """Number of the write that ``data`` of ``block`` comes from, 0 if it is all zeros."""
    if data == ZEROS:
        return 0
    found = _RECORD.match(data)
    assert found is not None, f"block {block} holds {data[:48]!r}"
    assert data == content(seed, int(found[2], 16), block), f"block {block} is torn or foreign"
    return int(found[2], 16)


def prefix_of(blocks: Mapping[int, bytes], seed: int) -> int:
    """The number of writes of a ``load`` that led to exactly this content (P2)."""
    count = len(blocks)
    found = {block: write_of(data, seed, block) for block, data in blocks.items()}
    last = max(found.values())
    for write in range(max(1, last - count + 1), last + 1):
        block = write * STRIDE % count
        assert found[block] >= write, f"write {write} of {last} is lost: {found[block]}"
    return last


class Kind(IntEnum):
    """Types of messages, as in kmod/dm-rollbaccine-wire.h."""

    HELLO = 1
    CHALLENGE = 2
    PROOF = 3
    WELCOME = 4
    PING = 8
    PROGRESS = 9
    WRITE = 16
    DISCARD = 17
    FLUSH = 19
    EPOCHS = 32
    TAGS = 35
    BLOCK_REQ = 37
    BLOCK_DATA = 38


@contextlib.contextmanager
def judged(defect: str | None) -> Iterator[None]:
    """A check that has to hold, and has to fail when ``defect`` is switched on."""
    if defect is None:
        yield
        return
    with pytest.raises(AssertionError):
        yield


def fault(defect: str | None) -> str:
    """The feature words that switch ``defect`` on."""
    return f"fault {defect}" if defect else ""


@dataclass
class Device:
    """One node of the cluster: a device-mapper device in a guest."""

    node: Node
    name: str
    id: int
    port: int
    disk: str = "/dev/vda"
    peers: list[Peer] = field(default_factory=list)
    blocks: int = BLOCKS
    key: str = f"logon:harness:{KEY}"
    exists: bool = False

    @property
    def path(self) -> str:
        return f"/dev/mapper/{self.name}"

    def line(self, role: str, *features: str) -> str:
        """Its table line."""
        words = [f"0 {self.blocks * 8} rollbaccine {self.disk} {role} {self.id} {self.key}"]
        words += [f"{self.node.address}:{self.port} {len(self.peers)}"]
        words += [f"{peer.id} {peer.address}:{peer.port}" for peer in self.peers]
        if features:
            words.append(f"{len(' '.join(features).split())} {' '.join(features)}")
        return " ".join(words)

    def try_create(self, role: str, *features: str) -> CommandResult:
        made = self.node.run("dm-create", self.name, "-", "RW", self.line(role, *features))
        self.exists = self.exists or made.ok
        return made

    def create(self, role: str, *features: str) -> None:
        self.node.agent.require(self.try_create(role, *features))

    def remove(self) -> None:
        self.node.must("dm-remove", self.name)
        self.exists = False

    def status(self) -> dict[str, str]:
        return parse_status(self.node.must("dm-status", self.name))

    def get(self, key: str) -> int:
        return int(self.status()[key])

    def wait(self, *conditions: str, timeout_s: float = WAIT_S) -> dict[str, str]:
        """Wait until all conditions hold; the status then."""
        limit = str(int(timeout_s * 1000))
        done = self.node.run("dm-wait", self.name, limit, *conditions, timeout_s=timeout_s + 30)
        assert done.ok, f"{self.name} never came to {conditions}: {done.text}"
        return parse_status(done.text)

    def message(self, *words: str) -> CommandResult:
        return self.node.run("dm-message", self.name, "0", *words)

    def must_message(self, *words: str) -> None:
        self.node.agent.require(self.message(*words))

    def write(self, block: int, count: int, seed: int, number: int, mode: str) -> CommandResult:
        """One write of ``count`` blocks; mode plain, sync (flush after it) or dsync (FUA)."""
        return self.node.tool("write", self.path, block, count, seed, number, mode)

    def must_write(self, block: int, count: int, seed: int, number: int, mode: str) -> None:
        self.node.agent.require(self.write(block, count, seed, number, mode))

    def load(self, seed: int, last: int, *, blocks: int = 64, every: int = 8) -> None:
        """``last`` writes, one after the other, with a flush after every ``every``."""
        words = ("load", self.path, blocks, seed, 1, last, every, "-")
        self.node.agent.require(self.node.tool(*words))

    def write_job(
        self, name: str, block: int, count: int, seed: int, number: int, mode: str
    ) -> Job:
        return self.node.job(name, "write", self.path, block, count, seed, number, mode)

    def try_read(self, block: int) -> CommandResult:
        return self.node.run("readblock", self.path, str(block))

    def read(self, block: int) -> bytes:
        done = self.try_read(block)
        self.node.agent.require(done)
        return done.payload

    def read_all(self, count: int) -> dict[int, bytes]:
        """The first ``count`` blocks."""
        lines = [("readblock", self.path, str(block)) for block in range(count)]
        done = self.node.script(lines)
        assert done.ok, [failed.text for failed in done.failures]
        return {block: result.payload for block, result in enumerate(done.results)}

    def map(self) -> Mapping[int, str]:
        """Hash of every block that is not zero, read through the target."""
        return parse_blockmap(self.node.must("blockmap", self.path, "0").encode())

    def raw(self, block: int, count: int = 1) -> bytes:
        """What the host finds on its disk."""
        with open(self.node.disk, "rb") as image:
            image.seek(block * BLOCK_BYTES)
            return image.read(count * BLOCK_BYTES)

    def image(self) -> bytes:
        """All that the host finds on its disk."""
        return self.raw(0, self.blocks)

    def put_raw(self, block: int, data: bytes) -> None:
        """Change its disk behind its back."""
        with open(self.node.disk, "r+b") as image:
            image.seek(block * BLOCK_BYTES)
            image.write(data)

    def flip_raw(self, block: int, byte: int = 1000) -> None:
        data = bytearray(self.raw(block))
        data[byte] ^= 0x10
        self.put_raw(block, bytes(data))


class Layer:
    """A device-mapper device between a target and its disk, to make the disk misbehave."""

    def __init__(self, device: Device) -> None:
        self._node, self._name = device.node, f"under-{device.name}"
        self._sectors = device.blocks * 8
        line = f"0 {self._sectors} linear /dev/vda 0"
        self._node.must("dm-create", self._name, "-", "RW", line)
        device.disk = f"/dev/mapper/{self._name}"

    def become(self, table: str) -> None:
        """Another table at once; ``table`` without start and length."""
        self._dmsetup("suspend", "--noflush", "--nolockfs", self._name)
        self._dmsetup("load", self._name, "--table", f"0 {self._sectors} {table}")
        self._dmsetup("resume", self._name)

    def heal(self) -> None:
        self.become("linear /dev/vda 0")

    def fail(self) -> None:
        """Every read, write and flush fails."""
        self.become("error")

    def fail_writes(self) -> None:
        """Reads work."""
        self.become("flakey /dev/vda 0 0 3600 1 error_writes")

    def hold_flushes(self) -> None:
        """No flush of the disk ends before it becomes something else; reads and writes do."""
        self.become(f"delay /dev/vda 0 0 /dev/vda 0 0 /dev/vda 0 {_FOR_GOOD_MS}")

    def remove(self) -> None:
        self._node.must("dm-remove", self._name)

    def _dmsetup(self, *words: str) -> None:
        self._node.must("exec", "30000", "/sbin/dmsetup", "--noudevsync", *words)


@dataclass(frozen=True)
class Peer:
    """How one node finds another."""

    id: int
    address: str
    port: int


@dataclass
class Cluster:
    """A primary on guest a and a backup on guest b, not created yet; ports and ids are fresh."""

    duo: Duo
    primary: Device
    backup: Device
    others: list[Device] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)

    def third(self, beside: Device) -> Device:
        """A second backup, on the guest of ``beside``; to be called before ``create``."""
        a, b = self.primary, self.backup
        c = Device(beside.node, "rb3", b.id + 1000, a.port + 1, disk="/dev/vdb")
        for device in (a, b, c):
            device.blocks = 128
        c.peers = [Peer(a.id, a.node.address, a.port), Peer(b.id, b.node.address, b.port)]
        a.peers.append(Peer(c.id, c.node.address, c.port))
        b.peers.append(Peer(c.id, c.node.address, c.port))
        self.others.append(c)
        return c

    @property
    def devices(self) -> list[Device]:
        return [self.primary, self.backup, *self.others]

    def create(
        self,
        primary: str = "",
        backup: str = "",
        *,
        connect: bool = True,
    ) -> None:
        """Both nodes, the features of each as text; waits until they are connected."""
        self.backup.create("backup", *backup.split())
        self.primary.create("primary", "create", *primary.split())
        if connect:
            self.connected()

    def connected(self) -> None:
        self.primary.wait("state==connected")
        self.backup.wait("state==connected")

    def drained(self) -> None:
        """Everything issued has been applied by the backup."""
        issued = self.primary.get("issued")
        self.backup.wait(f"received=={issued}", f"applied=={issued}")

    def same(self) -> None:
        """Both devices hold the same, block by block."""
        self.drained()
        mine, theirs = self.primary.map(), self.backup.map()
        differing = sorted(n for n in mine.keys() | theirs.keys() if mine.get(n) != theirs.get(n))
        assert not differing, f"blocks {differing[:20]} differ"

    def layer(self, device: Device) -> Layer:
        """Put a layer under ``device``, which has not been created yet."""
        made = Layer(device)
        self.layers.append(made)
        return made

    def proxy(self) -> Proxy:
        """Put a proxy between primary and backup; to be called before the primary is created."""
        return Proxy(self)

    def clean_up(self) -> None:
        """Remove everything, by force where needed; every device has to go (L4)."""
        self.duo.link.cut = False
        for job in self.jobs:
            if job.node.guest is not None:
                job.kill()
        for device in self.devices:
            if device.node.guest is None or not device.exists:
                continue
            node = device.node
            if not node.run("dm-remove", device.name).ok:
                node.run("exec", "30000", "/sbin/dmsetup", "remove", "--force", "--noudevsync",
                         device.name)  # fmt: skip
                until(lambda d=device: _gone(d), f"{device.name} to be removed")
            device.exists = False
        for layer in self.layers:
            layer.remove()
        for node in self.duo.nodes:
            node.check_console()


def _gone(device: Device) -> bool:
    return (
        not device.node.run("dm-status", device.name).ok
        or device.node.run("dm-remove", device.name).ok
    )


def until(condition: object, what: str, timeout_s: float = WAIT_S) -> None:
    """Wait for a condition that has no event."""
    assert callable(condition)
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"waited {timeout_s} s for {what}"
        time.sleep(0.01)


class Proxy:
    """A man in the middle on the primary's guest; see guest_tool/rules.c for what it can do."""

    def __init__(self, cluster: Cluster) -> None:
        primary, backup = cluster.primary, cluster.backup
        self._node, self._port = primary.node, next(_ports)
        # Not inherited: each test has its own port.
        words = ("proxy", self._port, backup.node.address, backup.port)
        cluster.jobs.append(self._node.job(f"proxy-{self._port}", *words))
        until(lambda: self._node.tool("ctl", self._port, "hits").ok, "the proxy")
        primary.peers = [Peer(backup.id, "127.0.0.1", self._port)]

    def ctl(self, *words: object) -> str:
        return self._node.must("exec", "10000", TOOL, "ctl", str(self._port),
                               *(str(word) for word in words)).strip()  # fmt: skip

    def add(self, direction: str, kind: int, action: str, arg: int = 0, nth: int = 1) -> None:
        """Do ``action`` to the ``nth`` message of type ``kind`` (0: any) from now on."""
        self.ctl("add", 0, direction, nth, kind, action, arg)

    def log(self) -> list[str]:
        """What has passed since ``clear``: ``CONNECTION:u|d:TYPE``, ``CONNECTION:+|-``."""
        return self.ctl("log").split()

    def reconnected(self, cluster: Cluster) -> None:
        """Wait until a connection that was begun after ``clear`` has taken over."""
        until(lambda: any(word.endswith(":+") for word in self.log()), "a new connection")
        cluster.connected()

    @property
    def hits(self) -> int:
        return int(self.ctl("hits"))

    def struck(self, count: int = 1) -> None:
        """Wait until so many rules have been applied."""
        until(lambda: self.hits >= count, f"{count} rules of the proxy to strike")


def cluster(duo: Duo) -> Iterator[Cluster]:
    """What the fixture of the same name yields."""
    duo.ensure()
    port = next(_ports)
    primary = Device(duo.a, "rb", next(_ids), port)
    backup = Device(duo.b, "rb", next(_ids), port)
    primary.peers = [Peer(backup.id, backup.node.address, port)]
    backup.peers = [Peer(primary.id, primary.node.address, port)]
    made = Cluster(duo, primary, backup)
    yield made
    made.clean_up()
