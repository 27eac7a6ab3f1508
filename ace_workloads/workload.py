# SPDX-License-Identifier: Apache-2.0
"""One workload: what the generator hands out and everything else replays."""

from __future__ import annotations

from dataclasses import dataclass

from ace_workloads.jlang import content_hash, document, run_section
from ace_workloads.ops import CoreOp, Mode, Persist, Step


@dataclass(frozen=True, slots=True)
class Workload:
    """Core ops, each followed by a persistence op, and the steps that carry them out."""

    id: str
    """``ace-seq2/000123456``; in original mode ``ace-seq2@original/000123456``."""
    suite: str
    index: int
    """Address in the suite, counted from 1. Clean suites have gaps, where a duplicate would be."""
    mode: Mode
    core: tuple[CoreOp, ...]
    persist: tuple[Persist, ...]
    """One per core op."""
    steps: tuple[Step, ...]

    @property
    def skeleton(self) -> str:
        """Kinds of the core ops, as in ``creat,link``."""
        return ",".join(op.kind for op in self.core)

    @property
    def canonical_text(self) -> str:
        """The lines of the J-lang run section, each ended by a newline."""
        return run_section(self.steps)

    @property
    def content_hash(self) -> str:
        """sha256 of the canonical text, 64 hex digits."""
        return content_hash(self.steps)

    def jlang(self) -> str:
        """The workload as a complete J-lang file."""
        return document(self.steps)
