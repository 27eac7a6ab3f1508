# SPDX-License-Identifier: Apache-2.0
"""A replicating pair in memory that can be killed and promoted; tests break one thing each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from run_world import IMAGE

from harness.events import Event
from harness.guest.fake import Command, FakeChannel, GuestEnds, Reply
from harness.model.load import Batch, Flush, Held, Kind, Version, batch_of
from harness.run.endurance.schedule import SUITE
from harness.run.endurance.worker import RoundWorker
from harness.run.options import RunOptions
from harness.run.pair import PairBuilder
from harness.vm.fake import FakeHypervisor, FakeMachine
from harness.vm.live import LiveDir
from harness.vm.ports import Accelerator, MachineState

_PACE = threading.Event()
"""Never set: to wait for it is to let time pass."""
MEMINFO = "MemTotal 500000 MemAvailable 400000 SUnreclaim {}"


@dataclass
class Node:
    """What a node knows and holds."""

    role: str = "backup"
    fails: bool = False
    """Whether, as a primary without a peer, it fails I/O instead of letting it wait."""
    epoch: int = 0
    contents: dict[int, Held] = field(default_factory=dict)
    memory: int = 1 << 20
    slab: int = 9000


class ClusterWorld:
    """Both guests of a pair; ``drop`` names writes that never reach the backup."""

    def __init__(self) -> None:
        self.hypervisor = FakeHypervisor(self._equip)
        self.channels: dict[Path, FakeChannel] = {}
        self.machines: dict[str, FakeMachine] = {}
        self.nodes: dict[str, Node] = {}
        self.links = {"primary": True, "backup": True}
        self.drop: Callable[[Batch, int], bool] = lambda batch, block: False
        """(batch, block) -> whether the backup loses it."""
        self.resync_skips: Callable[[int], bool] = lambda block: False
        self.lies = False
        """Whether a primary acknowledges what its backup never got."""
        self.refuses: set[str] = set()
        """Messages and waits that come to nothing."""
        self.log: list[tuple[str, Command]] = []
        self.on_sample: Callable[[str, Node], None] = lambda role, node: None

    def worker(self, folder: Path, events: list[Event]) -> RoundWorker:
        live = LiveDir(folder, "0ddba11")
        builder = PairBuilder(
            self.hypervisor, live, IMAGE, Accelerator.TCG, folder, boot_timeout_s=0.2,
            connect=lambda path: self.channels[path],
        )  # fmt: skip
        options = RunOptions(
            suite=SUITE, out=folder / "reports", state_dir=folder / "state", timeout_s=2.0
        )
        return RoundWorker(0, builder, options, events.append)

    def _equip(self, machine: FakeMachine) -> None:
        role = machine.name.rpartition("-")[2]
        self.nodes[role] = Node()
        self.machines[role] = machine
        spec = machine.spec
        assert spec.side_channel is not None
        for path in (spec.channel, spec.side_channel):
            channel = FakeChannel(lambda command: self._answer(role, command))
            machine.on_end.append(channel.end)
            self.channels[path] = channel

    def _other(self, role: str) -> str:
        return "backup" if role == "primary" else "primary"

    def _connected(self) -> bool:
        alive = all(m.state() is MachineState.RUNNING for m in self.machines.values())
        return alive and all(self.links.values()) and self._link_up()

    def _link_up(self) -> bool:
        """As the machines were last told."""
        return not any(
            [verb for verb in machine.verbs if verb.startswith("link")][-1:] == ["link down"]
            for machine in self.machines.values()
        )

    def _answer(self, role: str, command: Command) -> Reply:
        self.log.append((role, command))
        node, name = self.nodes[role], command[0]
        if name == "dm-create":
            created = " primary " in command[4]
            node.fails = "on_peer_loss error" in command[4]
            node.role, node.epoch = ("primary", 1) if created else ("backup", 0)
            return Reply()
        if name == "dm-message":
            return self._message(role, node, command[3])
        if name in ("dm-wait", "dm-status"):
            return self._status(role, node, command)
        if name == "load":
            return Reply(b"0 0", events=self._load(role, command))
        if name == "load-scan":
            return Reply(_scan(node.contents))
        if name == "digest":
            digest = blake2b(_scan(node.contents), digest_size=16).hexdigest()
            return Reply(f"{digest} {len(node.contents)}".encode())
        if name == "blockmap":
            return Reply(_blockmap(node.contents))
        if name == "file-status":
            self.on_sample(role, node)
            return Reply(MEMINFO.format(node.slab).encode())
        return Reply()

    def _message(self, role: str, node: Node, text: str) -> Reply:
        if text in self.refuses:
            return Reply.failure(f"ioctl(DM_TARGET_MSG): EBUSY: {text}", -16)
        if text == "promote":
            node.role, node.epoch = "primary", self.nodes[self._other(role)].epoch + 1
        if text == "demote":
            node.role = "backup"
        return Reply()

    def _status(self, role: str, node: Node, command: Command) -> Reply:
        if "insync" in self.refuses and node.role == "primary" and command[0] == "dm-wait":
            return Reply.failure("dm-wait: ETIMEDOUT: synced 0", -110)
        other = self.nodes[self._other(role)]
        if node.role == "primary" and other.role == "backup" and self._connected():
            # A load may be writing to it in another thread: a copy is made in one go.
            blocks = list(node.contents)
            skipped = {n: other.contents.get(n) for n in blocks if self.resync_skips(n)}
            differing = other.contents != node.contents
            if differing and other.epoch < node.epoch:
                other.contents = dict(node.contents)
                for block, held in skipped.items():
                    other.contents.pop(block, None)
                    if held is not None:
                        other.contents[block] = held
            other.epoch = node.epoch
        text = f"role {node.role} state connected synced 1 missing 0 issued 7 memory {node.memory}"
        return Reply(text.encode())

    def _load(self, role: str, command: Command) -> Iterator[bytes]:
        blocks, stream = int(command[2]), int(command[3])
        node = self.nodes[role]
        number = durable = 0
        while True:
            number += 1
            batch = batch_of(stream, number, blocks)
            # As fast as Python can is faster than anybody can judge.
            _PACE.wait(0.001)
            _apply(node.contents, stream, batch, lambda b, n: False)
            together = self._wait_peer(role, node)
            if together:
                other = self.nodes[self._other(role)]
                _apply(other.contents, stream, batch, self.drop)
            if batch.flush is Flush.NONE:
                continue
            if together or self.lies:
                durable = number - 1 if batch.flush is Flush.AMONG else number
                yield f"load {number} {durable} ok %\n".encode()
            else:
                yield f"load {number} {durable} unflushed EIO\n".encode()

    def _wait_peer(self, role: str, node: Node) -> bool:
        """True once both nodes are there and agree on who leads, False if another does."""
        while node.epoch >= (other := self.nodes[self._other(role)]).epoch:
            if self.machines[role].state() is MachineState.GONE:
                raise GuestEnds
            if self.lies or (self._connected() and other.epoch == node.epoch):
                return not self.lies or self._connected()
            if node.fails:
                return False
            _PACE.wait(0.002)
        return False


def _apply(
    contents: dict[int, Held], stream: int, batch: Batch, drop: Callable[[Batch, int], bool]
) -> None:
    for index, op in enumerate(batch.ops):
        for block in range(op.start, op.start + op.count):
            if drop(batch, block):
                continue
            if batch.kind is Kind.WRITE:
                contents[block] = Version(stream, batch.number, index)
            else:
                contents.pop(block, None)


def _scan(contents: dict[int, Held]) -> bytes:
    lines = []
    for block, held in sorted(contents.items()):
        assert isinstance(held, Version)
        lines.append(f"{block} {held.stream} {held.batch} {held.op}\n")
    return "".join(lines).encode()


def _blockmap(contents: dict[int, Held]) -> bytes:
    return "".join(
        f"{block} {blake2b(str(held).encode(), digest_size=8).hexdigest()}\n"
        for block, held in sorted(contents.items())
    ).encode()
