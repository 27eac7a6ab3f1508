# SPDX-License-Identifier: Apache-2.0
"""The module under test as built from its sources at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.build.image import MicroImage
from harness.build.kmod import KMOD_SOURCE, MODULE_FILE
from harness.build.profile import load_profile
from harness.build.rootfs import build_root
from harness.build.workshop import BuiltModule, build_working_copy
from harness.config import StateDir
from harness.run.devpair.stack import Stack, make_stack
from harness.run.options import RunOptions
from harness.run.outside import build_outside
from harness.target.rollbaccine import RollbaccineTarget

_GUEST_FILE = f"/run/{MODULE_FILE}"


@dataclass(frozen=True, slots=True)
class Kit:
    """A stack, and what has to be in a guest for it."""

    stack: Stack
    source: Path | None
    """Where the module's sources are; None where there is nothing to build."""
    modules: tuple[BuiltModule, ...] = ()
    """In load order, without those of the kernel."""
    files: Mapping[str, Path] | None = None
    """Path in a guest -> path on the host."""


def build_kit(options: RunOptions, image: MicroImage, state: StateDir, out: Path) -> Kit:
    """Build the module of ``options``, the target file read again; the files go to ``out``.

    UsageError for a bad target file, ToolError with what the compiler said.
    """
    if options.kmod is None and options.target != RollbaccineTarget.name:
        return Kit(make_stack(options, image, None, ""), None)
    if options.kmod is not None:
        outside, modules = build_outside(options.kmod, options.profile, state, out)
        stack = make_stack(options, image, outside, "")
        return Kit(stack, options.kmod, modules, outside.files)
    root = build_root(load_profile(options.profile), state)
    modules = build_working_copy(root, state, KMOD_SOURCE, (MODULE_FILE,), (), out)
    stack = make_stack(options, image, None, _GUEST_FILE)
    return Kit(stack, KMOD_SOURCE, modules, {_GUEST_FILE: modules[0].path})
