# SPDX-License-Identifier: Apache-2.0
"""One case as text for people: why, how to replay it, the workload, the checks, what tools said."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from harness.model.case import CaseResult, OptionValue, Outcome, Rerun, RunInfo
from harness.model.endurance import RoundEvidence
from harness.model.evidence import BlockNote, CaseEvidence, CrashEvidence, ToolResult
from harness.model.verdict import Check
from harness.report.summary import deciding_checks, headline

_MOST_CHECKS = 50
_MOST_CONSOLE_LINES = 60


_MAKES_A_DIFFERENCE = {
    "kmod": None, "profile": None, "guests": "micro", "engine": "native", "xfstests": None,
    "encryption": "on", "defect": None, "impostor": None, "link_delay_ms": 0,
}  # fmt: skip
"""Options of a run without which a case may come out another way -> what goes without saying."""


def replay_command(result: CaseResult, info: RunInfo) -> str:
    """The command that runs this case of the run ``info`` again and shows its diff."""
    case, where = result.case_id, ["--fs", result.case_id.fs, "--target", result.case_id.target]
    if info.options.get("group") is not None:
        # A test that comes with xfstests is in no suite.
        words = ["harness", "run", "--group", case.workload.partition("/")[2], *where]
    elif (file := info.options.get("workload")) is not None:
        words = ["harness", "replay", "--workload", str(file), *where]
    else:
        words = ["harness", "replay", str(case)]
    return shlex.join([*words, *option_words(info.options)])


def option_words(options: Mapping[str, OptionValue]) -> list[str]:
    """Of the options of a run, as recorded, those that decide how a case comes out."""
    words = []
    for name, default in _MAKES_A_DIFFERENCE.items():
        if (value := options.get(name)) not in (None, default):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def evidence_text(result: CaseResult, info: RunInfo, diff: str = "") -> str:
    """Everything recorded that helps to understand a case that did not pass, most telling first.

    ``diff`` is the oracle's text, which this package cannot make.
    """
    return "\n".join(_lines(result, info, diff)) + "\n"


def _lines(result: CaseResult, info: RunInfo, diff: str) -> Iterator[str]:
    yield headline(result)
    if result.outcome is Outcome.CONTROL_FAIL:
        yield "the control arm fails this workload as well: not put down to the replication"
    yield f"replay: {replay_command(result, info)}"
    yield from _section("checks", _check_lines(deciding_checks(result)))
    yield from _section("diff", diff.splitlines())
    yield from _section("workload", _numbered(result.jlang))
    if result.evidence is not None:
        yield from _evidence_lines(result.evidence)
    for number, attempt in enumerate(result.attempts, 1):
        yield from _section(f"earlier attempt {number}", attempt.splitlines())
    for number, rerun in enumerate(result.reruns, 1):
        yield from _section(f"run again, {number}", rerun_lines(rerun))
    for guest, lines in result.console.items():
        yield from _section(f"console of {guest}", lines[-_MOST_CONSOLE_LINES:])


def round_text(seen: RoundEvidence) -> str:
    """What happened in a round of an endurance run, and what the load was told."""
    lines = ["what was done, with the second at which it was", *(f"  {text}" for text in seen.log)]
    for leg in seen.legs:
        run = leg.run
        lines += [
            "",
            f"load, stream {run.stream}, read on {leg.node}{' after a crash' * leg.crashed}:"
            f" {run.completed} batches ended, {run.durable} acknowledged as durable",
        ]
        lines += [f"  {text}" for text in (*run.errors, *run.mismatches)]
    return "\n".join(lines) + "\n"


def _section(title: str, lines: list[str] | tuple[str, ...]) -> Iterator[str]:
    if lines:
        yield ""
        yield f"{title}:"
        yield from (f"  {line}" for line in lines)


def _check_lines(checks: tuple[Check, ...]) -> list[str]:
    lines = []
    for check in checks[:_MOST_CHECKS]:
        lines.append(" ".join(filter(None, (check.verdict, check.rule, check.path))))
        said = (("expected", check.expected), ("found", check.found), ("why", check.message))
        lines += [f"  {name:9}{text}" for name, text in said if text]
    if len(checks) > _MOST_CHECKS:
        lines.append(f"... and {len(checks) - _MOST_CHECKS} more")
    return lines


def _numbered(jlang: str) -> list[str]:
    # Evidence names lines by number.
    return [f"{number:3} {line}" for number, line in enumerate(jlang.splitlines(), 1)]


def rerun_lines(rerun: Rerun) -> list[str]:
    """What came of running a failed case again."""
    where = "guests booted for it" if rerun.fresh_pair else "the same guests, a new target"
    verdict = "no verdict" if rerun.verdict is None else f"{rerun.verdict}"
    return [
        f"{verdict} after {rerun.elapsed_s:.1f} s, on {where}",
        *(rerun.infra_error or "").splitlines(),
        *_check_lines(rerun.checks),
    ]


def _evidence_lines(evidence: CaseEvidence) -> Iterator[str]:
    errors = [f"line {line}: {text}" for line, text in evidence.step_errors]
    yield from _section("failed steps", errors)
    yield from _section("said by xfstests", evidence.complaints)
    yield from _section("said by xfstests of several workloads", evidence.said_together)
    if (left := evidence.aftermath) is not None:
        checked = [*_tool_lines("primary", left.primary), *_tool_lines("backup", left.backup)]
        yield from _section("checker on what the test left", checked)
    for crash in evidence.crashes:
        title = f"crash at checkpoint {crash.checkpoint}, after line {crash.line}"
        yield from _section(title, _crash_lines(crash))
    if evidence.primary_device != evidence.backup_device or evidence.differing_blocks:
        yield from _section("devices after drain", _device_lines(evidence))
    for guest, reports in evidence.console.items():
        lines = [line for report in reports for line in report.splitlines()]
        yield from _section(f"kernel reports of {guest}", lines)


def _crash_lines(crash: CrashEvidence) -> list[str]:
    lines = []
    drain = crash.drain
    if drain is not None:
        state = "quiesced" if drain.quiesced else "NOT quiesced"
        lines.append(f"drain: {state}, promised {drain.promised}, applied {drain.applied}")
        lines += [f"  {line}" for line in drain.status.splitlines()]
    for name, tool in (("mount", crash.mount), ("fsck", crash.fsck), ("probe", crash.probe)):
        lines += _tool_lines(name, tool)
    return lines


def _tool_lines(name: str, tool: ToolResult | None) -> list[str]:
    if tool is None:
        return [f"{name}: not run"]
    if tool.ok:
        return [f"{name}: ok"]
    return [f"{name}: failed, status {tool.status}"] + [f"  {x}" for x in tool.output.splitlines()]


def _device_lines(evidence: CaseEvidence) -> list[str]:
    lines = []
    for name, device in (("primary", evidence.primary_device), ("backup", evidence.backup_device)):
        said = "not read" if device is None else f"{device.digest} ({device.blocks} blocks)"
        lines.append(f"{name}: {said}")
    if evidence.differing_blocks:
        blocks = ", ".join(map(str, evidence.differing_blocks))
        lines.append(f"first differing 4 KiB blocks: {blocks}")
    for note in evidence.block_notes:
        lines.append(f"  block {note.block}: {note_text(note)}")
    return lines


def note_text(note: BlockNote) -> str:
    """What a differing block is used for, and how it differs."""
    return f"{note.holds}; {note.difference}" if note.holds else note.difference
