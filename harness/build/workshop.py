# SPDX-License-Identifier: Apache-2.0
"""Build a module that is being worked on: again and again, only what has changed.

The build folder stays in the root tree between builds. Unlike what ``kmod.py`` builds, nothing here
is kept by content: what counts is how soon the author sees the next error.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from harness import proc
from harness.build.cache import content_key
from harness.build.initramfs import install_module, module_order
from harness.build.rootfs import RootTree
from harness.config import StateDir
from harness.errors import InfraError, UsageError

_TIMEOUT_S = 1800
_SHOWN_LINES = 200
_MANIFEST = ".harness-sources"
_PRODUCTS = re.compile(r".*\.(o|ko|a|d|mod|mod\.c|cmd|symvers|order|dwo|gcno|rej|orig)|.*~|\..*")
_MOST_FILES = 2000
_MODINFO = re.compile(rb"(?:^|\0)(version|srcversion)=([^\0]{1,64})\0")


@dataclass(frozen=True, slots=True)
class BuiltModule:
    """A module file on the host, and what tells it from other builds."""

    path: Path
    digest: str
    version: str | None
    srcversion: str | None
    """The kernel's own hash of the sources, shown in ``/sys/module`` once it is loaded."""

    @property
    def name(self) -> str:
        """As the kernel calls it."""
        return self.path.name.partition(".")[0].replace("-", "_")

    def __str__(self) -> str:
        version = f" version {self.version}" if self.version else ""
        source = f" srcversion {self.srcversion}" if self.srcversion else ""
        return f"{self.name}{version}{source} sha256 {self.digest[:12]}"


def describe(path: Path) -> BuiltModule:
    """What is in the module file ``path``. InfraError when it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InfraError(f"cannot read module {path}: {error.strerror}") from error
    found = {key.decode(): text.decode(errors="replace") for key, text in _MODINFO.findall(data)}
    return BuiltModule(
        path, sha256(data).hexdigest(), found.get("version"), found.get("srcversion")
    )


def build_working_copy(
    root: RootTree,
    state: StateDir,
    source: Path,
    modules: Sequence[str],
    words: Sequence[str],
    out: Path,
) -> tuple[BuiltModule, ...]:
    """Build ``modules`` of the folder ``source`` for ``root``'s kernel and copy them to ``out``.

    ``words`` are further ones for make. Without debugging information: they go over a serial port.
    ToolError with what the compiler said, about the files in ``source``, when it does not build.
    """
    folder = f"/build/work-{content_key([str(source.resolve())])}"
    inside = root.path / folder.lstrip("/")
    with _alone(state, inside.name):
        _copy_sources(source, inside)
        make = ["make", "-C", f"/lib/modules/{root.release}/build", f"M={folder}",
                f"-j{os.cpu_count() or 1}", "modules", *words]  # fmt: skip
        _inside(root, source, folder, make, f"building {source}")
        missing = [name for name in modules if not (inside / name).is_file()]
        if missing:
            raise UsageError(
                f"the build in {source} made no {missing[0]}",
                hint="'modules' of the target file names what its Kbuild makes",
            )
        made = []
        out.mkdir(parents=True, exist_ok=True)
        for name in modules:
            strip = ["strip", "--strip-debug", "-o", f"{folder}/.stripped", f"{folder}/{name}"]
            _inside(root, source, folder, strip, f"stripping {name}")
            shutil.copy2(inside / ".stripped", out / name)
            made.append(describe(out / name))
    return tuple(made)


def kernel_modules(root: RootTree, names: Sequence[str], out: Path) -> tuple[Path, ...]:
    """The kernel's own modules ``names`` and what they need, copied to ``out``, in load order.

    UsageError for one that the kernel has not got.
    """
    try:
        order = module_order(root, names)
    except InfraError as error:
        raise UsageError(f"{error}, which the target file needs") from error
    out.mkdir(parents=True, exist_ok=True)
    copies = []
    for file in order:
        copies.append(out / f"{Path(file).name.partition('.')[0]}.ko")
        install_module(root.modules / file, copies[-1])
    return tuple(copies)


class _alone:
    """One build in a folder at a time."""

    def __init__(self, state: StateDir, name: str) -> None:
        self._path = state.cache / f".{name}.lock"

    def __enter__(self) -> None:
        self._lock = open(self._path, "w", encoding="ascii")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._lock.close()


def _inside(root: RootTree, source: Path, folder: str, words: Sequence[str], what: str) -> None:
    environment = ("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C")
    command = root.chroot("/usr/bin/env", *environment, *words)
    try:
        proc.run(command, what=what, timeout_s=_TIMEOUT_S, tail_lines=_SHOWN_LINES)
    except proc.ToolError as error:
        # Errors are about the author's files, and an editor has to find them.
        text = str(error).replace(f"{folder}/", f"{source}/")
        raise proc.ToolError(text, hint=error.hint) from error


def _copy_sources(source: Path, inside: Path) -> None:
    """Make ``inside`` hold what ``source`` does, and touch nothing that is the same."""
    try:
        files = {str(path.relative_to(source)): path for path in _source_files(source)}
        inside.mkdir(parents=True, exist_ok=True)
        manifest = inside / _MANIFEST
        before = json.loads(manifest.read_text(encoding="utf-8")) if manifest.exists() else []
        for name in set(before) - set(files):
            (inside / name).unlink(missing_ok=True)
        manifest.write_text(json.dumps(sorted(files)), encoding="utf-8")
        for name, path in files.items():
            _copy_if_other(path, inside / name)
    except OSError as error:
        raise InfraError(f"cannot copy the sources in {source}: {error}") from error


def _source_files(source: Path) -> list[Path]:
    found = []
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(folder, name) for name in sorted(names) if not _PRODUCTS.fullmatch(name)]
        if len(found) > _MOST_FILES:
            raise UsageError(
                f"{source} holds more than {_MOST_FILES} files", hint="is it that of a module?"
            )
    return [path for path in found if path.is_file()]


def _copy_if_other(path: Path, copy: Path) -> None:
    data = path.read_bytes()
    if copy.is_file() and copy.read_bytes() == data:
        return
    copy.parent.mkdir(parents=True, exist_ok=True)
    # With the time of now, whatever that of the original: make goes by it.
    copy.write_bytes(data)
