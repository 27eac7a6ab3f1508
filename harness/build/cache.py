# SPDX-License-Identifier: Apache-2.0
"""Content-addressed artefacts: built once per key, atomically, by one process at a time."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
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
    if final.is_dir():
        return final
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with open(cache / f".{name}.lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if final.is_dir():
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
