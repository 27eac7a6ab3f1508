# SPDX-License-Identifier: Apache-2.0
"""The list of known issues: what an entry is about, when it ends, and what is said of mistakes."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from report_cases import result

from harness.errors import UsageError
from harness.findings import finding_id, parse_known
from harness.model.case import CaseId, CaseResult
from harness.model.verdict import Check, Verdict

TODAY = date(2027, 1, 15)
ENTRY = {
    "signature": '"creat:fsync:lost:data"',
    "reason": '"being mended"',
    "link": '"https://example.org/7"',
    "expires": "2027-02-01",
}


def text(**changed: str | None) -> str:
    """One entry with some keys changed, or left out where None."""
    keys = {key: value for key, value in (ENTRY | changed).items() if value is not None}
    return "[[known]]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


def failing(**fields: Any) -> CaseResult:
    return result(1, Verdict.FAIL, **fields)


def known(case: CaseResult, **changed: str | None) -> bool:
    return parse_known(text(**changed), "known.toml", TODAY).match(case) is not None


def test_an_entry_by_signature() -> None:
    assert known(failing())
    assert not known(failing(skeleton="link"))
    assert not known(failing(checks=(Check("mount", Verdict.FAIL),)))


@pytest.mark.parametrize(
    ("pattern", "skeleton", "expected"),
    [
        ("*:fsync:lost:data", "creat-rename", True),
        ("creat-*:fsync:lost:data", "creat-rename", True),
        ("creat-*:fsync:lost:data", "creat", False),
        ("*creat:fsync:lost:data", "creat", True),
        ("crea?:fsync:lost:data", "creat", True),
        ("crea?:fsync:lost:data", "crea", False),
        ("creat:*:lost:data", "creat", True),
        ("*:sync:lost:data", "creat", False),
        # A wildcard ends where the skeleton ends, and other characters mean themselves.
        ("*:lost:data:x", "creat:fsync", False),
        ("c.eat:fsync:lost:data", "creat", False),
    ],
)
def test_wildcards_are_for_the_skeleton(pattern: str, skeleton: str, expected: bool) -> None:
    assert known(failing(skeleton=skeleton), signature=f'"{pattern}"') is expected


def test_an_entry_by_id() -> None:
    case = failing()
    assert known(case, signature=None, finding=f'"{finding_id(case)}"')
    assert not known(case, signature=None, finding='"f000000000"')


def test_an_entry_for_one_target() -> None:
    assert known(failing(), target='"rollbaccine"')
    other = failing(case_id=CaseId("ace-seq1/000001", "ext4", "drbd"))
    assert not known(other, target='"rollbaccine"')


@pytest.mark.parametrize("verdict", [Verdict.PASS, Verdict.UNKNOWN, Verdict.SKIPPED, None])
def test_only_failures_are_known(verdict: Verdict | None) -> None:
    case = result(1, verdict)
    assert not known(case)
    assert not known(case, signature=None, finding=f'"{finding_id(case) or "f000000000"}"')


def test_the_first_entry_counts() -> None:
    issues = parse_known(text() + text(reason='"other"'), "known.toml", TODAY)
    issue = issues.match(failing())
    assert issue is not None
    assert (issue.number, issue.reason) == (1, "being mended")


def test_an_empty_list_knows_nothing() -> None:
    assert parse_known("", "known.toml", TODAY).match(failing()) is None


def test_the_last_day_counts_and_the_day_after_is_an_error() -> None:
    assert known(failing(), expires="2027-01-15")
    with pytest.raises(UsageError) as raised:
        parse_known(text() + text(expires="2027-01-14"), "lists/known.toml", TODAY)
    for part in ("lists/known.toml", "2 (creat:fsync:lost:data, expired on 2027-01-14)"):
        assert part in str(raised.value)
    assert raised.value.exit_code == 64


def test_what_expires_soon_is_said_before() -> None:
    issues = parse_known(text(expires="2027-01-28") + text(), "known.toml", TODAY)
    assert issues.expiring(TODAY) == [
        "known.toml: known issue 1 (creat:fsync:lost:data) expires on 2027-01-28"
    ]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("[[known]\n", "not a TOML file"),
        ("[[knwon]]\n", "'knwon'"),
        ("known = 3\n", "known = 3"),
        ("known = [3]\n", "known = [3]"),
        (text(reasn='"x"'), "no key 'reasn'"),
        (text(reason=None), "reason is missing"),
        (text(link=None), "link is missing"),
        (text(expires=None), "expires is missing"),
        (text(reason='" "'), "reason = ' '"),
        (text(reason="7"), "reason = 7"),
        (text(link='"bug 7"'), "link = 'bug 7'"),
        (text(target="[]"), "target = []"),
        (text(expires='"2027-02-01"'), "expires = '2027-02-01'"),
        (text(expires="2027-02-01T00:00:00"), "expires = '2027-02-01 00:00:00'"),
        (text(signature=None), "either finding or signature"),
        (text(finding='"f000000000"'), "either finding or signature"),
        (text(signature=None, finding='"creat"'), "finding = 'creat'"),
        (text(signature='"creat:fsync"'), "signature = 'creat:fsync'"),
        (text(signature='"creat:fsync:*:data"'), "signature = 'creat:fsync:*:data'"),
        (text(signature='"creat:f*:lost:data"'), "signature = 'creat:f*:lost:data'"),
    ],
)
def test_mistakes_are_named(written: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_known(written, "known.toml", TODAY)
    assert str(raised.value).startswith("known.toml: ")
    assert said in str(raised.value)
