# SPDX-License-Identifier: Apache-2.0
"""Runs ``ace-judge`` on trees that are written down instead of mounted."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import harness.export
from ace_workloads.ops import Step
from harness.export.table import table_lines
from harness.model.content import decode
from harness.model.tree import Entry, FileKind, Tree

FILES = Path(harness.export.__file__).parent / "files"
PERL = shutil.which("perl") or "perl"


def _word(text: str) -> str:
    return "".join(c if c.isalnum() or c in "_./:+,=" else f"%{ord(c):02x}" for c in text) or "-"


def dump(tree: Tree) -> str:
    """The tree as ``ace-judge`` writes it down, with the files' bytes."""
    return "".join(f"entry {_entry(path, entry)}\n" for path, entry in tree.entries.items())


def _entry(path: str, entry: Entry) -> str:
    known = (FileKind.FILE, FileKind.DIR, FileKind.SYMLINK)
    kind = str(entry.kind) if entry.kind in known else "special"
    xattrs = ",".join(f"{name}={value.hex()}" for name, value in entry.xattrs)
    numbers = (entry.mode, entry.uid, entry.gid, entry.nlink, entry.size, entry.blocks, entry.ino,
               entry.mtime_ns, entry.ctime_ns, entry.rdev)  # fmt: skip
    words = [path, kind, *map(str, numbers), xattrs, entry.link or "", entry.error or ""]
    content = decode(entry.content).hex() if entry.content is not None else ""
    return " ".join([*map(_word, words), content or "-"])


class Judge:
    """``ace-judge`` with its table and dumps in a folder."""

    def __init__(self, folder: Path) -> None:
        self._table, self._tree, self._live = (folder / name for name in ("table", "tree", "live"))
        self._known: tuple[Step, ...] | None = None

    def _run(self, mode: str, fs: str, point: int) -> list[tuple[str, str]]:
        done = subprocess.run(
            [PERL, FILES / "ace-judge", mode, self._table, fs, str(point), "0", self._tree,
             self._live],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        found = [line.split(": ") for line in done.stdout.splitlines()]
        assert done.stderr == "", done.stderr
        assert done.returncode == (1 if found else 0)
        return [(words[0], words[1]) for words in found]

    def _write_table(self, steps: Sequence[Step]) -> None:
        if self._known != tuple(steps):
            self._known = tuple(steps)
            text = "\n".join(table_lines(steps))
            # The trees hold records where a mapping was written too.
            self._table.write_text(re.sub(r"\bm([0-9]+)", r"\1", text) + "\n")

    def live(self, steps: Sequence[Step], fs: str, point: int, live: Tree) -> list[tuple[str, str]]:
        """(rule, path) of each fault of the tree before a crash."""
        self._write_table(steps)
        self._tree.write_text(dump(live))
        return self._run("live", fs, point)

    def crash(
        self, steps: Sequence[Step], fs: str, point: int, live: Tree, recovered: Tree
    ) -> list[tuple[str, str]]:
        """(rule, path) of each fault of a recovered tree."""
        self._write_table(steps)
        self._live.write_text(dump(live))
        self._tree.write_text(dump(recovered))
        return self._run("crash", fs, point)
