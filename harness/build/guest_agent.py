# SPDX-License-Identifier: Apache-2.0
"""Build the guest agent as a static program with the root tree's compiler and C library."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness import proc
from harness.build.cache import built, content_key
from harness.build.rootfs import RootTree
from harness.config import CHECKOUT, StateDir

AGENT_SOURCE = CHECKOUT / "vm_images" / "agent"
AGENT_FILE = "harness-agent"
_SOURCES = ("Makefile", "*.c", "*.h")
_TIMEOUT_S = 300


def build_agent(root: RootTree, state: StateDir) -> Path:
    """The agent's program file. Raises ToolError when it does not build."""
    sources = sorted(path for pattern in _SOURCES for path in AGENT_SOURCE.glob(pattern))
    key = content_key([root.path.parent.name, *sources])
    return built(state.cache, f"agent-{key}", lambda work: _compile(root, work, sources)) / AGENT_FILE


def _compile(root: RootTree, work: Path, sources: list[Path]) -> None:
    inside = root.path / "build" / work.name
    shutil.rmtree(inside, ignore_errors=True)
    inside.mkdir(parents=True)
    try:
        for source in sources:
            shutil.copy2(source, inside)
        proc.run(
            root.chroot("/usr/bin/env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C",
                        "make", "-C", f"/build/{work.name}"),
            what="building the guest agent",
            timeout_s=_TIMEOUT_S,
        )  # fmt: skip
        shutil.copy2(inside / AGENT_FILE, work)
    finally:
        shutil.rmtree(inside, ignore_errors=True)
