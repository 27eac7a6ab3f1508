# SPDX-License-Identifier: Apache-2.0
"""Content-addressed artefacts: built once per key, atomically, by one process at a time."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InfraError
from harness.proc import NO_SPACE_HINT


def content_key(parts: Iterable[str | bytes | Path]) -> str:
    """Hex key over strings, bytes, and the names and contents of files and folders."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            for file in _files(part):
                digest.update(f"{file.relative_to(part) if file != part else file.name}\0".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
        else:
            digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file())


def lock_of(work: Path) -> Path:
    """The file that is locked as long as somebody builds in the folder ``work``."""
    return work.with_suffix(".lock")


def is_locked(lock: Path) -> bool:
    """Whether somebody holds the lock of a build."""
    try:
        with open(lock, "r+", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def built(cache: Path, name: str, build: Callable[[Path], None]) -> Path:
    """The folder ``cache/name``, made by ``build(folder)`` if it is not there yet.

    ``build`` works in a temporary folder that is renamed only when it returned, so a killed build
    leaves nothing that looks finished, and a failed one nothing at all: the disk may be full
    because of it. A lock per name lets concurrent runs share one build.
    Raises InfraError when the disk is full.
    """
    final = cache / name
    if _used(final):
        return final
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with open(_lock_of(final), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _used(final):
                return final
            work = cache / f".{name}.tmp"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            try:
                build(work)
                os.rename(work, final)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InfraError(
                f"no space left while building {name} in {cache}",
                hint=NO_SPACE_HINT,
            ) from error
        raise InfraError(f"cannot build {name} in {cache}: {error}") from error
    return final


def _used(final: Path) -> bool:
    """Whether the artefact is there; its time tells from now on when it was last asked for."""
    try:
        os.utime(final)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        # Somebody else's, or read-only: a state directory may be shared.
        return final.is_dir()
    return True


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed of a cache."""

    artefacts: int = 0
    kept: int = 0
    freed_bytes: int = 0


def prune(cache: Path, unused_s: float) -> Pruned:
    """Remove what has not been asked for in the last ``unused_s`` seconds.

    What is being built, or asked for meanwhile, stays. InfraError when something cannot be removed.
    """
    if not cache.is_dir():
        return Pruned()
    before_s = time.time() - unused_s
    artefacts = kept = freed = 0
    for final in sorted(path for path in cache.iterdir() if not path.name.startswith(".")):
        # Records, and what the emulator told, are files or belong to the host.
        if not final.is_dir() or not _lock_of(final).exists():
            continue
        try:
            removed = _removed(final, before_s)
        except OSError as error:
            raise InfraError(f"cannot remove {final}: {error}") from error
        artefacts, kept, freed = artefacts + (removed > 0), kept + (not removed), freed + removed
    return Pruned(artefacts, kept, freed)


def _lock_of(final: Path) -> Path:
    """The file that is locked while the artefact is built."""
    return final.with_name(f".{final.name}.lock")


def _removed(final: Path, before_s: float) -> int:
    """Bytes on disk of ``final`` if it was old and is gone now, else 0."""
    with open(_lock_of(final), "r+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return 0
        if final.stat().st_mtime >= before_s:
            return 0
        work = final.with_name(f".{final.name}.tmp")
        shutil.rmtree(work, ignore_errors=True)
        os.rename(final, work)
        if work.stat().st_mtime >= before_s:
            # Asked for between the two looks: that was too late to stay away from.
            os.rename(work, final)
            return 0
        size = _disk_bytes(work)
        shutil.rmtree(work)
    return max(1, size)


def _disk_bytes(folder: Path) -> int:
    blocks = 0
    for at, _, files in os.walk(folder):
        blocks += sum(os.lstat(os.path.join(at, name)).st_blocks for name in files)
    return blocks * 512
