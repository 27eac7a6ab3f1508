# SPDX-License-Identifier: Apache-2.0
"""Where the guests run: in libvirt's driver inside this process, or under a daemon somewhere."""

from __future__ import annotations

import contextlib
import getpass
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from harness.config import StateDir
from harness.errors import UsageError
from harness.guest.ports import ByteChannel, SocketChannel
from harness.run.endurance.schedule import SUITE
from harness.run.options import RunOptions
from harness.vm.cable import Cable, cable_here, cable_there
from harness.vm.domain_xml import Owner
from harness.vm.libvirt import LibvirtHypervisor, embedded_uri, is_embedded
from harness.vm.libvirt_remote import RemoteHypervisor
from harness.vm.live import LiveDir, is_living, place_of
from harness.vm.ports import Hypervisor
from harness.vm.remote_files import Broom, Swept, pool_path

_NOBODY = "00000000"
"""A run's name where nothing is started."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A hypervisor and the ways to what it starts."""

    hypervisor: Hypervisor
    uri: str
    channel: Callable[[Path], ByteChannel] = SocketChannel.connect
    """Opens the channel to the agent that a machine's spec names."""
    cable: Callable[[], Cable] = cable_here
    remote: RemoteHypervisor | None = None
    """The hypervisor once more, if its guests are not this process's own."""


@contextlib.contextmanager
def connection(uri: str | None, state: StateDir, live: LiveDir) -> Iterator[Connection]:
    """A connection to ``uri``, None for the embedded driver; its guests end with it.

    InfraError when it cannot be had, UsageError when ``uri`` is no address of QEMU.
    """
    if uri is None or is_embedded(uri):
        chosen = uri or embedded_uri(live.libvirt_root, state.cache / "qemu-capabilities")
        opened = Connection(LibvirtHypervisor(chosen), chosen)
    else:
        opened = _remote(uri, state, live.owner)
    try:
        yield opened
    finally:
        try:
            opened.hypervisor.destroy_owned(live.owner)
        finally:
            opened.hypervisor.close()


def _remote(uri: str, state: StateDir, run: str) -> Connection:
    address = unattended(uri, asks=sys.stdin.isatty())
    folder = pool_path(uri, _user(), Path.home())
    remote = RemoteHypervisor(address, Owner(place_of(state), run), folder)
    return Connection(
        remote, uri, lambda path: SocketChannel(remote.channel(path)), cable_there, remote
    )


def check_connection(options: RunOptions) -> None:
    """UsageError when what ``options`` ask for cannot be done where the guests are to run."""
    remote = options.connect is not None and not is_embedded(options.connect)
    if remote and options.suite == SUITE:
        raise UsageError(
            f"suite {SUITE} exchanges the disks of its guests, which have to be on this host",
            hint="leave out --connect",
        )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def unattended(uri: str, *, asks: bool) -> str:
    """``uri`` so that ssh does not wait for a password where nobody can type one."""
    parts = urlsplit(uri)
    if asks or not parts.scheme.endswith("+ssh") or "no_tty=" in parts.query:
        return uri
    query = f"{parts.query}&no_tty=1" if parts.query else "no_tty=1"
    return parts._replace(query=query).geturl()


def broom(state: StateDir, *, everywhere: bool = False, shared: bool = False) -> Broom:
    """What a sweep from here takes: see ``Broom``."""
    return Broom(place_of(state), lambda run: is_living(state, run), everywhere, shared)


def clean_host(uri: str, state: StateDir, *, everywhere: bool, shared: bool) -> Swept:
    """Remove what killed runs left on the host at ``uri``. Errors as of ``connection``."""
    opened = _remote(uri, state, _NOBODY)
    try:
        assert opened.remote is not None
        return opened.remote.sweep(broom(state, everywhere=everywhere, shared=shared))
    finally:
        opened.hypervisor.close()
