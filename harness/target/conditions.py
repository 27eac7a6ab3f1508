# SPDX-License-Identifier: Apache-2.0
"""Conditions over a status, as the agent's ``dm-wait`` has them: KEY, ==, >= or <=, VALUE."""

from __future__ import annotations

import re
from collections.abc import Mapping

_FORM = re.compile(r"([^=<>\s]+)(==|>=|<=)(\S+)")


def well_formed(condition: str) -> bool:
    """Whether the agent would take it for a condition."""
    return _FORM.fullmatch(condition) is not None


def holds(condition: str, status: Mapping[str, str]) -> bool:
    """Whether ``status`` meets it; VALUE is another key's value, a number or a word.

    A key that is not there meets nothing. ``ValueError`` for what is no condition.
    """
    match = _FORM.fullmatch(condition)
    if match is None:
        raise ValueError(f"no condition: {condition!r}")
    left, right = status.get(match[1]), status.get(match[3], match[3])
    if left is None:
        return False
    if match[2] == "==":
        return left == right
    if not (left.isdigit() and right.isdigit()):
        return False
    return int(left) >= int(right) if match[2] == ">=" else int(left) <= int(right)
