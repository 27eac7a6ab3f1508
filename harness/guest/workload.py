# SPDX-License-Identifier: Apache-2.0
"""A workload's steps as lines of an agent script. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ace_workloads.ops import Step, Verb

_BY_NAME = frozenset(
    {
        Verb.CLOSE,
        Verb.RMDIR,
        Verb.UNLINK,
        Verb.REMOVE,
        Verb.FSETXATTR,
        Verb.REMOVEXATTR,
        Verb.FSYNC,
        Verb.FDATASYNC,
    }
)
_TWO_NAMES = frozenset({Verb.LINK, Verb.RENAME, Verb.SYMLINK})
_WRITES = frozenset({Verb.WRITE, Verb.DWRITE, Verb.MMAPWRITE})


def workload_lines(steps: Sequence[Step]) -> list[list[str]]:
    """One ``step`` line per step; lines and checkpoints are numbered from 1 in their order."""
    lines: list[list[str]] = []
    checkpoint = 0
    for number, step in enumerate(steps, start=1):
        if step.verb is Verb.CHECKPOINT:
            checkpoint += 1
            arguments = [str(checkpoint)]
        else:
            arguments = _arguments(step)
        lines.append(["step", str(number), str(step.verb), *arguments])
    return lines


def writing_lines(steps: Sequence[Step]) -> tuple[int, ...]:
    """Numbers of the lines that store data, as ``parse_tree`` wants them."""
    return tuple(n for n, step in enumerate(steps, start=1) if step.verb in _WRITES)


def mapped_lines(steps: Sequence[Step]) -> tuple[int, ...]:
    """Numbers of the lines that store data through a mapping."""
    return tuple(n for n, step in enumerate(steps, start=1) if step.verb is Verb.MMAPWRITE)


def _arguments(step: Step) -> list[str]:
    name = _name(step.path)
    mode = f"{step.mode:04o}"
    verb = step.verb
    if verb in _BY_NAME:
        return [name]
    if verb in _TWO_NAMES:
        return [name, _name(step.path2)]
    if verb in _WRITES:
        return [name, str(step.offset), str(step.length)]
    if verb is Verb.OPEN:
        return [name, step.flags, mode]
    if verb in (Verb.OPENDIR, Verb.MKDIR, Verb.MKNOD):
        return [name, mode]
    if verb is Verb.FALLOC:
        return [name, step.flags, str(step.offset), str(step.length)]
    if verb is Verb.TRUNCATE:
        return [name, str(step.length)]
    if verb in (Verb.SYNC, Verb.NONE):
        return []
    raise ValueError(f"no agent verb for {verb}")


def _name(path: str) -> str:
    """The agent names the mount point ``.``; a symbolic link's text follows the same rule."""
    return path or "."
