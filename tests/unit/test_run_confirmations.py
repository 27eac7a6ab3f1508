# SPDX-License-Identifier: Apache-2.0
"""Which failing cases are run again to confirm them."""

from __future__ import annotations

from dataclasses import replace

from report_cases import result

from harness.model.case import CaseResult, Rerun
from harness.model.verdict import Check, Verdict
from harness.run.confirm import Confirmations


def failed(rule: str = "content/persisted") -> CaseResult:
    return result(verdict=Verdict.FAIL, checks=(Check(rule, Verdict.FAIL, "foo"),))


def with_reruns(case: CaseResult, *verdicts: Verdict | None) -> CaseResult:
    return replace(case, reruns=tuple(Rerun(verdict) for verdict in verdicts))


def confirm(seen: Confirmations, case: CaseResult, *verdicts: Verdict | None) -> None:
    seen.add(case, with_reruns(case, *verdicts))


def test_a_finding_confirmed_often_enough_is_believed_in() -> None:
    seen = Confirmations(enough=2)
    assert seen.worth(failed())
    confirm(seen, failed(), Verdict.FAIL, Verdict.FAIL)
    assert seen.worth(failed())
    confirm(seen, failed(), Verdict.FAIL, Verdict.FAIL)
    assert not seen.worth(failed())
    assert seen.worth(failed("console")), "another finding"


def test_what_came_to_no_verdict_confirms_nothing() -> None:
    seen = Confirmations(enough=1)
    confirm(seen, failed())
    confirm(seen, failed(), None)
    assert seen.worth(failed())


def test_a_flaky_case_puts_its_finding_in_doubt() -> None:
    seen = Confirmations(enough=2)
    confirm(seen, failed(), Verdict.FAIL)
    confirm(seen, failed(), Verdict.FAIL, Verdict.PASS)
    confirm(seen, failed(), Verdict.FAIL)
    assert seen.worth(failed()), "one in a row"
    confirm(seen, failed(), Verdict.FAIL)
    assert not seen.worth(failed())
