# SPDX-License-Identifier: Apache-2.0
"""Stable ids of the oracle's rules (described in ``docs/oracle.md``) and how results are made."""

from __future__ import annotations

from enum import StrEnum

from harness.model.verdict import Check, Verdict


class Rule(StrEnum):
    """One row of the rule table."""

    LIVE_MODEL = "live/model"
    STEPS_ERRNO = "steps/errno"
    CASE_CRASHES = "case/crashes"
    CASE_CHECK = "case/check"
    PROMISE_ANY = "promise/any"
    PROMISE_NEW = "promise/new"
    NAME_PERSISTED = "name/persisted"
    NAME_GONE = "name/gone"
    NAME_LEGAL = "name/legal"
    RENAME_ATOMIC = "rename/atomic"
    ORDER_PREFIX = "order/prefix"
    CONTENT_PERSISTED = "content/persisted"
    CONTENT_LEGAL = "content/legal"
    CONTENT_READABLE = "content/readable"
    SIZE_PERSISTED = "size/persisted"
    SIZE_LEGAL = "size/legal"
    SIZE_DIR = "size/dir"
    ATTR_INO = "attr/ino"
    ATTR_KIND = "attr/kind"
    ATTR_MODE = "attr/mode"
    ATTR_OWNER = "attr/owner"
    ATTR_NLINK = "attr/nlink"
    ATTR_XATTR = "attr/xattr"
    ATTR_SYMLINK = "attr/symlink"
    ATTR_MTIME = "attr/mtime"
    ATTR_CTIME = "attr/ctime"
    ATTR_BLOCKS = "attr/blocks"
    MOUNT = "mount"
    RECOVERED = "recovered"
    FSCK = "fsck"
    PROBE = "probe"
    DRAIN_QUIESCED = "drain/quiesced"
    DRAIN_PROMISED = "drain/promised"
    DEVICE_EQUAL = "device/equal"
    CONSOLE = "console"
    LOAD_DURABLE = "load/durable"
    LOAD_CURRENT = "load/current"
    LOAD_WHOLE = "load/whole"
    LOAD_FOREIGN = "load/foreign"
    LOAD_PREFIX = "load/prefix"
    LOAD_READ = "load/read"
    LOAD_PROGRESS = "load/progress"
    ROUND_WORKS = "round/works"
    ROUND_REJOIN = "round/rejoin"
    ROUND_FENCED = "round/fenced"
    ROUND_MEMORY = "round/memory"


def passed(rule: Rule, path: str = "", expected: object = "") -> Check:
    """The rule was applied to ``path`` and held."""
    return Check(rule, Verdict.PASS, path, str(expected), str(expected))


def failed(rule: Rule, path: str, expected: object, found: object, message: str) -> Check:
    """The rule was applied to ``path`` and is broken."""
    return Check(rule, Verdict.FAIL, path, str(expected), str(found), message)


def unknown(rule: Rule, path: str, message: str, found: object = "") -> Check:
    """The rule could not be applied, for the reason given."""
    return Check(rule, Verdict.UNKNOWN, path, "", str(found), message)


def compared(rule: Rule, path: str, expected: object, found: object, message: str) -> Check:
    """PASS if both are equal, else FAIL with ``message``."""
    if expected == found:
        return passed(rule, path, expected)
    return failed(rule, path, expected, found, message)
