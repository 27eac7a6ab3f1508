# SPDX-License-Identifier: Apache-2.0
"""Build a module that does not come with the harness, as its target file says."""

from __future__ import annotations

from pathlib import Path

from harness.build.profile import load_profile
from harness.build.rootfs import build_root
from harness.build.workshop import BuiltModule, build_working_copy, kernel_modules
from harness.config import StateDir
from harness.target.file import TargetFile
from harness.target.outside import Outside


def build_outside(
    folder: Path, profile: str, state: StateDir, out: Path
) -> tuple[Outside, tuple[BuiltModule, ...]]:
    """Read the target file in ``folder`` and build its module for ``profile``, into ``out``.

    UsageError for a bad target file, ToolError with what the compiler said.
    """
    file = TargetFile.load(folder)
    root = build_root(load_profile(profile), state)
    needs = kernel_modules(root, file.needs, out)
    modules = build_working_copy(root, state, folder, file.modules, file.make, out)
    return Outside(file, (*needs, *(module.path for module in modules))), modules
