# SPDX-License-Identifier: Apache-2.0
"""A file system that is not the backup's, put in its place: the harness must reject it.

The incumbent's check passes every one of its tests against an empty backup; this is how ours is
shown not to, by the same scripts and the same judge as any run.
"""

from __future__ import annotations

from ace_workloads.jlang import parse_run_section
from harness.deadline import Deadline
from harness.guest.agent import Agent
from harness.guest.workload import workload_lines
from harness.run.filesystems import FileSystem
from harness.run.options import Impostor
from harness.run.scripts import SECTOR_BYTES, SUBSTITUTE, SUBSTITUTE_DEVICE, SUBSTITUTE_DISK
from harness.target.base import Line

_TIMEOUT_S = 120.0
_MOUNT = "/mnt/impostor"
_STALE_FILES = ("foo", "bar", "Afoo", "Abar", "ACfoo", "ACbar")


def _stale() -> str:
    lines = ["mkdir A 0700", "mkdir B 0700", "mkdir AC 0700"]
    for name in _STALE_FILES:
        lines += [f"open {name} O_RDWR|O_CREAT 0600", f"write {name} 4096 12288", f"close {name}"]
    return "\n".join([*lines, "sync", "checkpoint 1"]) + "\n"


_FOREIGN = """\
mkdir B 0755
open Bfoo O_RDWR|O_CREAT 0644
write Bfoo 0 8192
close Bfoo
sync
checkpoint 1
"""
_CONTENT = {Impostor.EMPTY: "", Impostor.STALE: _stale(), Impostor.FOREIGN: _FOREIGN}


def install_impostor(backup: Agent, fs: FileSystem, kind: Impostor) -> None:
    """Make a file system with other content on the backup's spare RAM disk."""
    deadline = Deadline.after(_TIMEOUT_S, f"the {kind} impostor to be made")
    tool_timeout_ms = str(int(_TIMEOUT_S * 1000))
    table = f"0 {fs.device_bytes // SECTOR_BYTES} linear {SUBSTITUTE_DISK} 0"
    lines: list[Line] = [
        # Of the target's own size: it must be told by what is in it.
        ("dm-create", SUBSTITUTE, "-", "RW", table),
        ("exec", tool_timeout_ms, *fs.mkfs, SUBSTITUTE_DEVICE),
        ("mount", SUBSTITUTE_DEVICE, _MOUNT, fs.name, fs.mount_options),
        ("begin", _MOUNT),
        *workload_lines(parse_run_section(_CONTENT[kind])),
        ("end",),
        ("umount", _MOUNT),
    ]
    backup.run_all(lines, deadline)


def remove_impostor(backup: Agent) -> None:
    """Take the impostor's device down."""
    backup.run(("dm-remove", SUBSTITUTE), Deadline.after(_TIMEOUT_S, "the impostor to go"))
