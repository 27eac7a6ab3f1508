# SPDX-License-Identifier: Apache-2.0
"""The root disk: what of a root tree gets onto it, and what file system it is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.build import disk
from harness.proc import ToolError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root tree in small: a program under two names, a link, and what no disk needs."""
    root = tmp_path / "root"
    for folder in ("boot", "build/x", "dev", "usr/bin", "etc", "tmp", "var/lib/apt/lists"):
        (root / folder).mkdir(parents=True)
    for file in ("boot/vmlinuz-6.1", "build/x/a.o", "dev/null", "var/lib/apt/lists/Packages"):
        (root / file).write_text("x", encoding="ascii")
    (root / "usr/bin/true").write_text("program", encoding="ascii")
    (root / "usr/bin/true").chmod(0o4755)
    os.link(root / "usr/bin/true", root / "usr/bin/yes")
    (root / "bin").symlink_to("usr/bin")
    (root / "vmlinuz").symlink_to("boot/vmlinuz-6.1")
    return root


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_what_a_disk_has_of_the_tree(tree: Path, tmp_path: Path) -> None:
    before = names(tree)
    stage = tmp_path / "stage"
    disk.stage_tree(tree, stage)
    assert names(stage) == {
        *("boot", "dev", "mnt", "proc", "run", "sys", "tmp", "etc", "bin"),
        *("usr", "usr/bin", "usr/bin/true", "usr/bin/yes"),
        *("var", "var/cache", "var/cache/apt", "var/lib", "var/lib/apt", "var/lib/apt/lists"),
    }
    assert (stage / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert os.readlink(stage / "bin") == "usr/bin"
    assert (stage / "usr/bin/true").samefile(tree / "usr/bin/true"), "costs no space"
    assert names(tree) == before


def ask(image: Path, question: str) -> str:
    """What debugfs says of the image, which is read only."""
    done = subprocess.run(
        ["debugfs", "-R", question, image], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_image_is_a_sound_file_system_with_the_tree_in_it(tree: Path, tmp_path: Path) -> None:
    stage, image = tmp_path / "stage", tmp_path / "root.img"
    disk.stage_tree(tree, stage)
    disk.make_image(stage, image)
    subprocess.run(["e2fsck", "-f", "-n", image], check=True, capture_output=True)
    assert ask(image, "cat /usr/bin/true") == "program"
    program = ask(image, "stat /usr/bin/true")
    assert "Mode:  04755" in program
    assert "User:     0   Group:     0" in program
    assert "Links: 2" in program
    assert ask(image, "stat /bin").count('Fast link dest: "usr/bin"') == 1
    # Neither of the host's own choice, nor with what an older kernel cannot mount.
    features = ask(image, "features").partition(":")[2].split()
    assert sorted(features) == sorted(set(disk._FEATURES) - {"none"})
    assert image.stat().st_size == disk.DISK_BYTES
    assert image.stat().st_blocks * 512 < 100 << 20, "holes where nothing is stored"


def test_an_image_that_cannot_be_made_says_why(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"making the disk .*root.img failed"):
        disk.make_image(tmp_path / "no-such-folder", tmp_path / "root.img")
