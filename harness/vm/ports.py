# SPDX-License-Identifier: Apache-2.0
"""What the rest of the harness needs from a hypervisor, and the data that describes a machine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from harness.errors import InfraError


class AddressTakenError(InfraError):
    """A guest cannot be started: somebody else uses an end of its link. Other ports may do."""


class Accelerator(StrEnum):
    """How guest code runs; the value is libvirt's domain type."""

    KVM = "kvm"
    TCG = "qemu"


class MachineState(StrEnum):
    """What a machine is doing, as far as the harness cares."""

    RUNNING = "running"
    PAUSED = "paused"
    GONE = "gone"
    """Ended, crashed or destroyed: there is nothing to resume."""


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """An image file as a virtio disk; order of the disks decides vda, vdb ..."""

    path: Path
    read_only: bool = False
    shareable: bool = False
    """Whether another machine opens the same file (one writer, one reader)."""
    format: str = "raw"
    """As QEMU calls it; a ``qcow2`` may be a layer above another file, which it names itself."""
    backing: Path | None = None
    """That file, where the layer has still to be made on another host."""
    boot: bool = False
    """Whether the machine, if it has no kernel, is to boot from it."""


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """One end of the private point-to-point link of a pair: datagrams on the host's loopback."""

    port: int
    """UDP port of this end."""
    peer_port: int
    mac: str
    address: str = "127.0.0.1"
    """Of the loopback, for both ends."""


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """Everything needed to start one guest."""

    name: str
    kernel: Path | None
    """None: what the disk to boot from holds; then the next two have no meaning."""
    initrd: Path | None
    command_line: str
    accelerator: Accelerator
    console: Path
    """File that all the serial console says is written to."""
    channel: Path
    """Unix socket of the agent's virtio-serial port."""
    owner: str
    """Identity of the run that started it, kept in the domain's metadata."""
    memory_mib: int = 512
    disks: tuple[DiskSpec, ...] = ()
    link: LinkSpec | None = None
    side_channel: Path | None = None
    """Unix socket of a second port, for an agent that is busy for long; None for none."""
    console_socket: Path | None = None
    """Unix socket at which a person, or a program in one's place, may use the console, one at a
    time; what the guest says goes to ``console`` all the same. None: nobody can."""


class Machine(Protocol):
    """One running guest."""

    @property
    def name(self) -> str: ...

    def pause(self) -> None:
        """Stop the virtual CPUs and settle disk requests under way. InfraError when it cannot."""

    def resume(self) -> None:
        """Let a paused machine go on."""

    @property
    def standing(self) -> bool:
        """Whether it was paused by ``pause``, and not yet told to go on."""

    @property
    def pauses(self) -> int:
        """How often it was told to go on."""

    def state(self) -> MachineState: ...

    def wait_gone(self, timeout_s: float) -> bool:
        """Whether it is gone, now or within ``timeout_s``; returns as soon as it is."""

    def set_link(self, up: bool) -> None:
        """Pull the cable of its end of the link, or put it back. InfraError when it cannot."""

    def sync_console(self) -> None:
        """Have all that the guest has said by now in the file of its console.

        Takes no time where QEMU itself writes that file. InfraError when it cannot be had.
        """

    def destroy(self) -> None:
        """End it without any ceremony; nothing happens when it is gone already."""


class Hypervisor(Protocol):
    """Makes machines."""

    def start(self, spec: MachineSpec) -> Machine:
        """Start a guest; InfraError with the hypervisor's own words when it refuses.

        AddressTakenError when the ports of its link are in use.
        """

    def destroy_owned(self, owner: str | None = None) -> int:
        """End the machines that ``owner`` started (None: any run) and return how many there were.

        Machines that are not the harness's own are never touched.
        """

    def offers_kvm(self) -> bool:
        """Whether guests might run on KVM; that one boots on it has still to be seen."""

    def versions(self) -> dict[str, str]:
        """Version strings of the hypervisor and its library."""

    def close(self) -> None: ...
