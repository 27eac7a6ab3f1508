# SPDX-License-Identifier: Apache-2.0
"""Counts, exit codes, findings, and the bus that carries events to the reports."""

from __future__ import annotations

import itertools
import logging
from datetime import date

import pytest
from report_cases import result

from harness.events import Event, EventBus, Warned
from harness.findings import KnownIssue, KnownIssues
from harness.model.case import CaseResult, Outcome, Rerun
from harness.model.verdict import Check, Verdict
from harness.report.summary import EXIT_MEANING, Summary, headline

P, F, U, S = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN, Verdict.SKIPPED


def summed(*results: CaseResult, planned: int | None = None) -> Summary:
    summary = Summary(planned=len(results) if planned is None else planned)
    for each in results:
        summary.add(each)
    return summary


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([P], 0),
        ([P, S], 0),
        ([P, U], 2),
        ([P, None], 3),
        ([P, F], 1),
        # Findings, then infrastructure, then unknown.
        ([F, None, U, S, P], 1),
        ([None, U, P], 3),
        # Nothing judged is nothing passed.
        ([], 2),
        ([S], 2),
    ],
)
def test_exit_code(verdicts: list[Verdict | None], code: int) -> None:
    for order in itertools.permutations(verdicts):
        summary = summed(*(result(number, each) for number, each in enumerate(order)))
        assert summary.exit_code() == code
    assert code in EXIT_MEANING


def test_a_case_without_result_is_no_pass() -> None:
    summary = summed(result(1), planned=2)
    assert summary.missing == 1
    assert summary.exit_code() == 2


def test_a_failure_of_the_control_arm_is_a_finding_of_its_own() -> None:
    summary = summed(result(1, F, control=F), result(2, F, control=P), result(3, F))
    assert summary.counts[Outcome.CONTROL_FAIL] == 1
    assert summary.counts[Outcome.FAIL] == 2
    assert summed(result(1, F, control=F)).exit_code() == 1


def test_a_case_that_passes_is_not_touched_by_the_control_arm() -> None:
    assert result(1, P, control=F).outcome is Outcome.PASS


def test_findings_are_put_together_by_cause() -> None:
    other = (Check("mount", F),)
    summary = summed(
        result(1, F),
        result(2, F, checks=other),
        result(3, F, skeleton="link"),
        result(5, U),
        result(6),
        result(7, S),
    )
    ranked = [
        (one.outcome.value, one.violation, one.cases, str(one.smallest.case_id)[9:15])
        for one in summary.collector.ranked()
    ]
    assert ranked == [
        ("fail", "lost", 2, "000001"),
        ("fail", "unrecoverable", 1, "000002"),
        ("unknown", "unknown", 1, "000005"),
    ]


KNOWN = KnownIssues(
    "known.toml",
    (
        KnownIssue(
            1, "mended soon", "https://example.org", date(2027, 2, 1), signature="creat:*:lost:data"
        ),
    ),
)


def test_what_is_known_counts_and_is_no_reason_for_exit_code_1() -> None:
    summary = Summary(known=KNOWN)
    for each in (result(1, F), result(2, F), result(3)):
        summary.add(each)
    assert summary.exit_code() == 0
    assert summary.meaning(0) == "all cases passed but those that are known to fail"
    assert summary.counts_text() == "1 pass, 2 fail, 0 unknown, 0 infra, 2 of the failures known"
    assert (summary.rate.failures, summary.rate.cases) == (2, 3)
    assert not summary.new_findings
    summary.add(result(4, F, skeleton="link"))
    assert summary.exit_code() == 1
    assert len(summary.new_findings) == 1


@pytest.mark.parametrize(("verdict", "code"), [(U, 2), (None, 3)])
def test_what_is_known_hides_neither_unknown_nor_infrastructure(
    verdict: Verdict | None, code: int
) -> None:
    summary = Summary(known=KNOWN)
    for each in (result(1, F), result(2, verdict)):
        summary.add(each)
    assert summary.exit_code() == code


def test_a_run_of_known_failures_alone_was_judged() -> None:
    summary = Summary(known=KNOWN)
    summary.add(result(1, F))
    assert summary.exit_code() == 0


def test_time_is_added_up_by_phase() -> None:
    summary = summed(result(1), result(2, phases_s={"fsck": 0.4}))
    phases = [(name, p.total_s, p.cases, p.mean_ms) for name, p in summary.ranked_phases()]
    assert phases == [
        ("fsck", pytest.approx(0.6), 2, pytest.approx(300)),
        ("ops", pytest.approx(0.05), 1, pytest.approx(50)),
    ]


def test_the_headline_names_the_worst_check() -> None:
    checks = (
        Check("a", P, message="fine"),
        Check("b", U, message="not read"),
        Check("c", F, "A/foo", "4096", "0"),
        Check("d", F, message="gone"),
    )
    assert headline(result(1, F, checks=checks)) == "c: A/foo: expected 4096, found 0 (and 1 more)"


@pytest.mark.parametrize(
    "each",
    [
        result(1, F, checks=()),
        result(1, U, checks=(Check("a", U, message="\n"),)),
        result(1, None, infra_error=" \n"),
    ],
)
def test_what_did_not_pass_has_a_headline(each: CaseResult) -> None:
    text = headline(each)
    assert text.strip()
    assert "\n" not in text


def test_counts_text_leaves_out_what_is_rare() -> None:
    assert summed(result(1)).counts_text() == "1 pass, 0 fail, 0 unknown, 0 infra"
    summary = summed(result(1, attempts=("lost",)), result(2, S), result(3, F, control=F))
    assert summary.counts_text() == (
        "1 pass, 0 fail, 0 unknown, 0 infra, 1 control-fail, 1 skipped, 1 of the passes retried"
    )


def test_a_fail_that_does_not_repeat_is_flaky_and_still_a_finding() -> None:
    flaky = result(1, F, reruns=(Rerun(F), Rerun(P)))
    assert (flaky.outcome, flaky.flaky, flaky.confirmed) == (Outcome.FLAKY, True, False)
    assert headline(flaky).endswith("; failed in 2 of 3 runs")
    summary = summed(result(2), flaky)
    assert summary.exit_code() == 1
    assert len(summary.new_findings) == 1
    assert summary.collector.ranked()[0].outcome is Outcome.FLAKY
    assert summary.counts_text() == "1 pass, 0 fail, 0 unknown, 0 infra, 1 flaky"


@pytest.mark.parametrize(
    ("reruns", "confirmed"),
    [((), False), ((F, F), True), ((F, U), False), ((U,), False), ((None,), False),
     ((F, None), True)],
)  # fmt: skip
def test_a_fail_is_confirmed_by_fails_alone(
    reruns: tuple[Verdict | None, ...], confirmed: bool
) -> None:
    case = result(1, F, reruns=tuple(Rerun(verdict) for verdict in reruns))
    assert (case.outcome, case.confirmed) == (Outcome.FAIL, confirmed)


def test_what_fails_on_the_control_arm_too_is_not_called_flaky() -> None:
    assert result(1, F, control=F, reruns=(Rerun(P),)).outcome is Outcome.CONTROL_FAIL


def test_a_subscriber_that_raises_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Event] = []

    def broken(event: Event) -> None:
        raise RuntimeError("no terminal")

    bus = EventBus()
    for subscriber in (seen.append, broken, seen.append):
        bus.subscribe(subscriber)
    event = Warned("disk nearly full")
    with caplog.at_level(logging.WARNING):
        bus.publish(event)
    assert seen == [event, event]
    assert "failed on Warned" in caplog.text


def test_a_subscriber_may_publish() -> None:
    bus = EventBus()
    seen: list[str] = []

    def echo(event: Event) -> None:
        assert isinstance(event, Warned)
        seen.append(event.text)
        if len(seen) < 3:
            bus.publish(Warned(event.text + "!"))

    bus.subscribe(echo)
    bus.publish(Warned("a"))
    assert seen == ["a", "a!", "a!!"]
