# SPDX-License-Identifier: Apache-2.0
"""A workload as sentences, with the crash points where they were."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ace_workloads.jlang import JlangError, parse_run_section
from ace_workloads.ops import Step, Verb
from harness.model.case import CaseResult
from harness.report.html import text

_PERSISTS = frozenset({Verb.FSYNC, Verb.FDATASYNC, Verb.SYNC, Verb.DWRITE, Verb.MMAPWRITE})


@dataclass(frozen=True, slots=True)
class StepView:
    """One line of a workload."""

    line: int
    code: str
    said: str
    persists: bool
    error: str
    """What its system call came to, where it failed."""
    crash: int
    """Number of the crash point right after it, 0 for none."""


def step_views(result: CaseResult) -> list[StepView]:
    """Every line of the workload of ``result`` but the checkpoint marks, which say nothing more."""
    evidence = result.evidence
    errors = dict(evidence.step_errors) if evidence is not None else {}
    steps = parsed(result)
    crashes = {}
    for crash in evidence.crashes if evidence is not None else ():
        crashes[before_checkpoint(steps, crash.line)] = crash.checkpoint
    views = []
    for number, code in enumerate(result.jlang.splitlines(), 1):
        step = steps[number - 1] if number <= len(steps) else None
        if step is not None and step.verb is Verb.CHECKPOINT and number not in errors:
            continue
        views.append(
            StepView(
                number,
                text.clip(code),
                "" if step is None else text.clip(sentence(step)),
                step is not None and step.verb in _PERSISTS,
                text.clip(errors.get(number, "")),
                crashes.get(number, 0),
            )
        )
    return views


def parsed(result: CaseResult) -> Sequence[Step]:
    """The steps of ``result``; none where its text is no workload, or not in the usual form."""
    try:
        steps = parse_run_section(result.jlang)
    except JlangError:
        return ()
    return steps if len(steps) == len(result.jlang.splitlines()) else ()


def before_checkpoint(steps: Sequence[Step], line: int) -> int:
    """The line that a crash came after: evidence may name the checkpoint mark behind it."""
    while 1 < line <= len(steps) and steps[line - 1].verb is Verb.CHECKPOINT:
        line -= 1
    return line


def sentence(step: Step) -> str:
    """What ``step`` does, in words."""
    return _SENTENCES[step.verb](step)


def _name(path: str) -> str:
    return path or "the mount point"


def _extent(step: Step) -> str:
    return f"{text.size(step.length)} at {text.count(step.offset)}"


def _falloc(step: Step) -> str:
    flags = set(step.flags.split("|"))
    what = "allocate"
    if "FALLOC_FL_PUNCH_HOLE" in flags:
        what = "punch a hole of"
    elif "FALLOC_FL_ZERO_RANGE" in flags:
        what = "zero"
    kept = ", size kept" if "FALLOC_FL_KEEP_SIZE" in flags else ""
    return f"{what} {_extent(step)} in {_name(step.path)}{kept}"


def _open(step: Step) -> str:
    verb = "create or open" if "O_CREAT" in step.flags else "open"
    extra = [flag for flag in step.flags.split("|") if flag not in ("O_RDWR", "O_CREAT")]
    return f"{verb} {_name(step.path)}" + (f" with {' '.join(extra)}" if extra else "")


_SENTENCES: dict[Verb, Callable[[Step], str]] = {
    Verb.OPEN: _open,
    Verb.OPENDIR: lambda s: f"open the directory {_name(s.path)}",
    Verb.CLOSE: lambda s: f"close {_name(s.path)}",
    Verb.MKDIR: lambda s: f"make the directory {_name(s.path)}",
    Verb.RMDIR: lambda s: f"remove the directory {_name(s.path)}",
    Verb.MKNOD: lambda s: f"make the special file {_name(s.path)}",
    Verb.SYMLINK: lambda s: f"make {_name(s.path2)} a symbolic link to {s.path}",
    Verb.LINK: lambda s: f"give {_name(s.path)} the second name {_name(s.path2)}",
    Verb.UNLINK: lambda s: f"unlink {_name(s.path)}",
    Verb.REMOVE: lambda s: f"remove {_name(s.path)}",
    Verb.RENAME: lambda s: f"rename {_name(s.path)} to {_name(s.path2)}",
    Verb.FALLOC: _falloc,
    Verb.WRITE: lambda s: f"write {_extent(s)} of {_name(s.path)}",
    Verb.DWRITE: lambda s: f"write {_extent(s)} of {_name(s.path)}, directly and synchronously",
    Verb.MMAPWRITE: lambda s: f"write {_extent(s)} of {_name(s.path)} in memory, then msync",
    Verb.TRUNCATE: lambda s: f"truncate {_name(s.path)} to {text.size(s.length)}",
    Verb.FSETXATTR: lambda s: f"set an extended attribute of {_name(s.path)}",
    Verb.REMOVEXATTR: lambda s: f"remove the extended attribute of {_name(s.path)}",
    Verb.FSYNC: lambda s: f"fsync {_name(s.path)}: data and metadata",
    Verb.FDATASYNC: lambda s: f"fdatasync {_name(s.path)}: data",
    Verb.SYNC: lambda s: "sync: everything",
    Verb.NONE: lambda s: "nothing is persisted here",
    Verb.CHECKPOINT: lambda s: "checkpoint",
}
