# SPDX-License-Identifier: Apache-2.0
"""A plan of one case: a workload that is in no suite."""

from __future__ import annotations

from pathlib import Path

from ace_workloads.jlang import JlangError
from ace_workloads.written import SUITE, WrittenWorkload, parse_written
from harness.errors import UsageError
from harness.model.case import CaseId
from harness.run.filesystems import FILE_SYSTEMS
from harness.run.options import RunOptions
from harness.run.plan import Case

__all__ = ["SUITE", "WrittenPlan", "read_workload"]


class WrittenPlan:
    """The workload of a file, on each file system asked for."""

    name = SUITE

    def __init__(self, options: RunOptions) -> None:
        """UsageError for a file that cannot be read, or is no workload."""
        if options.workload is None:
            raise UsageError(
                f"suite {SUITE} is what files hold", hint="harness replay --workload FILE"
            )
        self._workload = read_workload(options.workload)
        self._todo = [fs for fs in options.fs if fs in FILE_SYSTEMS]
        self._target = options.target
        self.planned = len(self._todo)

    def take(self) -> Case | None:
        if not self._todo:
            return None
        return Case(CaseId(self._workload.id, self._todo.pop(0), self._target), self._workload)


def read_workload(path: Path) -> WrittenWorkload:
    """The workload in the J-lang file ``path``; UsageError when there is none in it."""
    try:
        return parse_written(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read workload {path}: {error.strerror or error}") from error
    except (JlangError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} is no workload: {error}",
            hint="docs/workloads.md has the form; `harness ace show ID` prints one",
        ) from error
