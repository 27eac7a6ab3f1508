# SPDX-License-Identifier: Apache-2.0
"""Build the replication module against a root tree's own headers, with its own compiler."""

from __future__ import annotations

from pathlib import Path

from harness.build.cache import built, content_key
from harness.build.container import make_module
from harness.build.rootfs import RootTree
from harness.config import CHECKOUT, StateDir
from harness.errors import InfraError

KMOD_SOURCE = CHECKOUT / "kmod"
DKMS_FILE = KMOD_SOURCE / "dkms.conf"
MODULE_FILE = "dm-rollbaccine.ko"
SELFTEST_FILE = "dm-rollbaccine-selftest.ko"
_SOURCES = ("Kbuild", "Makefile", "*.c", "*.h")


def build_module(root: RootTree, state: StateDir, *, faults: bool) -> Path:
    """The module file for ``root``'s kernel; ``faults`` adds the seeded defects.

    Raises ToolError with the compiler's last lines when it does not build.
    """
    if faults:
        return _build(root, state, "faults", ("FAULTS=1",), MODULE_FILE)
    return _build(root, state, "release", (), MODULE_FILE)


def build_selftest(root: RootTree, state: StateDir) -> Path:
    """The module that, when it is loaded, tests the parts of the other one.

    Raises ToolError as ``build_module`` does.
    """
    return _build(root, state, "selftest", ("SELFTEST=1",), SELFTEST_FILE)


def module_sources() -> tuple[Path, ...]:
    """The files that the module is built from. InfraError if there are none."""
    sources = sorted(path for pattern in _SOURCES for path in KMOD_SOURCE.glob(pattern))
    if not sources:
        raise InfraError(f"no module sources in {KMOD_SOURCE}")
    return tuple(sources)


def _build(
    root: RootTree, state: StateDir, kind: str, options: tuple[str, ...], product: str
) -> Path:
    sources = module_sources()
    words = [f"KVER={root.release}", *options]
    key = content_key([root.path.parent.name, *words, *sources])

    def compile_module(work: Path) -> None:
        what = f"building the kernel module for {root.release}"
        make_module(root, sources, words, work / product, what)

    return built(state.cache, f"kmod-{root.release}-{kind}-{key}", compile_module) / product
