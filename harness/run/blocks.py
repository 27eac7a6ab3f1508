# SPDX-License-Identifier: Apache-2.0
"""What differing blocks hold: scripts that ask the file system, and what is made of its answers.

Pure. ``debugfs`` of e2fsprogs tells the owner of a block: ``icheck`` names the inode, ``ncheck``
its path, ``stats`` where the block groups have their bitmaps and inode tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from harness.guest.agent import CommandResult
from harness.model.evidence import BlockNote
from harness.target.base import Line

BLOCK_BYTES = 4096
MOST_NOTED = 16
"""Differing blocks that are looked at; each costs a read on both guests."""
_TIMEOUT_MS = "30000"
_DEBUGFS = "/sbin/debugfs"
_SPECIAL = {2: "root directory", 7: "reserved for a larger group table (inode 7)", 8: "journal"}
_GROUP = re.compile(
    r"Group\s+(\d+): block bitmap at (\d+), inode bitmap at (\d+), inode table at (\d+)"
)
_COUNT = re.compile(r"^(Inodes per group|Inode size|First block|Blocks per group):\s+(\d+)", re.M)


def owner_script(fs_name: str, device: str, blocks: Sequence[int]) -> list[Line]:
    """Ask which inode each block belongs to; nothing where no tool can tell."""
    if fs_name != "ext4" or not blocks:
        return []
    asked = " ".join(map(str, blocks))
    return [_debugfs(device, f"icheck {asked}"), _debugfs(device, "stats")]


def name_script(device: str, inodes: Sequence[int]) -> list[Line]:
    """Ask for a path of each inode."""
    return [_debugfs(device, "ncheck " + " ".join(map(str, inodes)))] if inodes else []


def _debugfs(device: str, request: str) -> Line:
    return ("try", "exec", _TIMEOUT_MS, _DEBUGFS, "-R", request, device)


def parse_inodes(text: str) -> dict[int, int]:
    """Block -> inode, of the output of ``icheck``; blocks of no inode are left out."""
    rows = (line.split("\t") for line in text.splitlines())
    return {
        int(row[0]): int(row[1])
        for row in rows
        if len(row) == 2 and row[0].isdigit() and row[1].isdigit()
    }


def parse_paths(text: str) -> dict[int, str]:
    """Inode -> path, of the output of ``ncheck``; the first of several."""
    found: dict[int, str] = {}
    for line in text.splitlines():
        number, tab, path = line.partition("\t")
        if tab and number.isdigit():
            found.setdefault(int(number), "/" + path.lstrip("/"))
    return found


def parse_layout(text: str) -> dict[int, str]:
    """Block -> what it is of the file system's own, of the output of ``stats``."""
    counts = {name: int(number) for name, number in _COUNT.findall(text)}
    table_blocks = -(
        -counts.get("Inodes per group", 0) * counts.get("Inode size", 0) // BLOCK_BYTES
    )
    layout = {counts.get("First block", 0): "superblock"}
    for group, blocks, inodes, table in _GROUP.findall(text):
        layout[int(blocks)] = f"block bitmap of group {group}"
        layout[int(inodes)] = f"inode bitmap of group {group}"
        for at in range(table_blocks):
            layout[int(table) + at] = f"inode table of group {group}"
    if "superblock" in layout.values() and _GROUP.search(text):
        layout.setdefault(counts.get("First block", 0) + 1, "group descriptors")
    return layout


def owner(block: int, inodes: Mapping[int, int], paths: Mapping[int, str],
          layout: Mapping[int, str]) -> str:  # fmt: skip
    """What ``block`` is used for."""
    inode = inodes.get(block)
    if inode is None:
        return layout.get(block, "of no file: free, or the file system's own")
    if inode in _SPECIAL:
        return _SPECIAL[inode]
    path = paths.get(inode)
    return f"data of inode {inode}" if path is None else f"data of {path} (inode {inode})"


def difference(primary: CommandResult | None, backup: CommandResult | None) -> str:
    """How the bytes of a block differ, in a few words."""
    sides = {"primary": primary, "backup": backup}
    unread = [name for name, side in sides.items() if side is None or not side.ok]
    if unread or primary is None or backup is None:
        return f"cannot be read on the {' and the '.join(unread)}"
    mine, theirs = primary.payload, backup.payload
    at = [n for n, (one, other) in enumerate(zip(mine, theirs, strict=False)) if one != other]
    if not at:
        return "equal by now"
    zeros = [name for name, data in (("primary", mine), ("backup", theirs)) if not any(data)]
    if zeros:
        return f"all zeros on the {zeros[0]}"
    first = at[0]
    if len(at) == 1:
        return (
            f"byte {first}: {mine[first]:#04x} on the primary, {theirs[first]:#04x} on the backup"
        )
    return f"{len(at)} of {len(mine)} bytes, from {first} to {at[-1]}"


def notes(
    blocks: Sequence[int],
    owners: Mapping[int, str],
    primary: Sequence[CommandResult],
    backup: Sequence[CommandResult],
) -> tuple[BlockNote, ...]:
    """A note on each of ``blocks``; the reads of both sides are in their order."""
    return tuple(
        BlockNote(block, owners.get(block, ""), difference(mine, theirs))
        for block, mine, theirs in zip(blocks, primary, backup, strict=True)
    )
