# SPDX-License-Identifier: Apache-2.0
"""Runs exported tests on a plain directory, with ``tests/xfstests_standin`` around them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

STANDIN = Path(__file__).parents[1] / "xfstests_standin"
_FS_OF = {"ext2/ext3": "ext4", "xfs": "xfs", "btrfs": "btrfs"}
_PROGRAMS = ("bash", "perl", "xfs_io", "setfattr", "getfattr")


@dataclass
class Ran:
    """What one test came to."""

    output: str
    golden: str
    status: int
    calls: list[str]

    @property
    def passed(self) -> bool:
        """As check sees it."""
        return self.status == 0 and self.output == self.golden

    @property
    def unexpected(self) -> list[str]:
        """Lines that the golden output does not have."""
        return [line for line in self.output.splitlines() if line not in self.golden.splitlines()]


class Sandbox:
    """A folder with an xfstests tree of stand-ins and exported tests, and one to run them in."""

    def __init__(self, folder: Path) -> None:
        self.tree = folder / "tree"
        self.mount = folder / "mnt"
        self._notes = folder / "notes"
        self.mount.mkdir()
        shutil.copytree(STANDIN / "common", self.tree / "common")
        named = subprocess.run(
            ["stat", "-f", "-c", "%T", folder], check=True, capture_output=True, text=True
        ).stdout.strip()
        if named not in _FS_OF:
            pytest.fail(f"{folder} is on {named}; set TMPDIR to a folder on ext4, xfs or btrfs")
        self.fs = _FS_OF[named]

    def run(self, test: str, *, damage: str = "", **environment: str) -> Ran:
        """Run ``smoke/001``, with something done to the tree at each crash."""
        shutil.rmtree(self._notes, ignore_errors=True)
        self._notes.mkdir()
        subprocess.run(["find", self.mount, "-mindepth", "1", "-delete"], check=True)
        known = {
            "FSTYP": self.fs,
            "HARNESS_RENDEZVOUS": "",
            "SCRATCH_MNT": str(self.mount),
            "STANDIN": str(self._notes),
            "STANDIN_DAMAGE": damage,
            "STANDIN_HOME": str(STANDIN),
        }
        done = subprocess.run(
            ["bash", f"tests/{test}"], cwd=self.tree, env={**os.environ, **known, **environment},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=300,
        )  # fmt: skip
        golden = (self.tree / "tests" / f"{test}.out").read_text()
        calls = (self._notes / "calls").read_text().splitlines()
        return Ran(done.stdout, golden, done.returncode, calls)


@contextmanager
def sandbox() -> Iterator[Sandbox]:
    """A sandbox on a real file system; what a test needs and the host lacks is a failure."""
    for program in _PROGRAMS:
        if shutil.which(program) is None:
            pytest.fail(f"{program} is not installed; scripts/packages.txt has its package")
    parent = os.environ.get("TMPDIR", "/var/tmp")
    with tempfile.TemporaryDirectory(prefix="xfstests-", dir=parent) as folder:
        yield Sandbox(Path(folder))
