# SPDX-License-Identifier: Apache-2.0
"""Machines through libvirt. Only the files named ``libvirt*.py`` import the binding."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from pathlib import Path
from typing import Any

import libvirt

from harness.deadline import Deadline
from harness.errors import InfraError
from harness.vm.domain_xml import METADATA_URI, Owner, domain_xml, link_xml, owner_of
from harness.vm.libvirt_loop import call, run_event_loop, turn
from harness.vm.ports import AddressTakenError, LinkSpec, Machine, MachineSpec, MachineState

_STATES = {
    libvirt.VIR_DOMAIN_RUNNING: MachineState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: MachineState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: MachineState.PAUSED,
}
# The embedded driver has no daemon beside it: consoles go straight to files, and nothing of the
# system (security labels, mount namespaces, control groups) is touched.
_QEMU_CONF = """\
stdio_handler = "file"
security_driver = "none"
namespaces = []
cgroup_controllers = []
dynamic_ownership = 0
remember_owner = 0
"""
_GONE = (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID)
_DESTROY_ATTEMPTS = 4
_TAKEN = os.strerror(errno.EADDRINUSE)
_EMBEDDED = "qemu:///embed"
_OPEN_HINT = "is QEMU and libvirt's QEMU driver installed? run 'make setup'"


def embedded_uri(root: Path, capabilities: Path | None = None) -> str:
    """Write the embedded driver's configuration below ``root`` and return its address.

    The driver holds a lock in ``root``; one process can open one root only. Probing QEMU takes
    seconds, so what it found is shared between roots in the folder ``capabilities``; libvirt itself
    checks whether it still fits the installed QEMU and probes again if not.
    """
    try:
        if capabilities is not None:
            capabilities.mkdir(parents=True, exist_ok=True)
            cache = root / "cache" / "qemu"
            cache.mkdir(parents=True, exist_ok=True)
            if not (cache / "capabilities").exists():
                (cache / "capabilities").symlink_to(capabilities)
        etc = root / "etc"
        etc.mkdir(parents=True, exist_ok=True)
        user = 'user = "root"\ngroup = "root"\n' if os.geteuid() == 0 else ""
        (etc / "qemu.conf").write_text(_QEMU_CONF + user, encoding="ascii")
    except OSError as error:
        raise InfraError(
            f"cannot prepare libvirt's folder {root}: {error.strerror}",
            hint="is the disk full? choose another one with --state-dir DIR",
        ) from error
    return f"qemu:///embed?root={root}"


def is_embedded(uri: str) -> bool:
    """Whether ``uri`` is that of the driver inside this process, whose guests are on this host."""
    return uri.startswith(_EMBEDDED)


class Changes:
    """Counts what has happened to the machines of a connection, to be waited for."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    @property
    def count(self) -> int:
        return self._count

    def add(self, *_: object) -> None:
        """Called by libvirt, in the thread of its event loop."""
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def wait_past(self, count: int, timeout_s: float) -> bool:
        """Wait until there were more than ``count``; False when there are none in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._count > count, timeout_s)


class LibvirtHypervisor:
    """A connection to one libvirt driver."""

    def __init__(self, uri: str, hint: str = _OPEN_HINT) -> None:
        run_event_loop()
        self._connection = call(f"libvirt cannot open {uri}", lambda: libvirt.open(uri), hint)
        self._changes = Changes()
        event = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE
        self._watch: int = call(
            "watching domains",
            lambda: self._connection.domainEventRegisterAny(None, event, self._changes.add, None),
        )

    def start(self, spec: MachineSpec) -> Machine:
        domain = self._create(spec.name, domain_xml(spec), 0)
        return LibvirtMachine(spec.name, domain, spec.link, self._changes)

    def _create(self, name: str, xml: str, flags: int) -> Any:
        try:
            with turn():
                return self._connection.createXML(xml, flags)
        except libvirt.libvirtError as error:
            said = error.get_error_message()
            kind = AddressTakenError if _TAKEN in said else InfraError
            raise kind(f"guest {name} cannot be started: {said}") from error

    def destroy_owned(self, owner: str | None = None) -> int:
        owned = [domain for found, domain in self._ours() if owner in (None, found.run)]
        for domain in owned:
            LibvirtMachine(domain.name(), domain, None, self._changes).destroy()
        return len(owned)

    def _ours(self) -> list[tuple[Owner, Any]]:
        """The harness's domains there are, and whose each is."""
        domains = call("listing domains", lambda: self._connection.listAllDomains(0))
        found = ((_owner(domain), domain) for domain in domains)
        return [(owner, domain) for owner, domain in found if owner is not None]

    def offers_kvm(self) -> bool:
        return Path("/dev/kvm").exists()

    def versions(self) -> dict[str, str]:
        def dotted(number: int) -> str:
            return f"{number // 1000000}.{number // 1000 % 1000}.{number % 1000}"

        with turn():
            return {
                "libvirt": dotted(self._connection.getLibVersion()),
                "qemu": dotted(self._connection.getVersion()),
            }

    def close(self) -> None:
        with turn():
            with contextlib.suppress(libvirt.libvirtError):
                self._connection.domainEventDeregisterAny(self._watch)
            self._connection.close()


def _owner(domain: Any) -> Owner | None:
    try:
        with turn():
            return owner_of(domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, METADATA_URI))
    except libvirt.libvirtError:
        return None


class LibvirtMachine:
    """A domain of this connection."""

    def __init__(self, name: str, domain: Any, link: LinkSpec | None, changes: Changes) -> None:
        self._name = name
        self._domain = domain
        self._link = link
        self._changes = changes
        self._standing = False
        self._pauses = 0

    @property
    def standing(self) -> bool:
        return self._standing

    @property
    def pauses(self) -> int:
        return self._pauses

    @property
    def name(self) -> str:
        return self._name

    def pause(self) -> None:
        call(f"guest {self._name} cannot be paused", self._domain.suspend)
        self._standing = True

    def resume(self) -> None:
        # First: from here on one whose hypervisor does not obey has no excuse for being silent.
        self._standing = False
        self._pauses += 1
        call(f"guest {self._name} cannot be resumed", self._domain.resume)

    def state(self) -> MachineState:
        try:
            with turn():
                return _STATES.get(self._domain.state()[0], MachineState.GONE)
        except libvirt.libvirtError:
            return MachineState.GONE

    def wait_gone(self, timeout_s: float) -> bool:
        deadline = Deadline.after(timeout_s, f"the end of guest {self._name}")
        while True:
            # Before the state is asked for: what happens in between must not be slept through.
            seen = self._changes.count
            if self.state() is MachineState.GONE:
                return True
            if not self._changes.wait_past(seen, deadline.remaining):
                return False

    def set_link(self, up: bool) -> None:
        if self._link is None:
            raise InfraError(f"guest {self._name} has no link")
        xml = link_xml(self._link, up)
        call(
            f"the link of guest {self._name} cannot be changed",
            lambda: self._domain.updateDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE),
        )

    def sync_console(self) -> None:
        """Nothing to do: QEMU writes the file itself."""

    def destroy(self) -> None:
        for attempt in range(1, _DESTROY_ATTEMPTS + 1):
            try:
                with turn():
                    self._domain.destroy()
                return
            except libvirt.libvirtError as error:
                if error.get_error_code() in _GONE:
                    return
                # It is being started: libvirt has waited half a minute for the end of that.
                busy = error.get_error_code() == libvirt.VIR_ERR_OPERATION_TIMEOUT
                if busy and attempt < _DESTROY_ATTEMPTS:
                    continue
                raise InfraError(
                    f"guest {self._name} cannot be ended: {error.get_error_message()}"
                ) from error
