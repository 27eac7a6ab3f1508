# SPDX-License-Identifier: Apache-2.0
"""Guest profiles: what to install, and from which archive. A profile is data, a TOML file."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path

from harness.config import CHECKOUT
from harness.errors import UsageError

PROFILES = CHECKOUT / "vm_images" / "profiles"
DEFAULT_PROFILE = "debian-12"


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of guest: a release of a distribution and one of its kernels."""

    name: str
    suite: str
    archive: str
    security: str
    keyring: str
    kernel_packages: tuple[str, ...]

    def sources(self) -> tuple[str, ...]:
        """One-line apt sources: the release, its updates, its security updates."""
        signed = f"[signed-by={self.keyring}]"
        return (
            f"deb {signed} {self.archive} {self.suite} main",
            f"deb {signed} {self.archive} {self.suite}-updates main",
            f"deb {signed} {self.security} {self.suite}-security main",
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
    known = {field.name for field in fields(Profile)} - {"name"}
    if unknown := sorted(set(data) - known):
        raise UsageError(
            f"guest profile {path}: unknown key {unknown[0]!r}",
            hint=f"known keys: {', '.join(sorted(known))}",
        )
    if missing := sorted(known - set(data)):
        raise UsageError(f"guest profile {path}: key {missing[0]!r} is missing")
    packages = data["kernel_packages"]
    if not (isinstance(packages, list) and packages and all(map(_is_text, packages))):
        raise UsageError(
            f"guest profile {path}: kernel_packages = {packages!r} must be a list of package names"
        )
    texts = {}
    for key in sorted(known - {"kernel_packages"}):
        value = data[key]
        if not (isinstance(value, str) and _is_text(value)):
            raise UsageError(f"guest profile {path}: {key} = {value!r} must be a text, not empty")
        texts[key] = value
    return Profile(name=path.stem, kernel_packages=tuple(packages), **texts)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
