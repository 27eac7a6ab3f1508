# SPDX-License-Identifier: Apache-2.0
"""Going on with a run that was killed, interrupted or out of time: no case twice, none lost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.model.case import CaseId, OptionValue
from harness.report.load import Run, load_run
from harness.run.options import (
    AcceleratorChoice,
    Encryption,
    Engine,
    Guests,
    Impostor,
    RunOptions,
)
from harness.run.plan import Case, Plan

FREE = frozenset(
    ("accel", "connect", "pairs", "keep_pair", "fail_fast", "timeout_s", "boot_timeout_s",
     "time_budget_s", "max_findings", "confirm", "heartbeat_s", "time_limit_s", "known",
     "state_dir", "xfstests", "bundle")
)  # fmt: skip
"""Options that decide how cases are run, not which: they may differ when a run is resumed."""
_ENUMS: Mapping[str, type[StrEnum]] = {
    "accel": AcceleratorChoice,
    "encryption": Encryption,
    "guests": Guests,
    "engine": Engine,
    "impostor": Impostor,
}
_PATHS = ("out", "state_dir", "workload", "known", "kmod", "xfstests")
# What one invocation was told to do before it ends says nothing about the next.
_ONCE = ("time_budget_s", "time_limit_s", "max_findings", "fail_fast", "keep_pair")


@dataclass(frozen=True, slots=True)
class Resumed:
    """A stored run that goes on, and the options it goes on with."""

    run: Run
    options: RunOptions

    def remaining(self, plan: Plan) -> RemainingPlan:
        """``plan``, which has to be that of the run, without the cases that have a result."""
        finished = {result.case_id: result.workload_hash for result in self.run.results()}
        return RemainingPlan(plan, finished, self.run.path)


def resume_run(path: Path, given: Mapping[str, Any]) -> Resumed:
    """The run in the folder ``path``, with the options ``given`` now in place of its own.

    UsageError when it is no run, was made with options this version does not know, or when
    ``given`` has an option that would make it another run.
    """
    if wrong := sorted(set(given) - FREE):
        raise UsageError(
            f"--{wrong[0].replace('_', '-')} cannot be changed when a run is resumed",
            hint="start a new run, or leave the option out: the run has its own",
        )
    run = load_run(path)
    options = restored(run.info.options)
    # Wherever it is called from: the record goes on where it is.
    return Resumed(run, replace(options, out=run.path.parent.parent, **given))


def restored(values: Mapping[str, OptionValue]) -> RunOptions:
    """The options that ``RunOptions.recorded`` made ``values`` of; UsageError for others."""
    known = {field.name for field in fields(RunOptions)}
    if unknown := sorted(set(values) - known):
        raise UsageError(f"the run has an option this version does not know: {unknown[0]}")
    try:
        return RunOptions(**{
            name: _option(name, value) for name, value in values.items() if name not in _ONCE
        })  # fmt: skip
    except (TypeError, ValueError) as error:
        raise UsageError(f"the options of the run cannot be read: {error}") from error


def _option(name: str, value: OptionValue) -> Any:
    if value is None:
        return None
    if name == "shard":
        number, _, of = str(value).partition("/")
        return int(number), int(of)
    if name in _PATHS:
        return Path(str(value))
    make: Callable[[Any], Any] | None = _ENUMS.get(name)
    return value if make is None else make(value)


class RemainingPlan:
    """Those cases of a plan that have no result yet."""

    def __init__(self, plan: Plan, finished: Mapping[CaseId, str], record: Path) -> None:
        """``finished``: case -> content hash of its workload, as recorded in ``record``."""
        self._plan = plan
        self._finished = finished
        self._record = record
        self.name = plan.name

    @property
    def planned(self) -> int:
        """Of the whole run, finished cases included."""
        return self._plan.planned

    def take(self) -> Case | None:
        """As of any plan. UsageError when a finished case was another workload then."""
        while (case := self._plan.take()) is not None:
            recorded = self._finished.get(case.case_id)
            if recorded is None:
                return case
            if recorded != case.workload.content_hash:
                raise UsageError(
                    f"case {case.case_id} is another workload now than in {self._record}",
                    hint="the suite has changed since: start a new run",
                )
        return None


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> Collection[str]:
    """What is not as it was: ``qemu 7.2 -> 8.0``, for whoever reads the record."""
    return [
        f"{name} {then.get(name, '(none)')} -> {now.get(name, '(none)')}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
