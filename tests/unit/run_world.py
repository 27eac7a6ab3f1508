# SPDX-License-Identifier: Apache-2.0
"""Two guests in memory whose replication works: tests break one thing each and see what follows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oracle_trees import tree_at

from ace_workloads.ops import Step, Verb
from harness.build.image import MicroImage
from harness.config import StateDir
from harness.events import Event
from harness.guest.fake import Command, FakeChannel, GuestEnds, Reply
from harness.guest.protocol import encode_word
from harness.guest.workload import workload_lines
from harness.model.content import decode
from harness.model.tree import Entry, Tree
from harness.oracle.model import execute
from harness.run.options import RunOptions
from harness.run.pair import PairBuilder
from harness.run.scripts import SNAPSHOT
from harness.run.worker import Worker
from harness.vm.fake import FakeHypervisor, FakeMachine
from harness.vm.live import LiveDir
from harness.vm.ports import Accelerator

STATUS = "state connected acked 9 received 9 applied 9"
DIGEST = b"0123456789abcdef0123456789abcdef 7"
OOPS = "[   12.100002] BUG: unable to handle page fault for address: ffffb2c0004a1000\n"
IMAGE = MicroImage(
    kernel=Path("/boot/vmlinuz"),
    initrd=Path("/boot/initrd"),
    release="6.1.0-fake",
    module="/lib/modules/dm-rollbaccine.ko",
    on_demand={
        "snapshot": ("/lib/modules/brd.ko",),
        "ext4": ("/lib/modules/ext4.ko",),
        "drbd": ("/lib/modules/lru_cache.ko", "/lib/modules/drbd.ko"),
        "delay": ("/lib/modules/sch_netem.ko",),
    },
)

Rule = Callable[[str, Command], Reply | None]
"""(role of the guest, command) -> what it comes to, None for what it would come to anyway."""


def tree_payload(tree: Tree) -> bytes:
    """A tree as the agent sends it."""
    return b"".join(_entry_payload(entry) for _, entry in sorted(tree.entries.items()))


def _entry_payload(entry: Entry) -> bytes:
    raw = None if entry.content is None else decode(entry.content)
    numbers = (
        entry.uid, entry.gid, entry.nlink, entry.size, entry.blocks, entry.ino, entry.mtime_ns,
        entry.ctime_ns, entry.rdev,
    )  # fmt: skip
    xattrs = ",".join(f"{encode_word(name)}={value.hex()}" for name, value in entry.xattrs)
    words = [
        "E", encode_word(entry.path), entry.kind.value, f"{entry.mode:o}", *map(str, numbers),
        xattrs or "-",
        "-" if entry.link is None else f"={encode_word(entry.link)}",
        "-",
        "-" if raw is None else str(len(raw)),
        "-",
    ]  # fmt: skip
    return " ".join(words).encode() + b"\n" + (raw + b"\n" if raw else b"")


@dataclass
class World:
    """What both guests of every pair answer; ``rules`` are asked first, in order."""

    fs: str = "ext4"
    rules: list[Rule] = field(default_factory=list)
    log: list[tuple[str, Command]] = field(default_factory=list)
    """(role, command) of all that was answered."""
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(role, first word) -> how often."""
    channels: dict[Path, FakeChannel] = field(default_factory=dict)
    machines: dict[str, FakeMachine] = field(default_factory=dict)
    """The latest machine of each role."""

    def __post_init__(self) -> None:
        self.hypervisor = FakeHypervisor(self._equip)
        self._at: dict[str, tuple[Sequence[Step], int]] = {}
        """Pair -> its workload, and the line it has come to."""
        self._copied: dict[str, Tree] = {}
        """Pair -> what the backup has copied last."""

    def connect(self, path: Path) -> FakeChannel:
        return self.channels[path]

    def builder(self, folder: Path) -> PairBuilder:
        """Boots pairs of this world, with their files below ``folder``."""
        live = LiveDir(folder, "0ddba11")
        return PairBuilder(
            self.hypervisor, live, IMAGE, Accelerator.TCG, folder, boot_timeout_s=0.2,
            connect=self.connect,
        )  # fmt: skip

    def report(self, role: str, text: str = OOPS) -> None:
        """Let the kernel of the guest with ``role`` say something on its console."""
        with open(self.machines[role].spec.console, "a", encoding="utf-8") as console:
            console.write(text)

    def lose(self, role: str) -> Reply:
        """Let the guest with ``role`` end while it answers; for use in a rule."""
        self.machines[role].end()
        raise GuestEnds

    def boots(self) -> int:
        """How many pairs were started."""
        return len(self.hypervisor.machines) // 2

    def _equip(self, machine: FakeMachine) -> None:
        role = machine.name.rpartition("-")[2]
        pair = machine.name.removesuffix(role)
        channel = FakeChannel(
            lambda command: self._answer(pair, role, command),
            lambda lines: self._expect(pair, lines),
        )
        machine.on_end.append(channel.end)
        self.channels[machine.spec.channel] = channel
        self.machines[role] = machine

    def _expect(self, pair: str, lines: Sequence[Command]) -> None:
        steps = steps_of([line for line in lines if line[0] == "step"])
        if steps:
            self._at[pair] = steps, 0

    def _answer(self, pair: str, role: str, command: Command) -> Reply:
        self.log.append((role, command))
        self.seen[role, command[0]] += 1
        for rule in self.rules:
            reply = rule(role, command)
            if reply is not None:
                return reply
        if (role, command[0]) == ("primary", "step"):
            self._at[pair] = self._at[pair][0], int(command[1])
        if (role, command[0]) == ("backup", "image-save"):
            self._copied[pair] = self.tree(pair)
        if (role, *command[:2]) == ("backup", "dm-create", SNAPSHOT):
            self._copied.pop(pair, None)
        if command[0] in ("dm-wait", "dm-status"):
            return Reply(STATUS.encode())
        if command[0] == "digest":
            return Reply(DIGEST)
        if command[0] == "tree":
            return Reply(
                tree_payload(self.tree(pair) if role == "primary" else self.crash_tree(pair))
            )
        return Reply()

    def steps(self) -> Sequence[Step]:
        """Of the workload under way on the only pair."""
        return self._at[next(reversed(self._at))][0]

    def tree(self, pair: str | None = None) -> Tree:
        """The tree of the workload under way on a pair (the only one) as it is now."""
        if pair is None:
            pair = next(reversed(self._at))
        return tree_at(execute(*self._at[pair]), self.fs)

    def crash_tree(self, pair: str | None = None) -> Tree:
        """What a look at the backup (of the only pair) shows: its copy, or what there is now."""
        if pair is None:
            pair = next(reversed(self._at))
        copied = self._copied.get(pair)
        return self.tree(pair) if copied is None else copied

    def crash_device(self) -> str:
        """The device of the backup that was copied or snapshotted last."""
        for role, command in reversed(self.log):
            if role == "backup" and command[0] == "image-save":
                return command[2]
            if role == "backup" and command[:2] == ("dm-create", SNAPSHOT):
                return command[-1].split()[3]
        raise LookupError("nothing was taken of the backup")


def steps_of(lines: Sequence[Command]) -> tuple[Step, ...]:
    """The steps that ``workload_lines`` made these lines of."""
    steps = []
    for _, _, word, *arguments in lines:
        verb = Verb(word)
        values = dict(zip(_ARGUMENTS.get(verb, ("path",)), arguments, strict=False))
        fields = {name: _READ.get(name, _name)(text) for name, text in values.items()}
        steps.append(Step(verb, **fields))  # type: ignore[arg-type]
    assert [list(line) for line in lines] == workload_lines(steps)
    return tuple(steps)


_TWO, _MADE, _EXTENT = ("path", "path2"), ("path", "mode"), ("path", "offset", "length")
_ARGUMENTS: dict[Verb, tuple[str, ...]] = {
    Verb.LINK: _TWO,
    Verb.SYMLINK: _TWO,
    Verb.RENAME: _TWO,
    Verb.MKDIR: _MADE,
    Verb.MKNOD: _MADE,
    Verb.OPENDIR: _MADE,
    Verb.OPEN: ("path", "flags", "mode"),
    Verb.WRITE: _EXTENT,
    Verb.DWRITE: _EXTENT,
    Verb.MMAPWRITE: _EXTENT,
    Verb.FALLOC: ("path", "flags", "offset", "length"),
    Verb.TRUNCATE: ("path", "length"),
    Verb.SYNC: (),
    Verb.NONE: (),
    Verb.CHECKPOINT: (),
}
_READ: dict[str, Callable[[str], str | int]] = {
    "flags": str,
    "offset": int,
    "length": int,
    "mode": lambda text: int(text, 8),
}


def _name(text: str) -> str:
    return "" if text == "." else text


def options(folder: Path, **changes: object) -> RunOptions:
    """Options of a run in ``folder`` on the smoke suite."""
    plain: dict[str, object] = {
        "suite": "smoke", "out": folder / "reports", "state_dir": folder / "state",
    }  # fmt: skip
    return RunOptions(**(plain | changes))  # type: ignore[arg-type]


def worker(world: World, folder: Path, events: list[Event], **changes: object) -> Worker:
    """A worker on pairs of ``world``."""
    return Worker(0, world.builder(folder), options(folder, **changes), events.append)


def state(folder: Path) -> StateDir:
    return StateDir(folder / "state")
