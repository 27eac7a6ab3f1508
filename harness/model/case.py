# SPDX-License-Identifier: Apache-2.0
"""A case, what came of it, and the facts about the run it belongs to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.errors import UsageError
from harness.model.evidence import CaseEvidence
from harness.model.verdict import Check, Verdict

_PART = re.compile(r"(?!\.{1,2}(/|$))[A-Za-z0-9._+-]+(/(?!\.{1,2}(/|$))[A-Za-z0-9._+-]+)*")
_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._+-]+")


@dataclass(frozen=True, slots=True, order=True)
class CaseId:
    """Workload x file system x target; written ``ace-seq1/000012@ext4@rollbaccine``.

    The parts are safe as path components: letters, digits and ``._+-``, never ``.`` or ``..``.
    """

    workload: str
    """Suite and index, ``ace-seq1/000012``."""
    fs: str
    target: str

    def __post_init__(self) -> None:
        if not (
            _PART.fullmatch(self.workload)
            and _NAME.fullmatch(self.fs)
            and _NAME.fullmatch(self.target)
        ):
            raise UsageError(
                f"not a case id: {self.workload!r} @ {self.fs!r} @ {self.target!r}",
                hint="a case is written SUITE/INDEX@FS@TARGET, as in ace-seq1/000012@ext4@linear",
            )

    def __str__(self) -> str:
        return f"{self.workload}@{self.fs}@{self.target}"

    @classmethod
    def parse(cls, text: str) -> CaseId:
        """The case written as ``text``; ``UsageError`` when it is not one."""
        workload, _, rest = text.partition("@")
        fs, _, target = rest.partition("@")
        return cls(workload, fs, target)


class Outcome(StrEnum):
    """What a case counts as, each in exactly one column of every table."""

    PASS = "pass"
    FAIL = "fail"
    CONTROL_FAIL = "control-fail"
    """Failed, and the control arm failed the same workload: not put down to the replication."""
    FLAKY = "flaky"
    """Failed, and passed when it was run again to confirm: a finding that comes and goes."""
    UNKNOWN = "unknown"
    SKIPPED = "skipped"
    INFRA = "infra"
    """No verdict: host, hypervisor or guest failed, and retrying by rule did not help."""

    @property
    def is_finding(self) -> bool:
        """Whether it speaks against what is tested, be it only now and then."""
        return self in (Outcome.FAIL, Outcome.CONTROL_FAIL, Outcome.FLAKY)


@dataclass(frozen=True, slots=True)
class Rerun:
    """A further run of a case that had failed, to see whether it fails again."""

    verdict: Verdict | None
    """None when an infrastructure error left nothing to judge; ``infra_error`` says which."""
    checks: tuple[Check, ...] = ()
    """Those that decided: its fails, else its unknowns; the first ``MOST_RERUN_CHECKS``."""
    infra_error: str | None = None
    fresh_pair: bool = False
    """Whether the guests were booted for it; otherwise only the target was made anew."""
    started_unix_s: float = 0.0
    elapsed_s: float = 0.0


MOST_RERUN_CHECKS = 20


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case as it ended."""

    case_id: CaseId
    workload_hash: str
    """Content hash of the workload, which its index alone does not pin across versions."""
    skeleton: str
    """Core ops of the workload joined by ``-``, the unit of grouping: ``creat-rename``."""
    jlang: str
    """The workload's run section."""
    verdict: Verdict | None
    """None when an infrastructure error left nothing to judge; ``infra_error`` says which."""
    checks: tuple[Check, ...] = ()
    evidence: CaseEvidence | None = None
    infra_error: str | None = None
    control: Verdict | None = None
    """Verdict of the same workload and file system on the control arm, where that was run."""
    attempts: tuple[str, ...] = ()
    """What ended each earlier attempt, oldest first, a line or few each."""
    reruns: tuple[Rerun, ...] = ()
    """Of a case that failed, oldest first; all else here is of the run that failed first."""
    started_unix_s: float = 0.0
    elapsed_s: float = 0.0
    phases_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds by phase: restore, mount, ops, pause, drain, snapshot, fsck, recover, read ..."""
    console: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Guest name -> the last console lines written during the case; kept for cases not passed."""

    @property
    def outcome(self) -> Outcome:
        """The one column this case counts in."""
        if self.verdict is None:
            return Outcome.INFRA
        if self.verdict is Verdict.FAIL and self.control is Verdict.FAIL:
            return Outcome.CONTROL_FAIL
        if self.flaky:
            return Outcome.FLAKY
        return Outcome(self.verdict.value)

    @property
    def flaky(self) -> bool:
        """Whether it failed, and passed at least once when it was run again."""
        return self.verdict is Verdict.FAIL and any(
            rerun.verdict is Verdict.PASS for rerun in self.reruns
        )

    @property
    def confirmed(self) -> bool:
        """Whether it failed, and did so each time that running it again came to a verdict."""
        again = [rerun.verdict for rerun in self.reruns if rerun.verdict is not None]
        return self.verdict is Verdict.FAIL and bool(again) and set(again) == {Verdict.FAIL}


OptionValue = str | int | float | bool | None | tuple[str, ...]
"""What an option of a run can be, as far as it is recorded."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """The facts about one run that hold for all its cases."""

    run_id: str
    """``<UTC start time>-<short id>``, the name of the run's folder."""
    suite: str
    started_unix_s: float
    planned: int
    """How many cases the run set out to do (after shard, sample and limit)."""
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    host: Mapping[str, str] = field(default_factory=dict)
    """hostname, cpus, memory, accelerator, connection."""
    kernels: Mapping[str, str] = field(default_factory=dict)
    """Guest name -> ``uname -r``; ``host`` for the host's."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """harness, libvirt, qemu, profile, module, mkfs tools ..."""
    seed: int | None = None
    ended_unix_s: float | None = None
    """None while the run goes on, and for ever after it was killed."""
    left: int = 0
    """Planned cases that were not begun because the run was told to end before: they can be done
    later by resuming it, and are not missing."""
    counts: Mapping[Outcome, int] = field(default_factory=dict)
    exit_code: int | None = None
    warnings: tuple[str, ...] = ()
