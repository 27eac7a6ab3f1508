# SPDX-License-Identifier: Apache-2.0
"""Rules about names: what must be there, what must be gone, what a name may be bound to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.model.tree import Entry, Tree
from harness.model.verdict import Check
from harness.oracle.expect import Expectation
from harness.oracle.match import Live, Match
from harness.oracle.model import Model
from harness.oracle.objects import ROOT, Slot
from harness.oracle.rules import Rule, compared, failed, passed

ABSENT = "absent"


def judge_names(expectation: Expectation, live: Live, tree: Tree, found: Match) -> Iterator[Check]:
    """Every rule about names, for one crash point."""
    yield from _strange_names(expectation, tree, found)
    for slot in sorted(expectation.model.slots):
        yield from _slot(expectation, tree, found, slot)
    yield from _reachable(expectation, found)
    yield from _numbers(live, tree, found)
    if expectation.fs.ordered_metadata:
        yield _order(expectation, tree, found)


def describe(model: Model, inode: int | None) -> str:
    """An object of the model in a few words."""
    if inode is None:
        return ABSENT
    kind = model.inodes[inode].kind
    return f"{kind or 'special file'} made at line {model.inodes[inode].born}"


def one_of(model: Model, inodes: Sequence[int | None]) -> str:
    """The legal bindings of a slot in words."""
    return " or ".join(describe(model, inode) for inode in inodes)


def shown(entry: Entry) -> str:
    """A recovered entry in a few words."""
    return f"{entry.kind}, {entry.size} bytes, inode {entry.ino}"


def _strange_names(expectation: Expectation, tree: Tree, found: Match) -> Iterator[Check]:
    model = expectation.model
    for path, slot in sorted(found.strange.items()):
        entry = tree.entries[path]
        if slot is None:
            yield failed(
                Rule.NAME_LEGAL, path, ABSENT, shown(entry), "its directory should not be there"
            )
            continue
        binding = expectation.binding(slot)
        expected = one_of(model, binding.legal)
        if slot not in model.slots:
            message = "no step ever made this name"
            yield failed(Rule.NAME_LEGAL, path, ABSENT, shown(entry), message)
        elif binding.legal == (None,):
            message = "the name was removed, the removal persisted, and it is back"
            yield failed(Rule.NAME_GONE, path, ABSENT, shown(entry), message)
        else:
            rule = Rule.NAME_PERSISTED if binding.promised else Rule.NAME_LEGAL
            message = "the name is bound to an object it was not bound to, then or later"
            yield failed(rule, path, expected, shown(entry), message)
    for path in sorted(found.clashing):
        message = "names of different objects share an inode, or links of one object do not"
        yield failed(Rule.NAME_LEGAL, path, "its own object", shown(tree.entries[path]), message)


def _slot(expectation: Expectation, tree: Tree, found: Match, slot: Slot) -> Iterator[Check]:
    model, binding = expectation.model, expectation.binding(slot)
    directory = found.path_of(slot.dir)
    path = _join(directory, slot.name) if directory is not None else model.path_of(slot)
    present = directory is not None and path in tree.entries
    expected = one_of(model, binding.legal)
    if present:
        if path not in found.objects:
            return  # reported by _strange_names
        yield passed(Rule.NAME_PERSISTED if binding.promised else Rule.NAME_LEGAL, path, expected)
    elif binding.promised and binding.legal != (None,):
        message = "persisted, not changed since, and not there"
        yield failed(Rule.NAME_PERSISTED, path, expected, ABSENT, message)
    elif binding.promised:
        yield passed(Rule.NAME_GONE, path, ABSENT)
    elif None not in binding.legal and directory is not None:
        message = "replaced, never removed: neither the old nor the new object is there"
        yield failed(Rule.RENAME_ATOMIC, path, expected, ABSENT, message)
    else:
        yield passed(Rule.NAME_LEGAL, path, expected)


def _join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name


def _reachable(expectation: Expectation, found: Match) -> Iterator[Check]:
    """A persisted object that was only renamed or linked since is under one of its names."""
    model = expectation.model
    for inode in model.inodes:
        floor = expectation.exists_floor(inode) if inode != ROOT else 0
        slots = expectation.possible_slots(inode, floor) if floor else set()
        if len(slots) < 2:
            continue
        paths = sorted(model.path_of(slot) for slot in slots)
        if found.path_of(inode) is not None:
            yield passed(Rule.RENAME_ATOMIC, paths[0], "under one of " + ", ".join(paths))
        else:
            message = "a persisted object that always had a name is under none of its names"
            yield failed(
                Rule.RENAME_ATOMIC, paths[0], describe(model, inode) + " under one of "
                + ", ".join(paths), ABSENT, message,
            )  # fmt: skip


def _numbers(live: Live, tree: Tree, found: Match) -> Iterator[Check]:
    for path, inodes in sorted(found.objects.items()):
        known = [live.entries[inode].ino for inode in inodes if inode in live.entries]
        if len(inodes) == 1 and known and path in tree.entries:
            message = "a persisted object came back under another inode number"
            yield compared(Rule.ATTR_INO, path, known[0], tree.entries[path].ino, message)


def _order(expectation: Expectation, tree: Tree, found: Match) -> Check:
    """Names and extended attributes as a whole are those of one moment, no earlier than the floor.

    Only for file systems with one journal: their metadata comes back in the order it was changed.
    """
    model, floor = expectation.model, expectation.floors.order
    expected = f"all names as after one of lines {floor} to {model.line}"
    for line in range(floor, model.line + 1):
        if _is_moment(model, tree, found, line):
            return passed(Rule.ORDER_PREFIX, "", expected)
    message = "the names that are there were never there together"
    names = " ".join(sorted(path for path in tree.entries if path)) or "no name at all"
    return failed(Rule.ORDER_PREFIX, "", expected, names, message)


def _is_moment(model: Model, tree: Tree, found: Match, line: int) -> bool:
    then = model.paths(line)
    if then.keys() != tree.entries.keys():
        return False
    return all(
        inode in found.objects.get(path, frozenset())
        and model.inodes[inode].xattrs.at(line) == tree.entries[path].xattrs
        for path, inode in then.items()
    )
