# SPDX-License-Identifier: Apache-2.0
"""Workloads that are in no suite: written by hand, or left over by minimizing one that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ace_workloads.jlang import JlangError, content_hash, document, parse_run_section, run_section
from ace_workloads.ops import OpKind, Step, Verb

SUITE = "written"
_HASH_DIGITS = 16
_MOST_STEPS = 9999
"""The agent numbers steps with four digits."""
_CORE_MARK = "# core "
_KINDS = frozenset(str(kind) for kind in OpKind)


@dataclass(frozen=True, slots=True)
class WrittenWorkload:
    """Steps with an id made of their content."""

    steps: tuple[Step, ...]
    skeleton: str
    """Kinds of the core ops, as in ``creat,link``."""

    @property
    def id(self) -> str:
        """``written/`` and the first digits of the content hash."""
        return f"{SUITE}/{self.content_hash[:_HASH_DIGITS]}"

    @property
    def canonical_text(self) -> str:
        """The lines of the J-lang run section, each ended by a newline."""
        return run_section(self.steps)

    @property
    def content_hash(self) -> str:
        """sha256 of the canonical text, 64 hex digits."""
        return content_hash(self.steps)

    def jlang(self) -> str:
        """The workload as a complete J-lang file, which says what its core ops are."""
        return f"{_CORE_MARK}{self.skeleton}\n\n{document(self.steps)}"


def parse_written(text: str) -> WrittenWorkload:
    """The workload in a J-lang text: a whole file, or the lines of its run section.

    Raises:
        JlangError: it is not J-lang, or nothing in it could be judged.
    """
    steps = parse_run_section(text)
    if not any(step.verb is Verb.CHECKPOINT for step in steps):
        raise JlangError("no checkpoint: nothing is promised, so nothing could be judged")
    if len(steps) > _MOST_STEPS:
        raise JlangError(f"{len(steps)} steps: at most {_MOST_STEPS} can be run")
    return WrittenWorkload(steps, _named(text) or skeleton_of(steps))


def skeleton_of(steps: Sequence[Step]) -> str:
    """What a text without its core ops named is taken for: every step that changes something.

    Files and directories made only to have them are counted if there is nothing else.
    """
    verbs = [str(step.verb) for step in steps]
    creations = {Verb.OPEN: "creat", Verb.MKDIR: "mkdir"}
    core = [verb for verb in verbs if verb in _KINDS and verb not in (Verb.MKDIR, Verb.FDATASYNC)]
    core = core or [creations[Verb(verb)] for verb in verbs if verb in creations][-1:]
    return ",".join(core) or "none"


def _named(text: str) -> str:
    for line in text.splitlines():
        if line.startswith(_CORE_MARK):
            kinds = line.removeprefix(_CORE_MARK).strip()
            return kinds if kinds and set(kinds.split(",")) <= _KINDS else ""
    return ""
