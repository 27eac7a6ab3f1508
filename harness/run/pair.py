# SPDX-License-Identifier: Apache-2.0
"""A pair of guests: boot both at once, talk to their agents, end them."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from harness.build.image import MicroImage
from harness.build.seed import Identity
from harness.deadline import Deadline
from harness.errors import GuestLostError, InfraError
from harness.guest.agent import Agent
from harness.guest.oops import KernelReport, Scanner
from harness.guest.ports import ByteChannel, SocketChannel
from harness.proc import NO_SPACE_HINT
from harness.run.guest_disks import boots_itself, is_full, kernel_words, system_disks
from harness.target.outside import Outside
from harness.vm.cable import Cable, cable_here
from harness.vm.domain_xml import SIDE_PORT
from harness.vm.live import LiveDir
from harness.vm.ports import (
    Accelerator,
    AddressTakenError,
    DiskSpec,
    Hypervisor,
    LinkSpec,
    Machine,
    MachineSpec,
)

DISK_BYTES = 512 << 20
BOOT_TIMEOUT_S = 120.0
PRIMARY_ADDRESS = "10.77.0.1"
BACKUP_ADDRESS = "10.77.0.2"
# panic=-1 with on_reboot=destroy: a crashed guest ends at once instead of hanging the run.
# Expedited grace periods: removing a device-mapper device waits for several of them.
COMMAND_LINE = (
    "console=ttyS0,115200 loglevel=5 panic=-1 oops=panic rcupdate.rcu_expedited=1 "
    "sysctl.kernel.hung_task_timeout_secs=60 mitigations=off nokaslr "
    # Zeroing each page that is allocated hides the use of what was never written, and costs.
    "init_on_alloc=0 "
    # What is under way must fit the host's socket buffer, or frames are lost and sent again.
    'sysctl.net.ipv4.tcp_rmem="4096 65536 98304" net.ifnames=0'
)
# Programming the timer anew whenever a processor falls idle costs an emulated one more than ticks.
_EMULATED = ("nohz=off",)
# What a block takes with its header, so that it goes in one frame. The host's socket keeps a frame
# in a power of two: this fills one.
MTU_BYTES = 7500
_MACS = ("52:54:00:ac:e0:01", "52:54:00:ac:e0:02")
_TAIL_LINES = 20
_SETTLE_S = 2.0
_CABLES = 5
"""Tried for one pair: who has looked for free ports may find one taken a moment later."""


@dataclass(slots=True)
class Guest:
    """One machine, its agent, and its console as read so far."""

    name: str
    machine: Machine
    agent: Agent
    console: Path
    kernel: str
    spec: MachineSpec
    """As it was started, to be started again."""
    scanner: Scanner = field(default_factory=Scanner)
    _position: int = 0
    _reading: threading.Lock = field(default_factory=threading.Lock)
    _returned: tuple[KernelReport, ...] = ()

    def kernel_reports(self) -> tuple[KernelReport, ...]:
        """Oopses, hung tasks, I/O errors and the like since the last call.

        InfraError when the console cannot be read to where it is now.
        """
        self.machine.sync_console()
        return self.reports_read()

    def reports_read(self) -> tuple[KernelReport, ...]:
        """The same, of as much of the console as there is."""
        with self._reading, open(self.console, "rb") as console:
            console.seek(self._position)
            fresh = console.read()
            self._position += len(fresh)
            returned, self._returned = self._returned, ()
            return (*returned, *self.scanner.feed(fresh))

    def put_back(self, reports: tuple[KernelReport, ...]) -> None:
        """Let the next call of those above begin with ``reports`` that an earlier one gave."""
        with self._reading:
            self._returned = (*reports, *self._returned)

    def console_tail(self) -> tuple[str, ...]:
        """The last lines of the console."""
        return _tail(self.console)

    def ended(self) -> bool:
        """Whether it has ended, as seen from its agent's channel; takes no time."""
        return self.agent.ended()

    def is_ending(self) -> bool:
        """Whether it has ended, or does so in a moment: what went wrong may be a first sign."""
        return self.ended() or self.machine.wait_gone(_SETTLE_S)


def _tail(console: Path) -> tuple[str, ...]:
    try:
        with open(console, "rb") as stream:
            stream.seek(max(0, os.path.getsize(console) - (1 << 14)))
            text = stream.read().decode(errors="replace")
    except OSError:
        return ()
    return tuple(text.splitlines()[-_TAIL_LINES:])


@dataclass(slots=True)
class Pair:
    """Two guests joined by a private link, each with a data disk.

    Disks: ``vda`` is the target's own on each side; ``vdb`` is the control disk, written by the
    primary and seen read-only by the backup, so that the control arm is inspected in a guest that
    has not mounted it.
    """

    primary: Guest
    backup: Guest

    @property
    def guests(self) -> tuple[Guest, Guest]:
        return self.primary, self.backup

    def bind(self) -> None:
        """From now on the end of one guest ends what is asked of the other.

        What the other waits for would fail after the target's own time-out, and look like a fault.
        """
        self.primary.agent.needs(self.backup.agent)
        self.backup.agent.needs(self.primary.agent)

    def close(self) -> None:
        """End both guests, at once, and remove what they left on the host."""
        for guest in self.guests:
            guest.agent.close()
        with ThreadPoolExecutor(len(self.guests), thread_name_prefix="end") as pool:
            list(pool.map(lambda guest: guest.machine.destroy(), self.guests))


@dataclass(frozen=True, slots=True)
class PairBuilder:
    """Makes pairs of one image on one hypervisor."""

    hypervisor: Hypervisor
    live: LiveDir
    image: MicroImage
    accelerator: Accelerator
    consoles: Path
    """Folder for the console logs, which outlive the guests."""
    memory_mib: int = 0
    """Of each guest, if that is more than the image asks for."""
    disk_bytes: int = DISK_BYTES
    """Of each disk; the files are sparse."""
    boot_timeout_s: float = BOOT_TIMEOUT_S
    link_delay_ms: int = 0
    """How long what the primary sends stays in it; a primary that ends takes it along."""
    connect: Callable[[Path], ByteChannel] = SocketChannel.connect
    """Opens the channel to the agent at a socket of a guest."""
    cable: Callable[[], Cable] = cable_here
    """Where the link of the next pair runs."""
    side_channels: bool = False
    """Whether the guests get a second port for an agent."""
    outside: Outside | None = None
    """A target that does not come with the harness."""
    primary_disks: tuple[Path, ...] = ()
    """Further disks of the primary, ``vdc`` and on, which it only reads."""
    spare_bytes: int = 0
    """Size of one more disk of the primary, after those, that is its own; 0: none."""

    def boot(self, label: str) -> Pair:
        """Boot both guests; ``label`` makes names unique within the run.

        Raises InfraError, with the last console lines, when a guest does not answer in time.
        """
        folder = self.live.path / f"pair-{label}"
        started: list[Machine] = []
        try:
            folder.mkdir(exist_ok=True)
            self.consoles.mkdir(exist_ok=True)
            specs = self._start(folder, label, started)
            deadline = Deadline.after(self.boot_timeout_s, f"guests of pair {label} to boot")
            guests = [
                self._greet(machine, spec, role, deadline)
                for machine, spec, role in zip(started, specs, ("primary", "backup"), strict=True)
            ]
        except BaseException as error:
            for machine in started:
                machine.destroy()
            if isinstance(error, OSError):
                raise _cannot_make(label, error) from error
            raise
        return Pair(*guests)

    def _start(self, folder: Path, label: str, started: list[Machine]) -> list[MachineSpec]:
        """Start both machines and put them into ``started``; with another cable if one is taken."""
        for attempt in range(1, _CABLES + 1):
            cable = self.cable()
            specs = [self._spec(folder, role, label, cable) for role in ("primary", "backup")]
            try:
                for spec in specs:
                    started.append(self.hypervisor.start(spec))
                break
            except AddressTakenError:
                while started:
                    started.pop().destroy()
                if attempt == _CABLES:
                    raise
        return specs

    def reboot(self, guest: Guest) -> Guest:
        """Start a guest that has ended again, on the same disks, with the same link.

        InfraError as of ``boot``. The console log goes on where it was.
        """
        machine = self.hypervisor.start(guest.spec)
        try:
            deadline = Deadline.after(self.boot_timeout_s, f"guest {guest.spec.name} to boot")
            again = self._greet(machine, guest.spec, guest.name, deadline)
        except BaseException:
            machine.destroy()
            raise
        again.scanner, again._position = guest.scanner, guest._position
        return again

    def side_agent(self, guest: Guest, deadline: Deadline) -> Agent:
        """A second agent in ``guest``, which needs a side channel. Errors as of an agent's."""
        if guest.spec.side_channel is None:
            raise InfraError(f"guest {guest.spec.name} has no second port")
        guest.agent.run(("serve", SIDE_PORT), deadline)
        agent = Agent(self.connect(guest.spec.side_channel), f"{guest.name}, second agent")
        agent.hello(deadline)
        return agent

    def _spec(self, folder: Path, role: str, label: str, cable: Cable) -> MachineSpec:
        primary = role == "primary"
        console = self._console(label, role)
        console.touch()
        own = _sparse(folder / f"{role}.img", self.disk_bytes)
        control = folder / "control.img"
        if primary:
            _sparse(control, self.disk_bytes)
        disks = (DiskSpec(own), DiskSpec(control, read_only=not primary, shareable=True))
        link = _end_of(cable, primary)
        emulated = _EMULATED if self.accelerator is Accelerator.TCG else ()
        roles = (*kernel_words(self.image, role), f"harness.role={role}")
        by_itself = boots_itself(self.image)
        identity = Identity(role, link.mac, _address(role))
        return MachineSpec(
            name=f"harness-{self.live.owner}-{label}-{role}",
            kernel=None if by_itself else self.image.kernel,
            initrd=None if by_itself else self.image.initrd,
            command_line=" ".join((COMMAND_LINE, *emulated, *roles)),
            accelerator=self.accelerator,
            console=console,
            channel=folder / f"{role}.sock",
            side_channel=folder / f"{role}-1.sock" if self.side_channels else None,
            owner=self.live.owner,
            memory_mib=max(self.memory_mib, self.image.memory_mib),
            disks=(
                *disks,
                *system_disks(self.image, folder, identity),
                *(self._further_disks(folder) if primary else ()),
            ),
            link=link,
            console_socket=folder / f"{role}-console.sock" if is_full(self.image) else None,
        )

    def _further_disks(self, folder: Path) -> list[DiskSpec]:
        disks = [DiskSpec(path, read_only=True, shareable=True) for path in self.primary_disks]
        if self.spare_bytes:
            disks.append(DiskSpec(_sparse(folder / "spare.img", self.spare_bytes)))
        return disks

    def _console(self, label: str, role: str) -> Path:
        return self.consoles / f"pair-{label}-{role}.log"

    def _greet(self, machine: Machine, spec: MachineSpec, role: str, deadline: Deadline) -> Guest:
        try:
            agent = Agent(self.connect(spec.channel), role)
            hello = agent.hello(deadline)
            self._check_kernel(machine, hello.kernel)
            agent.run_all(
                [("netup", "eth0", _address(role), str(MTU_BYTES)), *self._delay(role)], deadline
            )
        except (OSError, GuestLostError) as error:
            tail = "\n".join(_tail(spec.console)) or "(the console is empty)"
            raise InfraError(
                f"guest {machine.name} did not come up ({error}); its console ends with:\n{tail}",
                hint="try --accel tcg, a longer --boot-timeout-s, or another --profile",
            ) from error
        return Guest(role, machine, agent, spec.console, hello.kernel, spec)

    def _check_kernel(self, machine: Machine, kernel: str) -> None:
        """A guest with a kernel of its own must have that which the module was built for."""
        if boots_itself(self.image) and kernel != self.image.release:
            raise InfraError(
                f"guest {machine.name} runs kernel {kernel}, but the module is for "
                f"{self.image.release}",
                hint="kernel_packages of the profile must name the kernel of the image",
            )

    def _delay(self, role: str) -> list[tuple[str, ...]]:
        if not self.link_delay_ms or role != "primary":
            return []
        modules = [("insmod", path) for path in self.image.on_demand["delay"]]
        return [*modules, ("net-delay", "eth0", str(self.link_delay_ms))]


def _address(role: str) -> str:
    """Of the guest's end of the link, with the length of the prefix."""
    return f"{PRIMARY_ADDRESS if role == 'primary' else BACKUP_ADDRESS}/24"


def _end_of(cable: Cable, primary: bool) -> LinkSpec:
    near, far = cable.ports
    if primary:
        return LinkSpec(near, far, _MACS[0], cable.address)
    return LinkSpec(far, near, _MACS[1], cable.address)


def _sparse(path: Path, length: int) -> Path:
    path.unlink(missing_ok=True)
    path.touch()
    os.truncate(path, length)
    return path


def _cannot_make(label: str, error: OSError) -> InfraError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return InfraError(
        f"cannot make the files of pair {label}: {error}", hint=NO_SPACE_HINT if full else None
    )
