# SPDX-License-Identifier: Apache-2.0
"""The harness's storage pool on a host of guests, through libvirt."""

from __future__ import annotations

import contextlib
import os
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import libvirt

from harness.errors import InfraError
from harness.vm.libvirt_loop import call, turn
from harness.vm.remote_files import POOL

_UNKNOWN = -1
_PLACE_HINT = f"another folder: define a storage pool named {POOL} there (docs/hosts.md)"


class LibvirtStorage:
    """The pool, defined and started when it is needed first."""

    def __init__(self, connection: Any, path: str) -> None:
        self._connection = connection
        self._default_path = path
        self._pool: Any = None

    @property
    def folder(self) -> str:
        """Where the pool is on its host."""
        return ET.fromstring(self._opened().XMLDesc(0)).findtext("target/path") or ""

    def free_bytes(self) -> int:
        """Space left on the file system of the pool."""
        pool = self._opened()
        call(f"pool {POOL} cannot be looked at", lambda: pool.refresh(0))
        return int(pool.info()[3])

    def exists(self) -> bool:
        """Whether there is a pool; asking makes none."""
        return self._pool is not None or self._lookup() is not None

    def volumes(self) -> Mapping[str, int]:
        if not self.exists():
            return {}
        listed = call(
            f"the volumes of pool {POOL} cannot be listed",
            lambda: self._opened().listAllVolumes(0),
        )
        found: dict[str, int] = {}
        for volume in listed:
            try:
                with turn():
                    found[volume.name()] = int(volume.info()[1])
            except libvirt.libvirtError as error:
                # One may be removed by another run meanwhile. One whose file cannot be looked at
                # just now is there all the same.
                if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
                    found[volume.name()] = _UNKNOWN
        return found

    def create(self, name: str, length_bytes: int, backing: Path | None = None) -> None:
        root = ET.Element("volume")
        ET.SubElement(root, "name").text = name
        ET.SubElement(root, "capacity", unit="bytes").text = str(length_bytes)
        ET.SubElement(root, "allocation", unit="bytes").text = "0"
        kind = "raw" if backing is None else "qcow2"
        ET.SubElement(ET.SubElement(root, "target"), "format", type=kind)
        if backing is not None:
            below = ET.SubElement(root, "backingStore")
            ET.SubElement(below, "path").text = str(backing)
            ET.SubElement(below, "format", type="raw")
        xml = ET.tostring(root, encoding="unicode")
        call(f"volume {name} cannot be made", lambda: self._opened().createXML(xml, 0), _PLACE_HINT)

    def fill(self, name: str, source: Path) -> None:
        volume = self._volume(name)
        stream = call("sending a file", lambda: self._connection.newStream(0))
        flags = libvirt.VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM

        def send() -> None:
            volume.upload(stream, 0, source.stat().st_size, flags)
            with open(source, "rb") as file:
                _send(stream, file.fileno())
            stream.finish()

        try:
            call(f"{source} cannot be sent to volume {name}", send, _PLACE_HINT)
        except BaseException:
            with turn(), contextlib.suppress(libvirt.libvirtError):
                stream.abort()
            raise

    def grow(self, name: str, length_bytes: int) -> None:
        volume = self._volume(name)
        call(f"volume {name} cannot be made longer", lambda: volume.resize(length_bytes))

    def remove(self, name: str) -> None:
        try:
            with turn():
                self._opened().storageVolLookupByName(name).delete(0)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
                raise InfraError(
                    f"volume {name} cannot be removed: {error.get_error_message()}"
                ) from error

    def path(self, name: str) -> Path:
        return Path(call(f"volume {name} has no path", self._volume(name).path))

    def remove_pool(self) -> bool:
        """Remove the pool if it was made here and is empty; whether it was."""
        if not self.exists() or self.volumes() or self.folder != self._default_path:
            return False
        pool = self._opened()
        what = f"pool {POOL} cannot be removed"
        call(what, pool.destroy)
        # Its folder stays if there is something of others in it.
        with contextlib.suppress(libvirt.libvirtError):
            pool.delete(0)
        call(what, pool.undefine)
        self._pool = None
        return True

    def _volume(self, name: str) -> Any:
        return call(f"no volume {name}", lambda: self._opened().storageVolLookupByName(name))

    def _lookup(self) -> Any:
        try:
            with turn():
                return self._connection.storagePoolLookupByName(POOL)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_POOL:
                return None
            raise InfraError(f"no storage pools there: {error.get_error_message()}") from error

    def _opened(self) -> Any:
        if self._pool is None:
            with turn():
                self._pool = self._found_or_made()
        return self._pool

    def _found_or_made(self) -> Any:
        pool = self._lookup()
        if pool is None:
            pool = self._define()
        if not pool.isActive():
            # Another run may have been quicker.
            with contextlib.suppress(libvirt.libvirtError):
                pool.create(0)
        if not pool.isActive():
            call(f"storage pool {POOL} cannot be started", lambda: pool.create(0), _PLACE_HINT)
        return pool

    def _define(self) -> Any:
        root = ET.Element("pool", type="dir")
        ET.SubElement(root, "name").text = POOL
        target = ET.SubElement(root, "target")
        ET.SubElement(target, "path").text = self._default_path
        # QEMU's user has to get through to its disks, and nobody needs to see which there are.
        ET.SubElement(ET.SubElement(target, "permissions"), "mode").text = "0711"
        xml = ET.tostring(root, encoding="unicode")
        try:
            pool = self._connection.storagePoolDefineXML(xml, 0)
            pool.build(0)
        except libvirt.libvirtError as error:
            # Two runs may come first at the same time.
            pool = self._lookup()
            if pool is None or not pool.isActive():
                raise InfraError(
                    f"storage pool {POOL} cannot be made in {self._default_path}:"
                    f" {error.get_error_message()}",
                    hint=_PLACE_HINT,
                ) from error
        return pool


def _send(stream: Any, file: int) -> None:
    """Send an open file with its holes as such."""

    def read(_stream: Any, most: int, _opaque: object) -> bytes:
        return os.read(file, most)

    def section(_stream: Any, _opaque: object) -> list[int | bool]:
        here = os.lseek(file, 0, os.SEEK_CUR)
        end = os.fstat(file).st_size
        try:
            data = os.lseek(file, here, os.SEEK_DATA)
        except OSError:
            # Nothing but a hole up to the end.
            os.lseek(file, here, os.SEEK_SET)
            return [False, end - here]
        hole = os.lseek(file, here, os.SEEK_HOLE)
        os.lseek(file, here, os.SEEK_SET)
        return [True, hole - here] if data == here else [False, data - here]

    def skip(_stream: Any, length: int, _opaque: object) -> int:
        os.lseek(file, length, os.SEEK_CUR)
        return 0

    stream.sparseSendAll(read, section, skip, None)
