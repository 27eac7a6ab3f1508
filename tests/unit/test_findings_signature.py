# SPDX-License-Identifier: Apache-2.0
"""Signatures: which of a case's checks is taken for the cause, and how they are written."""

from __future__ import annotations

from typing import Any

import pytest
from report_cases import result

from harness.errors import UsageError
from harness.findings import Signature, signature
from harness.model.case import CaseResult
from harness.model.device import DeviceDigest
from harness.model.evidence import CaseEvidence, CrashEvidence, Drain
from harness.model.verdict import Check, Verdict

TWO_POINTS = """\
open foo O_RDWR|O_CREAT 0777
fsync foo
checkpoint 0
write foo 0 4096
sync
checkpoint 1
"""


def broken(*rules: str, found: str = "x") -> tuple[Check, ...]:
    return tuple(Check(rule, Verdict.FAIL, "foo", "y", found, "wrong") for rule in rules)


def held(*rules: str) -> tuple[Check, ...]:
    return tuple(Check(rule, Verdict.PASS) for rule in rules)


def failing(checks: tuple[Check, ...], **evidence: Any) -> CaseResult:
    return result(
        verdict=Verdict.FAIL,
        jlang=TWO_POINTS,
        checks=checks,
        evidence=CaseEvidence(
            **({"crashes": (CrashEvidence(1, 3, None), CrashEvidence(2, 6, None))} | evidence)
        ),
    )


def devices(primary: int, backup: int) -> dict[str, DeviceDigest]:
    return {
        "primary_device": DeviceDigest("aa", primary),
        "backup_device": DeviceDigest("bb", backup),
    }


def kind(case: CaseResult) -> str:
    mark = signature(case)
    assert mark is not None
    return f"{mark.violation}:{mark.object}"


def test_a_pass_and_a_skipped_case_have_none() -> None:
    assert signature(result()) is None
    assert signature(result(attempts=("no answer",))) is None
    assert signature(result(verdict=Verdict.SKIPPED)) is None


@pytest.mark.parametrize(
    ("checks", "evidence", "expected"),
    [
        (broken("content/persisted", found="[0,4096) zeros"), {}, "lost:data"),
        (
            broken("content/persisted", found="[0,4096) data of no write at this place"),
            {},
            "corrupt:data",
        ),
        (broken("name/persisted", "order/prefix", "attr/mtime"), {}, "lost:name"),
        (broken("attr/xattr"), {}, "lost:attribute"),
        (broken("mount", "fsck"), {}, "unrecoverable:file-system"),
        (broken("fsck"), {}, "inconsistent:file-system"),
        (broken("device/equal"), devices(22, 21), "missing:device"),
        (broken("mount", "device/equal"), devices(22, 21), "missing:file-system"),
        (broken("device/equal"), devices(22, 23), "surplus:device"),
        (broken("device/equal"), devices(22, 22), "different:device"),
        (broken("device/equal"), {}, "different:device"),
        (broken("drain/promised", "name/persisted", "mount"), {}, "not-replicated:file-system"),
        (broken("steps/errno", found="write: EIO"), {}, "io-error:file-system"),
        (broken("load/durable"), {}, "lost:data"),
        (broken("round/fenced"), {}, "not-fenced:node"),
        (broken("never/heard"), {}, "other:file-system/never-heard"),
    ],
)
def test_the_lowest_layer_is_blamed(
    checks: tuple[Check, ...], evidence: dict[str, Any], expected: str
) -> None:
    assert kind(failing(checks, **evidence)) == expected


def test_a_kernel_report_is_the_cause_unless_a_broken_disk_explains_it() -> None:
    oops = "oops: BUG: unable to handle page fault, address: HEX"
    file_system = "file-system: EXT4-fs (dm-1): error loading journal"
    assert kind(failing(broken("mount", "console", found=f"{file_system} | {oops}"))) == (
        "kernel-report:kernel/oops-BUG-unable-to-handle-page-fault-address-HEX"
    )
    assert kind(failing(broken("mount", "console", found=file_system))) == (
        "unrecoverable:file-system"
    )


@pytest.mark.parametrize(
    ("report", "backup", "expected"),
    [
        ("warning: WARNING in f", 22, "kernel-report:kernel/warning-WARNING-in-f"),
        ("warning: WARNING in f", 21, "missing:device"),
        ("hung-task: umount", 21, "missing:device"),
        ("oops: in f", 21, "kernel-report:kernel/oops-in-f"),
        ("warning: in f | oops: in g", 21, "kernel-report:kernel/oops-in-g"),
    ],
)
def test_a_file_system_may_warn_of_wrong_blocks(report: str, backup: int, expected: str) -> None:
    rules = ("console", "device/equal") if backup < 22 else ("console",)
    assert kind(failing(broken(*rules, found=report), **devices(22, backup))) == expected


def test_two_titles_are_two_causes() -> None:
    first, second = (
        failing(broken("console", found=f"oops: {title}")) for title in ("in f", "in g")
    )
    assert signature(first) != signature(second)


def test_a_backup_that_never_got_what_was_completed() -> None:
    """The status tells that operations were completed which were never sent."""

    def crash(issued: int) -> CrashEvidence:
        status = f"primary: role primary issued {issued} acked 1 | backup: issued 0 applied 8"
        return CrashEvidence(1, 3, None, Drain(True, 1, 8, status))

    checks = (*held("drain/quiesced"), *broken("mount", "device/equal"))
    behind = failing(checks, crashes=(crash(42),), **devices(22, 12))
    level = failing(checks, crashes=(crash(8),), **devices(22, 12))
    assert kind(behind) == "not-replicated:file-system"
    assert kind(level) == "missing:file-system"


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ((*broken("mount"), *held("mount")), "fsync"),
        ((*held("mount"), *broken("mount")), "sync"),
        ((*held("mount", "mount"), *broken("device/equal")), "sync"),
        ((*held("drain/quiesced"), *broken("mount"), *held("drain/quiesced", "mount")), "fsync"),
        ((*held("drain/quiesced", "mount", "drain/quiesced"), *broken("name/gone")), "sync"),
    ],
)
def test_persistence_op_of_the_first_bad_crash_point(
    checks: tuple[Check, ...], expected: str
) -> None:
    mark = signature(failing(checks))
    assert mark is not None
    assert mark.persistence == expected


def test_an_op_that_persists_itself_is_named() -> None:
    jlang = "open foo O_RDWR|O_CREAT 0777\nmmapwrite foo 0 4096\ncheckpoint 1\nclose foo\n"
    case = result(verdict=Verdict.FAIL, jlang=jlang, checks=broken("device/equal"), evidence=None)
    mark = signature(case)
    assert mark is not None
    assert mark.persistence == "mmapwrite"


@pytest.mark.parametrize("jlang", ["", "no such verb\n"])
def test_a_case_without_crash_points(jlang: str) -> None:
    case = result(verdict=Verdict.FAIL, jlang=jlang, checks=broken("device/equal"), evidence=None)
    assert str(signature(case)) == "creat:none:different:device"


def test_unknown_says_which_rule_could_not_be_applied() -> None:
    case = result(verdict=Verdict.UNKNOWN, checks=(Check("drain/quiesced", Verdict.UNKNOWN),))
    assert kind(case) == "unknown:drain/quiesced"


def test_infrastructure_errors_of_one_kind_look_alike() -> None:
    first, second = (
        signature(result(verdict=None, infra_error=f"guest h-{n}a41f: no answer within {n} s"))
        for n in (30, 45)
    )
    assert first == second
    assert first != signature(result(verdict=None, infra_error="guest h-1: its domain ended"))


@pytest.mark.parametrize(
    "mark",
    [
        Signature("creat-rename", "fsync", "lost", "data"),
        Signature("(damaged)", "none", "unknown", "store/damaged"),
        Signature("a:b c", "%", '"', "ünïcode\x00\n*"),
        Signature("\udcff", "\ud800", "\udcff\udc80", "\U0001fffe"),
    ],
)
def test_text_of_a_signature_reads_back(mark: Signature) -> None:
    text = str(mark)
    assert Signature.parse(text) == mark
    assert not set(text) & set(" \n\x00\"'*?()")


def test_text_of_a_signature_is_stable() -> None:
    mark = signature(failing((*held("mount"), *broken("name/persisted"))))
    assert str(mark) == "creat:fsync:lost:name"


@pytest.mark.parametrize("text", ["", "creat", "a:b:c", "a:b:c:d:e", "a::c:d"])
def test_other_text_is_no_signature(text: str) -> None:
    with pytest.raises(UsageError, match="not a signature"):
        Signature.parse(text)
