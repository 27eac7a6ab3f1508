# SPDX-License-Identifier: Apache-2.0
"""Tests that come with an xfstests tree: which there are, and which a group has."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ace_workloads.ops import Step
from harness.errors import UsageError

SUITE = "xfstests"
_LIST = "group.list"
_NUMBER = re.compile(r"[0-9]{3,}")


@dataclass(frozen=True, slots=True)
class ForeignTest:
    """One test; it writes what it likes, and is over before anything is looked at."""

    name: str
    """As ``check`` wants it: ``generic/001``."""
    content_hash: str
    """sha256 of its script."""

    steps: tuple[Step, ...] = ()
    canonical_text: str = ""

    @property
    def id(self) -> str:
        return f"{SUITE}/{self.name}"

    @property
    def skeleton(self) -> str:
        """The folder it is in."""
        return self.name.partition("/")[0]


def group_tests(tree: Path, wanted: str) -> list[ForeignTest]:
    """The tests of ``generic/quick`` (a group in one folder), or ``generic/001``, in order.

    Raises UsageError where there is no such folder, group or test, naming those there are.
    """
    folder, slash, group = wanted.partition("/")
    known = sorted(path.parent.name for path in (tree / "tests").glob(f"*/{_LIST}"))
    if folder not in known or not slash:
        listed = ", ".join(known) or f"none: no tests/*/{_LIST}, so it was not built"
        raise UsageError(
            f"{wanted!r} is no group of tests in {tree}",
            hint=f"--group FOLDER/GROUP or FOLDER/NUMBER; folders: {listed}",
        )
    groups = dict(_groups(tree / "tests" / folder / _LIST))
    if _NUMBER.fullmatch(group):
        names = [group] if group in groups else []
    else:
        names = [name for name, its in groups.items() if group in its]
    if not names:
        there = sorted({each for its in groups.values() for each in its})
        raise UsageError(
            f"no test of {folder} is in a group {group!r}", hint=f"groups: {', '.join(there)}"
        )
    return [_test(tree, f"{folder}/{name}") for name in names]


def _groups(listed: Path) -> Iterator[tuple[str, frozenset[str]]]:
    """Test and its groups, as the list has them."""
    for line in listed.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.partition("#")[0].split()
        if words and _NUMBER.fullmatch(words[0]):
            yield words[0], frozenset(words[1:])


def _test(tree: Path, name: str) -> ForeignTest:
    path = tree / "tests" / name
    try:
        return ForeignTest(name, hashlib.sha256(path.read_bytes()).hexdigest())
    except OSError as error:
        raise UsageError(f"test {name} cannot be read: {error}", hint="build the tree") from error
