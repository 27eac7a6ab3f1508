# SPDX-License-Identifier: Apache-2.0
"""Machines through libvirt. The only file that imports the binding."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

# The embedded driver logs to the terminal otherwise (errors reach us as exceptions), and the
# binding reads this when it is imported.
os.environ.setdefault("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null")

import libvirt

from harness.deadline import Deadline
from harness.errors import InfraError
from harness.vm.domain_xml import METADATA_URI, domain_xml, link_xml, owner_of
from harness.vm.ports import LinkSpec, Machine, MachineSpec, MachineState

_T = TypeVar("_T")
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
_event_loop: threading.Thread | None = None


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


def _run_event_loop() -> None:
    """Start libvirt's event loop; it must run before the first connection is opened."""
    global _event_loop
    if _event_loop is not None:
        return
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    libvirt.virEventRegisterDefaultImpl()

    def loop() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    _event_loop = threading.Thread(target=loop, name="libvirt-events", daemon=True)
    _event_loop.start()


def _call(what: str, function: Callable[[], _T], hint: str | None = None) -> _T:
    try:
        return function()
    except libvirt.libvirtError as error:
        raise InfraError(f"{what}: {error.get_error_message()}", hint=hint) from error


class _Changes:
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

    def __init__(self, uri: str) -> None:
        _run_event_loop()
        self._connection = _call(
            f"libvirt cannot open {uri}",
            lambda: libvirt.open(uri),
            hint="is QEMU and libvirt's QEMU driver installed? run 'make setup'",
        )
        self._changes = _Changes()
        event = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE
        self._watch: int = _call(
            "watching domains",
            lambda: self._connection.domainEventRegisterAny(None, event, self._changes.add, None),
        )

    def start(self, spec: MachineSpec) -> Machine:
        domain = _call(
            f"guest {spec.name} cannot be started",
            lambda: self._connection.createXML(domain_xml(spec), 0),
        )
        return LibvirtMachine(spec.name, domain, spec.link, self._changes)

    def destroy_owned(self, owner: str | None = None) -> int:
        destroyed = 0
        for domain in _call("listing domains", lambda: self._connection.listAllDomains(0)):
            found = _owner(domain)
            if found is not None and owner in (None, found):
                LibvirtMachine(domain.name(), domain, None, self._changes).destroy()
                destroyed += 1
        return destroyed

    def versions(self) -> dict[str, str]:
        def dotted(number: int) -> str:
            return f"{number // 1000000}.{number // 1000 % 1000}.{number % 1000}"

        return {
            "libvirt": dotted(self._connection.getLibVersion()),
            "qemu": dotted(self._connection.getVersion()),
        }

    def close(self) -> None:
        with contextlib.suppress(libvirt.libvirtError):
            self._connection.domainEventDeregisterAny(self._watch)
        self._connection.close()


def _owner(domain: Any) -> str | None:
    try:
        return owner_of(domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, METADATA_URI))
    except libvirt.libvirtError:
        return None


class LibvirtMachine:
    """A domain of this connection."""

    def __init__(self, name: str, domain: Any, link: LinkSpec | None, changes: _Changes) -> None:
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
        _call(f"guest {self._name} cannot be paused", self._domain.suspend)
        self._standing = True

    def resume(self) -> None:
        # First: from here on one whose hypervisor does not obey has no excuse for being silent.
        self._standing = False
        self._pauses += 1
        _call(f"guest {self._name} cannot be resumed", self._domain.resume)

    def state(self) -> MachineState:
        try:
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
        _call(
            f"the link of guest {self._name} cannot be changed",
            lambda: self._domain.updateDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE),
        )

    def destroy(self) -> None:
        for attempt in range(1, _DESTROY_ATTEMPTS + 1):
            try:
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
