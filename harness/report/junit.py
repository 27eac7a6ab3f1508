# SPDX-License-Identifier: Apache-2.0
"""JUnit XML within the limits of Jenkins' JUnit plugin; the only user of ``junit_xml``.

How outcomes appear, chosen so that nothing but a pass can look like one:

============  ========================================================================
pass          plain ``testcase``, with a ``flakyFailure`` for each earlier attempt
fail          ``failure``, type = rule, with a ``rerunFailure`` for each other run that did not pass
(known)       ``skipped``: a failure that is on the list of known issues, as expected failures are
control-fail  ``failure``, type ``control-fail``: the control arm failed as well
flaky         ``failure``, type ``flaky``: passed when it was run again
unknown       ``error``, type ``unknown``
infra         ``error``, type ``infra``
skipped       ``skipped`` with its reason
(left)        ``skipped``: one case standing for all that were not begun, as asked for
(no result)   ``error``, type ``missing``: one case standing for all that have none
============  ========================================================================

``junit_xml`` builds the elements, with three things to know: a failure or error that has neither
message nor text is left out by it (and would look like a pass), control characters are dropped
without a trace by its writer only, and it has no ``flakyFailure``. So messages are never empty,
text is made safe before it goes in, and the element tree is completed and written here.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree

from junit_xml import TestCase, TestSuite

from harness.findings import (
    NOTHING_KNOWN,
    KnownIssue,
    KnownIssues,
    finding_id,
    signature,
)
from harness.model.case import CaseResult, Outcome, RunInfo
from harness.model.verdict import Verdict
from harness.report.evidence_text import evidence_text
from harness.report.store import RunStore
from harness.report.summary import Summary, deciding_checks, headline
from harness.report.xmltext import cut_middle, one_line, xml_safe

FILE_LIMIT_BYTES = 1_000_000
"""No file passes this: Jenkins was seen to take pieces of this size and to hang on larger ones."""
_TEXT_LIMIT_BYTES = 50_000
_ATTEMPT_LIMIT_BYTES = 5_000
_DETAIL_LIMIT_BYTES = 10_000_000
"""Evidence text in all files together; cases after that say only where their evidence is."""
_MOST_ATTEMPTS = 10
_MESSAGE_CHARS = 300
_NAME_CHARS = 200
_LINK_CHARS = 20_000
"""Jenkins keeps the first and last 50,000 characters of the output of a case that fails ..."""
_KNOWN_LINK_CHARS = 480
"""... and 500 of any other."""
_ROOT_BYTES = 400
"""More than the declaration, the root element and its attributes take."""
_LINKED = (
    "diff.txt", "workload.jlang", "console-*.log", "expected.txt", "recovered.txt", "verdict.json",
)  # fmt: skip
"""Files of a case's folder, the most telling first."""

_Key = tuple[str, str]
"""(class name, skeleton): cases of one such pair make up a suite."""


@dataclass(frozen=True, slots=True)
class _Retry:
    """A run of the case besides the one that counts, and why that one did not pass."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class _Case:
    """A case ready to be written; ``size`` bounds its element in bytes."""

    case: TestCase
    retries: tuple[_Retry, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    size: int = 0


def write_junit(
    store: RunStore,
    info: RunInfo,
    results: Iterable[CaseResult],
    known: KnownIssues = NOTHING_KNOWN,
) -> list[Path]:
    """Write ``junit.xml``, ``junit-002.xml`` ... into the run's folder; returns their paths.

    To be picked up with the pattern ``junit*.xml``. A suite that is split over several files bears
    one name in all of them, by which Jenkins joins it. Files of an earlier call are removed.
    """
    writer = _Writer(store, info, known)
    suites = writer.collect(results)
    written = [
        store.write_text(
            "junit.xml" if number == 1 else f"junit-{number:03d}.xml", _document(group)
        )
        for number, group in enumerate(_packed(writer.pieces(suites)), 1)
    ]
    for stale in set(store.path.glob("junit*.xml")) - set(written):
        stale.unlink()
    return written


class _Writer:
    """Turns the results of one run into suite elements."""

    def __init__(self, store: RunStore, info: RunInfo, known: KnownIssues) -> None:
        self._store = store
        self._info = info
        self._known = known
        self._properties = _properties(info)
        self._detail_left = _DETAIL_LIMIT_BYTES

    def collect(self, results: Iterable[CaseResult]) -> dict[_Key, list[_Case]]:
        """All cases by suite, suites by name; cases keep the order in which they ended."""
        summary = Summary(planned=self._info.planned, left=self._info.left)
        suites: dict[_Key, list[_Case]] = {}
        for result in results:
            summary.add(result)
            classname = f"{self._info.suite}.{result.case_id.fs}.{result.case_id.target}"
            key = (one_line(classname, _NAME_CHARS), one_line(result.skeleton, _NAME_CHARS))
            suites.setdefault(key, []).append(self._case(key, result))
        classname = one_line(f"{self._info.suite}.run", _NAME_CHARS)
        if summary.missing or not suites:
            suites[classname, "missing"] = [_missing(classname, summary.missing)]
        if summary.left:
            suites[classname, "left"] = [_left(classname, summary.left)]
        return dict(sorted(suites.items()))

    def pieces(self, suites: dict[_Key, list[_Case]]) -> Iterator[tuple[ElementTree.Element, int]]:
        """Suite elements with their size, each small enough for a file of its own."""
        for key, cases in suites.items():
            # Counts in the attributes grow with the number of cases: allow for their digits.
            empty = _size(self._suite(key, [])) + 100
            batch: list[_Case] = []
            size = empty
            for case in cases:
                if batch and size + case.size > FILE_LIMIT_BYTES - _ROOT_BYTES:
                    yield self._suite(key, batch), size
                    batch, size = [], empty
                batch.append(case)
                size += case.size
            yield self._suite(key, batch), size

    def _suite(self, key: _Key, cases: list[_Case]) -> ElementTree.Element:
        suite = TestSuite(
            ".".join(key),
            [case.case for case in cases],
            hostname=one_line(self._info.host.get("hostname", ""), _NAME_CHARS),
            timestamp=_timestamp(self._info.started_unix_s),
            properties=self._properties,
        )
        element: ElementTree.Element = suite.build_xml_doc()
        for child, case in zip(element.findall("testcase"), cases, strict=True):
            _complete(child, case)
        return element

    def _case(self, key: _Key, result: CaseResult) -> _Case:
        case = TestCase(
            str(result.case_id),
            classname=key[0],
            elapsed_sec=result.elapsed_s,
            timestamp=_timestamp(result.started_unix_s),
        )
        outcome, message = result.outcome, one_line(headline(result), _MESSAGE_CHARS)
        issue = self._known.match(result)
        if outcome is Outcome.SKIPPED:
            case.add_skipped_info(message)
        elif issue is not None:
            case.add_skipped_info(one_line(f"{_known_text(issue)}: {message}", _MESSAGE_CHARS))
            case.stdout = self._links(result, _KNOWN_LINK_CHARS)
        elif outcome is not Outcome.PASS:
            text = self._detail(result)
            if outcome.is_finding:
                case.add_failure_info(message, text, _failure_type(result))
            else:
                case.add_error_info(message, text, outcome.value)
            case.stdout = self._links(result, _LINK_CHARS)
        return _sized(_Case(case, _retries(result), _case_properties(result, issue)))

    def _detail(self, result: CaseResult) -> str:
        folder = self._store.case_folder(result.case_id)
        if self._detail_left <= 0:
            return xml_safe(f"evidence: {folder}")
        diff = folder / "diff.txt"
        shown = diff.read_text("utf-8", "replace") if diff.is_file() else ""
        note = f"[... cut here; all of it is in {xml_safe(str(folder))} ...]"
        text = cut_middle(evidence_text(result, self._info, shown), _TEXT_LIMIT_BYTES, note)
        self._detail_left -= len(text)
        return text

    def _links(self, result: CaseResult, most_chars: int) -> str | None:
        folder = self._store.case_folder(result.case_id).resolve()
        lines = ""
        for pattern in _LINKED:
            for path in sorted(folder.glob(pattern)):
                line = f"[[ATTACHMENT|{path}]]\n"
                if len(lines) + len(line) <= most_chars:
                    lines += line
        return xml_safe(lines) or None


def _failure_type(result: CaseResult) -> str:
    if result.outcome in (Outcome.CONTROL_FAIL, Outcome.FLAKY):
        return result.outcome.value
    checks = deciding_checks(result)
    return one_line(checks[0].rule, _NAME_CHARS) if checks else Outcome.FAIL.value


def _left(classname: str, number: int) -> _Case:
    case = TestCase("cases left for later", classname=classname)
    case.add_skipped_info(f"{number} planned cases were not begun, as asked for; resume the run")
    return _sized(_Case(case))


def _missing(classname: str, number: int) -> _Case:
    case = TestCase("cases without a result", classname=classname)
    message = f"{number} planned cases left no result" if number else "the run judged no case"
    case.add_error_info(message, f"{message}: it ended early\n", "missing")
    return _sized(_Case(case))


def _known_text(issue: KnownIssue) -> str:
    return f"known issue: {issue.reason} ({issue.link}, until {issue.expires})"


def _case_properties(result: CaseResult, issue: KnownIssue | None) -> dict[str, str]:
    """What leads from a case in Jenkins to the finding it belongs to."""
    mark = signature(result)
    if mark is None:
        return {}
    values = {"finding": finding_id(result) or "", "signature": str(mark)}
    if issue is not None:
        values["known"] = issue.link
    return {name: one_line(value, _MESSAGE_CHARS) for name, value in values.items()}


def _retries(result: CaseResult) -> tuple[_Retry, ...]:
    """What ended earlier attempts, and what further runs to confirm a failure came to."""
    found = [_Retry("attempt", text) for text in result.attempts]
    for rerun in result.reruns:
        if rerun.verdict is None:
            found.append(_Retry(Outcome.INFRA.value, rerun.infra_error or "no text"))
        elif rerun.verdict is not Verdict.PASS:
            said = [" ".join(filter(None, (c.rule, c.path, c.message))) for c in rerun.checks]
            found.append(_Retry(rerun.verdict.value, "\n".join(said) or "no check recorded"))
    return tuple(found[-_MOST_ATTEMPTS:])


def _sized(case: _Case) -> _Case:
    element = TestSuite("", [case.case]).build_xml_doc().find("testcase")
    _complete(element, case)
    return replace(case, size=_size(element))


def _complete(element: ElementTree.Element, case: _Case) -> None:
    """Add what ``junit_xml`` has not: properties, and what other runs of the case came to.

    ``flakyFailure`` where the run that counts passed, else ``rerunFailure``.
    """
    passed = not (case.case.is_failure() or case.case.is_error() or case.case.is_skipped())
    for retry in case.retries:
        child = ElementTree.SubElement(
            element,
            "flakyFailure" if passed else "rerunFailure",
            {"message": one_line(retry.text, _MESSAGE_CHARS), "type": retry.kind},
        )
        trace = ElementTree.SubElement(child, "stackTrace")
        trace.text = cut_middle(retry.text, _ATTEMPT_LIMIT_BYTES, "[... cut here ...]")
    if case.properties:
        properties = ElementTree.Element("properties")
        for name, value in case.properties.items():
            ElementTree.SubElement(properties, "property", {"name": name, "value": value})
        element.insert(0, properties)
    element.tail = "\n"


def _size(element: ElementTree.Element) -> int:
    return len(ElementTree.tostring(element, "utf-8"))


def _packed(
    pieces: Iterable[tuple[ElementTree.Element, int]],
) -> Iterator[list[ElementTree.Element]]:
    """Successive suites, as many to a list as fit into one file."""
    batch: list[ElementTree.Element] = []
    room = FILE_LIMIT_BYTES - _ROOT_BYTES
    for element, size in pieces:
        if batch and size > room:
            yield batch
            batch, room = [], FILE_LIMIT_BYTES - _ROOT_BYTES
        batch.append(element)
        room -= size
    if batch:
        yield batch


def _document(suites: list[ElementTree.Element]) -> str:
    root = ElementTree.Element("testsuites")
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in suites)))
    root.set("time", f"{sum(float(suite.get('time', '0')) for suite in suites):.3f}")
    root.text = "\n"
    for suite in suites:
        suite.tail = "\n"
        root.append(suite)
    text: bytes = ElementTree.tostring(root, "utf-8", xml_declaration=True)
    return text.decode("utf-8")


def _timestamp(unix_s: float) -> str:
    # ISO 8601 without a zone, as the format wants it; UTC like every other time of a run.
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(unix_s))


def _properties(info: RunInfo) -> dict[str, str]:
    named = {"run": info.run_id, "seed": "none" if info.seed is None else str(info.seed)}
    for prefix, values in (
        ("kernel", info.kernels),
        ("version", info.versions),
        ("host", info.host),
        ("option", info.options),
    ):
        for name, value in values.items():
            shown = " ".join(value) if isinstance(value, tuple) else str(value)
            named[f"{prefix}.{name}"] = shown
    return {
        one_line(name, _NAME_CHARS): one_line(value, _MESSAGE_CHARS)
        for name, value in named.items()
    }
