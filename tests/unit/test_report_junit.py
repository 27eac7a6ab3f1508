# SPDX-License-Identifier: Apache-2.0
"""The JUnit files: what each outcome becomes, within which limits, whatever the guests wrote."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import pytest
from report_cases import info, result

from harness.findings import KnownIssue, KnownIssues, finding_id
from harness.model.case import CaseId, CaseResult, Rerun
from harness.model.verdict import Check, Verdict
from harness.report import junit
from harness.report.junit import FILE_LIMIT_BYTES, write_junit
from harness.report.store import CaseTexts, RunStore
from harness.report.xmltext import cut_middle, one_line, xml_safe

HOSTILE = "]]>&<>\"' \0\x01\x1b[0m\r\x85\udcff\ud800\ufffe\uffff\U0001fffe <![CDATA[ &#0; é漢🙂"
"""Ends of CDATA, markup, C0 and C1 controls, lone surrogates, noncharacters, a false reference."""


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore.create(tmp_path, info())


def cases(paths: Iterable[Path]) -> list[ElementTree.Element]:
    return [case for path in paths for case in ElementTree.parse(path).iter("testcase")]


def only_case(store: RunStore, each: CaseResult) -> ElementTree.Element:
    (case,) = cases(write_junit(store, info(), [each]))
    return case


def text_of(element: ElementTree.Element, path: str) -> str:
    found = element.findtext(path)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("each", "tag", "kind"),
    [
        (result(1, Verdict.FAIL), "failure", "size/persisted"),
        (result(1, Verdict.FAIL, control=Verdict.PASS), "failure", "size/persisted"),
        (result(1, Verdict.FAIL, control=Verdict.FAIL), "failure", "control-fail"),
        (result(1, Verdict.UNKNOWN), "error", "unknown"),
        (result(1, None), "error", "infra"),
        (result(1, Verdict.FAIL, reruns=(Rerun(Verdict.PASS),)), "failure", "flaky"),
        (result(1, Verdict.SKIPPED), "skipped", "skipped"),
        # Nothing recorded that says why: still anything but a pass.
        (result(1, Verdict.FAIL, checks=()), "failure", "fail"),
        (result(1, Verdict.UNKNOWN, checks=()), "error", "unknown"),
        (result(1, None, infra_error=""), "error", "infra"),
        (result(1, None, infra_error=None), "error", "infra"),
        (result(1, Verdict.SKIPPED, checks=()), "skipped", "skipped"),
    ],
)
def test_each_outcome_has_its_element(
    store: RunStore, each: CaseResult, tag: str, kind: str
) -> None:
    case = only_case(store, each)
    verdicts = [child for child in case if child.tag in ("failure", "error", "skipped")]
    assert [(child.tag, child.get("type")) for child in verdicts] == [(tag, kind)]
    assert verdicts[0].get("message")


def test_a_pass_has_nothing_but_its_name_and_time(store: RunStore) -> None:
    case = only_case(store, result(1))
    assert list(case) == []
    assert case.attrib == {
        "classname": "ace-seq1.ext4.rollbaccine",
        "name": "ace-seq1/000001@ext4@rollbaccine",
        "time": "0.250000",
        "timestamp": "2027-01-15T08:00:00",
    }


def test_cases_without_a_result_show(store: RunStore) -> None:
    paths = write_junit(store, info(planned=3), [result(1)])
    errors = [case.find("error") for case in cases(paths)]
    assert [e.get("message") for e in errors if e is not None] == ["2 planned cases left no result"]


def test_a_run_of_nothing_is_not_green(store: RunStore) -> None:
    (case,) = cases(write_junit(store, info(planned=0), []))
    assert case.find("error") is not None


def test_suites_are_skeleton_and_file_system_and_target(store: RunStore) -> None:
    results = [
        result(1, skeleton="creat"),
        result(2, skeleton="link"),
        result(3, skeleton="creat", case_id=CaseId("ace-seq1/000003", "xfs", "rollbaccine")),
        result(4, Verdict.FAIL, skeleton="creat"),
    ]
    (path,) = write_junit(store, info(planned=4), results)
    root = ElementTree.parse(path).getroot()
    assert [(s.get("name"), s.get("tests"), s.get("failures")) for s in root] == [
        ("ace-seq1.ext4.rollbaccine.creat", "2", "1"),
        ("ace-seq1.ext4.rollbaccine.link", "1", "0"),
        ("ace-seq1.xfs.rollbaccine.creat", "1", "0"),
    ]
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("4", "1", "0")


def test_a_suite_tells_where_it_ran(store: RunStore) -> None:
    (path,) = write_junit(store, info(options={"fs": ("ext4", "xfs")}), [result(1)])
    found = {p.get("name"): p.get("value") for p in ElementTree.parse(path).iter("property")}
    assert found == {
        "run": "20270115T080000Z-abc123",
        "seed": "7",
        "kernel.primary": "6.1.0-56-cloud-amd64",
        "version.profile": "debian-12",
        "option.fs": "ext4 xfs",
    }


@pytest.mark.parametrize(
    ("verdict", "tag"), [(Verdict.PASS, "flakyFailure"), (Verdict.FAIL, "rerunFailure")]
)
def test_earlier_attempts_show(store: RunStore, verdict: Verdict, tag: str) -> None:
    case = only_case(store, result(1, verdict, attempts=("lost\nin boot", HOSTILE)))
    attempts = case.findall(tag)
    assert attempts[0].get("message") == "lost in boot"
    assert text_of(attempts[0], "stackTrace") == "lost\nin boot"
    assert len(attempts) == 2
    other = {"flakyFailure", "rerunFailure"} - {tag}
    assert case.find(other.pop()) is None


def test_a_fail_that_does_not_repeat_is_a_failure_all_the_same(store: RunStore) -> None:
    reruns = (Rerun(Verdict.PASS), Rerun(None, infra_error="guest backup is gone"))
    case = only_case(store, result(1, Verdict.FAIL, reruns=reruns))
    failure = case.find("failure")
    assert failure is not None
    assert failure.get("type") == "flaky"
    assert "failed in 1 of 2 runs" in (failure.get("message") or "")
    assert "guest backup is gone" in (failure.text or "")


def test_reruns_that_did_not_pass_show(store: RunStore) -> None:
    failed = Check("content/persisted", Verdict.FAIL, "foo", message="gone")
    reruns = (
        Rerun(Verdict.FAIL, (failed,)),
        Rerun(Verdict.PASS),
        Rerun(Verdict.UNKNOWN),
        Rerun(None, infra_error=HOSTILE),
    )
    case = only_case(store, result(1, Verdict.FAIL, reruns=reruns))
    shown = [(each.get("type"), each.get("message")) for each in case.findall("rerunFailure")]
    assert shown[:2] == [("fail", "content/persisted foo gone"), ("unknown", "no check recorded")]
    assert shown[2][0] == "infra"
    assert len(shown) == 3
    assert case.find("flakyFailure") is None


KNOWN = KnownIssues(
    "known.toml",
    (
        KnownIssue(
            1, "being mended", "https://example.org/7", date(2027, 2, 1),
            signature="creat:*:lost:data",
        ),
    ),
)  # fmt: skip


def test_a_known_failure_is_skipped_as_expected_failures_are(store: RunStore) -> None:
    failed = result(1, Verdict.FAIL)
    store.write_case(failed, CaseTexts(diff="x" * 10, consoles={"backup": "Oops"}))
    other = result(2, Verdict.FAIL, skeleton="link")
    unknown = result(3, Verdict.UNKNOWN)
    (path,) = write_junit(store, info(3), [failed, other, unknown], KNOWN)
    first, third, second = cases([path])
    skipped = first.find("skipped")
    assert skipped is not None
    assert skipped.get("message") == (
        "known issue: being mended (https://example.org/7, until 2027-02-01):"
        " size/persisted: A/foo: size differs"
    )
    assert first.find("failure") is None
    # The plugin keeps little of the output of a case that does not fail.
    assert len(text_of(first, "system-out")) <= 500
    assert second.find("failure") is not None
    assert third.find("error") is not None
    assert ElementTree.parse(path).getroot().get("failures") == "1"


def test_a_case_leads_to_its_finding(store: RunStore) -> None:
    failed = result(1, Verdict.FAIL)
    (case,) = cases(write_junit(store, info(), [failed], KNOWN))
    found = {each.get("name"): each.get("value") for each in case.iter("property")}
    assert found == {
        "finding": finding_id(failed),
        "signature": "creat:fsync:lost:data",
        "known": "https://example.org/7",
    }
    assert only_case(store, result(1)).find("properties") is None


def test_the_text_says_how_to_replay_and_what_was_found(store: RunStore) -> None:
    failed = result(1, Verdict.FAIL)
    store.write_case(failed, CaseTexts(diff="-size 4096\n+size 0\n"))
    case = only_case(store, failed)
    text = text_of(case, "failure")
    for part in (
        "size/persisted: A/foo: size differs\n",
        "harness replay ace-seq1/000001@ext4@rollbaccine\n",
        "expected 4096",
        "-size 4096\n",
        "  3 fsync Afoo\n",
        "crash at checkpoint 1, after line 3",
    ):
        assert part in text


def test_logs_are_linked_where_jenkins_keeps_the_line(store: RunStore) -> None:
    failed = result(1, Verdict.FAIL)
    folder = store.write_case(failed, CaseTexts(diff="x", consoles={"backup": "Oops"}))
    linked = text_of(only_case(store, failed), "system-out")
    assert linked.splitlines()[0] == f"[[ATTACHMENT|{folder.resolve()}/diff.txt]]"
    names = [line.removesuffix("]]").rpartition("/")[2] for line in linked.splitlines()]
    assert names == [
        "diff.txt",
        "workload.jlang",
        "console-backup.log",
        "expected.txt",
        "recovered.txt",
        "verdict.json",
    ]
    assert len(linked) <= 50_000
    assert only_case(store, result(2, Verdict.FAIL)).find("system-out") is None


def hostile_result(verdict: Verdict | None) -> CaseResult:
    check = Check(HOSTILE, verdict or Verdict.PASS, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    return result(
        1,
        verdict,
        workload_hash=HOSTILE,
        skeleton=HOSTILE,
        jlang=HOSTILE,
        checks=(check,),
        infra_error=HOSTILE,
        attempts=(HOSTILE, HOSTILE),
        console={HOSTILE: (HOSTILE,)},
        phases_s={HOSTILE: 1.0},
    )


@pytest.mark.parametrize("verdict", [*Verdict, None])
def test_hostile_text_in_every_field(store: RunStore, verdict: Verdict | None) -> None:
    hostile = hostile_result(verdict)
    facts = dataclasses.replace(
        info(),
        suite=HOSTILE,
        host={"hostname": HOSTILE, HOSTILE: HOSTILE},
        kernels={HOSTILE: HOSTILE},
        options={HOSTILE: (HOSTILE, HOSTILE)},
    )
    store.write_case(hostile, CaseTexts(diff=HOSTILE))
    paths = write_junit(store, facts, [hostile])
    (case,) = cases(paths)
    raw = paths[0].read_bytes()
    assert b"]]>" not in raw
    assert not set(raw) & (set(range(32)) - {0x09, 0x0A})
    if verdict is not Verdict.PASS and verdict is not Verdict.SKIPPED:
        # What XML cannot hold is spelt out, and what it can comes through as it is.
        text = "".join(case.itertext())
        assert "\\x00\\x01\\x1b[0m\\x0d\\x85\\udcff\\ud800\\ufffe\\uffff\\U0001fffe" in text
        assert "&#0; é漢🙂" in text


def test_five_thousand_cases_stay_under_the_limit_per_file(store: RunStore) -> None:
    results = [
        result(number, Verdict.FAIL if number % 5 == 0 else Verdict.PASS, skeleton=f"s{number % 3}")
        for number in range(5000)
    ]
    paths = write_junit(store, info(planned=5000), results)
    assert len(paths) > 1
    assert paths[0].name == "junit.xml"
    assert paths[1].name == "junit-002.xml"
    assert max(path.stat().st_size for path in paths) < FILE_LIMIT_BYTES
    found = cases(paths)
    assert {case.get("name") for case in found} == {str(each.case_id) for each in results}
    assert len(found) == 5000
    assert sum(case.find("failure") is not None for case in found) == 1000
    names = {s.get("name") for path in paths for s in ElementTree.parse(path).iter("testsuite")}
    assert len(names) == 3


def test_huge_evidence_is_cut_in_the_middle(store: RunStore) -> None:
    results = [
        result(number, Verdict.FAIL, jlang="first\n" + "&\0" * 1_000_000 + "\nlast")
        for number in range(30)
    ]
    paths = write_junit(store, info(planned=30), results)
    assert max(path.stat().st_size for path in paths) < FILE_LIMIT_BYTES
    text = text_of(cases(paths)[0], "failure")
    assert "first" in text
    assert "last" in text
    assert f"cut here; all of it is in {store.path}/cases/ace-seq1/000000" in text


def test_evidence_of_all_cases_together_is_bounded(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(junit, "_DETAIL_LIMIT_BYTES", 1000)
    results = [result(number, Verdict.FAIL) for number in range(50)]
    texts = [text_of(case, "failure") for case in cases(write_junit(store, info(50), results))]
    assert "replay: " in texts[0]
    assert texts[-1] == f"evidence: {store.case_folder(results[-1].case_id)}"


def test_files_of_an_earlier_writing_do_not_stay(store: RunStore) -> None:
    many = [result(number, Verdict.FAIL, jlang="x\n" * 20_000) for number in range(60)]
    assert len(write_junit(store, info(planned=60), many)) > 1
    write_junit(store, info(), [result(1)])
    assert [path.name for path in store.path.glob("junit*")] == ["junit.xml"]


def test_plain_text_is_left_alone() -> None:
    text = "tab\there, line\nbreak, é漢🙂 \u2028"
    assert xml_safe(text) == text
    assert cut_middle(text, 100, "cut") == text


@pytest.mark.parametrize("character", ["a", "&", "é", "🙂", "\0", "\udcff"])
def test_a_cut_holds_its_budget(character: str) -> None:
    cut = cut_middle(character * 1000, 300, "NOTE")
    element = ElementTree.Element("e")
    element.text = cut
    assert "\nNOTE\n" in cut
    assert len(ElementTree.tostring(element, "utf-8")) <= 300 + len("<e>\nNOTE\n</e>")
    assert len(cut.replace("\nNOTE\n", "")) >= 300 / 6 - 2


def test_a_message_is_one_bounded_line() -> None:
    assert one_line("a\n\tb  c\0", 80) == "a b c\\x00"
    assert one_line("x" * 50, 10) == "xxxxxxx..."
