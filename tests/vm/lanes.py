# SPDX-License-Identifier: Apache-2.0
"""Which tests share guests, and the order in which they go into lanes that run side by side."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from xdist.scheduler import LoadScopeScheduling

_SHARED = {"pair", "kmod_guests"}
"""Fixtures of guests that stay up from test to test."""
_KMOD_FILES = ("test_kmod.py", "test_kmod_selftest.py", "test_reports.py")
# What is long begins first, so that lanes end at about the same time. The first two need the two
# profiles: on a fresh host their root trees are built side by side.
_ORDER = (
    "kmod 6.1",
    "kmod 6.12",
    "pair",
    "test_run.py",
    "test_defects.py",
    "test_drbd.py",
    "test_dev_pair.py",
)


def guests_of(nodeid: str) -> str | None:
    """A name for the guests that a test shares with others, None if it has its own."""
    file = _file(nodeid)
    if file.startswith("test_pair_"):
        return "pair"
    if file in _KMOD_FILES:
        return "kmod 6.12" if "6.12" in nodeid else "kmod 6.1"
    return None


def in_order(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """The long ones first, those that share guests one after the other."""
    items = list(items)
    for item in items:
        shares = _SHARED & set(getattr(item, "fixturenames", ()))
        if shares and guests_of(item.nodeid) is None:
            raise pytest.UsageError(f"{item.nodeid} shares guests ({shares}): name it in lanes.py")
    return sorted(items, key=lambda item: _rank(item.nodeid))


def _rank(nodeid: str) -> tuple[int, bool]:
    name = guests_of(nodeid) or _file(nodeid)
    # The mistakes that are made on purpose leave a guest that nobody should trust.
    last = _file(nodeid) == "test_reports.py"
    return _ORDER.index(name) if name in _ORDER else len(_ORDER), last


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0].rpartition("/")[2]


class Lanes(LoadScopeScheduling):  # type: ignore[misc]
    """Hands tests that share guests to one lane, the others one by one."""

    def _split_scope(self, nodeid: str) -> str:
        return guests_of(nodeid) or nodeid
