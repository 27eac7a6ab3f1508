# SPDX-License-Identifier: Apache-2.0
"""An xfstests tree of the user's, looked at, and packed into a disk for a guest."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from harness import proc
from harness.build.cache import built
from harness.build.disk import make_image
from harness.config import StateDir
from harness.errors import UsageError

GUEST_DIR = "/opt/xfstests"
ENVIRONMENT = "HARNESS_XFSTESTS"
"""Names the tree where --xfstests does not."""
_DISK_FILE = "xfstests.img"
_LEFT_OUT = (".git", "results", "local.config")
_BUILT = ("ltp/fsstress", "ltp/fsx", "src/lstat64")
"""Programs without which ``check``, or the tests of workloads, do not begin."""
_HINT = (
    "build it as its README says (configure, make), or make install and name the folder that"
    " was installed"
)


@dataclass(frozen=True, slots=True)
class XfstestsTree:
    """A tree that can run tests."""

    path: Path
    version: str
    """As far as it says: the commit it was checked out at, else a digest of its own scripts."""


def look_at_tree(path: Path) -> XfstestsTree:
    """The xfstests tree at ``path``; UsageError saying what of it is missing, or too old."""
    if not (path / "check").is_file():
        raise UsageError(f"{path} is no xfstests tree: it has no file check", hint=_HINT)
    if not (path / "common" / "preamble").is_file():
        raise UsageError(
            f"xfstests in {path} is older than 2021: it has no common/preamble",
            hint="take a newer one",
        )
    for name, what, since in (
        ("common/preamble", "_begin_fstest", "2021"),
        ("common/rc", "_scratch_mkfs_sized", "2015"),
        ("common/rc", "_exclude_fs", "2025"),
    ):
        if not _defines(path / name, what):
            raise UsageError(
                f"xfstests in {path} is older than {since}: {name} has no {what}",
                hint="take a newer one",
            )
    missing = [name for name in _BUILT if not os.access(path / name, os.X_OK)]
    if missing:
        raise UsageError(f"xfstests in {path} is not built: no {', '.join(missing)}", hint=_HINT)
    return XfstestsTree(path, _version(path))


def _defines(file: Path, function: str) -> bool:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return re.search(rf"^{function}\s*\(\)", text, re.MULTILINE) is not None


def _version(path: Path) -> str:
    if (path / ".git").exists():
        words: list[str | Path] = ["git", "-C", path, "describe", "--always", "--tags", "--dirty"]
        # Without git, or in a clone of another user, its scripts have to say it.
        with contextlib.suppress(proc.ToolError):
            return proc.run(words, what=f"asking for the version of {path}", timeout_s=60).strip()
    digest = sha256()
    for name in ("check", "common/rc", "common/config", "common/preamble"):
        file = path / name
        digest.update(file.read_bytes() if file.is_file() else b"")
    return f"scripts {digest.hexdigest()[:12]}"


def pack_tree(tree: XfstestsTree, state: StateDir) -> Path:
    """A disk with the tree at ``GUEST_DIR``, to be laid over a root disk; cached.

    A file of the tree that changed makes a new one. Errors as of ``make_image``.
    """
    key = _fingerprint(tree.path)

    def make(work: Path) -> None:
        stage = work / "stage"
        stage.mkdir()
        shutil.copytree(
            tree.path,
            stage / GUEST_DIR.lstrip("/"),
            symlinks=True,
            ignore=lambda folder, names: (
                set(names) & set(_LEFT_OUT) if Path(folder) == tree.path else set()
            ),
        )
        make_image(stage, work / _DISK_FILE)
        shutil.rmtree(stage)

    return built(state.cache, f"xfstests-{key}", make) / _DISK_FILE


def _fingerprint(path: Path) -> str:
    """Of names, lengths and times: a tree is too large to be read each time."""
    digest = sha256()
    for folder, folders, names in os.walk(path):
        if Path(folder) == path:
            folders[:] = [name for name in folders if name not in _LEFT_OUT]
        folders.sort()
        for name in sorted(names):
            file = Path(folder) / name
            facts = file.lstat()
            digest.update(
                f"{file.relative_to(path)}\0{facts.st_size}\0{facts.st_mtime_ns}\0"
                f"{facts.st_mode}\0".encode(errors="surrogateescape")
            )
    return digest.hexdigest()[:16]
