# SPDX-License-Identifier: Apache-2.0
"""Two runs of the same cases by different engines: they have to come to the same.

Not only in the verdict: what fails has to fail as the same finding, and the tree on the primary has
to be the same at each crash point, or the engines have not done the same steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from harness.findings.finding import finding_id
from harness.model.case import CaseId, CaseResult, Outcome
from harness.model.tree import Entry, Tree


@dataclass(frozen=True, slots=True)
class Account:
    """What of a case has to be the same, whoever ran it."""

    outcome: Outcome
    finding: str = ""
    """Id of the finding it shows, if it does."""
    trees: Mapping[int, str] = field(default_factory=dict)
    """Crash point -> digest of the live tree there."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A case that the engines do not agree on."""

    case_id: CaseId
    about: str
    """In words."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a comparison of two engines came to."""

    disagreements: tuple[Disagreement, ...]
    agreed: int
    open: tuple[CaseId, ...]
    """Cases to which at least one engine had nothing to say: lost guests, or not run."""


def account(result: CaseResult) -> Account:
    """The account of one case."""
    evidence = result.evidence
    crashes = evidence.crashes if evidence is not None else ()
    return Account(
        result.outcome,
        str(finding_id(result)) if result.outcome.is_finding else "",
        {crash.checkpoint: _digest(crash.live) for crash in crashes if crash.live is not None},
    )


def accounts(results: Iterable[CaseResult]) -> dict[CaseId, Account]:
    """Of a run, looked at one result at a time; the last one of a case counts."""
    return {result.case_id: account(result) for result in results}


def agreement(
    one: Mapping[CaseId, Account], other: Mapping[CaseId, Account], names: tuple[str, str]
) -> Agreement:
    """Compare two engines called ``names``; a case that only one of them knows is open."""
    disagreements: list[Disagreement] = []
    undecided: list[CaseId] = []
    agreed = 0
    for case_id in sorted(one.keys() | other.keys()):
        mine, theirs = one.get(case_id), other.get(case_id)
        if mine is None or theirs is None or not (_judged(mine) and _judged(theirs)):
            undecided.append(case_id)
            continue
        said = list(_differences(mine, theirs, names))
        agreed += not said
        disagreements += [Disagreement(case_id, about) for about in said]
    return Agreement(tuple(disagreements), agreed, tuple(undecided))


def _judged(seen: Account) -> bool:
    return seen.outcome not in (Outcome.INFRA, Outcome.SKIPPED)


def _differences(one: Account, other: Account, names: tuple[str, str]) -> Iterator[str]:
    if one.outcome is not other.outcome:
        yield f"{names[0]}: {one.outcome}, {names[1]}: {other.outcome}"
        return
    if one.finding != other.finding:
        yield f"{names[0]}: finding {one.finding}, {names[1]}: finding {other.finding}"
    # One that failed may have been ended at different points.
    if one.outcome is Outcome.PASS and one.trees.keys() != other.trees.keys():
        yield f"crash points {sorted(one.trees)} and {sorted(other.trees)}"
    for point in sorted(one.trees.keys() & other.trees.keys()):
        if one.trees[point] != other.trees[point]:
            yield f"the trees on the primary differ at crash point {point}"


def _digest(tree: Tree) -> str:
    """Of what the steps alone decide: no inode numbers, times, or blocks allocated."""
    digest = blake2b(digest_size=16)
    numbers: dict[int, int] = {}
    for path, entry in sorted(tree.entries.items()):
        # Which names are links to the same file, but not its number.
        same = numbers.setdefault(entry.ino, len(numbers))
        digest.update(repr((path, same, *_facts(entry))).encode())
    return digest.hexdigest()


def _facts(entry: Entry) -> Iterator[object]:
    yield from (entry.kind, entry.mode, entry.uid, entry.gid, entry.nlink)
    # That of a directory depends on how the file system was made.
    yield entry.size if entry.kind.value == "file" else None
    yield from (entry.rdev, sorted(entry.xattrs), entry.link, entry.digest, entry.error)
