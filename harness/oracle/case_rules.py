# SPDX-License-Identifier: Apache-2.0
"""Rules about a case as a whole: its steps, the two devices, the consoles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ace_workloads.ops import Step
from harness.model.device import DeviceDigest
from harness.model.evidence import Aftermath, CaseEvidence
from harness.model.verdict import Check, Verdict
from harness.oracle.model import execute
from harness.oracle.rules import Rule, failed, passed, unknown

_OUTPUT_CHARS = 400
_DEVICE_ERRORS = frozenset(
    {"EIO", "EROFS", "ENXIO", "ENODEV", "EUCLEAN", "EBADMSG", "EFSCORRUPTED", "ESHUTDOWN",
     "EREMOTEIO", "ENOLINK", "EFSBADCRC"}
)  # fmt: skip
"""What a step returns only when the device or the file system below it failed."""


def judge_steps(steps: Sequence[Step], evidence: CaseEvidence) -> Iterator[Check]:
    """Steps may fail only where POSIX says so; an I/O error is the target's."""
    predicted = execute(steps).errors
    sound = True
    for line, text in evidence.step_errors:
        errno = text.rsplit(" ", 1)[-1]
        where = f"line {line}"
        if errno in _DEVICE_ERRORS:
            sound = False
            message = "a step failed in the device or the file system"
            yield failed(Rule.STEPS_ERRNO, where, "success", text, message)
        elif predicted.get(line) != errno:
            sound = False
            yield unknown(Rule.STEPS_ERRNO, where, "a step failed that must not fail", text)
    if sound:
        yield passed(Rule.STEPS_ERRNO, "", f"{len(evidence.step_errors)} failing steps")


def judge_complaints(evidence: CaseEvidence) -> Iterator[Check]:
    """Where xfstests ran the case, its ``check`` has nothing to say against it."""
    for complaint in evidence.complaints:
        message = "xfstests reports a failure of its own"
        yield failed(Rule.CASE_CHECK, "", "nothing", complaint, message)
    if said := evidence.said_together:
        message = "xfstests reported this of a test of several workloads, but not of this one alone"
        yield Check(Rule.CASE_CHECK, Verdict.UNKNOWN, "", "nothing", " | ".join(said), message)


def judge_not_run(why: str) -> Iterator[Check]:
    """Nothing was done, so nothing can be said."""
    yield Check(Rule.CASE_CHECK, Verdict.SKIPPED, "", "", why, "xfstests did not run it")


def judge_aftermath(aftermath: Aftermath) -> Iterator[Check]:
    """What is clean on the primary is clean on the backup.

    What a test of a file system leaves need not be clean, or a file system; whether it had to be,
    xfstests has looked at itself.
    """
    primary, backup = aftermath.primary, aftermath.backup
    if backup.ok:
        yield passed(Rule.FSCK, "", "clean")
    elif primary.ok:
        message = "the checker finds faults on the backup that are not there on the primary"
        yield failed(Rule.FSCK, "", "clean", backup.output[-_OUTPUT_CHARS:], message)
    else:
        yield Check(Rule.FSCK, Verdict.SKIPPED, "", "", primary.output[-_OUTPUT_CHARS:],
                    "the test leaves no clean file system, on the primary neither")  # fmt: skip


def judge_devices(evidence: CaseEvidence) -> Iterator[Check]:
    """After everything was drained the two devices hold the same bytes."""
    devices = evidence.primary_device, evidence.backup_device
    yield from judge_equal("", *devices, evidence.differing_blocks)


def judge_equal(
    where: str,
    primary: DeviceDigest | None,
    backup: DeviceDigest | None,
    blocks: tuple[int, ...] | None,
) -> Iterator[Check]:
    """Two devices that were drained hold the same bytes; ``blocks`` are known to differ."""
    if primary is None or backup is None:
        yield unknown(Rule.DEVICE_EQUAL, where, "a device was not hashed")
    elif primary != backup:
        listed = "not looked up" if blocks is None else " ".join(map(str, blocks))
        yield failed(
            Rule.DEVICE_EQUAL, where, f"{primary.digest} ({primary.blocks} blocks)",
            f"{backup.digest} ({backup.blocks} blocks); differing 4 KiB blocks: {listed}",
            "the backup's device differs from the primary's",
        )  # fmt: skip
    elif blocks:
        listed = " ".join(map(str, blocks))
        yield unknown(Rule.DEVICE_EQUAL, where, "equal digests, but blocks that differ", listed)
    else:
        yield passed(Rule.DEVICE_EQUAL, where, f"{primary.digest} ({primary.blocks} blocks)")


def judge_console(evidence: CaseEvidence, replicated: bool) -> Iterator[Check]:
    """No guest's kernel reported anything; every guest was listened to."""
    guests = 2 if replicated else 1
    if len(evidence.console) < guests:
        message = f"{len(evidence.console)} of {guests} consoles were watched"
        yield unknown(Rule.CONSOLE, "", message)
    for guest, reports in sorted(evidence.console.items()):
        if reports:
            message = "the guest's kernel reported trouble"
            yield failed(Rule.CONSOLE, guest, "nothing", " | ".join(reports), message)
        else:
            yield passed(Rule.CONSOLE, guest, "nothing")
