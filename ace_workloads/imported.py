# SPDX-License-Identifier: Apache-2.0
"""A suite whose workloads are written down as J-lang, one after the other in one text.

    # workload NAME/000000012
    open foo O_RDWR|O_CREAT 0777
    ...

Indices ascend and may have gaps. The lines are run sections; they are read when they are asked for.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ace_workloads.errors import SuiteError
from ace_workloads.jlang import JlangError, parse_run_section, run_section
from ace_workloads.ops import NO_PERSIST, SELF_PERSISTED, SYNC, CoreOp, OpKind, Persist, Step, Verb
from ace_workloads.space import Ops, Persists
from ace_workloads.suite import Shard, Suite, shard_of
from ace_workloads.workload import Workload

MARK = "# workload "
MOST = 999_999_999
"""Highest index that an id has room for."""

_HEADING = re.compile(rb"# workload [^/\s]+/([0-9]{9})")
_NEVER_CORE = (Verb.CLOSE, Verb.CHECKPOINT)
_DEPENDENCIES = (Verb.OPEN, Verb.OPENDIR, Verb.MKDIR)
_KINDS = {kind.value: kind for kind in OpKind}


@dataclass(frozen=True, slots=True)
class Texts:
    """The text file and where in it each workload is."""

    path: Path
    indices: array[int] = field(default_factory=lambda: array("Q"))
    _starts: array[int] = field(default_factory=lambda: array("Q"))
    """Byte offset of each workload's lines, and in the end the size of the file."""

    @classmethod
    def load(cls, path: Path, sha256: str) -> Texts:
        """Find the workloads of a text that has the digest ``sha256``.

        Raises:
            SuiteError: unreadable, another text than was imported, or none of ours.
        """
        made, digest = cls(path), hashlib.sha256()
        try:
            with path.open("rb") as lines:
                made._find(lines, digest.update)
        except OSError as error:
            raise SuiteError(f"cannot read {path}: {error.strerror}") from error
        if digest.hexdigest() != sha256:
            raise SuiteError(f"{path} is not the text that was imported: import it again")
        if not made.indices:
            raise SuiteError(f"{path} has no workload in it")
        return made

    def _find(self, lines: Iterable[bytes], seen: Callable[[bytes], None]) -> None:
        at = 0
        for line in lines:
            seen(line)
            if line.startswith(b"#"):
                match = _HEADING.fullmatch(line.rstrip())
                index = int(match[1]) if match else 0
                if index <= (self.indices[-1] if self.indices else 0):
                    raise SuiteError(f"{self.path}: byte {at}: no heading of a next workload")
                self.indices.append(index)
                self._starts.append(at + len(line))
            at += len(line)
        self._starts.append(at)

    def position(self, index: int) -> int | None:
        """Which of the workloads has this index."""
        at = bisect_left(self.indices, index)
        return at if at < len(self.indices) and self.indices[at] == index else None

    def steps(self, positions: Sequence[int]) -> Iterator[tuple[Step, ...]]:
        """The steps of the workloads at ``positions``, ascending; SuiteError if they are none."""
        try:
            with self.path.open("rb") as text:
                for at in positions:
                    text.seek(self._starts[at])
                    lines = text.read(self._starts[at + 1] - self._starts[at]).decode()
                    yield parse_run_section(lines.partition(MARK)[0])
        except (OSError, UnicodeDecodeError, JlangError) as error:
            raise SuiteError(f"cannot read a workload of {self.path}: {error}") from error

    def size(self) -> int:
        """Highest index."""
        return self.indices[-1]

    def walk(self) -> Iterator[tuple[int, Ops, Persists]]:
        """Every workload's address, and core ops and persistence ops by its text."""
        for index, steps in zip(self.indices, self.steps(range(len(self.indices))), strict=True):
            yield index - 1, *guess_core(steps)

    def locate(self, address: int) -> tuple[Ops, Persists]:
        """Core ops and persistence ops, by the text, of the workload at ``address``."""
        at = self.position(address + 1)
        if at is None:
            raise IndexError(f"address {address} is empty")
        return guess_core(next(iter(self.steps([at]))))


@dataclass(frozen=True)
class ImportedSuite(Suite):
    """A suite of ``Texts``."""

    addresses: Texts

    def enumerated_count(self) -> int:
        return len(self.addresses.indices)

    def iter(self, shard: Shard = (1, 1)) -> Iterator[Workload]:
        chosen = self._positions(shard)
        for at, steps in zip(chosen, self.addresses.steps(chosen), strict=True):
            yield self._workload(self.addresses.indices[at], steps)

    def indices(self, shard: Shard = (1, 1)) -> Iterator[int]:
        return (self.addresses.indices[at] for at in self._positions(shard))

    def texts(self, shard: Shard = (1, 1)) -> Iterator[str]:
        return (run_section(steps) for steps in self.addresses.steps(self._positions(shard)))

    def sample(self, size: int, seed: int | str) -> tuple[Workload, ...]:
        def draw(at: int) -> bytes:
            text = f"{seed}:{self.identifier(self.addresses.indices[at])}"
            return hashlib.sha256(text.encode()).digest()

        chosen = sorted(sorted(self._positions((1, 1)), key=draw)[:size])
        found = zip(chosen, self.addresses.steps(chosen), strict=True)
        return tuple(self._workload(self.addresses.indices[at], steps) for at, steps in found)

    def _positions(self, shard: Shard) -> list[int]:
        number, of = shard
        if not 1 <= number <= of:
            raise SuiteError(f"no shard {number}/{of}: i/n needs 1 <= i <= n")
        every = enumerate(self.addresses.indices)
        return [
            at for at, index in every if of == 1 or shard_of(self.identifier(index), of) == number
        ]

    def _find(self, index: int) -> Workload | None:
        at = self.addresses.position(index)
        if at is None:
            return None
        return self._workload(index, next(iter(self.addresses.steps([at]))))

    def _workload(self, index: int, steps: tuple[Step, ...]) -> Workload:
        core, persist = guess_core(steps)
        return Workload(
            self.identifier(index), self.name, index, self.mode, core, persist, steps
        )  # fmt: skip


def guess_core(steps: Sequence[Step]) -> tuple[Ops, Persists]:
    """Core ops, and the persistence op after each, as far as the steps tell.

    The core op is the last step before a persistence op that is no dependency of another; where
    there are only such, it is the first one. Extents are not named.
    """
    core: list[CoreOp] = []
    persist: list[Persist] = []
    segment: list[Step] = []
    for step in steps:
        ends = _persist_of(step)
        if ends is None:
            segment.append(step)
            continue
        core.append(_core_op(segment, step))
        persist.append(SELF_PERSISTED if core[-1].kind.persists_itself else ends)
        segment = []
    return tuple(core), tuple(persist)


def _persist_of(step: Step) -> Persist | None:
    if step.verb is Verb.SYNC:
        return SYNC
    if step.verb is Verb.NONE:
        return NO_PERSIST
    if step.verb is Verb.MMAPWRITE:
        return SELF_PERSISTED
    if step.verb in (Verb.FSYNC, Verb.FDATASYNC):
        return Persist(step.verb, step.path)
    return None


def _core_op(segment: Sequence[Step], end: Step) -> CoreOp:
    if end.verb is Verb.MMAPWRITE:
        return CoreOp(OpKind.MMAPWRITE, end.path)
    done = [step for step in segment if step.verb not in _NEVER_CORE]
    telling = [step for step in done if step.verb not in _DEPENDENCIES] or done[:1]
    if not telling:
        kind = OpKind.FDATASYNC if end.verb is Verb.FDATASYNC else OpKind.CREAT
        return CoreOp(kind, end.path)
    step = telling[-1]
    kind = _KINDS.get(step.verb, OpKind.UNLINK if step.verb is Verb.RMDIR else OpKind.CREAT)
    return CoreOp(kind, step.path, step.path2, flags=step.flags if kind is OpKind.FALLOC else "")
