# SPDX-License-Identifier: Apache-2.0
"""How kernel reports begin and end on a console, one table per family.

Wording is that of Linux 5.10 to 6.12; where it changed, a rule takes both. Patterns are matched at
the start of a message, its time stamp removed. Within ``RULES`` the first match decides, so the
narrower rule comes first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class ReportKind(StrEnum):
    """Family of a kernel report."""

    PANIC = "panic"
    OOPS = "oops"
    BUG = "bug"
    WARNING = "warning"
    GPF = "general-protection-fault"
    LIST_CORRUPTION = "list-corruption"
    HUNG_TASK = "hung-task"
    SOFT_LOCKUP = "soft-lockup"
    HARD_LOCKUP = "hard-lockup"
    RCU_STALL = "rcu-stall"
    WORKQUEUE_STALL = "workqueue-stall"
    LOCKDEP = "lockdep"
    KASAN = "kasan"
    KFENCE = "kfence"
    KCSAN = "kcsan"
    SLAB = "slab-corruption"
    UBSAN = "ubsan"
    LEAK = "leak"
    OUT_OF_MEMORY = "out-of-memory"
    IO_ERROR = "io-error"
    FILE_SYSTEM = "file-system"
    DEVICE_MAPPER = "device-mapper"


@dataclass(frozen=True, slots=True)
class Rule:
    """One way a report begins; ``end`` matches its last line, None for a report of one line."""

    kind: ReportKind
    start: re.Pattern[str]
    end: re.Pattern[str] | None = None
    part: bool = False
    """Also a line in the middle of other reports, and then no report of its own."""


def _rule(
    kind: ReportKind, start: str, end: re.Pattern[str] | None = None, *, part: bool = False
) -> Rule:
    return Rule(kind, re.compile(start), end, part)


_TRACE_ID = re.compile(r"---\[ end trace ")
_TASK_END = re.compile(r" ?</TASK>")
_PANIC_END = re.compile(r"---\[ end Kernel panic|Kernel Offset: |Rebooting in ")
_DOUBLE_RULE = re.compile(r"={20,}$|---\[ end ")

_DEBUGGERS = (
    _rule(ReportKind.KASAN, r"BUG: KASAN: ", _DOUBLE_RULE),
    _rule(ReportKind.KFENCE, r"BUG: KFENCE: ", _DOUBLE_RULE),
    _rule(ReportKind.KCSAN, r"BUG: KCSAN: ", _DOUBLE_RULE),
    _rule(ReportKind.UBSAN, r"UBSAN: ", _DOUBLE_RULE),
    _rule(ReportKind.LEAK, r"kmemleak: \d+ new suspected memory leaks"),
    # The pool ran out: from now on it would find nothing.
    _rule(ReportKind.LEAK, r"kmemleak: (Memory pool empty|Kernel memory leak detector disabled)"),
    _rule(ReportKind.LEAK, r"BUG \S+ .*: Objects remaining (in|on) ", _TASK_END),
    # Red zones, poison and free lists, as slub_debug checks them.
    _rule(ReportKind.SLAB, r"BUG \S+ \((Not tainted|Tainted: .*)\): ", _TASK_END),
)

_LOCKS = (
    _rule(
        ReportKind.LOCKDEP,
        r"WARNING: (possible (circular|recursive|irq lock) |possible irq lock inversion"
        r"|inconsistent lock state|suspicious RCU usage|bad unlock balance"
        r"|held lock freed|lock held when returning|Nested lock was not taken"
        r"|\S+ still has locks held|\S+-safe -> \S+-unsafe lock order"
        r"|HARDIRQ-safe -> |SOFTIRQ-safe -> )",
        _TASK_END,
    ),
    _rule(ReportKind.LOCKDEP, r"INFO: (possible |trying to register non-static key)", _TASK_END),
    _rule(ReportKind.LOCKDEP, r"\[ BUG: Invalid wait context \]|DEBUG_LOCKS_WARN_ON", _TASK_END),
    # Lockdep gives up for good after this one: later reports would be missing.
    _rule(ReportKind.LOCKDEP, r"BUG: MAX_(LOCK|STACK|LOCKDEP)\w* too low"),
)

_STALLS = (
    _rule(
        ReportKind.HUNG_TASK,
        r"INFO: task .+:\d+ blocked (in I/O wait )?for more than ",
        _TASK_END,
    ),
    _rule(ReportKind.SOFT_LOCKUP, r"watchdog: BUG: soft lockup", _TASK_END),
    _rule(
        ReportKind.HARD_LOCKUP,
        r"(NMI )?watchdog: (Watchdog detected hard LOCKUP|CPU\d+: Watchdog detected hard LOCKUP)",
        _TASK_END,
    ),
    _rule(
        ReportKind.RCU_STALL,
        r"(rcu: )?INFO: rcu\w* (detected (expedited )?stalls|self-detected stall)",
        _TASK_END,
    ),
    _rule(ReportKind.RCU_STALL, r"rcu: rcu\w* kthread (starved|timer wakeup didn't happen)"),
    _rule(ReportKind.WORKQUEUE_STALL, r"BUG: workqueue lockup"),
)

_OOPSES = (
    _rule(ReportKind.PANIC, r"Kernel panic - not syncing", _PANIC_END),
    # Printed before the BUG or WARNING line it leads to.
    _rule(ReportKind.LIST_CORRUPTION, r"(list_(add|del)|hlist\w*|plist\w*) corruption", _TRACE_ID),
    _rule(ReportKind.WARNING, r"(refcount_t|ODEBUG): ", _TRACE_ID),
    _rule(
        ReportKind.OOPS,
        r"BUG: (unable to handle |kernel NULL pointer dereference|stack guard page was hit)"
        r"|Unable to handle kernel ",
        _TRACE_ID,
    ),
    _rule(ReportKind.GPF, r"(Oops: )?general protection fault", _TRACE_ID),
    _rule(ReportKind.BUG, r"kernel BUG at |(Oops: )?invalid opcode: ", _TRACE_ID, part=True),
    _rule(
        ReportKind.OOPS,
        r"Oops: |(double fault|divide error|stack segment|int3|traps: PANIC): ",
        _TRACE_ID,
        part=True,
    ),
    _rule(
        ReportKind.BUG,
        r"BUG: (sleeping function called|scheduling while atomic|Bad page state|Bad page map"
        r"|spinlock |rwlock |looking up invalid subclass|Bad rss-counter|using \w+\(\) in preempt)",
        _TASK_END,
    ),
    _rule(ReportKind.BUG, r"BUG:? "),
    # 6.15 dropped CPU and PID from this line.
    _rule(
        ReportKind.WARNING,
        r"WARNING: (CPU: \d+ PID: \d+ at |\S+\.[chS]:\d+ at )",
        _TRACE_ID,
        part=True,
    ),
    _rule(ReportKind.OUT_OF_MEMORY, r"Out of memory: Killed |Out of memory and no killable"),
)

# Removable drives that QEMU adds by itself, or that have no medium, are not under test.
_DEVICE = r"(?!fd\d|sr\d)\S+"
_IO = (
    _rule(
        ReportKind.IO_ERROR,
        r"(blk_update_request: |print_req_error: |end_request: )?"
        r"(I/O|critical (medium|target|space allocation|nexus)|timeout|protection"
        rf"|recoverable transport|operation not supported) error, dev {_DEVICE},",
    ),
    _rule(ReportKind.IO_ERROR, rf"Buffer I/O error on dev(ice)? {_DEVICE}"),
    _rule(ReportKind.IO_ERROR, r".*\battempt to access beyond end of device"),
    _rule(ReportKind.IO_ERROR, r"lost page write due to I/O error"),
)

_FILE_SYSTEMS = (
    _rule(ReportKind.FILE_SYSTEM, r"EXT4-fs (error|panic|warning) \(device "),
    _rule(
        ReportKind.FILE_SYSTEM,
        r"EXT4-fs \(\S+\): ("
        r".*\b(errors?|failed|corrupt\w*|[Cc]an't|invalid|bad|panic|abort\w*)\b(?!=)"
        r"|Remounting filesystem read-only|This should not happen|delayed block allocation failed)",
    ),
    _rule(ReportKind.FILE_SYSTEM, r"EXT4-fs: (error|failed)"),
    _rule(
        ReportKind.FILE_SYSTEM,
        r"(Aborting journal on device |JBD2: .*\b([Ee]rror|failed|corrupt\w*|[Ii]nvalid)\b"
        r"|JBD2 unexpected failure)",
    ),
    _rule(
        ReportKind.FILE_SYSTEM,
        r"XFS \(\S+\): .*\b([Cc]orrupt\w*|[Ii]nternal error|(I/O|CRC) error|error -?\d+|failed"
        r"|[Ss]hut(ting)? ?down|[Ii]nvalid superblock)\b",
    ),
    _rule(ReportKind.FILE_SYSTEM, r"XFS: (Assertion failed|Internal error)"),
    _rule(ReportKind.FILE_SYSTEM, r"BTRFS:? (error|critical|alert|emergency)\b"),
    _rule(
        ReportKind.FILE_SYSTEM,
        r"BTRFS:? warning \(device \S+\): .*"
        r"(csum|checksum|corrupt|failed|mismatch|Skipping commit|abort)",
    ),
    _rule(ReportKind.FILE_SYSTEM, r"BTRFS: Transaction aborted"),
)

_DEVICE_MAPPER = (
    # The level of a message is not on the console: what it says has to tell. A request that is
    # refused is a legitimate answer, so that word is not among them. Nor is a table line that does
    # not load: whoever asked for it is told so by the call.
    _rule(
        ReportKind.DEVICE_MAPPER,
        r"(?i:device-mapper: (?!ioctl: |table: )[^:]+: .*"
        r"(?<!\()\b(errors?|fail(ed|ure|s|ing)?|invalid|invalidating|corrupt(ed|ion)?|unable|cannot"
        r"|couldn't|can't|mismatch|timed out|unexpected|broken)\b)",
    ),
)

RULES: tuple[Rule, ...] = (
    *_DEBUGGERS,
    *_LOCKS,
    *_STALLS,
    *_OOPSES,
    *_IO,
    *_FILE_SYSTEMS,
    *_DEVICE_MAPPER,
)
