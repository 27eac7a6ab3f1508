# SPDX-License-Identifier: Apache-2.0
"""A run's record read once: a short row per case, in memory; evidence is read again when needed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import zip_longest
from typing import NamedTuple

from harness.findings import Finding, FindingCollector, finding_id
from harness.model.case import CaseId, CaseResult, Outcome
from harness.report.html import text
from harness.report.html.digest import BAD, CaseRef, FindingDigest
from harness.report.load import Place, Run
from harness.report.store import case_folder_name
from harness.report.summary import headline

_SLOWEST = 20
_OTHERS = 100
_SIGNATURES = 20
_WHY_CHARS = 240


class Row(NamedTuple):
    """One case, as much of it as every table needs."""

    id: str
    skeleton: str
    outcome: str
    elapsed_s: float
    ops: int
    """Lines of its workload."""
    place: Place
    why: str = ""
    finding: str = ""

    @property
    def size(self) -> tuple[int, int, str]:
        """Sorts by how much there is to understand."""
        return self.skeleton.count("-") + 1, self.ops, self.id


@dataclass(slots=True)
class Scan:
    """All cases of a run; of a case with several results the last counts."""

    rows: dict[str, Row] = field(default_factory=dict)
    phases_s: dict[str, float] = field(default_factory=dict)
    flaky: int = 0
    case_time_s: float = 0.0
    begun_unix_s: float = 0.0
    ended_unix_s: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Outcome -> cases, those that there are."""
        found: dict[str, int] = defaultdict(int)
        for row in self.rows.values():
            found[row.outcome] += 1
        return dict(found)

    def skeletons(self) -> dict[str, dict[str, int]]:
        """Skeleton -> outcome -> cases."""
        found: dict[str, dict[str, int]] = {}
        for row in self.rows.values():
            of = found.setdefault(row.skeleton, {})
            of[row.outcome] = of.get(row.outcome, 0) + 1
        return dict(sorted(found.items()))

    def bad(self) -> list[Row]:
        """Cases that did not pass, in the order of the record."""
        rows = (row for row in self.rows.values() if row.outcome in BAD)
        return sorted(rows, key=lambda row: row.place)

    def slowest(self) -> list[Row]:
        """The cases that took longest."""
        return nsmallest(_SLOWEST, self.rows.values(), key=lambda row: (-row.elapsed_s, row.id))


def scan(run: Run) -> Scan:
    """Read the record of ``run``: twice what did not pass, once all else."""
    seen = Scan()
    begins: list[float] = []
    for place, result in run.outlines():
        _add(seen, place, result)
        if result.started_unix_s:
            begins.append(result.started_unix_s)
            seen.ended_unix_s = max(
                seen.ended_unix_s, result.started_unix_s + max(0.0, result.elapsed_s)
            )
    seen.begun_unix_s = min(begins, default=0.0)
    collector = FindingCollector()
    for row in seen.bad():
        result = run.at(row.place)
        collector.add(result)
        seen.rows[row.id] = row._replace(finding=finding_id(result) or "")
    seen.findings = collector.ranked()
    return seen


def _add(seen: Scan, place: Place, result: CaseResult) -> None:
    name, outcome = str(result.case_id), result.outcome
    seen.rows[name] = Row(
        name,
        text.clip(result.skeleton, 120) or "(none)",
        outcome.value,
        result.elapsed_s,
        result.jlang.count("\n"),
        place,
        text.clip(headline(result), _WHY_CHARS) if outcome is not Outcome.PASS else "",
    )
    seen.case_time_s += result.elapsed_s
    seen.flaky += outcome is Outcome.PASS and bool(result.attempts)
    for phase, spent in result.phases_s.items():
        seen.phases_s[phase] = seen.phases_s.get(phase, 0.0) + spent


def choose(seen: Scan, most: int, *, passes: bool) -> list[Row]:
    """The cases that get a page: of every finding the smallest ones, ``most`` in all."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in seen.rows.values():
        if row.outcome in BAD:
            groups[row.finding].append(row)
        elif passes and row.outcome == Outcome.PASS:
            groups["passes"].append(row)
    # What passed comes last, after all that did not.
    ranked = [sorted(groups[name], key=lambda row: row.size) for name in _order(groups)]
    bad = [rows for rows in ranked if rows[0].outcome in BAD]
    good = [rows for rows in ranked if rows[0].outcome not in BAD]
    rounds = [*_in_turn(bad), *_in_turn(good)]
    return sorted(rounds[:most], key=lambda row: row.place)


def _order(groups: Iterable[str]) -> list[str]:
    return sorted(groups)


def _in_turn(groups: list[list[Row]]) -> Iterator[Row]:
    """The first of each, then the second of each, and so on."""
    for rows in zip_longest(*groups):
        yield from (row for row in rows if row is not None)


def page_name(case: str) -> str:
    """The page of a case relative to the folder of its run."""
    return f"{case_folder_name(CaseId.parse(case))}.html"


def reference(row: Row, with_page: Callable[[str], bool]) -> CaseRef:
    """``row`` for a table."""
    page = page_name(row.id) if with_page(row.id) else ""
    return CaseRef(row.id, row.skeleton, row.outcome, row.elapsed_s, row.why, page, row.finding)


def finding_digest(seen: Scan, finding: Finding, with_page: Callable[[str], bool]) -> FindingDigest:
    """``finding`` with its smallest cases."""
    rows = [seen.rows[str(case)] for case in dict.fromkeys(finding.case_ids)]
    small = nsmallest(_OTHERS + 1, rows, key=lambda row: row.size)
    named = list(finding.signatures.items())
    return FindingDigest(
        id=finding.id,
        outcome=finding.outcome.value,
        target=finding.target,
        title=text.clip(finding.title, _WHY_CHARS),
        cases=finding.cases,
        signatures={text.clip(str(name)): number for name, number in named[:_SIGNATURES]},
        more_signatures=max(0, len(named) - _SIGNATURES),
        smallest=reference(small[0], with_page),
        others=tuple(reference(row, with_page) for row in small[1:]),
        first_unix_s=finding.first_unix_s,
        last_unix_s=finding.last_unix_s,
    )
