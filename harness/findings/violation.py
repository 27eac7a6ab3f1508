# SPDX-License-Identifier: Apache-2.0
"""Kinds of violation and classes of objects, and which rules of the oracle show which."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from harness.oracle.rules import Rule


class Violation(StrEnum):
    """What went wrong at the lowest layer at which it shows; see ``docs/findings.md``."""

    KERNEL_REPORT = "kernel-report"
    NOT_REPLICATED = "not-replicated"
    CORRUPT = "corrupt"
    MISSING = "missing"
    SURPLUS = "surplus"
    DIFFERENT = "different"
    IO_ERROR = "io-error"
    FOREIGN = "foreign"
    LOST = "lost"
    DISORDER = "disorder"
    UNRECOVERABLE = "unrecoverable"
    INCONSISTENT = "inconsistent"
    REFUSED = "refused"
    NOT_REJOINED = "not-rejoined"
    NOT_FENCED = "not-fenced"
    MEMORY = "memory"
    OTHER = "other"
    UNKNOWN = "unknown"
    INFRA = "infra"
    CRASH_STATE = "crash-state"
    """Of findings only: see ``ONE_CAUSE``."""


TITLES: Mapping[Violation, str] = MappingProxyType(
    {
        Violation.KERNEL_REPORT: "a guest's kernel reported a fault",
        Violation.NOT_REPLICATED: "durable was said before the backup had it",
        Violation.CORRUPT: "the backup holds bytes that nobody wrote",
        Violation.MISSING: "written blocks never came to the backup's device",
        Violation.SURPLUS: "the backup's device keeps blocks that were discarded or zeroed",
        Violation.DIFFERENT: "the backup holds other bytes than the primary's device",
        Violation.IO_ERROR: "reading or writing the device fails",
        Violation.FOREIGN: "the recovered tree has names that no step ever made",
        Violation.LOST: "what was persisted is gone or as it was before",
        Violation.DISORDER: "what is there was never there together",
        Violation.UNRECOVERABLE: "the crash state cannot be mounted",
        Violation.INCONSISTENT: "the recovered file system is damaged",
        Violation.REFUSED: "a node refused what had to work",
        Violation.NOT_REJOINED: "a node that came back did not get in sync",
        Violation.NOT_FENCED: "a deposed primary went on acknowledging",
        Violation.MEMORY: "memory grows from round to round",
        Violation.OTHER: "a rule is broken",
        Violation.UNKNOWN: "the evidence is not enough",
        Violation.INFRA: "infrastructure error",
        Violation.CRASH_STATE: "the backup does not hold at the crash what was persisted",
    }
)


class ObjectClass(StrEnum):
    """What the violation was seen on."""

    DATA = "data"
    """Content or size of a file."""
    NAME = "name"
    ATTRIBUTE = "attribute"
    FILE_SYSTEM = "file-system"
    """As a whole: it cannot be mounted, checked or used."""
    DEVICE = "device"
    """Blocks, with no sign of it in what was recovered."""
    KERNEL = "kernel"
    NODE = "node"


VIOLATION_OF: Mapping[str, Violation] = MappingProxyType(
    {
        Rule.DRAIN_PROMISED: Violation.NOT_REPLICATED,
        Rule.LOAD_WHOLE: Violation.CORRUPT,
        Rule.LOAD_FOREIGN: Violation.CORRUPT,
        Rule.CONTENT_READABLE: Violation.IO_ERROR,
        Rule.STEPS_ERRNO: Violation.IO_ERROR,
        Rule.MOUNT: Violation.UNRECOVERABLE,
        Rule.RECOVERED: Violation.UNRECOVERABLE,
        Rule.NAME_PERSISTED: Violation.LOST,
        Rule.NAME_GONE: Violation.LOST,
        Rule.CONTENT_PERSISTED: Violation.LOST,
        Rule.CONTENT_LEGAL: Violation.LOST,
        Rule.SIZE_PERSISTED: Violation.LOST,
        Rule.SIZE_LEGAL: Violation.LOST,
        Rule.SIZE_DIR: Violation.LOST,
        Rule.ATTR_INO: Violation.LOST,
        Rule.ATTR_KIND: Violation.LOST,
        Rule.ATTR_MODE: Violation.LOST,
        Rule.ATTR_OWNER: Violation.LOST,
        Rule.ATTR_XATTR: Violation.LOST,
        Rule.ATTR_SYMLINK: Violation.LOST,
        Rule.ATTR_MTIME: Violation.LOST,
        Rule.ATTR_CTIME: Violation.LOST,
        Rule.ATTR_BLOCKS: Violation.LOST,
        Rule.LOAD_DURABLE: Violation.LOST,
        Rule.LOAD_CURRENT: Violation.LOST,
        Rule.NAME_LEGAL: Violation.FOREIGN,
        Rule.ORDER_PREFIX: Violation.DISORDER,
        Rule.RENAME_ATOMIC: Violation.DISORDER,
        Rule.LOAD_PREFIX: Violation.DISORDER,
        Rule.ATTR_NLINK: Violation.INCONSISTENT,
        Rule.FSCK: Violation.INCONSISTENT,
        Rule.CASE_CHECK: Violation.INCONSISTENT,
        Rule.PROBE: Violation.INCONSISTENT,
        Rule.LOAD_READ: Violation.IO_ERROR,
        Rule.ROUND_WORKS: Violation.REFUSED,
        Rule.ROUND_REJOIN: Violation.NOT_REJOINED,
        Rule.ROUND_FENCED: Violation.NOT_FENCED,
        Rule.ROUND_MEMORY: Violation.MEMORY,
    }
)
"""What a failed rule shows by itself. ``device/equal`` and ``console`` need a closer look."""

ONE_CAUSE: Mapping[str, Violation] = MappingProxyType(
    {
        Violation.CORRUPT: Violation.DIFFERENT,
        Violation.LOST: Violation.CRASH_STATE,
        Violation.DISORDER: Violation.CRASH_STATE,
        Violation.UNRECOVERABLE: Violation.CRASH_STATE,
        Violation.INCONSISTENT: Violation.CRASH_STATE,
    }
)
"""Kinds that one mistake of a replicated device shows as, whichever blocks it happens to hit: wrong
bytes in a file or in metadata; a block that is not there in time, of a file, a directory, the
journal or the superblock. A file system on a device of its own has no such excuse."""

CAUSE_FIRST = tuple(Violation)
"""Order of blame: of all that a case shows, the first is taken for the cause of the others."""

_OBJECTS = (
    ("content/", ObjectClass.DATA),
    ("size/dir", ObjectClass.ATTRIBUTE),
    ("size/", ObjectClass.DATA),
    ("load/", ObjectClass.DATA),
    ("name/", ObjectClass.NAME),
    ("rename/", ObjectClass.NAME),
    ("order/", ObjectClass.NAME),
    ("attr/", ObjectClass.ATTRIBUTE),
    ("round/", ObjectClass.NODE),
    ("console", ObjectClass.KERNEL),
    ("device/", ObjectClass.DEVICE),
    ("drain/", ObjectClass.DEVICE),
)


def object_of(rule: str) -> ObjectClass:
    """What ``rule`` is about; the file system as a whole where it names nothing in it."""
    found = (kind for prefix, kind in _OBJECTS if rule.startswith(prefix))
    return next(found, ObjectClass.FILE_SYSTEM)
