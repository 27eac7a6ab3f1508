# SPDX-License-Identifier: Apache-2.0
"""JUnit files against what Jenkins' JUnit plugin reads: elements, attributes, values, limits.

The tables say what SuiteResult and CaseResult of the plugin look at, as of August 2026. What it
does not look at would be lost without a trace, so nothing else may be written.
"""

from __future__ import annotations

import re
import xml.sax
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from report_cases import info, result
from test_report_junit import HOSTILE, KNOWN, hostile_result

from harness.model.case import CaseId, CaseResult, Rerun, RunInfo
from harness.model.verdict import Check, Verdict
from harness.report.junit import FILE_LIMIT_BYTES, write_junit
from harness.report.store import CaseTexts, RunStore

RETRY = ({"message", "type"}, {"stackTrace", "system-out", "system-err"})
REASON = ({"message", "type"}, set[str]())
TEXT = (set[str](), set[str]())
ELEMENTS = {
    "testsuites": ({"tests", "failures", "errors", "time"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "disabled", "time", "timestamp",
         "hostname"},
        {"properties", "testcase"},
    ),
    "properties": (set(), {"property"}),
    "property": ({"name", "value"}, set()),
    "testcase": (
        {"name", "classname", "time", "timestamp"},
        {"properties", "failure", "error", "skipped", "flakyFailure", "rerunFailure", "system-out"},
    ),
    "failure": REASON, "error": REASON, "skipped": REASON,
    "flakyFailure": RETRY, "rerunFailure": RETRY,
    "stackTrace": TEXT, "system-out": TEXT, "system-err": TEXT,
}  # fmt: skip
"""Element -> (attributes, children)."""
ONCE = ("properties", "failure", "error", "skipped", "system-out", "stackTrace")
REQUIRED = {
    "testsuite": {"name", "tests", "failures", "errors"},
    "testcase": {"name", "classname"},
    "property": {"name", "value"},
    "failure": {"message", "type"},
    "error": {"message", "type"},
    "skipped": {"message"},
    "flakyFailure": {"message", "type"},
    "rerunFailure": {"message", "type"},
}
VALUES = {
    "time": r"\d+(\.\d+)?",
    "timestamp": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d",
    "tests": r"\d+",
    "failures": r"\d+",
    "errors": r"\d+",
    "skipped": r"\d+",
}
KEPT_FAILING, KEPT_OTHER = 100_000, 1_000
"""Characters of a case's output that the plugin keeps, half of them from either end."""


def faults(path: Path) -> list[str]:
    """What of the file the plugin would not read, or not as it was meant."""
    raw = path.read_bytes()
    if len(raw) >= 1_000_000:
        return [f"{len(raw)} bytes"]
    xml.sax.parseString(raw, xml.sax.ContentHandler())
    root = ElementTree.fromstring(raw)
    found = [] if root.tag == "testsuites" else [f"root is {root.tag}"]
    for element in root.iter():
        found += _element_faults(element)
    for suite in root.iter("testsuite"):
        found += _count_faults(suite)
    for name in ("tests", "failures", "errors"):
        number = sum(int(suite.get(name, "0")) for suite in root)
        if root.get(name) != str(number):
            found.append(f"testsuites: {name} is {root.get(name)}, not {number}")
    for case in root.iter("testcase"):
        found += _case_faults(case)
    return found


def _element_faults(element: ElementTree.Element) -> list[str]:
    if element.tag not in ELEMENTS:
        return [f"no element {element.tag}"]
    attributes, children = ELEMENTS[element.tag]
    found = [f"{element.tag} has no {name}" for name in element.attrib if name not in attributes]
    found += [
        f"{element.tag} holds no {child.tag}" for child in element if child.tag not in children
    ]
    found += [
        f"{element.tag} without {name}"
        for name in REQUIRED.get(element.tag, ())
        if not element.get(name, "").strip() and (element.tag, name) != ("property", "value")
    ]
    found += [
        f"{element.tag}: {name} is {value!r}"
        for name, value in element.attrib.items()
        if name in VALUES and not re.fullmatch(VALUES[name], value)
    ]
    found += [
        f"{element.tag}: line break in {name}"
        for name, value in element.attrib.items()
        if set(value) & set("\t\n\r")
    ]
    tags = Counter(child.tag for child in element)
    return found + [
        f"{element.tag}: {n} x {tag}" for tag, n in tags.items() if tag in ONCE and n > 1
    ]


def _count_faults(suite: ElementTree.Element) -> list[str]:
    cases = suite.findall("testcase")
    counted = {"tests": len(cases)} | {
        name: sum(case.find(tag) is not None for case in cases)
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    found = [
        f"{suite.get('name')}: {name} is {suite.get(name)}, not {number}"
        for name, number in counted.items()
        if suite.get(name, "0") != str(number)
    ]
    names = Counter(case.get("name") for case in cases)
    found += [f"case {name} twice" for name, number in names.items() if number > 1]
    return found if cases else [*found, f"{suite.get('name')}: an empty suite is dropped"]


def _case_faults(case: ElementTree.Element) -> list[str]:
    verdicts = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
    found = [f"several verdicts: {verdicts}"] if len(verdicts) > 1 else []
    output = case.findtext("system-out") or ""
    kept = KEPT_FAILING if {"failure", "error"} & set(verdicts) else KEPT_OTHER
    head, tail = output[: kept // 2], output[-kept // 2 :]
    for line in output.splitlines():
        if not re.fullmatch(r"\[\[ATTACHMENT\|/[^|]+\]\]", line):
            found.append(f"no link: {line!r}")
        elif len(output) > kept and line not in head and line not in tail:
            found.append(f"cut off: {line!r}")
    if not 0 <= float(case.get("time", "0")) <= 365 * 24 * 3600:
        found.append(f"time {case.get('time')}")
    if not verdicts and case.find("rerunFailure") is not None:
        found.append("a pass with rerunFailure")
    if verdicts and case.find("flakyFailure") is not None:
        found.append("flakyFailure that did not pass")
    return found


RERUNS = (
    Rerun(Verdict.FAIL, (Check(HOSTILE, Verdict.FAIL, HOSTILE, message=HOSTILE),)),
    Rerun(Verdict.PASS),
    Rerun(None, infra_error=HOSTILE),
    Rerun(Verdict.UNKNOWN),
)
EVERYTHING = [
    result(1),
    result(2, attempts=("lost", HOSTILE)),
    result(3, Verdict.FAIL, skeleton="link", attempts=("lost",), reruns=RERUNS),
    result(4, Verdict.FAIL, skeleton="link", control=Verdict.FAIL),
    result(5, Verdict.FAIL),
    result(6, Verdict.UNKNOWN, attempts=("lost",)),
    result(7, None, attempts=("lost", "lost")),
    result(8, Verdict.SKIPPED),
    result(9, Verdict.FAIL, skeleton="link", jlang="&\0" * 100_000),
    result(10, case_id=CaseId("ace-seq1/000010", "xfs", "drbd"), elapsed_s=0.0),
]


def written(tmp_path: Path, facts: RunInfo, *results: CaseResult) -> list[Path]:
    with RunStore.create(tmp_path, facts) as store:
        for each in results:
            if each.verdict is not Verdict.PASS:
                consoles = {"backup": HOSTILE, "primary": HOSTILE}
                store.write_case(each, CaseTexts(diff=HOSTILE, consoles=consoles))
        return write_junit(store, facts, results, KNOWN)


def test_every_outcome_is_read_as_it_was_meant(tmp_path: Path) -> None:
    paths = written(tmp_path, info(12), *EVERYTHING)
    assert [fault for path in paths for fault in faults(path)] == []
    # 5 is known; two of twelve planned have no result.
    text = "".join(path.read_text() for path in paths)
    assert "known issue: being mended" in text
    assert "2 planned cases left no result" in text


@pytest.mark.parametrize("verdict", [*Verdict, None])
def test_hostile_text_is_read_as_text(tmp_path: Path, verdict: Verdict | None) -> None:
    hostile = hostile_result(verdict)
    paths = written(tmp_path, info(2, left=1), hostile)
    assert [fault for path in paths for fault in faults(path)] == []


def test_a_file_is_full_before_its_limit(tmp_path: Path) -> None:
    many = [result(n, Verdict.FAIL, skeleton="link", jlang="&" * 50_000) for n in range(60)]
    paths = written(tmp_path, info(60), *many)
    assert len(paths) > 1
    assert [fault for path in paths for fault in faults(path)] == []
    assert max(path.stat().st_size for path in paths) < FILE_LIMIT_BYTES <= 1_000_000


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("<testsuites", "<suites", "mismatched"),
        ('classname="ace-seq1.ext4.rollbaccine"', "", "testcase without classname"),
        ('time="0.250000"', 'time="nan"', "testcase: time is 'nan'"),
        ('failures="1"', 'failures="7"', "failures is 7, not 1"),
        ("<failure", "<system-out>x</system-out><failure", "no link: 'x'"),
        ('type="size/persisted"', "", "failure without type"),
        ("</failure>", "</failure><error message='m' type='t'/>", "several verdicts"),
        ("</failure>", "</failure><flakyFailure message='m' type='t'/>", "flakyFailure that did"),
        ("</failure>", "</failure><flakyError message='m' type='t'/>", "no element flakyError"),
        ("<testcase ", "<testcase file='x' ", "testcase has no file"),
        ("</testsuite>", "</testsuite>" + " " * 1_000_000, "bytes"),
    ],
)
def test_each_fault_would_be_found(tmp_path: Path, old: str, new: str, fault: str) -> None:
    (path,) = written(tmp_path, info(), result(1, Verdict.FAIL, skeleton="link"))
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    try:
        found = faults(path)
    except xml.sax.SAXParseException as error:
        found = [str(error)]
    assert any(fault in each for each in found), found
