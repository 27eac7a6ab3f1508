# SPDX-License-Identifier: Apache-2.0
"""What differing blocks are used for, read from the words of debugfs."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_world import World
from test_run_bench import DIGEST, Reply, bench, on, run

from harness.guest.agent import CommandResult
from harness.guest.protocol import BlockState
from harness.model.evidence import BlockNote
from harness.run import blocks

# Of an 8 MiB ext4 with one file, foo, made by mke2fs 1.47.0.
_SAID = {
    path.stem: path.read_text()
    for path in (Path(__file__).parents[1] / "golden" / "debugfs").glob("*.txt")
}


def used_for(block: int) -> str:
    return blocks.owner(
        block,
        blocks.parse_inodes(_SAID["icheck"]),
        blocks.parse_paths(_SAID["ncheck"]),
        blocks.parse_layout(_SAID["stats"]),
    )


@pytest.mark.parametrize(
    ("block", "use"),
    [
        (0, "superblock"),
        (1, "group descriptors"),
        (2, "block bitmap of group 0"),
        (3, "root directory"),
        (4, "data of /lost+found (inode 11)"),
        (18, "inode bitmap of group 0"),
        (20, "journal"),
        (34, "inode table of group 0"),
        (161, "inode table of group 0"),
        (162, "of no file: free, or the file system's own"),
        (1162, "data of /foo (inode 12)"),
        (2000, "of no file: free, or the file system's own"),
    ],
)
def test_each_kind_of_block_has_its_name(block: int, use: str) -> None:
    """The inode table is 2048 inodes of 256 bytes, 128 blocks from block 34."""
    assert used_for(block) == use


@pytest.mark.parametrize(
    "text", ["", "debugfs 1.47.0\n", "icheck: Filesystem not open\n", "\t\t\n"]
)
def test_a_tool_that_says_nothing_is_no_trouble(text: str) -> None:
    assert blocks.parse_inodes(text) == {}
    assert blocks.parse_paths(text) == {}
    assert blocks.owner(5, {}, {}, blocks.parse_layout(text)) != "superblock"


def read(data: bytes | None) -> CommandResult:
    state = BlockState.ERR if data is None else BlockState.OK
    return CommandResult(0, ("readblock",), state, 0, 1, data or b"")


@pytest.mark.parametrize(
    ("primary", "backup", "said"),
    [
        (b"\x01" * 4096, bytes(4096), "all zeros on the backup"),
        (bytes(4096), b"\x01" * 4096, "all zeros on the primary"),
        (b"ab" * 2048, b"ab" * 2048, "equal by now"),
        (b"a" * 4096, b"a" * 2048 + b"!" + b"a" * 2047, "byte 2048: 0x61 on the primary, 0x21"),
        (b"a" * 4096, b"a" * 9 + b"bb" + b"a" * 4084 + b"b", "3 of 4096 bytes, from 9 to 4095"),
        (b"a" * 4096, None, "cannot be read on the backup"),
        (None, None, "cannot be read on the primary and the backup"),
    ],
)
def test_how_a_block_differs(primary: bytes | None, backup: bytes | None, said: str) -> None:
    assert blocks.difference(read(primary), read(backup)).startswith(said)


def test_only_a_file_system_whose_tool_can_tell_is_asked() -> None:
    assert blocks.owner_script("xfs", "/dev/x", [1]) == []
    assert blocks.owner_script("ext4", "/dev/x", []) == []
    assert [line[5] for line in blocks.owner_script("ext4", "/dev/x", [1, 2])] == [
        "icheck 1 2", "stats",
    ]  # fmt: skip


def test_differing_blocks_are_noted_in_the_evidence(tmp_path: Path) -> None:
    world = World()
    made = bench(world, tmp_path)

    def debugfs(role: str, command: tuple[str, ...]) -> Reply | None:
        if command[:1] != ("exec",) or "debugfs" not in command[2]:
            return None
        return Reply(_SAID[command[4].split()[0]].encode())

    world.rules += [
        on("backup", "digest", lambda: Reply(DIGEST.replace(b"0", b"1"))),
        on("primary", "blockmap", lambda: Reply(b"20 00112233445566aa\n1162 00112233445566bb\n")),
        on("backup", "blockmap", lambda: Reply(b"20 00112233445566cc\n")),
        on("primary", "readblock", lambda: Reply(b"a" * 4096)),
        on("backup", "readblock", lambda: Reply(bytes(4096))),
        debugfs,
    ]
    assert run(made).evidence.block_notes == (
        BlockNote(20, "journal", "all zeros on the backup"),
        BlockNote(1162, "data of /foo (inode 12)", "all zeros on the backup"),
    )


def test_without_the_tool_the_difference_is_noted_alone(tmp_path: Path) -> None:
    world = World()
    made = bench(world, tmp_path)
    world.rules += [
        on("backup", "digest", lambda: Reply(DIGEST.replace(b"0", b"1"))),
        on("primary", "blockmap", lambda: Reply(b"7 00112233445566bb\n")),
        on("primary", "readblock", lambda: Reply(b"a" * 4096)),
        on("backup", "readblock", lambda: Reply.failure("read: EILSEQ: /dev/x")),
        lambda role, command: (
            Reply.failure("posix_spawn: ENOENT") if "/sbin/debugfs" in command else None
        ),
    ]
    assert run(made).evidence.block_notes == (BlockNote(7, "", "cannot be read on the backup"),)
