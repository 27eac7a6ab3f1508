# SPDX-License-Identifier: Apache-2.0
"""Which kernel reports say why a case could not be finished, and which only that it was not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from harness.guest.oops_rules import ReportKind
from harness.model.case import CaseResult
from harness.oracle.rules import Rule
from harness.report.summary import deciding_checks

_CONSEQUENCES = frozenset(
    {
        ReportKind.IO_ERROR,
        ReportKind.FILE_SYSTEM,
        ReportKind.DEVICE_MAPPER,
        ReportKind.WARNING,
        ReportKind.HUNG_TASK,
        ReportKind.SOFT_LOCKUP,
        ReportKind.HARD_LOCKUP,
        ReportKind.RCU_STALL,
        ReportKind.WORKQUEUE_STALL,
        ReportKind.OUT_OF_MEMORY,
    }
)
"""What a sound kernel says as well, when a disk, a peer or a processor is taken from it."""

_OF_A_BAD_DISK = frozenset({ReportKind.IO_ERROR, ReportKind.FILE_SYSTEM, ReportKind.DEVICE_MAPPER})
_OF_A_FILE_SYSTEM = frozenset({ReportKind.IO_ERROR, ReportKind.FILE_SYSTEM})
_BETWEEN = " | "
"""Stands between the reports of one check."""


def made_on_purpose(reports: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """``reports`` without what tests of a file system make the primary's kernel say of it.

    They shut file systems down, mount broken ones and write beyond their ends; xfstests itself
    knows which test may do that, and looks at the log. The backup has no file system.
    """
    return {
        guest: tuple(
            text for text in texts
            if guest != "primary" or text.partition(":")[0] not in _OF_A_FILE_SYSTEM
        )
        for guest, texts in reports.items()
    }  # fmt: skip


def findings(
    reports: Mapping[str, Sequence[str]], ended: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Of the reports of each guest ("kind: title"), those that speak against what is tested.

    While all guests run, each report does. Once one has ended, the others lost their peer, and the
    cause may lie with the host: then only what no such loss excuses counts, from whomever it comes.
    A guest that ended by such a fault of its own has all that it said before told as well.
    """
    if not ended:
        return {name: tuple(texts) for name, texts in reports.items() if texts}
    found = {}
    for name, texts in reports.items():
        inexcusable = [text for text in texts if not _excused(text)]
        if inexcusable:
            found[name] = tuple(texts) if name in ended else tuple(inexcusable)
    return found


def reported(result: CaseResult) -> bool:
    """Whether a kernel reported what a sound one does not: its guest may not be sound any more.

    What it says of a bad disk is no such thing; a boot costs more than many cases.
    """
    texts = [
        text
        for check in deciding_checks(result)
        if check.rule == Rule.CONSOLE
        for text in check.found.split(_BETWEEN)
    ]
    return any(text.partition(":")[0] not in _OF_A_BAD_DISK for text in texts)


def _excused(text: str) -> bool:
    return text.partition(":")[0] in _CONSEQUENCES
