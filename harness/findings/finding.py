# SPDX-License-Identifier: Apache-2.0
"""Findings: bad cases put together by cause, so that one bug is one finding.

What a case looks like depends on its workload; the kind of violation does much less. So findings
are told apart by outcome, target and kind of violation, and hold all signatures seen of it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from harness.findings.signature import Signature, signature
from harness.findings.violation import ONE_CAUSE, TITLES, Violation
from harness.model.case import CaseId, CaseResult, Outcome
from harness.oracle.rules import Rule

_ID_HEX_DIGITS = 9
_ORDER = (
    Outcome.FAIL, Outcome.CONTROL_FAIL, Outcome.FLAKY, Outcome.INFRA, Outcome.UNKNOWN,
)  # fmt: skip
_EXACT = (Violation.KERNEL_REPORT, Violation.OTHER, Violation.UNKNOWN, Violation.INFRA)
"""Kinds in which the object says what was reported: another text is another finding."""
_OF_A_PAIR = (Rule.DRAIN_QUIESCED, Rule.DRAIN_PROMISED, Rule.DEVICE_EQUAL)
"""Rules that are applied only where there is a second copy."""
CONTROL = "control"
"""In place of the target where the control arm fails as well."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Cases with the same cause, as far as that can be told from what they show."""

    id: str
    """The same in every run: made of outcome, target and cause alone."""
    outcome: Outcome
    target: str
    violation: str
    """As in its signatures, or what several kinds are put together as."""
    object: str
    """Of its most frequent signature."""
    title: str
    case_ids: tuple[CaseId, ...]
    """In order of recording."""
    signatures: Mapping[Signature, int]
    """Signature -> cases, most frequent first."""
    smallest: CaseResult
    """Fewest core ops, then fewest steps, then lowest id; without evidence and consoles."""
    first_unix_s: float
    last_unix_s: float

    @property
    def cases(self) -> int:
        """How many cases, each result of a case counted."""
        return len(self.case_ids)


@dataclass(frozen=True, slots=True)
class _Cause:
    outcome: Outcome
    target: str
    violation: str
    said: str

    @property
    def id(self) -> str:
        text = "\n".join((self.outcome.value, self.target, self.violation, self.said))
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"))
        return "f" + digest.hexdigest()[:_ID_HEX_DIGITS]

    @property
    def title(self) -> str:
        title = TITLES[Violation(self.violation)]
        return f"{title}: {self.said}" if self.said else title


@dataclass(slots=True)
class _Open:
    """A finding to which cases are still added."""

    smallest: CaseResult
    first_unix_s: float
    last_unix_s: float
    case_ids: list[CaseId] = field(default_factory=list)
    signatures: Counter[Signature] = field(default_factory=Counter)


class FindingCollector:
    """Puts results together one by one; keeps ids and one case without evidence per finding."""

    def __init__(self) -> None:
        self._open: dict[_Cause, _Open] = {}

    def add(self, result: CaseResult) -> None:
        """Take ``result`` into account, whatever came of it."""
        mark = signature(result)
        if mark is None:
            return
        cause = _cause(result, mark)
        started = result.started_unix_s
        found = self._open.get(cause)
        if found is None:
            found = self._open[cause] = _Open(_bare(result), started, started)
        elif _size(result) < _size(found.smallest):
            found.smallest = _bare(result)
        found.first_unix_s = min(found.first_unix_s, started)
        found.last_unix_s = max(found.last_unix_s, started)
        found.case_ids.append(result.case_id)
        found.signatures[mark] += 1

    @property
    def different(self) -> int:
        """Findings of the target or of what it stands on, not of the harness's own trouble."""
        return sum(cause.outcome.is_finding for cause in self._open)

    def ranked(self) -> list[Finding]:
        """All findings: fails before infrastructure before unknown, each most frequent first."""
        found = [_closed(cause, seen) for cause, seen in self._open.items()]
        return sorted(found, key=lambda one: (_ORDER.index(one.outcome), -one.cases, one.id))


def findings(results: Iterable[CaseResult]) -> list[Finding]:
    """The findings in ``results``, which are looked at one at a time, ordered as ``ranked``."""
    collector = FindingCollector()
    for result in results:
        collector.add(result)
    return collector.ranked()


def finding_id(result: CaseResult) -> str | None:
    """Id of the finding that ``result`` belongs to; None if it passed or was skipped."""
    mark = signature(result)
    return None if mark is None else _cause(result, mark).id


def _cause(result: CaseResult, mark: Signature) -> _Cause:
    outcome = result.outcome
    target = CONTROL if outcome is Outcome.CONTROL_FAIL else result.case_id.target
    said = mark.object if mark.violation in _EXACT else ""
    violation = mark.violation
    if outcome is not Outcome.CONTROL_FAIL and _replicated(result):
        violation = ONE_CAUSE.get(violation, violation)
    return _Cause(outcome, target, str(violation), said)


def _replicated(result: CaseResult) -> bool:
    return any(check.rule in _OF_A_PAIR for check in result.checks)


def _bare(result: CaseResult) -> CaseResult:
    return replace(result, evidence=None, console={})


def _size(result: CaseResult) -> tuple[int, int, CaseId]:
    core_ops = result.skeleton.count("-") + 1
    return core_ops, result.jlang.count("\n"), result.case_id


def _closed(cause: _Cause, seen: _Open) -> Finding:
    signatures = dict(sorted(seen.signatures.items(), key=lambda item: (-item[1], item[0])))
    return Finding(
        id=cause.id,
        outcome=cause.outcome,
        target=cause.target,
        violation=cause.violation,
        object=next(iter(signatures)).object,
        title=cause.title,
        case_ids=tuple(seen.case_ids),
        signatures=signatures,
        smallest=seen.smallest,
        first_unix_s=seen.first_unix_s,
        last_unix_s=seen.last_unix_s,
    )
