# SPDX-License-Identifier: Apache-2.0
"""Sizes that a file may have after a crash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.oracle.history import END, Span
from harness.oracle.objects import Inode

WRITEBACK_BYTES = 4096
"""Write-back makes a file grow by whole blocks (or to its full size)."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Legal sizes of a file: ``steps``, ascending, and what write-back may leave in between."""

    steps: tuple[int, ...]

    def allow(self, size: int) -> bool:
        """Whether the file may have ``size`` bytes after the crash."""
        between = self.steps[0] <= size <= self.steps[-1]
        return size in self.steps or (between and size % WRITEBACK_BYTES == 0)


def legal_sizes(inode: Inode, spans: Sequence[Span]) -> Sizes:
    """Sizes the file had at its last full floor and later, or was on the way to.

    A floor on a range promises no exact size, only what is needed to reach the range's end. The
    end of a range that was allocated or zeroed inside a file not yet written back can become its
    size on disk (ext4), ahead of the bytes behind it.
    """
    floor = max((span.line for span in spans if span.end == END), default=0)
    sizes = {size for _, size in inode.size.since(floor)}
    least = min(sizes)
    for span in spans:
        if span.end != END and span.line >= floor:
            later = [size for line, size in inode.size.since(span.line) if line > span.line]
            least = max(least, min([span.end, *later]))
    passing = {end for line, end in inode.ends if line > floor}
    steps = {size for size in sizes | passing | {least} if least <= size <= max(sizes)}
    return Sizes(tuple(sorted(steps)))
