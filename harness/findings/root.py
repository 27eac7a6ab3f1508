# SPDX-License-Identifier: Apache-2.0
"""Which of a case's violated checks is the cause, and which are its consequences.

The lowest layer at which something is wrong is blamed: what the kernels say, then replication, then
the two devices, then the file system on them, then the tree in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.findings.violation import CAUSE_FIRST, VIOLATION_OF, ObjectClass, Violation, object_of
from harness.model.case import CaseResult
from harness.model.evidence import CaseEvidence, CrashEvidence
from harness.model.verdict import Check, Verdict
from harness.oracle.inode_rules import data_text
from harness.oracle.rules import Rule

_CONSEQUENCES = ("file-system:", "io-error:", "device-mapper:")
"""Kernel reports that say of a broken disk what other rules say as well."""
_EXCUSED = (
    "warning:", "hung-task:", "soft-lockup:", "hard-lockup:", "rcu-stall:", "workqueue-stall:",
    "out-of-memory:",
)  # fmt: skip
"""What a sound file system may say of wrong blocks, too: no cause where the devices differ."""
_OF_DEVICES = frozenset(
    (Violation.NOT_REPLICATED, Violation.CORRUPT, Violation.MISSING, Violation.SURPLUS,
     Violation.DIFFERENT)
)  # fmt: skip
_NOBODYS = data_text(-1)
"""How the oracle names bytes that are of no write."""
_OBJECT_ORDER = (
    ObjectClass.FILE_SYSTEM, ObjectClass.DATA, ObjectClass.NAME, ObjectClass.ATTRIBUTE,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Root:
    """The cause, as far as a case shows it."""

    violation: Violation
    object: ObjectClass
    said: str = ""
    """What tells causes of that kind apart: the title of a kernel report, a rule."""


def root_of(result: CaseResult) -> Root:
    """The cause of a case that failed."""
    failed = [check for check in result.checks if check.verdict is Verdict.FAIL]
    shown = {violation for check in failed for violation in _shown_by(check, result.evidence)}
    if _backup_is_behind(result):
        shown.add(Violation.NOT_REPLICATED)
    excused = _EXCUSED if shown & _OF_DEVICES else ()
    if not _reports(failed, excused):
        shown.discard(Violation.KERNEL_REPORT)
    violation = next((kind for kind in CAUSE_FIRST if kind in shown), Violation.OTHER)
    if violation is Violation.KERNEL_REPORT:
        return Root(violation, ObjectClass.KERNEL, _reports(failed, excused)[0])
    said = failed[0].rule if violation is Violation.OTHER and failed else ""
    return Root(violation, _seen_on(failed), said)


def _seen_on(failed: Sequence[Check]) -> ObjectClass:
    seen = {object_of(check.rule) for check in failed}
    order = (*_OBJECT_ORDER, *ObjectClass)
    return next((kind for kind in order if kind in seen), ObjectClass.DEVICE)


def _shown_by(check: Check, evidence: CaseEvidence | None) -> Iterator[Violation]:
    if check.rule == Rule.CONSOLE:
        if _causes(check):
            yield Violation.KERNEL_REPORT
        elif "io-error:" in check.found:
            yield Violation.IO_ERROR
    elif check.rule == Rule.DEVICE_EQUAL:
        yield _difference(evidence)
    elif check.rule in (Rule.CONTENT_PERSISTED, Rule.CONTENT_LEGAL) and _NOBODYS in check.found:
        yield Violation.CORRUPT
    elif check.rule in VIOLATION_OF:
        yield VIOLATION_OF[check.rule]
    else:
        yield Violation.OTHER


def _causes(check: Check) -> list[str]:
    reports = check.found.split(" | ")
    return [text for text in reports if text and not text.startswith(_CONSEQUENCES)]


def _reports(failed: Sequence[Check], excused: tuple[str, ...]) -> list[str]:
    """Kernel reports that nothing else explains, in the order of the checks."""
    reports = [text for check in failed if check.rule == Rule.CONSOLE for text in _causes(check)]
    return [text for text in reports if not text.startswith(excused)]


def _difference(evidence: CaseEvidence | None) -> Violation:
    """How the devices differ: by how many blocks each holds anything but zeros in."""
    if evidence is None or evidence.primary_device is None or evidence.backup_device is None:
        return Violation.DIFFERENT
    more = evidence.backup_device.blocks - evidence.primary_device.blocks
    if more:
        return Violation.MISSING if more < 0 else Violation.SURPLUS
    return Violation.DIFFERENT


def _backup_is_behind(result: CaseResult) -> bool:
    """Whether, at a bad crash point, the primary had completed more than the backup ever got.

    Only of targets whose status counts the operations they were given: ``issued N``.
    """
    crash = bad_crash(result)
    if crash is None or crash.drain is None or crash.drain.applied is None:
        return False
    issued = re.search(r"\bissued (\d+)\b", crash.drain.status)
    return crash.drain.quiesced and issued is not None and int(issued[1]) > crash.drain.applied


def bad_crash(result: CaseResult) -> CrashEvidence | None:
    """The first crash point at which a check failed; None if only the case as a whole did."""
    if result.evidence is None:
        return None
    crashes = result.evidence.crashes
    for crash, checks in zip(crashes, _by_crash(result.checks), strict=False):
        if any(check.verdict is Verdict.FAIL for check in checks):
            return crash
    return None


def _by_crash(checks: Sequence[Check]) -> list[list[Check]]:
    """Checks of each crash point: they come in order, and each begins with the same rule."""
    rules = {check.rule for check in checks}
    first = Rule.DRAIN_QUIESCED if Rule.DRAIN_QUIESCED in rules else Rule.MOUNT
    parts: list[list[Check]] = []
    for check in checks:
        if check.rule == first:
            parts.append([])
        if parts and check.rule not in (Rule.DEVICE_EQUAL, Rule.CONSOLE):
            parts[-1].append(check)
    return parts
