# SPDX-License-Identifier: Apache-2.0
"""The names a workload may touch: disk paths below the mount point, and their J-lang spelling."""

from __future__ import annotations

import re

ROOT = ""
"""The mount point itself."""

_ROOT_JLANG = "test"
_PATH = re.compile(r"(?:[AB](?:/C)*/)?(?:foo|bar)|[AB](?:/C)*")
_JLANG = re.compile(r"(?P<dirs>(?:[AB]C*)?)(?P<leaf>(?:foo|bar)?)")


def is_known(path: str) -> bool:
    """Whether ``path`` is the mount point, foo, bar, or lies in A, B, A/C, B/C, A/C/C and so on.

    The bounds use nothing deeper than A/C; renaming A to B with A/C in it makes B/C.
    """
    return path == ROOT or _PATH.fullmatch(path) is not None


def is_file(path: str) -> bool:
    """Whether the name is one that only ever denotes a file."""
    return path.endswith(("foo", "bar"))


def parent(path: str) -> str:
    """Directory that holds ``path``; the mount point is its own parent."""
    return path.rpartition("/")[0]


_SIBLING_LEAF = {"foo": "bar", "bar": "foo", "A": "B", "B": "A"}


def sibling(path: str) -> str:
    """The name beside ``path``; A/C and the mount point have only themselves."""
    head, slash, leaf = path.rpartition("/")
    return head + slash + _SIBLING_LEAF.get(leaf, leaf)


def to_jlang(path: str) -> str:
    """J-lang spelling: ``A/C/foo`` is ``ACfoo``, the mount point is ``test``."""
    return path.replace("/", "") or _ROOT_JLANG


def from_jlang(name: str) -> str:
    """Disk path of a J-lang name; ValueError if there is no such name."""
    if name == _ROOT_JLANG:
        return ROOT
    match = _JLANG.fullmatch(name)
    if match is None or not name:
        raise ValueError(f"no such name: {name!r}")
    return "/".join([*match["dirs"], *filter(None, [match["leaf"]])])
