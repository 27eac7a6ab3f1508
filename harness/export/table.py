# SPDX-License-Identifier: Apache-2.0
"""What the oracle allows after a crash, as lines of text for ``files/ace-judge``.

One table per persistence point; ``files/ace`` says what each line means. Everything here is read
off ``harness.oracle``: the table states its expectation, it has no rules of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import pairwise

from ace_workloads.ops import Step, Verb
from harness.model.tree import FileKind
from harness.oracle.expect import Expectation, Fs
from harness.oracle.history import END, regions
from harness.oracle.model import Model, execute
from harness.oracle.objects import Inode, Slot
from harness.oracle.sizes import legal_sizes


def crash_lines(steps: Sequence[Step]) -> tuple[int, ...]:
    """Line number of every persistence op that a checkpoint follows, in order."""
    return tuple(at for at, step in enumerate(steps) if step.verb is Verb.CHECKPOINT)


def uses_xattrs(steps: Sequence[Step]) -> bool:
    """Whether any step touches extended attributes."""
    return any(step.verb in (Verb.FSETXATTR, Verb.REMOVEXATTR) for step in steps)


def table_lines(steps: Sequence[Step]) -> Iterator[str]:
    """The tables of all persistence points; file systems with the same promises share one."""
    if uses_xattrs(steps):
        yield "xattrs"
    mapped = frozenset(at for at, step in enumerate(steps, 1) if step.verb is Verb.MMAPWRITE)
    for point, line in enumerate(crash_lines(steps), 1):
        model = execute(steps, line)
        yield f"point {point} {line}"
        journal, btrfs = (
            [*_Table(Expectation(model, fs), mapped).lines()] for fs in (Fs.EXT4, Fs.BTRFS)
        )
        yield from _merged(journal, btrfs)


def _merged(journal: Sequence[str], btrfs: Sequence[str]) -> Iterator[str]:
    """Both lists as one: a line of one alone begins with whose it is."""
    matcher = SequenceMatcher(None, journal, btrfs, autojunk=False)
    for word, start, end, start2, end2 in matcher.get_opcodes():
        if word == "equal":
            yield from journal[start:end]
        else:
            yield from (f"journal {line}" for line in journal[start:end])
            yield from (f"btrfs {line}" for line in btrfs[start2:end2])


class _Table:
    """One crash point on one kind of file system."""

    def __init__(self, expectation: Expectation, mapped: frozenset[int]) -> None:
        self._expectation = expectation
        self._model = expectation.model
        self._mapped = mapped
        """Lines whose data was stored through a mapping."""

    def lines(self) -> Iterator[str]:
        for number in sorted(self._model.inodes):
            yield from self._object(self._model.inodes[number])
        for slot in sorted(self._model.slots):
            binding = self._expectation.binding(slot)
            legal = ",".join("-" if value is None else str(value) for value in binding.legal)
            yield f"name {_slot(slot)} {legal}{_mark(binding.promised)}"
        yield from self._reachable()
        yield f"live {_moment(self._model, self._model.line)}"
        if self._expectation.fs.ordered_metadata:
            floor = self._expectation.floors.order
            moments = (
                f"moment {_moment(self._model, line)}"
                for line in range(floor, self._model.line + 1)
            )
            yield from dict.fromkeys(moments)

    def _object(self, inode: Inode) -> Iterator[str]:
        kind = inode.kind or "special"
        target = f" {inode.target}" if inode.target is not None else ""
        yield f"object {inode.id} {kind} {inode.mode:04o} {self._same(inode) or '-'}{target}"
        floor = self._expectation.xattrs_floor(inode)
        states = [int(bool(value)) for _, value in inode.xattrs.since(floor)]
        if states != [0]:
            yield f"xattr {inode.id} {','.join(map(str, dict.fromkeys(states)))}"
        if inode.kind is FileKind.FILE:
            yield from self._data(inode)

    def _same(self, inode: Inode) -> str:
        """Which attributes must equal those before the crash, as letters; see ``files/ace``."""
        if not self._expectation.attrs_settled(inode):
            return ""
        letters = self._same_times(inode)
        if inode.is_dir:
            return letters + "bd"
        last = max(inode.touched, default=0)
        spans = self._expectation.floors.spans(inode.id)
        whole = any(s.line >= last and s.start == 0 and s.end == END for s in spans)
        return letters + "b" if whole else letters

    def _same_times(self, inode: Inode) -> str:
        """Both times, but for those that btrfs sets anew when it replays the removal of a name."""
        if self._expectation.fs.ordered_metadata:
            return "cm"
        name_removed = entry_removed = False
        for slot, history in self._model.slots.items():
            for (_, value), _ in pairwise(history.since(self._expectation.floors.order)):
                entry_removed |= value is not None and slot.dir == inode.id
                name_removed |= value == inode.id
        if entry_removed:
            return ""
        return "m" if name_removed else "cm"

    def _data(self, inode: Inode) -> Iterator[str]:
        spans = self._expectation.floors.spans(inode.id)
        steps = legal_sizes(inode, spans).steps
        settled = len(steps) == 1 and bool(spans)
        if steps != (0,) or inode.size.now() or settled:
            listed = ",".join(map(str, steps))
            yield f"size {inode.id} {inode.size.now()} {listed}{_mark(settled)}"
        ends = (change.end for change in inode.changes if change.end < END)
        for region in regions(inode.changes, spans, max(*steps, inode.size.now(), *ends)):
            # The judge takes the last value for the present one.
            *older, present = region.legal
            legal = [*(value for value in dict.fromkeys(older) if value != present), present]
            values = ",".join(map(self._value, legal))
            yield f"bytes {inode.id} {region.start}-{region.end} {values}{_mark(region.promised)}"

    def _value(self, line: int) -> str:
        return f"m{line}" if line in self._mapped else str(line)

    def _reachable(self) -> Iterator[str]:
        for inode in sorted(self._model.inodes):
            floor = self._expectation.exists_floor(inode) if inode else 0
            slots = self._expectation.possible_slots(inode, floor) if floor else set()
            if len(slots) > 1:
                yield f"reach {inode} {' '.join(_slot(slot) for slot in sorted(slots))}"


def _slot(slot: Slot) -> str:
    return f"{slot.dir}/{slot.name}"


def _mark(promised: bool) -> str:
    return "!" if promised else ""


def _moment(model: Model, line: int) -> str:
    words = []
    for path, inode in sorted(model.paths(line).items()):
        mark = "*" if model.inodes[inode].xattrs.at(line) else ""
        words.append(f"{path or '.'}={inode}{mark}")
    return " ".join(words)
