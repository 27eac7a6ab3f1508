# SPDX-License-Identifier: Apache-2.0
"""Workloads made smaller: fewer core ops, and simpler arguments, as ACE's rules carry them out.

A candidate is core ops and persistence ops only. What they need (files, directories, handles, data)
is made anew for each candidate by the corrected generator, so that each of them can be executed;
the model of the oracle has the last word on that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from ace_workloads.bounds import FALLOC_MODES, Bounds, Cut, Extent
from ace_workloads.clean import CleanModel
from ace_workloads.listing import describe_op, describe_persist
from ace_workloads.names import ROOT, is_file, is_known, parent
from ace_workloads.ops import NO_PERSIST, SELF_PERSISTED, SYNC, CoreOp, OpKind, Persist, Step, Verb
from ace_workloads.workload import Workload
from ace_workloads.written import WrittenWorkload
from harness.minimize.search import Moves
from harness.oracle.model import execute

_NAMES = (
    "foo", "bar", "A/foo", "A/bar", "B/foo", "B/bar", "A/C/foo", "A/C/bar", "B/C/foo", "B/C/bar",
)  # fmt: skip
_DIRS = (ROOT, "A", "B", "A/C", "B/C")
_SIZES = (4096, 8192, 16384, 32768)
"""Bytes of an append, and of the data that a file is given to be changed."""
_EXTENTS = (
    Extent.APPEND, Extent.OVERLAP_ALIGNED, Extent.OVERLAP_START, Extent.OVERLAP_UNALIGNED_START,
    Extent.OVERLAP_UNALIGNED, Extent.OVERLAP_END, Extent.OVERLAP_UNALIGNED_END,
    Extent.OVERLAP_EXTEND,
)  # fmt: skip
_CUTS = (Cut.ALIGNED, Cut.UNALIGNED)
_MODES = ("0", *(mode for mode in reversed(FALLOC_MODES) if mode != "0"))
_TWO_NAMES = (OpKind.LINK, OpKind.SYMLINK, OpKind.RENAME)
_WEIGHTS = {Verb.NONE: 0, Verb.CHECKPOINT: 0, Verb.FDATASYNC: 1, Verb.FSYNC: 2, Verb.SYNC: 4}


@dataclass(frozen=True)
class Candidate:
    """Core ops, each followed by a persistence op, and how much an append writes."""

    ops: tuple[CoreOp, ...]
    persists: tuple[Persist, ...]
    append_bytes: int = _SIZES[-1]

    @classmethod
    def of(cls, workload: Workload, append_bytes: int) -> Candidate:
        """``workload`` as it is."""
        return cls(workload.core, workload.persist, append_bytes)

    @property
    def parts(self) -> int:
        return len(self.ops)

    @property
    def key(self) -> str:
        return self.workload.content_hash

    @cached_property
    def measure(self) -> tuple[int, ...]:
        """Ops, persistence points and their weight, names, how odd the arguments are, bytes."""
        names = {path for op in self.ops for path in (op.path, op.path2) if path}
        names |= {persist.path for persist in self.persists if persist.path}
        words = [path for op in self.ops for path in (op.path, op.path2) if path]
        words += [persist.path for persist in self.persists]
        return (
            len(self.ops),
            sum(persist.verb not in (Verb.NONE, Verb.CHECKPOINT) for persist in self.persists),
            sum(_weight(persist) for persist in self.persists),
            len(names),
            sum(map(_rank, words)),
            sum(_oddity(op) for op in self.ops),
            self.append_bytes,
        )

    @cached_property
    def workload(self) -> WrittenWorkload:
        """The steps that carry it out."""
        kinds = ",".join(op.kind for op in self.ops)
        return WrittenWorkload(_steps(self), kinds)

    @property
    def executable(self) -> bool:
        """Whether every step of it succeeds on a sound file system."""
        return all(map(_sound, self.ops)) and not execute(self.workload.steps).errors

    def lines(self) -> tuple[str, ...]:
        """The ops in words, a persistence op behind the core op it follows."""
        return tuple(
            "; ".join(filter(None, (describe_op(op), describe_persist(persist))))
            for op, persist in zip(self.ops, self.persists, strict=True)
        )


def _steps(candidate: Candidate) -> tuple[Step, ...]:
    model = CleanModel(Bounds(length=len(candidate.ops), append_bytes=candidate.append_bytes))
    last = len(candidate.ops) - 1
    pairs = zip(candidate.ops, candidate.persists, strict=True)
    for position, (op, persist) in enumerate(pairs):
        model.apply(op, last=position == last)
        model.persist(persist, last=position == last)
    model.finish()
    return tuple(model.emitted)


def _sound(op: CoreOp) -> bool:
    """Whether the generator would make such an op: on names, of which none is within another."""
    if op.path == ROOT or (op.kind in _TWO_NAMES and op.path2 in (ROOT, op.path)):
        return False
    return not (op.path2.startswith(f"{op.path}/") or op.path.startswith(f"{op.path2}/"))


@lru_cache
def _rank(path: str) -> int:
    """How complicated a name is: every directory above it, and not being the usual one."""
    parts = path.split("/") if path else []
    return 2 * len(parts) + sum(part in ("bar", "B") for part in parts)


def _weight(persist: Persist) -> int:
    """How much a persistence op covers: a directory more than a file."""
    on_directory = persist.verb is Verb.FSYNC and not is_file(persist.path)
    return _WEIGHTS[persist.verb] + on_directory


def _oddity(op: CoreOp) -> int:
    odd = 0
    if op.option in _EXTENTS:
        odd += _EXTENTS.index(Extent(op.option))
    if op.option in _CUTS:
        odd += _CUTS.index(Cut(op.option))
    if op.flags in _MODES:
        odd += _MODES.index(op.flags)
    return odd


def keep(candidate: Candidate, chosen: Sequence[int]) -> Candidate | None:
    """``candidate`` with the ops at these positions only.

    What has no persistence op at its end any more gets that of the next op left out.
    """
    if not chosen:
        return None
    ops = tuple(candidate.ops[at] for at in chosen)
    persists = [candidate.persists[at] for at in chosen]
    if persists[-1] == NO_PERSIST:
        later = candidate.persists[chosen[-1] + 1 :]
        real = (p for p in later if p not in (NO_PERSIST, SELF_PERSISTED))
        persists[-1] = next(real, SYNC)
    return _checked(replace(candidate, ops=ops, persists=tuple(persists)))


def simpler(candidate: Candidate) -> Iterator[Candidate]:
    """Everything one step simpler: persistence points, names, arguments, sizes."""
    for changed in _proposals(candidate):
        if changed.measure < candidate.measure and (checked := _checked(changed)) is not None:
            yield checked


MOVES = Moves(keep, simpler)


def _checked(candidate: Candidate) -> Candidate | None:
    return candidate if candidate.executable else None


def _proposals(candidate: Candidate) -> Iterator[Candidate]:
    yield from _fewer_points(candidate)
    yield from _other_names(candidate)
    for size in _SIZES:
        if size < candidate.append_bytes:
            yield replace(candidate, append_bytes=size)
    yield from _plainer_ops(candidate)
    yield from _weaker_persists(candidate)


def _fewer_points(candidate: Candidate) -> Iterator[Candidate]:
    for at, persist in enumerate(candidate.persists[:-1]):
        if persist not in (NO_PERSIST, SELF_PERSISTED):
            yield _with_persist(candidate, at, NO_PERSIST)


def _with_persist(candidate: Candidate, at: int, persist: Persist) -> Candidate:
    persists = (*candidate.persists[:at], persist, *candidate.persists[at + 1 :])
    return replace(candidate, persists=persists)


def _other_names(candidate: Candidate) -> Iterator[Candidate]:
    """One name replaced wherever it stands: by a simpler one, which may be in use already."""
    used = {path for op in candidate.ops for path in (op.path, op.path2)}
    used |= {persist.path for persist in candidate.persists}
    used |= {parent(path) for path in used}
    for old in sorted(used - {ROOT}, key=_rank, reverse=True):
        for new in sorted(_NAMES if is_file(old) else _DIRS, key=_rank):
            if new != old and _rank(new) <= _rank(old):
                yield _renamed(candidate, old, new)


def _renamed(candidate: Candidate, old: str, new: str) -> Candidate:
    def name(path: str) -> str:
        if path == old:
            return new
        if not is_file(old) and path.startswith(old + "/"):
            moved = (new + path.removeprefix(old)).removeprefix("/")
            return moved if is_known(moved) else path
        return path

    ops = tuple(
        replace(op, path=name(op.path), path2=name(op.path2) if op.path2 else "")
        for op in candidate.ops
    )
    persists = tuple(
        replace(persist, path=name(persist.path)) if persist.verb in (Verb.FSYNC, Verb.FDATASYNC)
        else persist for persist in candidate.persists
    )  # fmt: skip
    return replace(candidate, ops=ops, persists=persists)


def _plainer_ops(candidate: Candidate) -> Iterator[Candidate]:
    for at, op in enumerate(candidate.ops):
        for plainer in _plainer(op):
            ops = (*candidate.ops[:at], plainer, *candidate.ops[at + 1 :])
            yield replace(candidate, ops=ops)


def _plainer(op: CoreOp) -> Iterator[CoreOp]:
    if op.option in _EXTENTS:
        yield from (replace(op, option=extent) for extent in _EXTENTS)
    if op.option in _CUTS:
        yield from (replace(op, option=cut) for cut in _CUTS)
    if op.flags:
        yield from (replace(op, flags=mode) for mode in _MODES)


def _weaker_persists(candidate: Candidate) -> Iterator[Candidate]:
    for at, (op, persist) in enumerate(zip(candidate.ops, candidate.persists, strict=True)):
        if persist in (NO_PERSIST, SELF_PERSISTED):
            continue
        for path in dict.fromkeys((op.path, op.path2 or op.path)):
            verbs = (Verb.FDATASYNC, Verb.FSYNC) if is_file(path) else (Verb.FSYNC,)
            yield from (_with_persist(candidate, at, Persist(verb, path)) for verb in verbs)
