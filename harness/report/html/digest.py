# SPDX-License-Identifier: Apache-2.0
"""What the pages over several runs need to know of one run: small, whatever the run's size.

It is kept beside the run's pages (``digest.json``), so that a run that has not changed is not read
again, and stays in the trend when its record is long gone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.model.case import Outcome, RunInfo
from harness.model.codec import decode_run, encode_run
from harness.report.html import text

DIGEST = "digest.json"
_VERSION = 1
BAD = (Outcome.FAIL, Outcome.CONTROL_FAIL, Outcome.FLAKY, Outcome.UNKNOWN, Outcome.INFRA)
"""Outcomes that somebody has to look at, the worst first."""


@dataclass(frozen=True, slots=True)
class CaseRef:
    """One case in a table."""

    id: str
    skeleton: str
    outcome: str
    elapsed_s: float
    why: str = ""
    page: str = ""
    """Its page relative to the folder of its run; empty if it has none."""
    finding: str = ""


@dataclass(frozen=True, slots=True)
class FindingDigest:
    """A finding as one run shows it."""

    id: str
    outcome: str
    target: str
    title: str
    cases: int
    signatures: Mapping[str, int]
    """The most frequent ones."""
    more_signatures: int
    smallest: CaseRef
    others: tuple[CaseRef, ...]
    """Further cases, the smallest first; as many as a table takes."""
    first_unix_s: float
    last_unix_s: float


@dataclass(frozen=True, slots=True)
class RunDigest:
    """A run as tables and trends show it."""

    key: str
    """Changes whenever the run's record, or how it is shown, does."""
    info: RunInfo
    folder: str
    """Of the run's record, as it was named; for commands to copy."""
    torn_bytes: int
    counts: Mapping[str, int]
    """Outcome -> cases."""
    flaky: int
    """Passes that were not at the first attempt."""
    case_time_s: float
    wall_s: float
    """From the start of the first case to the end of the last."""
    phases_s: Mapping[str, float]
    skeletons: Mapping[str, Mapping[str, int]]
    """Skeleton -> outcome -> cases."""
    places: Mapping[str, Mapping[str, int]]
    """Outcome -> skeleton -> number of the list page that it begins on."""
    list_pages: Mapping[str, int]
    """Outcome -> number of list pages."""
    findings: tuple[FindingDigest, ...]
    slowest: tuple[CaseRef, ...]
    case_pages: int
    without_page: int
    """Cases that did not pass and have no page, since there are too many of them."""

    @property
    def done(self) -> int:
        """Cases with a result."""
        return sum(self.counts.values())

    @property
    def page_folder(self) -> str:
        """Folder of its pages below the top of all pages, with its slash."""
        return f"runs/{text.slug(self.info.suite)}/{text.slug(self.info.run_id)}/"

    @property
    def missing(self) -> int:
        """Planned cases that left no result and were not left out on purpose."""
        return max(0, self.info.planned - self.done - self.info.left)

    @property
    def bad(self) -> int:
        """Cases that did not pass."""
        return sum(self.counts.get(outcome, 0) for outcome in BAD)

    @property
    def rate(self) -> float:
        """Cases per second, the boot of the guests left out; 0 where nothing was timed."""
        return self.done / self.wall_s if self.wall_s > 0 else 0.0

    @property
    def worst(self) -> str:
        """The outcome that the run is called by: its worst one, or what keeps it from a pass."""
        for outcome in BAD:
            if self.counts.get(outcome):
                return outcome
        passed = self.counts.get(Outcome.PASS) and not self.missing
        return Outcome.PASS if passed else Outcome.UNKNOWN

    @property
    def complete(self) -> bool:
        """Whether every planned case has a result."""
        return self.missing == 0 and self.info.left == 0 and self.info.ended_unix_s is not None

    @property
    def finding_ids(self) -> frozenset[str]:
        """Findings of the target or of what it stands on; the harness's own trouble is none."""
        return frozenset(f.id for f in self.findings if Outcome(f.outcome).is_finding)


@dataclass(slots=True)
class Lane:
    """Runs that can be compared with each other, oldest first."""

    suite: str
    fs: str
    kernel: str
    target: str
    runs: list[RunDigest] = field(default_factory=list)

    @property
    def name(self) -> str:
        """All that its runs have in common, in one line."""
        return " · ".join((self.suite, self.fs, self.kernel, self.target))

    @property
    def last(self) -> RunDigest:
        """The newest run."""
        return self.runs[-1]


@dataclass(frozen=True, slots=True)
class Change:
    """What is new and what is gone between a run and the one before it."""

    before: RunDigest | None
    new: tuple[FindingDigest, ...] = ()
    fixed: tuple[FindingDigest, ...] = ()
    unseen: tuple[FindingDigest, ...] = ()
    """Findings of the run before that this run, not being complete, may just not have met."""


def lanes(digests: list[RunDigest]) -> list[Lane]:
    """``digests`` by what they ran on; what did not pass first, then the newest."""
    found: dict[tuple[str, ...], Lane] = {}
    for digest in sorted(digests, key=lambda d: (d.info.started_unix_s, d.info.run_id)):
        key = lane_key(digest.info)
        found.setdefault(key, Lane(*key)).runs.append(digest)
    return sorted(
        found.values(), key=lambda lane: (not lane.last.bad, -lane.last.info.started_unix_s)
    )


def lane_key(info: RunInfo) -> tuple[str, str, str, str]:
    """(suite, file systems, kernel, target): with them also what changes the outcome on purpose."""
    options = info.options
    fs = options.get("fs") or ()
    names = [fs] if isinstance(fs, str) else list(fs) if isinstance(fs, tuple | list) else []
    kernels = sorted({name for guest, name in info.kernels.items() if guest != "host"})
    target = [str(options.get("target") or "any target")]
    target += [f"{name} {options[name]}" for name in ("defect", "impostor") if options.get(name)]
    if options.get("guests") == "full":
        target.append("full guests")
    if options.get("encryption") == "off":
        target.append("no encryption")
    if options.get("link_delay_ms"):
        target.append(f"link {options['link_delay_ms']} ms")
    suite = info.suite
    if options.get("shard") not in (None, "1/1"):
        suite += f" shard {options['shard']}"
    return (
        suite,
        "+".join(names) or "any",
        ", ".join(kernels) or "unknown kernel",
        ", ".join(target),
    )


def change_of(run: RunDigest, before: RunDigest | None) -> Change:
    """How the findings of ``run`` stand to those of the run before it."""
    if before is None:
        return Change(None)
    gone = [f for f in before.findings if f.id in before.finding_ids - run.finding_ids]
    as_much = run.complete and run.info.planned >= before.done
    return Change(
        before,
        new=tuple(f for f in run.findings if f.id in run.finding_ids - before.finding_ids),
        fixed=tuple(gone) if as_much else (),
        unseen=() if as_much else tuple(gone),
    )


def write(digest: RunDigest) -> str:
    """``digest`` as JSON."""
    value = asdict(digest) | {"version": _VERSION, "info": json.loads(encode_run(digest.info))}
    return json.dumps(value, separators=(",", ":")) + "\n"


def read(path: Path) -> RunDigest | None:
    """The digest in the file ``path``; None where there is none that this version can use."""
    try:
        value: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if value.pop("version") != _VERSION:
            return None
        return RunDigest(
            **value
            | {
                "info": decode_run(json.dumps(value["info"])),
                "findings": tuple(_finding(each) for each in value["findings"]),
                "slowest": tuple(CaseRef(**each) for each in value["slowest"]),
            }
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _finding(value: dict[str, Any]) -> FindingDigest:
    smallest = CaseRef(**value["smallest"])
    others = tuple(CaseRef(**each) for each in value["others"])
    return FindingDigest(**value | {"smallest": smallest, "others": others})
