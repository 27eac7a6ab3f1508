# SPDX-License-Identifier: Apache-2.0
"""Two guests on a link that the test holds in its hands, for tests of the module in a real pair.

The test plays the host that nobody trusts: it can change a guest's disk under it (the image files
are the host's), listen to the link or cut it, end a guest at any moment and boot it again with an
empty memory. What has to be done inside a guest is done by ``guest_tool``.
"""

from __future__ import annotations

import dataclasses
import os
import select
import shutil
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kmod_guest import Machines

from harness.build import initramfs
from harness.build.cache import built, content_key
from harness.build.image import MicroImage, build_micro
from harness.build.profile import DEFAULT_PROFILE, load_profile
from harness.build.rootfs import RootTree, build_root, make_inside
from harness.config import CHECKOUT, StateDir, state_dir
from harness.deadline import Deadline
from harness.guest.agent import Agent, CommandResult, ScriptResult, Words
from harness.guest.oops_rules import ReportKind
from harness.guest.ports import SocketChannel
from harness.run.pair import BACKUP_ADDRESS, COMMAND_LINE, PRIMARY_ADDRESS, Guest
from harness.vm.ports import Accelerator, DiskSpec, LinkSpec, MachineSpec

TOOL = "/usr/bin/guest-tool"
DISK_BYTES = 64 << 20
NOTES_BYTES = 1 << 20
KEY = "pair-test"
"""Description of the logon key that every guest is given."""
BOOT_TIMEOUT_S = 180.0
STILL_RUNNING = 124
_TOOL_SOURCE = CHECKOUT / "tests" / "vm" / "guest_tool"
_MACS = ("52:54:00:ac:e1:01", "52:54:00:ac:e1:02")
_LINK_BUFFER_BYTES = 4 << 20
# What a test provokes on purpose. Anything else on a console fails the test.
_PROVOKED = frozenset({ReportKind.IO_ERROR, ReportKind.DEVICE_MAPPER, ReportKind.FILE_SYSTEM})


def guest_image(profile_name: str = DEFAULT_PROFILE) -> MicroImage:
    """The micro-guest with a FAULTS=1 module, and the tool in a second archive behind the first."""
    state, profile = state_dir(), load_profile(profile_name)
    root = build_root(profile, state)
    image = build_micro(profile, state, faults=True)
    tool = _build_tool(root, state)
    key = content_key([str(image.initrd), tool])

    def assemble(work: Path) -> None:
        tree = work / "tree"
        program = tree / TOOL.lstrip("/")
        program.parent.mkdir(parents=True)
        shutil.copy2(tool, program)
        initramfs.pack(tree, work / "tool.cpio")
        with open(work / "initrd.cpio", "wb") as whole:
            for part in (image.initrd, work / "tool.cpio"):
                whole.write(part.read_bytes())
        shutil.rmtree(tree)

    folder = built(state.cache, f"pair-test-{profile_name}-{key}", assemble)
    return dataclasses.replace(image, initrd=folder / "initrd.cpio")


def _build_tool(root: RootTree, state: StateDir) -> Path:
    sources = sorted(path for path in _TOOL_SOURCE.iterdir() if path.is_file())
    key = content_key([root.path.parent.name, *sources])

    def compile_tool(work: Path) -> None:
        what = "building the tests' program for guests"
        make_inside(root, sources, ["OUT=guest-tool"], work / "guest-tool", what)

    return built(state.cache, f"guest-tool-{key}", compile_tool) / "guest-tool"


class Link:
    """The wire between the two guests: datagrams, one Ethernet frame each, through this process."""

    def __init__(self) -> None:
        self._ends = [_udp_socket() for _ in range(2)]
        # Which port of ours faces which guest, and which ports theirs will be.
        self.near = [end.getsockname()[1] for end in self._ends]
        self.far = list(_free_ports())
        self.cut = False
        """While true nothing gets through, in either direction, and nobody is told."""
        self.frames: list[bytes] | None = None
        """Everything that passes is put here once it is a list."""
        self._wake, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)
        self._thread.start()

    def spec(self, side: int) -> LinkSpec:
        """The end of the guest number ``side``."""
        return LinkSpec(self.far[side], self.near[side], _MACS[side])

    def close(self) -> None:
        os.close(self._stop)
        self._thread.join()
        os.close(self._wake)
        for end in self._ends:
            end.close()

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([*self._ends, self._wake], [], [])
            if self._wake in ready:
                return
            for side, end in enumerate(self._ends):
                if end in ready:
                    self._relay(side, end)

    def _relay(self, side: int, end: socket.socket) -> None:
        while True:
            try:
                frame = end.recv(1 << 16)
            except (BlockingIOError, ConnectionRefusedError):
                return
            if self.cut:
                continue
            if self.frames is not None:
                self.frames.append(frame)
            other = 1 - side
            try:
                self._ends[other].sendto(frame, ("127.0.0.1", self.far[other]))
            except OSError:
                # The guest there is gone, or its queue is full: a wire loses frames.
                continue


def _udp_socket() -> socket.socket:
    made = socket.socket(type=socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LINK_BUFFER_BYTES)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LINK_BUFFER_BYTES)
    made.bind(("127.0.0.1", 0))
    made.setblocking(False)
    return made


def _free_ports() -> tuple[int, int]:
    with _udp_socket() as one, _udp_socket() as other:
        return one.getsockname()[1], other.getsockname()[1]


@dataclass
class Node:
    """One guest: its machine (None while it is off), its disk's image, its console."""

    name: str
    address: str
    spec: MachineSpec
    on: Machines
    image: MicroImage
    guest: Guest | None = None
    _heard: int = 0
    """Bytes of the console that have been looked at."""

    @property
    def disk(self) -> Path:
        """The image of /dev/vda. The guest's cache is not involved: its target reads directly."""
        return self.spec.disks[0].path

    @property
    def notes(self) -> Path:
        """The image of /dev/vdb, where promises are put down that must outlive the guest."""
        return self.spec.disks[1].path

    @property
    def agent(self) -> Agent:
        assert self.guest is not None, f"guest {self.name} is off"
        return self.guest.agent

    def start(self) -> None:
        """Switch it on; ``greet`` waits until it has booted."""
        machine = self.on.hypervisor.start(self.spec)
        try:
            agent = Agent(SocketChannel.connect(self.spec.channel), self.name)
        except BaseException:
            machine.destroy()
            raise
        console = self.spec.console
        self.guest = Guest(self.name, machine, agent, console, "", self.spec, _position=self._heard)

    def greet(self) -> None:
        """Wait until it has booted, and prepare it."""
        deadline = Deadline.after(BOOT_TIMEOUT_S, f"guest {self.name} to boot")
        self.agent.hello(deadline)
        modules = [*self.image.on_demand["faults"], *self.image.on_demand["ext4"]]
        modules.append(self.image.module)
        lines = [("insmod", path) for path in modules]
        lines.append(("netup", "eth0", f"{self.address}/24"))
        lines.append(("key-add", "logon", f"harness:{KEY}", bytes(range(32)).hex()))
        self.agent.run_all(lines, deadline)

    def forget(self) -> None:
        """Wipe the notes of an earlier test."""
        with open(self.notes, "r+b") as image:
            image.write(bytes(NOTES_BYTES))

    def kill(self) -> None:
        """Take its power away: what its memory held is gone."""
        if self.guest is not None:
            self.guest.agent.close()
            self.guest.machine.destroy()
            self.check_console()
            self.guest = None

    def reboot(self) -> None:
        """Off, and on again with an empty memory."""
        self.kill()
        self.start()
        self.greet()

    def check_console(self) -> None:
        """No kernel report since the last look, other than what tests provoke."""
        if self.guest is None:
            return
        reports = self.guest.kernel_reports()
        self._heard = self.spec.console.stat().st_size
        bad = [f"{one.kind}: {one.title}" for one in reports if one.kind not in _PROVOKED]
        assert not bad, f"the kernel of guest {self.name} reported {bad}"

    def script(self, lines: Sequence[Words], timeout_s: float = 60) -> ScriptResult:
        deadline = Deadline.after(timeout_s, f"guest {self.name}: {lines[0]}")
        return self.agent.run_script(lines, deadline)

    def run(self, *words: str, timeout_s: float = 60) -> CommandResult:
        """One command of the agent, whatever comes of it."""
        return self.script([words], timeout_s).results[0]

    def must(self, *words: str, timeout_s: float = 60) -> str:
        """One command of the agent that has to succeed; its output."""
        result = self.run(*words, timeout_s=timeout_s)
        self.agent.require(result)
        return result.text

    def tool(self, *words: object, timeout_s: float = 60) -> CommandResult:
        """One command of the tool, whatever comes of it."""
        texts = [str(word) for word in words]
        return self.run("exec", str(int(timeout_s * 1000)), TOOL, *texts, timeout_s=timeout_s + 30)

    def job(self, name: str, *words: object) -> Job:
        """Start a command of the tool in the background."""
        self.agent.require(self.tool("bg", name, *words))
        return Job(self, name)


@dataclass(frozen=True)
class Job:
    """A command of the tool in the background."""

    node: Node
    name: str

    def join(self, timeout_s: float = 60) -> CommandResult:
        """Its output and status; fails if it does not end."""
        done = self.node.tool("join", self.name, int(timeout_s * 1000), timeout_s=timeout_s + 10)
        assert done.status != STILL_RUNNING, f"{self.name} has not ended after {timeout_s} s"
        return done

    @property
    def running(self) -> bool:
        return self.node.tool("join", self.name, 0).status == STILL_RUNNING

    def kill(self) -> None:
        self.node.tool("kill", self.name)


@dataclass
class Duo:
    """Both guests and the link."""

    a: Node
    b: Node
    link: Link
    tidy: list[Callable[[], None]] = field(default_factory=list)

    @property
    def nodes(self) -> tuple[Node, Node]:
        return self.a, self.b

    def ensure(self) -> None:
        """Both guests on, the link whole."""
        self.link.cut, self.link.frames = False, None
        off = [node for node in self.nodes if node.guest is None]
        for node in off:
            node.start()
        for node in off:
            node.greet()
        for node in self.nodes:
            node.forget()

    def switch_off(self) -> None:
        """End both guests; ``ensure`` starts them again. An idle guest still costs time."""
        for node in self.nodes:
            if node.guest is not None:
                node.guest.agent.close()
                node.guest.machine.destroy()
                node.guest = None

    def close(self) -> None:
        self.switch_off()
        self.link.close()


def duo(on: Machines, folder: Path) -> Duo:
    """Both guests, switched off; ``folder`` takes disks and consoles."""
    image, link = guest_image(), Link()
    nodes = []
    for side, (name, address) in enumerate((("a", PRIMARY_ADDRESS), ("b", BACKUP_ADDRESS))):
        console = folder / f"{name}.log"
        console.touch()
        disks = []
        for kind, size in (("disk", DISK_BYTES), ("notes", NOTES_BYTES)):
            path = folder / f"{name}-{kind}.img"
            path.touch()
            os.truncate(path, size)
            disks.append(DiskSpec(path))
        spec = MachineSpec(
            name=f"harness-{on.live.owner}-pair-test-{name}",
            kernel=image.kernel,
            initrd=image.initrd,
            # On a busy host a guest may not get on for a minute.
            command_line=f"{COMMAND_LINE} rcupdate.rcu_cpu_stall_timeout=200",
            accelerator=Accelerator.TCG,
            console=console,
            channel=on.live.path / f"pair-test-{name}.sock",
            owner=on.live.owner,
            disks=tuple(disks),
            link=link.spec(side),
        )
        nodes.append(Node(name, address, spec, on, image))
    return Duo(nodes[0], nodes[1], link)
