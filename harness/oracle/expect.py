# SPDX-License-Identifier: Apache-2.0
"""What the persistence ops of a workload promise, per file system: the floors of every object.

A *floor* is a line number: the object's state right after that line is on stable storage, so that
after a crash it is that state or a later one. ``docs/oracle.md`` argues every rule used here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from harness.oracle.history import Span, regions
from harness.oracle.model import Model
from harness.oracle.objects import Inode, Persisted, Promise, Slot
from harness.oracle.sizes import legal_sizes


class Fs(StrEnum):
    """A file system the oracle knows the promises of."""

    EXT4 = "ext4"
    XFS = "xfs"
    BTRFS = "btrfs"

    @property
    def ordered_metadata(self) -> bool:
        """Whether metadata reaches the disk in the order it was changed (one journal)."""
        return self is not Fs.BTRFS


@dataclass(slots=True)
class Floors:
    """Floors of one crash point; an object that is absent has none."""

    order: int = 0
    """Every metadata change up to this line is on disk."""
    names: dict[int, int] = field(default_factory=dict)
    """Inode -> line: all names it had then, and that it no longer had its former ones."""
    entries: dict[int, int] = field(default_factory=dict)
    """Directory -> line: its whole list of entries."""
    exists: set[int] = field(default_factory=set)
    """Inodes that came to be on disk together with something that was persisted."""
    attrs: dict[int, int] = field(default_factory=dict)
    """Inode -> line: every attribute but the times."""
    times: dict[int, int] = field(default_factory=dict)
    """Inode -> line: the times too. An O_SYNC write that extends a file leaves it on ext4's orphan
    list for a moment, and recovery then truncates it to its own size, which sets the times."""
    data: dict[int, list[Span]] = field(default_factory=lambda: defaultdict(list))
    """Inode -> file ranges, each with its own line."""

    def spans(self, inode: int) -> tuple[Span, ...]:
        """Ranges of the file that are promised."""
        return tuple(self.data.get(inode, ()))


@dataclass(frozen=True, slots=True)
class Binding:
    """What a slot may be bound to after the crash."""

    legal: tuple[int | None, ...]
    """Model inodes, None for "no such entry"; the latest is last."""
    promised: bool
    """Only one value is legal, because it was persisted and not changed since."""


class Expectation:
    """The legal states of one crash point: of every slot, and of every inode."""

    def __init__(self, model: Model, fs: Fs, *, before: int | None = None) -> None:
        """``before`` leaves out what was promised on that line and later."""
        self.model = model
        self.fs = fs
        self.floors = floors(model, fs, before)
        self._bindings: dict[Slot, Binding] = {}

    @property
    def anything_promised(self) -> bool:
        """Whether an empty file system would break a promise, the root's own attributes aside."""
        bindings = (self.binding(slot) for slot in self.model.slots)
        return any(b.promised and b.legal != (None,) for b in bindings) or any(
            self.possible_slots(inode, floor)
            for inode in self.model.inodes
            if (floor := self.exists_floor(inode))
        )

    def promises(self) -> tuple[object, ...]:
        """All that is promised, as a value to compare with that of another moment."""
        objects = [
            (
                inode.id,
                self.attrs_settled(inode),
                inode.xattrs.since(self.xattrs_floor(inode)),
                tuple(regions(inode.changes, self.floors.spans(inode.id), inode.size.now())),
                legal_sizes(inode, self.floors.spans(inode.id)),
                self.possible_slots(inode.id, self.exists_floor(inode.id)),
            )
            for inode in self.model.inodes.values()
        ]
        return (objects, [self.binding(slot) for slot in sorted(self.model.slots)])

    def binding(self, slot: Slot) -> Binding:
        """What ``slot`` may be bound to; only "no such entry" for one that never was used."""
        if slot not in self._bindings:
            self._bindings[slot] = self._bind(slot)
        return self._bindings[slot]

    def _bind(self, slot: Slot) -> Binding:
        history = self.model.slots.get(slot)
        if history is None:
            return Binding((None,), False)
        floor = max(self.floors.order, self.floors.entries.get(slot.dir, 0))
        for _, inode in history.since(0):
            if inode is not None:
                floor = max(floor, self._floor_by_inode(slot, inode))
        if self.fs is Fs.BTRFS and history.changed_after(floor):
            # Changing a name takes what the log said of it back out; the next fsync of anything
            # writes the log as it then is, to be replayed over the last full commit.
            floor = self.floors.order
        values: list[int | None] = []
        since = history.since(floor)
        for at, (_, inode) in enumerate(since):
            if inode not in values and not self._lost_for_good(inode, since[at + 1 :]):
                values.append(inode)
        if self.fs is Fs.BTRFS and len(since) > 1 and None not in values:
            # A new object that replaced another enters the log only if it was there before.
            values.insert(0, None)
        return Binding(tuple(values), len(values) == 1 and (floor > 0 or len(since) > 1))

    def _lost_for_good(
        self, inode: int | None, following: Sequence[tuple[int, int | None]]
    ) -> bool:
        """Whether ``inode``, bound to a name until ``following``, had that loss persisted.

        Its own fsync does that where the name was unlinked or renamed away, as long as nobody
        touches the name again; where another object was renamed over it, btrfs does not note the
        loss with the one that lost.
        """
        if inode is None or not following or following[0][1] is not None:
            return False
        return following[-1][0] <= self.floors.names.get(inode, -1)

    def _floor_by_inode(self, slot: Slot, inode: int) -> int:
        """Line at which a promise about ``inode`` fixed that ``slot`` is bound to it, or 0."""
        history = self.model.slots[slot]
        named = self.floors.names.get(inode, 0)
        floor = named if history.at(named) == inode else 0
        exists = self.exists_floor(inode)
        if exists > floor and self.possible_slots(inode, exists) == {slot}:
            floor = exists
        return floor

    def exists_floor(self, inode: int) -> int:
        """Line since which the inode must be reachable under some name; 0 if never promised.

        What persists that an object exists need not persist its latest name: the names to look
        under are those it had when its name was last persisted, or when it was made, and later.
        """
        floors, model = self.floors, self.model
        lines = [floors.order] if model.names_of(inode, floors.order) else []
        if not self.fs.ordered_metadata:
            if inode in floors.exists:
                lines.append(model.inodes[inode].born)
            lines += [at for at in (floors.names.get(inode, 0),) if model.names_of(inode, at)]
            lines += [
                at
                for directory, at in floors.entries.items()
                if inode in model.children(directory, at).values()
            ]
        return max(lines, default=0)

    def possible_slots(self, inode: int, floor: int) -> set[Slot]:
        """Slots the inode was bound to at ``floor`` or later; empty if it lost its last name."""
        slots = {
            slot
            for slot, history in self.model.slots.items()
            if any(value == inode for _, value in history.since(floor))
        }
        lines = {line for slot in slots for line, _ in self.model.slots[slot].since(floor)}
        for line in {max(line, floor) for line in lines}:
            if not self.model.names_of(inode, line):
                return set()
        if self.fs is Fs.BTRFS and any(self._taken_over(slot, inode, floor) for slot in slots):
            return set()
        return slots

    def _taken_over(self, slot: Slot, inode: int, floor: int) -> bool:
        """Whether another object got the name after ``inode`` had it.

        Logging that object deletes the name's old owner from where it was; a new name in a
        directory that the log does not know is then not replayed.
        """
        values = [value for _, value in self.model.slots[slot].since(floor)]
        return any(value not in (None, inode) for value in values[values.index(inode) :])

    def times_floor(self, inode: Inode) -> int:
        """Line whose every attribute of the inode, times included, is on disk; 0 for none.

        With ordered metadata an inode that never had data written needs no fsync of its own.
        """
        floor = self.floors.times.get(inode.id, 0)
        if self.fs.ordered_metadata and set(inode.touched) <= set(inode.logged):
            floor = max(floor, self.floors.order if inode.born <= self.floors.order else 0)
        return floor

    def attrs_settled(self, inode: Inode) -> bool:
        """Whether every attribute is as on the primary, provided that the inode is there at all.

        It was persisted and not touched since, or never touched but when it was made.
        """
        last = max(inode.touched, default=0)
        return 0 < last <= max(self.times_floor(inode), inode.born) or (
            last == 0 and self.times_floor(inode) > 0
        )

    def xattrs_floor(self, inode: Inode) -> int:
        """Line whose extended attributes of the inode are on disk; 0 for none."""
        order = self.floors.order if inode.born <= self.floors.order else 0
        return max(self.floors.attrs.get(inode.id, 0), order)


def floors(model: Model, fs: Fs, before: int | None = None) -> Floors:
    """Floors after the last line of ``model``, of promises made before line ``before``."""
    result = Floors()
    for persisted in model.persisted:
        if before is not None and persisted.line >= before:
            break
        if persisted.promise is Promise.EVERYTHING:
            _everything(result, model, persisted.line)
        else:
            _one_inode(result, model, fs, persisted)
    return result


def _everything(result: Floors, model: Model, line: int) -> None:
    result.order = line
    for inode in model.inodes.values():
        if inode.born <= line:
            result.attrs[inode.id] = result.times[inode.id] = line
            result.data[inode.id].append(Span(line))


def _one_inode(result: Floors, model: Model, fs: Fs, persisted: Persisted) -> None:
    line, inode = persisted.line, model.inodes[persisted.inode]
    whole_inode = persisted.promise in (Promise.INODE, Promise.RANGE_AND_INODE)
    result.data[inode.id].append(Span(line, persisted.start, persisted.end))
    if fs.ordered_metadata:
        done = [at for at in inode.logged if at <= line] if whole_inode else [inode.born]
        result.order = max(result.order, *done, 0)
    linked = bool(model.names_of(inode.id, line))
    if linked:
        result.exists.update((inode.id, *model.ancestors(inode.id, line)))
    if not whole_inode:
        return
    result.attrs[inode.id] = line
    if persisted.promise is Promise.INODE:
        result.times[inode.id] = line
    if linked:
        result.names[inode.id] = line
    if inode.is_dir:
        result.entries[inode.id] = line
