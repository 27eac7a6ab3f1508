# SPDX-License-Identifier: Apache-2.0
"""Build a kernel module against a root tree's own headers, with that tree's own compiler."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness import proc
from harness.build.cache import built, content_key
from harness.build.rootfs import RootTree
from harness.config import CHECKOUT, StateDir
from harness.errors import InfraError

KMOD_SOURCE = CHECKOUT / "kmod"
MODULE_FILE = "dm-rollbaccine.ko"
_SOURCES = ("Kbuild", "Makefile", "*.c", "*.h")
_TIMEOUT_S = 600


def build_module(root: RootTree, state: StateDir, *, faults: bool) -> Path:
    """The module file for ``root``'s kernel; ``faults`` adds the seeded defects.

    Raises ToolError with the compiler's last lines when it does not build.
    """
    sources = sorted(path for pattern in _SOURCES for path in KMOD_SOURCE.glob(pattern))
    if not sources:
        raise InfraError(f"no module sources in {KMOD_SOURCE}")
    kind = "faults" if faults else "release"
    key = content_key([root.path.parent.name, kind, *sources])
    name = f"kmod-{root.release}-{kind}-{key}"
    return built(state.cache, name, lambda work: _compile(root, work, sources, faults)) / MODULE_FILE


def _compile(root: RootTree, work: Path, sources: list[Path], faults: bool) -> None:
    inside = root.path / "build" / work.name
    shutil.rmtree(inside, ignore_errors=True)
    inside.mkdir(parents=True)
    try:
        for source in sources:
            shutil.copy2(source, inside)
        words = ["make", "-C", f"/build/{work.name}", f"KVER={root.release}"]
        proc.run(
            root.chroot("/usr/bin/env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", *words,
                        *(["FAULTS=1"] if faults else [])),
            what=f"building the kernel module for {root.release}",
            timeout_s=_TIMEOUT_S,
        )  # fmt: skip
        shutil.copy2(inside / MODULE_FILE, work)
    finally:
        shutil.rmtree(inside, ignore_errors=True)
