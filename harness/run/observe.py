# SPDX-License-Identifier: Apache-2.0
"""Replies of the guests' agents turned into evidence and phase times: pure."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass, replace

from ace_workloads.ops import Step
from harness.guest.agent import CheckpointEvent, CommandResult, ScriptResult
from harness.guest.oops import KernelReport
from harness.guest.protocol import ProtocolError
from harness.guest.replies import (
    differing_blocks,
    parse_blockmap,
    parse_digest,
    parse_failure,
    parse_status,
    parse_tree,
    tool_result,
)
from harness.guest.workload import mapped_lines, writing_lines
from harness.model.device import DeviceDigest
from harness.model.evidence import CrashEvidence, Drain, Moment, ToolResult
from harness.model.tree import Tree
from harness.run.filesystems import FileSystem
from harness.target.base import Target

_PRIMARY_PHASES = {
    "image-restore": "restore",
    "mount": "mount",
    "step": "ops",
    "begin": "ops",
    "end": "ops",
    "remount": "umount",
    "umount": "umount",
    "flush": "umount",
}
_INSPECT_PHASES = {
    "dm-wait": "drain",
    "file-wait": "drain",
    "dm-create": "snapshot",
    "dm-remove": "snapshot",
    "image-save": "snapshot",
    "image-restore": "snapshot",
    "mount": "recover",
    "tree": "read",
    "probe": "probe",
    "umount": "umount",
    "exec": "fsck",
}
_MICRO = 1e-6
# A target reports through device mapper or through a file of the kernel.
_WAITS = ("dm-wait", "file-wait")
_STATUSES = ("dm-status", "file-status")


def add_primary_phases(phases: MutableMapping[str, float], result: ScriptResult) -> None:
    """Add the times of a workload script, by phase."""
    _add(phases, result.results, _PRIMARY_PHASES)


def add_inspect_phases(phases: MutableMapping[str, float], result: ScriptResult) -> None:
    """Add the times of an inspection script, by phase."""
    _add(phases, result.results, _INSPECT_PHASES)


def _add(
    phases: MutableMapping[str, float], results: Iterable[CommandResult], names: dict[str, str]
) -> None:
    for result in results:
        if (phase := names.get(result.command[0])) is not None and not result.skipped:
            phases[phase] = phases.get(phase, 0.0) + result.elapsed_us * _MICRO


def primary_moments(
    result: ScriptResult, start_s: float, pauses: Sequence[tuple[float, float]]
) -> list[Moment]:
    """When the primary did what of a workload script that it was given at ``start_s``.

    ``pauses`` are the times at which it stood still, one per crash point: its own clock did too.
    """
    moments: list[Moment] = []
    at_s, left = start_s, list(pauses)
    for done in result.results:
        if done.skipped or (what := _PRIMARY_PHASES.get(done.command[0])) is None:
            continue
        if done.command[0] == "step" and done.command[2] == "checkpoint" and left:
            at_s = left.pop(0)[1]
            continue
        lines = (int(done.command[1]),) * 2 if done.command[0] == "step" else None
        end_s = at_s + done.elapsed_us * _MICRO
        _prolong(moments, Moment("primary", what, at_s, end_s, lines))
        at_s = end_s
    return moments


def backup_moments(result: ScriptResult, start_s: float) -> list[Moment]:
    """When the backup did what of a script that it was given at ``start_s``."""
    moments: list[Moment] = []
    at_s = start_s
    for done in result.results:
        if not done.skipped:
            end_s = at_s + done.elapsed_us * _MICRO
            if (what := _INSPECT_PHASES.get(done.command[0])) is not None:
                _prolong(moments, Moment("backup", what, at_s, end_s))
            at_s = end_s
    return moments


def _prolong(moments: list[Moment], new: Moment) -> None:
    """Add ``new``, as a part of the last one if that is the same going on."""
    last = moments[-1] if moments else None
    if last is None or last.what != new.what or last.end_s != new.start_s:
        moments.append(new)
        return
    lines = [line for seen in (last, new) for line in seen.lines or ()]
    spanned = (lines[0], lines[-1]) if lines else None
    moments[-1] = replace(last, end_s=new.end_s, lines=spanned)


def step_errors(result: ScriptResult) -> tuple[tuple[int, str], ...]:
    """(line, "call: ERRNO") of every workload step that failed."""
    errors = []
    for failed in result.failures:
        if failed.words[0] == "step":
            failure = parse_failure(failed.payload)
            errors.append((int(failed.words[1]), f"{failure.call}: {failure.errno}"))
    return tuple(errors)


def exercise_errors(result: ScriptResult) -> tuple[tuple[int, str], ...]:
    """(1-based command, "program: reason") of every command of an exercise that failed."""
    errors = []
    for failed in result.failures:
        io_error = "EIO" in failed.text or os.strerror(errno.EIO) in failed.text
        reason = "EIO" if io_error else f"status {failed.status}"
        errors.append((failed.index + 1, f"{failed.command[0]}: {reason}"))
    return tuple(errors)


@dataclass(frozen=True, slots=True)
class Crash:
    """One stop of the primary: where, and how the backup stood before and after."""

    event: CheckpointEvent
    snapshot: ScriptResult
    """Drain, taking of the crash state, status."""
    last: ScriptResult
    """Ends with the status that tells whether the crash state was disturbed: ``snapshot`` itself,
    or the look at a snapshot that shows whatever arrives."""


def crash_evidence(
    crash: Crash,
    inspection: ScriptResult,
    target: Target,
    fs: FileSystem,
    steps: Sequence[Step],
    *,
    by_xfstests: bool = False,
) -> CrashEvidence:
    """What one crash point showed; parts that could not be had are None.

    ``by_xfstests`` says who ran the steps: there, what is stored through a mapping looks different.
    """
    lines = writing_lines(steps)
    filling = mapped_lines(steps) if by_xfstests else ()
    results = inspection.results
    return CrashEvidence(
        checkpoint=crash.event.checkpoint,
        line=crash.event.line,
        live=_tree(_find(crash.event.results, "tree"), lines, filling),
        drain=_drain(target, crash) if target.replicated else None,
        mount=_tool(_find(results, "mount")),
        recovered=_tree(_find(results, "tree"), lines, filling),
        fsck=_fsck(_find(results, "exec"), fs),
        probe=_tool(_find(results, "probe")),
    )


def undisturbed(target: Target, before: ScriptResult, after: ScriptResult) -> bool:
    """Whether the backup had applied all it received, and received nothing from then on.

    ``before`` ends its drain with a status, ``after`` ends with one.
    """
    waited = _find(before.results, *_WAITS)
    if waited is None or not waited.ok:
        return False
    first = target.standing(_status(waited))
    last = target.standing(_status(_find(after.results, *_STATUSES)))
    return first.settled and last.settled and first.mark == last.mark


def acknowledged(target: Target, result: ScriptResult) -> int | None:
    """What the primary's status in ``result`` says to be acknowledged."""
    return target.standing(_status(_find(result.results, *_STATUSES))).acked


def drained(snapshot: ScriptResult) -> bool:
    """Whether the backup had applied all it received before its device was snapshotted."""
    waited = _find(snapshot.results, *_WAITS)
    return waited is not None and waited.ok


def _find(results: Sequence[CommandResult], *commands: str) -> CommandResult | None:
    """The first result of one of ``commands`` that was really tried."""
    for result in results:
        if result.command[0] in commands and not result.skipped:
            return result
    return None


def _tree(
    result: CommandResult | None, lines: Sequence[int], filling: Sequence[int]
) -> Tree | None:
    if result is None or not result.ok:
        return None
    return parse_tree(result.payload, lines, filling)


def _tool(result: CommandResult | None) -> ToolResult | None:
    if result is None:
        return None
    return tool_result(result.ok, result.status, result.payload)


def _fsck(result: CommandResult | None, fs: FileSystem) -> ToolResult | None:
    if result is None:
        return None
    clean = fs.fsck_clean(result.status, result.text)
    return tool_result(clean, result.status, result.payload)


def checked(result: ScriptResult, fs: FileSystem) -> ToolResult:
    """What the checker of ``fs`` came to in a script, be it that it was never run."""
    found = _fsck(_find(result.results, "exec"), fs)
    return found or ToolResult(False, -1, "the checker was not run")


def _drain(target: Target, crash: Crash) -> Drain:
    """What the primary had promised, and whether the backup stood still while it was looked at."""
    promised = _find(crash.event.results, *_STATUSES)
    waited = _find(crash.snapshot.results, *_WAITS)
    last = _find(crash.last.results, *_STATUSES)
    return Drain(
        quiesced=undisturbed(target, crash.snapshot, crash.last),
        promised=target.standing(_status(promised)).acked,
        applied=target.standing(_status(waited)).applied,
        status=f"primary: {_text(promised)} | backup: {_text(waited)} | after: {_text(last)}",
    )


def _status(result: CommandResult | None) -> dict[str, str]:
    if result is None:
        return {}
    try:
        return parse_status(result.text.splitlines()[-1]) if result.text.strip() else {}
    except ProtocolError:
        return {}


def _text(result: CommandResult | None) -> str:
    return result.text.strip() if result is not None else "(none)"


def device_digest(result: ScriptResult) -> DeviceDigest | None:
    """The digest in ``result``, or None when the device could not be read (or drained)."""
    found = _find(result.results, "digest")
    return parse_digest(found.payload) if found is not None and found.ok else None


def blocks_that_differ(one: ScriptResult, other: ScriptResult) -> tuple[int, ...] | None:
    """Numbers of the 4 KiB blocks in which the devices of two block maps differ."""
    mine, theirs = one.results[0], other.results[0]
    if not (mine.ok and theirs.ok):
        return None
    return differing_blocks(parse_blockmap(mine.payload), parse_blockmap(theirs.payload))


def report_texts(reports: Iterable[KernelReport]) -> tuple[str, ...]:
    """Kernel reports as text, one each."""
    return tuple(f"{report.kind}: {report.title}" for report in reports)
