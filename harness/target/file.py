# SPDX-License-Identifier: Apache-2.0
"""A target of somebody else's module, described by a TOML file: ``docs/targets.md`` has the keys.

For device-mapper targets whose status line is made of ``key value`` pairs.
"""

from __future__ import annotations

import re
import string
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.target.base import SECTOR_BYTES, in_sectors
from harness.target.conditions import well_formed

FILE = "target.toml"
"""Beside the module's Makefile."""
ROLES = ("primary", "backup")
PLACEHOLDERS = ("sectors", "bytes", "disk", "role", "id", "peer_id", "address", "port", "listen",
                "peer_address", "peer_port", "peer_listen")  # fmt: skip
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
_MODULE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*\.ko")
_TABLE = re.compile(r"\d+ \d+ \S+( .*)?")
_KNOWN: Mapping[str, tuple[str, ...]] = {
    "": ("name", "modules", "needs", "make", "device", "status", "messages"),
    "device": ("name", "primary", "backup", "returning", "mount", "inspect"),
    "status": ("connected", "drained", "acked", "received", "applied"),
    "messages": ("promote", "demote"),
}
_SAMPLE: Mapping[str, object] = {name: 8 for name in PLACEHOLDERS}


@dataclass(frozen=True, slots=True)
class Place:
    """Where one node is, and the other: what a table line may have to say."""

    role: str
    identity: int
    peer_identity: int
    address: str
    peer_address: str
    port: int
    peer_port: int
    disk: str

    def fill(self, template: str, length: int) -> str:
        """``template`` for a device of ``length`` bytes with all its placeholders filled in."""
        return template.format(
            sectors=in_sectors(length), bytes=in_sectors(length) * SECTOR_BYTES, disk=self.disk,
            role=self.role, id=self.identity, peer_id=self.peer_identity,
            address=self.address, port=self.port, listen=f"{self.address}:{self.port}",
            peer_address=self.peer_address, peer_port=self.peer_port,
            peer_listen=f"{self.peer_address}:{self.peer_port}",
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class TargetFile:
    """What a target file says."""

    path: Path
    name: str
    modules: tuple[str, ...]
    """Files that the build makes, in load order."""
    needs: tuple[str, ...]
    """Modules of the kernel itself that these need."""
    make: tuple[str, ...]
    """Further words for make."""
    device: str
    """Name of the device on both nodes."""
    tables: Mapping[str, str]
    """Role -> table line with placeholders; ``returning`` of a node that comes back."""
    mount_device: str
    inspect_device: str
    connected: tuple[str, ...]
    drained: tuple[str, ...]
    counters: Mapping[str, str]
    """``acked``, ``received``, ``applied`` -> the status key that says it."""
    messages: Mapping[str, str]

    @property
    def source(self) -> Path:
        """The folder of the module's sources."""
        return self.path.parent

    @classmethod
    def load(cls, folder: Path) -> TargetFile:
        """The target file of the module in ``folder``. UsageError names file and key."""
        path = folder / FILE
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder", hint="--kmod names that of a module")
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise UsageError(
                f"there is no {path}", hint=f"docs/targets.md says how to write {FILE}"
            ) from error
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"target file {path} cannot be read: {error}") from error
        if not any((folder / name).is_file() for name in ("Kbuild", "Makefile")):
            raise UsageError(f"{folder} has neither Kbuild nor Makefile: nothing can be built")
        return _read(path, data)


def _read(path: Path, data: dict[str, Any]) -> TargetFile:
    top = _Table(path, "", data)
    device, status = top.table("device"), top.table("status")
    messages = top.table("messages", required=False)
    name = top.matching("name", _NAME, "a word of small letters, digits, - and _")
    device_name = device.text("name", name)
    primary, backup = device.template("primary"), device.template("backup")
    node = f"/dev/mapper/{device_name}"
    return TargetFile(
        path=path,
        name=name,
        modules=top.modules(),
        needs=top.texts("needs", ()),
        make=top.texts("make", ()),
        device=device_name,
        tables={
            "primary": primary, "backup": backup,
            "returning": device.template("returning", backup),
        },
        mount_device=device.text("mount", node),
        inspect_device=device.text("inspect", node),
        connected=status.conditions("connected", ()),
        drained=status.conditions("drained"),
        counters={key: status.text(key, key) for key in ("acked", "received", "applied")},
        messages={key: messages.text(key) for key in messages.data},
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of the file: each key is taken as what it must be, or refused by name and value."""

    path: Path
    where: str
    data: dict[str, Any]

    def __post_init__(self) -> None:
        known = _KNOWN[self.where]
        if unknown := sorted(set(self.data) - set(known)):
            raise UsageError(
                f"target file {self.path}: unknown key {self._full(unknown[0])!r}",
                hint=f"known keys{' of ' + self.where if self.where else ''}: {', '.join(known)}",
            )

    def _full(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    def _get(self, key: str) -> Any:
        if key not in self.data:
            raise UsageError(
                f"target file {self.path}: key {self._full(key)!r} is missing",
                hint="docs/targets.md has an example",
            )
        return self.data[key]

    def wrong(self, key: str, what: str) -> UsageError:
        return UsageError(
            f"target file {self.path}: {self._full(key)} = {self.data[key]!r} must be {what}"
        )

    def table(self, key: str, *, required: bool = True) -> _Table:
        value = self._get(key) if required else self.data.get(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, "a table")
        return _Table(self.path, key, value)

    def text(self, key: str, default: str | None = None) -> str:
        if default is not None and key not in self.data:
            return default
        value = self._get(key)
        if not (isinstance(value, str) and value.strip() and value.isprintable()):
            raise self.wrong(key, "a text of one line, not empty")
        return value

    def matching(self, key: str, form: re.Pattern[str], what: str) -> str:
        value = self.text(key)
        if not form.fullmatch(value):
            raise self.wrong(key, what)
        return value

    def texts(self, key: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
        if default is not None and key not in self.data:
            return tuple(default)
        value = self._get(key)
        if not (isinstance(value, list) and all(isinstance(e, str) and e.strip() for e in value)):
            raise self.wrong(key, "a list of texts")
        return tuple(value)

    def modules(self) -> tuple[str, ...]:
        names = self.texts("modules")
        if not names or not all(_MODULE.fullmatch(name) for name in names):
            raise self.wrong("modules", 'a list of file names such as ["dm-mine.ko"], not empty')
        return names

    def conditions(self, key: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
        found = self.texts(key, default)
        if default is None and not found:
            raise self.wrong(key, "a list of conditions, not empty")
        for condition in found:
            if not well_formed(condition):
                raise self.wrong(key, f"KEY==VALUE, KEY>=VALUE or KEY<=VALUE, not {condition!r}")
        return found

    def template(self, key: str, default: str | None = None) -> str:
        value = self.text(key, default)
        if key not in self.data:
            return value
        try:
            fields = {
                field for _, field, _, _ in string.Formatter().parse(value) if field is not None
            }
            if unknown := sorted(fields - set(PLACEHOLDERS)):
                raise UsageError(
                    f"target file {self.path}: {self._full(key)} has an unknown placeholder"
                    f" {{{unknown[0]}}}",
                    hint=f"known placeholders: {', '.join(PLACEHOLDERS)}; {{{{ is a brace",
                )
            sample = value.format(**_SAMPLE)
        except (ValueError, KeyError, IndexError) as error:
            raise self.wrong(key, f"a table line with {{placeholders}} ({error})") from error
        if not _TABLE.fullmatch(sample):
            raise self.wrong(key, "a table line: start, length, target and its arguments")
        return value
