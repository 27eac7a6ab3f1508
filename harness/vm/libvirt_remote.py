# SPDX-License-Identifier: Apache-2.0
"""Machines of a libvirt daemon, here or on another host: nothing is shared with it but the wire.

Guests are ended by the daemon itself when the connection ends, however it ends.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import libvirt

from harness.errors import HostLostError, InfraError, UsageError
from harness.vm.bridge import Recorder
from harness.vm.domain_xml import AGENT_PORT, SIDE_PORT, Owner, domain_xml
from harness.vm.libvirt import Changes, LibvirtHypervisor, LibvirtMachine
from harness.vm.libvirt_loop import call, in_loop, take_turns, turn, wait_in_loop
from harness.vm.libvirt_pool import LibvirtStorage
from harness.vm.libvirt_streams import open_channel, record_console
from harness.vm.ports import LinkSpec, Machine, MachineSpec, MachineState
from harness.vm.remote_files import Broom, RemoteFiles, Swept

# A daemon that says nothing for so long is gone. Guests under emulation keep a host busy.
_KEEPALIVE_S = 5
_KEEPALIVE_MISSES = 8
_CONSOLE_END_S = 10.0
_SYNC_CALLS = 3
_SYNC_ROUNDS = 20
_OPEN_HINT = "is libvirt's daemon running there, and may this user use it? see docs/hosts.md"
_LOST = "the connection is lost"
_LOST_HINT = "go on with --resume when it is back; `harness clean --connect URI` removes leftovers"


class _Tie(Protocol):
    """Something that ends with the connection."""

    @property
    def closed(self) -> bool: ...

    def close(self, why: str) -> None: ...


class RemoteHypervisor(LibvirtHypervisor):
    """A connection to a libvirt daemon, and one run's files on its host."""

    def __init__(self, uri: str, owner: Owner, pool_folder: str) -> None:
        if urlsplit(uri).scheme.partition("+")[0] != "qemu":
            raise UsageError(
                f"--connect {uri}: guests run on QEMU",
                hint="qemu:///system, qemu:///session or qemu+ssh://HOST/system",
            )
        take_turns()
        super().__init__(uri, _OPEN_HINT)
        self.uri = uri
        self._owner = owner
        self.storage = LibvirtStorage(self._connection, pool_folder)
        self._files = RemoteFiles(self.storage, owner)
        self._ports: dict[Path, tuple[RemoteMachine, str]] = {}
        """Path of a channel -> the guest, and the name of its port."""
        self._lost = threading.Event()
        self._ties: list[_Tie] = []
        """What must hear of the end of the connection; used in the event loop only."""
        # Not all transports can be asked for signs of life.
        with turn(), contextlib.suppress(libvirt.libvirtError):
            self._connection.setKeepAlive(_KEEPALIVE_S, _KEEPALIVE_MISSES)
        call(
            f"watching the connection to {uri}",
            lambda: self._connection.registerCloseCallback(self._hear_of_the_end, None),
        )

    def start(self, spec: MachineSpec) -> Machine:
        with self._or_lost():
            placed = self._files.placed(spec)
            xml = domain_xml(placed, place=self._owner.place, streams=True)
            flags = libvirt.VIR_DOMAIN_START_PAUSED | libvirt.VIR_DOMAIN_START_AUTODESTROY
            domain = self._create(spec.name, xml, flags)
            machine = RemoteMachine(spec.name, domain, placed.link, self._changes, self._lost)
            try:
                # Before it runs: what nobody reads of a console is gone.
                machine.recorder = record_console(
                    self._connection, domain, spec.console, machine.lose_agent
                )
                self._tie(machine.recorder)
                call(f"guest {spec.name} cannot be started", domain.resume)
            except OSError as error:
                machine.destroy()
                raise InfraError(f"the console of guest {spec.name}: {error}") from error
            except BaseException:
                machine.destroy()
                raise
        for path, port in ((spec.channel, AGENT_PORT), (spec.side_channel, SIDE_PORT)):
            if path is not None:
                self._ports[path] = machine, port
        return machine

    def channel(self, path: Path) -> socket.socket:
        """A socket to the port that a guest's spec named ``path``; OSError when it is gone."""
        if path not in self._ports:
            raise ConnectionRefusedError(f"no guest has a channel {path}")
        machine, port = self._ports[path]
        near, bridge = open_channel(self._connection, machine.domain, port)
        self._tie(bridge)
        machine.agents.append(bridge)
        return near

    def sweep(self, broom: Broom) -> Swept:
        """Remove what ``broom`` takes; InfraError when something cannot be removed."""
        with self._or_lost():
            ended = others = 0
            for owner, domain in self._ours():
                if broom.takes(owner):
                    LibvirtMachine(domain.name(), domain, None, self._changes).destroy()
                    ended += 1
                elif owner.place != broom.place:
                    others += 1
            volumes = 0
            if self.storage.exists():
                for name, capacity in self.storage.volumes().items():
                    if broom.takes_volume(name, capacity):
                        self.storage.remove(name)
                        volumes += 1
                if broom.shared:
                    self.storage.remove_pool()
            return Swept(ended, volumes, others)

    def destroy_owned(self, owner: str | None = None) -> int:
        return 0 if self._lost.is_set() else super().destroy_owned(owner)

    def offers_kvm(self) -> bool:
        try:
            with turn():
                self._connection.getDomainCapabilities(None, "x86_64", None, "kvm", 0)
        except libvirt.libvirtError:
            return False
        return True

    def seconds_to_describe_qemu(self) -> float:
        """How long the daemon takes to say what its QEMU can do; it keeps that if it can."""
        began = time.monotonic()
        call(
            "QEMU cannot be used there",
            lambda: self._connection.getDomainCapabilities(None, "x86_64", None, "qemu", 0),
            "install qemu-system-x86 there",
        )
        return time.monotonic() - began

    def available_mib(self) -> int:
        """Memory of the host that guests may use, what is cached included."""
        stats = call("memory there", lambda: self._connection.getMemoryStats(-1, 0))
        return int(sum(stats.get(name, 0) for name in ("free", "buffers", "cached"))) >> 10

    def host(self) -> str:
        """Name of the host of the guests, as it calls itself."""
        return str(call("asking for the name of the host", self._connection.getHostname))

    def close(self) -> None:
        if not self._lost.is_set():
            # A connection lost at this moment: leftovers, not a failure of the run.
            with contextlib.suppress(InfraError):
                if self.storage.exists():
                    self._files.remove()
        with contextlib.suppress(InfraError):
            wait_in_loop(lambda: self._cut(_LOST))
        with turn(), contextlib.suppress(libvirt.libvirtError):
            self._connection.unregisterCloseCallback()
        with contextlib.suppress(libvirt.libvirtError):
            super().close()

    def _tie(self, tie: _Tie) -> None:
        def add() -> None:
            self._ties = [each for each in self._ties if not each.closed]
            if self._lost.is_set():
                tie.close(_LOST)
            else:
                self._ties.append(tie)

        in_loop(add)

    def _cut(self, why: str) -> None:
        ties, self._ties = self._ties, []
        for tie in ties:
            tie.close(why)

    def _hear_of_the_end(self, *_: object) -> None:
        self._lost.set()
        self._changes.add()
        in_loop(lambda: self._cut(_LOST))

    @contextlib.contextmanager
    def _or_lost(self) -> Iterator[None]:
        """HostLostError instead of whatever else fails once the connection has ended."""
        try:
            if self._lost.is_set():
                raise InfraError("it is closed")
            yield
        except InfraError as error:
            if not self._lost.is_set() and self._connection.isAlive():
                raise
            raise HostLostError(
                f"the connection to {self.uri} is lost: {error}", hint=_LOST_HINT
            ) from error


class RemoteMachine(LibvirtMachine):
    """A domain of a daemon, with its console."""

    def __init__(
        self,
        name: str,
        domain: Any,
        link: LinkSpec | None,
        changes: Changes,
        lost: threading.Event,
    ) -> None:
        super().__init__(name, domain, link, changes)
        self.recorder: Recorder | None = None
        self.agents: list[_Tie] = []
        """Its open channels."""
        self._lost = lost

    def lose_agent(self) -> None:
        """Its console has broken off: what its kernel reports would be missed from here on."""
        for agent in self.agents:
            agent.close(_LOST)

    @property
    def domain(self) -> Any:
        """The domain, for opening streams."""
        return self._domain

    def sync_console(self) -> None:
        """Have what was said so far in the file, as far as the daemon can be made to hand it over.

        The guest's words are in the daemon's hands before those of its agent are: both come from
        QEMU. The daemon looks at all it has to read before it answers the second of two calls.
        """
        recorder = self.recorder
        if recorder is None:
            return
        if self.state() is MachineState.GONE:
            if not recorder.over.wait(_CONSOLE_END_S):
                raise InfraError(f"the console of guest {self.name} has not come to its end")
        else:
            self._draw(recorder)
        if recorder.why:
            raise InfraError(f"the console of guest {self.name} is not complete: {recorder.why}")

    def _draw(self, recorder: Recorder) -> None:
        for _ in range(_SYNC_ROUNDS):
            before = recorder.length
            for _ in range(_SYNC_CALLS):
                self.state()
            wait_in_loop(recorder.ready)
            if recorder.length == before:
                return

    def destroy(self) -> None:
        # The daemon ends what was started over a connection that is gone.
        if not self._lost.is_set():
            super().destroy()
