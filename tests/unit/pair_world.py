# SPDX-License-Identifier: Apache-2.0
"""A pair that stays up, with both its guests in memory: what is loaded, which nodes there are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from run_world import IMAGE, World

from harness.build.workshop import BuiltModule
from harness.guest.fake import Command, FakeChannel, Reply
from harness.run.devpair.kit import Kit
from harness.run.devpair.options import PairOptions
from harness.run.devpair.pair import DevPair
from harness.run.devpair.stack import make_stack
from harness.run.options import RunOptions
from harness.vm.fake import FakeMachine

FILE = "/run/dm-rollbaccine.ko"
NAME = "dm_rollbaccine"


@dataclass
class Inside:
    """What is in one boot of a guest."""

    files: dict[str, bytes] = field(default_factory=dict)
    loaded: bytes | None = None
    node: str | None = None
    """Its role, if there is one."""


class PairWorld(World):
    """Guests with two agents each, that load modules and have nodes."""

    def __init__(self) -> None:
        self.insides: dict[str, Inside] = {}
        self.busy: set[str] = set()
        """Roles whose device is open."""
        super().__init__()

    def _equip(self, machine: FakeMachine) -> None:
        super()._equip(machine)
        role = machine.name.rpartition("-")[2]
        self.insides[role] = Inside()
        side = FakeChannel(lambda command: self._answer("", role, command))
        machine.on_end.append(side.end)
        assert machine.spec.side_channel is not None
        self.channels[machine.spec.side_channel] = side

    def _answer(self, pair: str, role: str, command: Command) -> Reply:
        for rule in self.rules:
            if (reply := rule(role, command)) is not None:
                return reply
        self.log.append((role, command))
        inside = self.insides[role]
        match command:
            case ("file-put", path, text):
                inside.files[path] = bytes.fromhex(text)
            case ("insmod", path, *_) if path not in inside.files:
                return Reply.failure(f"finit_module: ENOENT: {path}")
            case ("insmod", path, *_):
                inside.loaded = inside.loaded or inside.files[path]
            case ("rmmod", name):
                if inside.loaded is None:
                    return Reply.failure(f"delete_module: ENOENT: {name}")
                inside.loaded = None
            case ("file-read", path) if path.startswith(f"/sys/module/{NAME}/"):
                return self._about_module(inside, path)
            case ("dm-create", _, _, _, table):
                inside.node = "primary" if " primary " in table else "backup"
            case ("dm-remove", _):
                return self._remove(role, inside)
            case ("dm-message", _, _, word):
                inside.node = {"promote": "primary", "demote": "backup"}[word]
            case ("dm-wait" | "dm-status", *_):
                return self._status(inside)
        return Reply()

    def _about_module(self, inside: Inside, path: str) -> Reply:
        if inside.loaded is None:
            return Reply.failure(f"open: ENOENT: {path}")
        key = path.rpartition("/")[2]
        return Reply(inside.loaded + b"\n" if key == "srcversion" else b"1\n")

    def _remove(self, role: str, inside: Inside) -> Reply:
        if inside.node is None:
            return Reply.failure("ioctl(DM_DEV_REMOVE): ENXIO: replicated")
        if role in self.busy:
            return Reply.failure("ioctl(DM_DEV_REMOVE): EBUSY: replicated")
        inside.node = None
        return Reply()

    def _status(self, inside: Inside) -> Reply:
        if inside.node is None:
            return Reply.failure("ioctl(DM_TABLE_STATUS): ENXIO: replicated")
        roles = sorted(each.node or "" for each in self.insides.values())
        state = "connected" if roles == ["backup", "primary"] else "connecting"
        return Reply(f"role {inside.node} state {state} received 4 applied 4".encode())

    def commands(self, role: str, *names: str) -> list[str]:
        """First words of what the guest did, of those in ``names``."""
        return [command[0] for who, command in self.log if who == role and command[0] in names]


@dataclass
class PairRig:
    """A pair of a world, and the module as it is built next."""

    folder: Path
    world: PairWorld = field(default_factory=PairWorld)
    source: str = "A1"
    said: list[str] = field(default_factory=list)
    error: Exception | None = None
    """What the next build comes to, if not a module."""

    def __post_init__(self) -> None:
        options = PairOptions(RunOptions(suite="pair"), "dev", 32 << 20)
        builder = replace(self.world.builder(self.folder), side_channels=True)
        self.pair = DevPair(builder, options, self.build, self.build(1))

    def build(self, number: int) -> Kit:
        if self.error is not None:
            raise self.error
        path = self.folder / f"module-{number}.ko"
        path.write_bytes(self.source.encode())
        module = BuiltModule(
            path.with_name("dm-rollbaccine.ko"), f"d{self.source}", "2", self.source
        )
        stack = make_stack(RunOptions(suite="pair"), IMAGE, None, FILE)
        return Kit(stack, self.folder, (module,), {FILE: path})

    def up(self) -> DevPair:
        self.pair.boot()
        self.pair.set_up()
        return self.pair

    def say(self, text: str) -> None:
        self.said.append(text)

    def loaded(self) -> list[str | None]:
        """srcversion in primary and backup."""
        insides = [self.world.insides[role] for role in ("primary", "backup")]
        return [None if each.loaded is None else each.loaded.decode() for each in insides]

    def nodes(self) -> list[str | None]:
        return [self.world.insides[role].node for role in ("primary", "backup")]
