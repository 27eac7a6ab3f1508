# SPDX-License-Identifier: Apache-2.0
"""What a guest's host has to have of this host's files, and what is left of it: names and rules.

Kernels and initial RAM disks stay there, once per content, for the runs to come; disks belong to a
run and go with it. Every volume's name says which it is, so that nothing else is ever removed.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from harness.errors import HostLostError, InfraError
from harness.vm.domain_xml import Owner
from harness.vm.ports import DiskSpec, MachineSpec

POOL = "harness"
"""Name of the storage pool."""
_PAGE = 4096
_READ_BYTES = 1 << 20
_SHARED = re.compile(r"harness-shared-[0-9a-f]{32}-([0-9]+)-[^/]+")
_OWN = re.compile(r"harness-run-([0-9a-f]{8})-([0-9a-f]{8})-[0-9]+-[^/]+")


class Storage(Protocol):
    """A storage pool on the host of the guests."""

    def volumes(self) -> Mapping[str, int]:
        """Name -> capacity in bytes, negative if it cannot be told."""

    def create(self, name: str, length_bytes: int, backing: Path | None = None) -> None:
        """A volume that takes no space: zeros, or a layer above the raw volume at ``backing``.

        InfraError when it is there already.
        """

    def fill(self, name: str, source: Path) -> None:
        """Copy the local file ``source`` to the volume, without its holes."""

    def grow(self, name: str, length_bytes: int) -> None:
        """Make the volume so long."""

    def remove(self, name: str) -> None:
        """Remove the volume; nothing happens when it is gone."""

    def path(self, name: str) -> Path:
        """Where QEMU finds it on its host."""


def pool_path(uri: str, user: str, home: Path) -> str:
    """The folder of the pool where nobody has defined one; ``user`` and ``home`` are of this host.

    What a system daemon's QEMU may read is below libvirt's own folder. Of another user's session
    elsewhere nothing is known but that there is a ``/var/tmp``.
    """
    parts = urlsplit(uri)
    if parts.path != "/session":
        return f"/var/lib/libvirt/images/{POOL}"
    if parts.hostname:
        return f"/var/tmp/{POOL}-{parts.username or user}"
    return f"{home}/.local/share/libvirt/images/{POOL}"


def content_digest(path: Path) -> str:
    """Hex digest of a file's length and of its content where it has no holes."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        length, here = os.fstat(file.fileno()).st_size, 0
        digest.update(f"{length}\0".encode())
        while here < length:
            try:
                here = os.lseek(file.fileno(), here, os.SEEK_DATA)
            except OSError:
                # There is nothing but a hole up to the end.
                break
            hole = os.lseek(file.fileno(), here, os.SEEK_HOLE)
            data = os.pread(file.fileno(), min(_READ_BYTES, hole - here), here)
            digest.update(f"{here}\0{len(data)}\0".encode())
            digest.update(data)
            here += len(data)
    return digest.hexdigest()[:32]


class RemoteFiles:
    """The files of one run on the host of its guests."""

    def __init__(self, storage: Storage, owner: Owner) -> None:
        self._storage = storage
        self._owner = owner
        self._there: dict[Path, Path] = {}
        """Local file -> where it is on the other host."""
        self._count = 0

    def placed(self, spec: MachineSpec) -> MachineSpec:
        """``spec`` with the paths of the other host, where what it names is from now on.

        A file that was placed before is left as it is: a guest that starts again finds its disks.
        """
        return replace(
            spec,
            kernel=None if spec.kernel is None else self._shared(spec.kernel),
            initrd=None if spec.initrd is None else self._shared(spec.initrd),
            disks=tuple(self._disk(disk) for disk in spec.disks),
        )

    def remove(self) -> int:
        """Remove what belongs to this run; how many volumes there were.

        InfraError when one cannot be removed; the others are all the same.
        """
        own = [name for name in self._storage.volumes() if owner_of_volume(name) == self._owner]
        failed: InfraError | None = None
        for name in own:
            try:
                self._storage.remove(name)
            except InfraError as error:
                failed = error
        self._there.clear()
        if failed is not None:
            raise failed
        return len(own)

    def _disk(self, disk: DiskSpec) -> DiskSpec:
        return replace(disk, path=self._place_of(disk))

    def _place_of(self, disk: DiskSpec) -> Path:
        if disk.backing is not None:
            return self._layer(disk.path, disk.backing)
        # What no guest of this run writes to, and is not empty, was built: it is kept.
        if disk.read_only and disk.path not in self._there and disk.path.stat().st_blocks:
            return self._shared(disk.path)
        return self._own(disk.path)

    def _own(self, source: Path) -> Path:
        if source not in self._there:
            name, facts = self._name(source), source.stat()
            self._storage.create(name, facts.st_size)
            if facts.st_blocks:
                self._storage.fill(name, source)
            self._there[source] = self._storage.path(name)
        return self._there[source]

    def _layer(self, layer: Path, backing: Path) -> Path:
        """Nothing has been written to a layer that is placed, so it is made, not sent."""
        if layer not in self._there:
            name, base = self._name(layer), self._shared(backing)
            self._storage.create(name, backing.stat().st_size, base)
            self._there[layer] = self._storage.path(name)
        return self._there[layer]

    def _name(self, source: Path) -> str:
        self._count += 1
        return f"harness-run-{self._owner.place}-{self._owner.run}-{self._count}-{source.name}"

    def _shared(self, source: Path) -> Path:
        if source not in self._there:
            length = source.stat().st_size
            name = f"harness-shared-{content_digest(source)}-{length}-{source.name}"
            if not self._uploaded(name, source, length):
                # Somebody is at it, or was killed at it: which, cannot be told from here.
                return self._own(source)
            self._there[source] = self._storage.path(name)
        return self._there[source]

    def _uploaded(self, name: str, source: Path, length: int) -> bool:
        """Whether the volume is there with all of its content, now or because it was made."""
        capacity = self._storage.volumes().get(name)
        if capacity is not None:
            return is_complete(name, capacity)
        try:
            self._storage.create(name, length)
            self._storage.fill(name, source)
            # There is no renaming volumes. That it is complete is said by one page more, of zeros,
            # which neither a kernel nor an initial RAM disk minds.
            self._storage.grow(name, length + _PAGE)
        except HostLostError:
            raise
        except InfraError:
            return False
        return True


def is_complete(name: str, capacity: int) -> bool:
    """Whether a shared volume has all its content; one with less is, or was, being uploaded."""
    match = _SHARED.fullmatch(name)
    return match is not None and capacity == int(match[1]) + _PAGE


def owner_of_volume(name: str) -> Owner | None:
    """Whose the volume is; None if it is no run's."""
    match = _OWN.fullmatch(name)
    return None if match is None else Owner(match[1], match[2])


@dataclass(frozen=True, slots=True)
class Broom:
    """What is to be removed on a host of guests."""

    place: str
    """Of runs started from here ..."""
    is_living: Callable[[str], bool]
    """... those of which this is not true."""
    everywhere: bool = False
    """Also what was started from elsewhere, of which nobody can tell here whether it lives."""
    shared: bool = False
    """Also what is kept for the runs to come."""

    def takes(self, owner: Owner) -> bool:
        """Whether what belongs to ``owner`` is to go."""
        if owner.place != self.place:
            return self.everywhere
        return not self.is_living(owner.run)

    def takes_volume(self, name: str, capacity: int) -> bool:
        """Whether a volume is to go. Never one that has not a name as ours have."""
        owner = owner_of_volume(name)
        if owner is not None:
            return self.takes(owner)
        if _SHARED.fullmatch(name) is None:
            return False
        # What is uploaded at this moment is sent once more by whoever misses it.
        return self.shared or not is_complete(name, capacity)


@dataclass(frozen=True, slots=True)
class Swept:
    """What a broom found."""

    guests: int = 0
    volumes: int = 0
    others: int = 0
    """Guests of runs from elsewhere, left alone."""
