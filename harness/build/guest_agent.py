# SPDX-License-Identifier: Apache-2.0
"""Build the guest agent as a static program with the root tree's compiler and C library."""

from __future__ import annotations

from pathlib import Path

from harness.build.cache import built, content_key
from harness.build.rootfs import RootTree, make_inside
from harness.config import CHECKOUT, StateDir

AGENT_SOURCE = CHECKOUT / "vm_images" / "agent"
AGENT_FILE = "harness-agent"
_SOURCES = ("Makefile", "*.c", "*.h")


def build_agent(root: RootTree, state: StateDir) -> Path:
    """The agent's program file. Raises ToolError when it does not build."""
    sources = sorted(path for pattern in _SOURCES for path in AGENT_SOURCE.glob(pattern))
    key = content_key([root.path.parent.name, *sources])

    def compile_agent(work: Path) -> None:
        words = [f"OUT={AGENT_FILE}"]
        make_inside(root, sources, words, work / AGENT_FILE, "building the guest agent")

    return built(state.cache, f"agent-{key}", compile_agent) / AGENT_FILE
