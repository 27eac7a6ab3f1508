# SPDX-License-Identifier: Apache-2.0
"""Judge what was seen: pure functions from steps, file system and evidence to checks.

Nothing that is missing passes: evidence that is not there, or a rule that raises, is ``unknown``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from ace_workloads.ops import Step, Verb
from harness.model.evidence import CaseEvidence, CrashEvidence, ToolResult
from harness.model.tree import Tree
from harness.model.verdict import Check, Verdict
from harness.oracle.case_rules import (
    judge_aftermath,
    judge_complaints,
    judge_console,
    judge_devices,
    judge_not_run,
    judge_steps,
)
from harness.oracle.expect import Expectation, Fs
from harness.oracle.inode_rules import judge_objects
from harness.oracle.live_rules import live_differences
from harness.oracle.match import Live, live_of, match
from harness.oracle.model import Model, execute
from harness.oracle.name_rules import judge_names
from harness.oracle.round_rules import judge_round
from harness.oracle.rules import Rule, failed, passed, unknown

_OUTPUT_CHARS = 400


def judge_crash(
    steps: Sequence[Step], fs: str, crash: CrashEvidence, *, replicated: bool = True
) -> tuple[Check, ...]:
    """Every rule that looks at one crash point; the drain only where there is a backup."""
    checks: list[Check] = []
    if replicated:
        checks += _guarded(Rule.DRAIN_QUIESCED, lambda: _drain(crash))
    seen: list[Check] = []
    seen += _guarded(Rule.MOUNT, lambda: _tools(crash))
    seen += _guarded(Rule.RECOVERED, lambda: _tree(steps, fs, crash))
    if replicated and crash.drain is not None and not crash.drain.quiesced:
        seen = [_undecided(check) for check in seen]
    return (*checks, *seen)


def judge_case(
    steps: Sequence[Step], fs: str, evidence: CaseEvidence, replicated: bool
) -> tuple[Check, ...]:
    """Every rule, over all crash points of the case and the case as a whole."""
    checks: list[Check] = []
    if evidence.round is not None:
        seen = evidence.round
        checks += _guarded(Rule.ROUND_WORKS, lambda: judge_round(seen))
        checks += _guarded(Rule.CONSOLE, lambda: judge_console(evidence, replicated))
        return tuple(checks)
    if (why := evidence.not_run) is not None:
        checks += judge_not_run(why)
        console = _guarded(Rule.CONSOLE, lambda: judge_console(evidence, replicated))
        # That nothing was reported meanwhile is no reason for a pass.
        return (*checks, *(check for check in console if check.verdict is Verdict.FAIL))
    checks += _guarded(Rule.STEPS_ERRNO, lambda: judge_steps(steps, evidence))
    checks += _guarded(Rule.CASE_CRASHES, lambda: _crash_points(steps, evidence))
    checks += _guarded(Rule.CASE_CHECK, lambda: judge_complaints(evidence))
    for crash in evidence.crashes:
        checks += judge_crash(steps, fs, crash, replicated=replicated)
    if replicated:
        checks += _guarded(Rule.DEVICE_EQUAL, lambda: judge_devices(evidence))
    if (left := evidence.aftermath) is not None:
        checks += _guarded(Rule.FSCK, lambda: judge_aftermath(left))
    checks += _guarded(Rule.CONSOLE, lambda: judge_console(evidence, replicated))
    return tuple(checks)


def _guarded(rule: Rule, judge: Callable[[], Iterable[Check]]) -> list[Check]:
    """The checks of ``judge``, kept as far as it got, plus ``unknown`` if it raised."""
    checks: list[Check] = []
    try:
        checks.extend(judge())
    except Exception as error:
        checks.append(unknown(rule, "", f"the check raised {type(error).__name__}: {error}"))
    return checks


def _undecided(check: Check) -> Check:
    if check.verdict is not Verdict.FAIL:
        return check
    message = f"seen before the backup had applied all it received: {check.message}"
    return Check(check.rule, Verdict.UNKNOWN, check.path, check.expected, check.found, message)


def _drain(crash: CrashEvidence) -> Iterator[Check]:
    drain = crash.drain
    if drain is None:
        yield unknown(Rule.DRAIN_QUIESCED, "", "the drain was not recorded")
        return
    if drain.quiesced:
        yield passed(Rule.DRAIN_QUIESCED, "", "received = applied")
    else:
        message = "the backup was still applying writes when it was looked at"
        yield unknown(Rule.DRAIN_QUIESCED, "", message, drain.status)
    if drain.promised is None or drain.applied is None:
        yield unknown(Rule.DRAIN_PROMISED, "", "an index is missing", drain.status)
    elif drain.applied >= drain.promised:
        yield passed(Rule.DRAIN_PROMISED, "", f"at least {drain.promised}")
    elif not drain.quiesced:
        message = "the acknowledged index was not reached yet"
        yield unknown(Rule.DRAIN_PROMISED, "", message, drain.applied)
    else:
        message = "the primary acknowledged a write that the backup never got"
        expected = f"at least {drain.promised}"
        yield failed(Rule.DRAIN_PROMISED, "", expected, drain.applied, message)


def _tools(crash: CrashEvidence) -> Iterator[Check]:
    yield _tool(Rule.MOUNT, crash.mount)
    refused = crash.mount is not None and not crash.mount.ok
    for rule, result in ((Rule.FSCK, crash.fsck), (Rule.PROBE, crash.probe)):
        # Where mounting was refused nothing was recovered that could be checked or used.
        if result is not None or not refused:
            yield _tool(rule, result)


def _tool(rule: Rule, result: ToolResult | None) -> Check:
    if result is None:
        return unknown(rule, "", f"{rule} was not tried")
    if result.ok:
        return passed(rule, "", "ok")
    found = f"status {result.status}: {result.output[-_OUTPUT_CHARS:]}"
    return failed(rule, "", "ok", found, f"{rule} of the recovered file system failed")


def _tree(steps: Sequence[Step], fs: str, crash: CrashEvidence) -> Iterator[Check]:
    """Rules about the recovered tree; without a sound yardstick there is no verdict."""
    if not 1 <= crash.line <= len(steps):
        yield unknown(Rule.RECOVERED, "", f"the workload has no line {crash.line}")
        return
    model, system = execute(steps, crash.line), Fs(fs)
    live = Live() if crash.live is None else live_of(model, crash.live, system)
    differences = _live_model(model, live, crash.live)
    yield from differences
    if any(check.verdict is not Verdict.PASS for check in differences) and crash.live is not None:
        return
    recovered = crash.recovered
    if recovered is None:
        if crash.mount is None or crash.mount.ok:
            yield unknown(Rule.RECOVERED, "", "the recovered tree was not read")
        return
    expectation = Expectation(model, system)
    yield from _promises(expectation)
    if "" not in recovered.entries:
        yield unknown(Rule.RECOVERED, "", "the recovered root directory was not read")
    found = match(expectation, live, recovered)
    yield from _guarded(Rule.NAME_LEGAL, lambda: judge_names(expectation, live, recovered, found))
    yield from _guarded(
        Rule.CONTENT_LEGAL, lambda: judge_objects(expectation, live, recovered, found)
    )


def _promises(expectation: Expectation) -> Iterator[Check]:
    """How much there is to check here: nothing, nothing new, or something."""
    if expectation.anything_promised:
        count = len(expectation.model.persisted)
        yield passed(Rule.PROMISE_ANY, "", f"promises of {count} persistence ops")
    else:
        message = "no name that must be there was persisted up to here"
        yield Check(Rule.PROMISE_ANY, Verdict.SKIPPED, message=message)
    last = max((persisted.line for persisted in expectation.model.persisted), default=0)
    before = Expectation(expectation.model, expectation.fs, before=last)
    if expectation.promises() == before.promises():
        message = "this persistence op promises nothing that an earlier one had not"
        yield Check(Rule.PROMISE_NEW, Verdict.SKIPPED, message=message)
    else:
        yield passed(Rule.PROMISE_NEW, "", "something new")


def _live_model(model: Model, live: Live, tree: Tree | None) -> list[Check]:
    if tree is None:
        return [unknown(Rule.LIVE_MODEL, "", "the primary's live tree was not read")]
    differences = live_differences(model, live, tree)
    if differences:
        message = "the primary's live tree is not what the steps make: no yardstick"
        return [unknown(Rule.LIVE_MODEL, "", message, "; ".join(differences))]
    return [passed(Rule.LIVE_MODEL, "", f"{len(tree.entries)} entries")]


def _crash_points(steps: Sequence[Step], evidence: CaseEvidence) -> Iterator[Check]:
    if not steps:
        # Block I/O without a file system: no persistence points, judged by its devices alone.
        return
    wanted = sum(step.verb is Verb.CHECKPOINT for step in steps)
    seen = {crash.checkpoint for crash in evidence.crashes}
    missing = sorted(set(range(1, wanted + 1)) - seen)
    if missing:
        listed = ", ".join(map(str, missing))
        message = f"no evidence of crash point {listed}"
        yield unknown(Rule.CASE_CRASHES, "", message, f"{len(seen)} of {wanted}")
    elif wanted == 0:
        yield unknown(Rule.CASE_CRASHES, "", "the workload has no persistence point")
    else:
        yield passed(Rule.CASE_CRASHES, "", f"{wanted} crash points")
