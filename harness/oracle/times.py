# SPDX-License-Identifier: Apache-2.0
"""Rules about modification and change times."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from harness.model.tree import Entry
from harness.model.verdict import Check
from harness.oracle.expect import Expectation, Fs
from harness.oracle.match import Live
from harness.oracle.objects import Inode
from harness.oracle.rules import Rule, compared, failed, passed

CLOCK_TICK_NS = 10_000_000
"""Coarsest step of the kernel's clock for file times (HZ=100)."""

GUEST_SKEW_NS = 60_000_000_000
"""Far more than the clocks of two guests of one host differ: recovery may run in the other one."""


def judge_times(
    expectation: Expectation, live: Live, inode: Inode, entry: Entry
) -> Iterator[Check]:
    """Equal to the primary's where persisted and still in force, else no older than can be."""
    reference = live.entries.get(inode.id)
    if reference is None or not expectation.attrs_settled(inode):
        yield from _age(expectation, live, inode, entry)
        return
    name_removed, entry_removed = _removals(expectation, inode)
    yield _time(
        Rule.ATTR_MTIME, entry.path, reference.mtime_ns, entry.mtime_ns, reset=entry_removed
    )
    yield _time(
        Rule.ATTR_CTIME, entry.path, reference.ctime_ns, entry.ctime_ns,
        reset=entry_removed or name_removed,
    )  # fmt: skip


def _time(rule: Rule, path: str, expected: int, found: int, *, reset: bool) -> Check:
    """``reset``: recovery may have set the time anew, by the clock of the guest it ran in."""
    if reset and found >= expected - GUEST_SKEW_NS:
        return passed(rule, path, f"{expected}, or set by recovery")
    return compared(rule, path, expected, found, "persisted, not changed since, and different")


def _age(expectation: Expectation, live: Live, inode: Inode, entry: Entry) -> Iterator[Check]:
    """An object is no older than what was finished when it was made: else it is not of this run."""
    before = [
        other.ctime_ns
        for number, other in live.entries.items()
        if max(expectation.model.inodes[number].touched, default=0) <= inode.born
    ]
    if inode.born == 0 or not before:
        return
    reset = any(_removals(expectation, inode)) or (
        # Recovery finishes truncations and extending direct writes that were under way.
        expectation.fs is Fs.EXT4 and not set(inode.touched) <= set(inode.logged)
    )
    oldest = max(before) - (GUEST_SKEW_NS if reset else CLOCK_TICK_NS)
    if entry.ctime_ns >= oldest:
        yield passed(Rule.ATTR_CTIME, entry.path, f"at least {oldest}")
    else:
        message = "older than what was there before any step made it"
        yield failed(Rule.ATTR_CTIME, entry.path, f"at least {oldest}", entry.ctime_ns, message)


def _removals(expectation: Expectation, inode: Inode) -> tuple[bool, bool]:
    """Whether btrfs may replay the removal of a name of the inode, or of an entry in it.

    It carries the removal out as a change of its own: the directory gets new times, the inode a
    new change time.
    """
    name_removed = entry_removed = False
    if expectation.fs is Fs.BTRFS:
        for slot, history in expectation.model.slots.items():
            for (_, value), _ in pairwise(history.since(expectation.floors.order)):
                entry_removed |= value is not None and slot.dir == inode.id
                name_removed |= value == inode.id
    return name_removed, entry_removed
