# SPDX-License-Identifier: Apache-2.0
"""Guest profiles: what to install, and from which archive. A profile is data, a TOML file."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.config import CHECKOUT
from harness.errors import UsageError

PROFILES = CHECKOUT / "vm_images" / "profiles"
DEFAULT_PROFILE = "debian-12"
_MEMORY_MIB = 512
_COMPONENTS = ("main",)
_TEXTS = ("suite", "archive", "security", "keyring")
_CLOUD = "cloud-image"
_CLOUD_TEXTS = ("image", "sha256")
_OTHER_KEYS = (
    "components",
    "packages",
    "kernel_packages",
    "kernel_source",
    "kernel_config",
    "kernel_arguments",
    "memory_mib",
    "patience",
    "source",
    *_CLOUD_TEXTS,
)


@dataclass(frozen=True, slots=True)
class CloudSource:
    """A vendor's disk image to make full guests of."""

    address: str
    """http, https or file."""
    sha256: str
    """64 hexadecimal digits. Written in the profile, so that every host has the same guests, and
    needs no keyring of the vendor's."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of guest: a release of a distribution and one of its kernels."""

    name: str
    suite: str
    archive: str
    security: str
    keyring: str
    kernel_packages: tuple[str, ...]
    # The rest stays out of the key that every tree has, above all that of a kernel's builder.
    components: tuple[str, ...] = field(default=_COMPONENTS, repr=False)
    """Parts of the archive to install from."""
    packages: tuple[str, ...] = field(default=(), repr=False)
    """What guests need beside the packages that all releases call alike."""
    kernel_source: str | None = field(default=None, repr=False)
    """Package to build a kernel of our own from, instead of a packaged one."""
    kernel_config: Path | None = field(default=None, repr=False)
    """What that kernel is to have."""
    kernel_arguments: tuple[str, ...] = field(default=(), repr=False)
    """Added to the command line of the guest's kernel, after the harness's own."""
    memory_mib: int = field(default=_MEMORY_MIB, repr=False)
    """Of each guest of a pair."""
    patience: int = field(default=1, repr=False)
    """How many times longer than for a distribution's kernel to wait for a guest."""
    cloud: CloudSource | None = field(default=None, repr=False)
    """What full guests are made of, if it is not the root tree."""

    def sources(self) -> tuple[str, ...]:
        """One-line apt sources: the release, its updates, its security updates."""
        signed, parts = f"[signed-by={self.keyring}]", " ".join(self.components)
        return (
            f"deb {signed} {self.archive} {self.suite} {parts}",
            f"deb {signed} {self.archive} {self.suite}-updates {parts}",
            f"deb {signed} {self.security} {self.suite}-security {parts}",
        )


def profile_names() -> tuple[str, ...]:
    """Names of the profiles that come with the harness."""
    return tuple(sorted(path.stem for path in PROFILES.glob("*.toml")))


def load_profile(name: str) -> Profile:
    """The profile called ``name``, or the one in the file ``name`` (anything with ``.toml``).

    ``$HARNESS_MIRROR`` replaces the archive's address. Raises UsageError naming file and key.
    """
    path = Path(name) if name.endswith(".toml") else PROFILES / f"{name}.toml"
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(
            f"no guest profile {name!r}", hint=f"known profiles: {', '.join(profile_names())}"
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"guest profile {path} cannot be read: {error}") from error
    profile = _from_toml(path, data)
    mirror = os.environ.get("HARNESS_MIRROR")
    return replace(profile, archive=mirror) if mirror else profile


def _from_toml(path: Path, data: dict[str, object]) -> Profile:
    known = (*_TEXTS, *_OTHER_KEYS)
    if unknown := sorted(set(data) - set(known)):
        raise UsageError(
            f"guest profile {path}: unknown key {unknown[0]!r}",
            hint=f"known keys: {', '.join(known)}",
        )
    table = _Table(path, data)
    texts = {key: table.text(key) for key in _TEXTS}
    kernel = _from_source(table) if "kernel_source" in data else _packaged(table)
    return Profile(
        name=path.stem,
        components=table.texts("components") if "components" in data else _COMPONENTS,
        packages=table.texts("packages") if "packages" in data else (),
        kernel_packages=kernel.packages,
        kernel_source=kernel.source,
        kernel_config=kernel.config,
        kernel_arguments=table.texts("kernel_arguments") if "kernel_arguments" in data else (),
        memory_mib=table.number("memory_mib") if "memory_mib" in data else _MEMORY_MIB,
        patience=table.number("patience") if "patience" in data else 1,
        cloud=_cloud(table),
        **texts,
    )


def _cloud(table: _Table) -> CloudSource | None:
    given = [key for key in _CLOUD_TEXTS if key in table.data]
    if "source" not in table.data:
        if given:
            raise UsageError(f"guest profile {table.path}: {given[0]!r} needs source = {_CLOUD!r}")
        return None
    if (source := table.text("source")) != _CLOUD:
        raise UsageError(f"guest profile {table.path}: source = {source!r} must be {_CLOUD!r}")
    address, sha256 = (table.text(key) for key in _CLOUD_TEXTS)
    if not address.startswith(("http://", "https://", "file:///")):
        raise UsageError(
            f"guest profile {table.path}: image = {address!r} must be an address",
            hint="http://..., https://... or file:///...",
        )
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise UsageError(
            f"guest profile {table.path}: sha256 = {sha256!r} must be 64 hexadecimal digits",
            hint=f"those of the image's line in {address.rpartition('/')[0]}/SHA256SUMS",
        )
    return CloudSource(address, sha256)


@dataclass(frozen=True, slots=True)
class _Kernel:
    packages: tuple[str, ...]
    source: str | None = None
    config: Path | None = None


def _packaged(table: _Table) -> _Kernel:
    if "kernel_config" in table.data:
        raise UsageError(f"guest profile {table.path}: 'kernel_config' needs a kernel_source")
    return _Kernel(table.texts("kernel_packages"))


def _from_source(table: _Table) -> _Kernel:
    if "kernel_packages" in table.data:
        raise UsageError(f"guest profile {table.path}: kernel_source excludes 'kernel_packages'")
    source, config = table.text("kernel_source"), table.path.parent / table.text("kernel_config")
    if not config.is_file():
        raise UsageError(f"guest profile {table.path}: kernel_config = {config} is not a file")
    return _Kernel((), source, config)


@dataclass(frozen=True, slots=True)
class _Table:
    """The file's keys, each taken as what it must be, or refused by name and value."""

    path: Path
    data: dict[str, object]

    def text(self, key: str) -> str:
        value = self._get(key)
        if not (isinstance(value, str) and value.strip()):
            raise self._wrong(key, "a text, not empty")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._get(key)
        if not (isinstance(value, list) and value):
            raise self._wrong(key, "a list of texts, not empty")
        if not all(isinstance(each, str) and each.strip() for each in value):
            raise self._wrong(key, "a list of texts")
        return tuple(value)

    def number(self, key: str) -> int:
        value = self._get(key)
        if not (isinstance(value, int) and not isinstance(value, bool) and value > 0):
            raise self._wrong(key, "a number above 0")
        return value

    def _get(self, key: str) -> object:
        if key not in self.data:
            raise UsageError(f"guest profile {self.path}: key {key!r} is missing")
        return self.data[key]

    def _wrong(self, key: str, kind: str) -> UsageError:
        return UsageError(f"guest profile {self.path}: {key} = {self.data[key]!r} must be {kind}")
