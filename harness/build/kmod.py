# SPDX-License-Identifier: Apache-2.0
"""Build the replication module against a root tree's own headers, with its own compiler."""

from __future__ import annotations

from pathlib import Path

from harness.build.cache import built, content_key
from harness.build.rootfs import RootTree, make_inside
from harness.config import CHECKOUT, StateDir
from harness.errors import InfraError

KMOD_SOURCE = CHECKOUT / "kmod"
MODULE_FILE = "dm-rollbaccine.ko"
_SOURCES = ("Kbuild", "Makefile", "*.c", "*.h")


def build_module(root: RootTree, state: StateDir, *, faults: bool) -> Path:
    """The module file for ``root``'s kernel; ``faults`` adds the seeded defects.

    Raises ToolError with the compiler's last lines when it does not build.
    """
    sources = sorted(path for pattern in _SOURCES for path in KMOD_SOURCE.glob(pattern))
    if not sources:
        raise InfraError(f"no module sources in {KMOD_SOURCE}")
    kind = "faults" if faults else "release"
    words = [f"KVER={root.release}", *(["FAULTS=1"] if faults else [])]
    key = content_key([root.path.parent.name, *words, *sources])

    def compile_module(work: Path) -> None:
        what = f"building the kernel module for {root.release}"
        make_inside(root, sources, words, work / MODULE_FILE, what)

    return built(state.cache, f"kmod-{root.release}-{kind}-{key}", compile_module) / MODULE_FILE
