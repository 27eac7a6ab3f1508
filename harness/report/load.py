# SPDX-License-Identifier: Apache-2.0
"""The run store, reading side: tolerant of a run that was killed, silent about nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from harness.errors import UsageError
from harness.model.case import CaseId, CaseResult, RunInfo
from harness.model.codec import decode_case, decode_run
from harness.model.verdict import Check, Verdict
from harness.report.lines import unseal
from harness.report.store import RESULTS, RUN

DAMAGED_RULE = "store/damaged"
"""Rule of the check that stands in for a result whose line cannot be trusted."""


class Place(NamedTuple):
    """Where a result is in the record."""

    line: int
    """From 1."""
    offset: int
    """Of the line's first byte."""


@dataclass(frozen=True, slots=True)
class Run:
    """A stored run, finished or not."""

    path: Path
    info: RunInfo
    torn_bytes: int
    """Length of an unfinished last line: the run was killed while it wrote that result."""

    def results(self) -> Iterator[CaseResult]:
        """Every recorded result in order of ending, read one at a time.

        A line that is damaged comes as a case of its own, ``damaged/line-N@...``, verdict unknown:
        which case it was cannot be told from bytes that are not as they were written.
        """
        with open(self.path / RESULTS, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n"):
                    yield _result(number, line)

    def outlines(self) -> Iterator[tuple[Place, CaseResult]]:
        """Every recorded result with the place of its line, without evidence and consoles.

        For reports over many cases: several times as fast as ``results``.
        """
        offset = 0
        with open(self.path / RESULTS, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n"):
                    yield Place(number, offset), _result(number, line, whole=False)
                offset += len(line)

    def at(self, place: Place) -> CaseResult:
        """The whole result at a ``place`` that ``outlines`` named."""
        with open(self.path / RESULTS, "rb") as file:
            file.seek(place.offset)
            return _result(place.line, file.readline())

    def find(self, case_id: CaseId) -> CaseResult:
        """The last result recorded for ``case_id``; UsageError when there is none."""
        found = None
        for result in self.results():
            if result.case_id == case_id:
                found = result
        if found is None:
            raise UsageError(
                f"run {self.path} has no result of case {case_id}",
                hint=f"the ids of its cases: jq -r .case.id {self.path / RESULTS}",
            )
        return found


def load_run(path: Path) -> Run:
    """The run stored in the folder ``path`` (a ``latest`` link will do).

    UsageError when it is not the folder of a run, or of a version this one cannot read.
    """
    folder = path.resolve()
    try:
        info = decode_run((folder / RUN).read_text("utf-8"))
        torn = _torn_bytes(folder / RESULTS)
    except FileNotFoundError as err:
        raise UsageError(
            f"{path} is not the folder of a run: no {Path(err.filename).name} in it",
            hint="name a folder like reports/ace-seq1/latest",
        ) from err
    except OSError as err:
        raise UsageError(f"run {path} cannot be read: {err.strerror}") from err
    except ValueError as err:
        raise UsageError(f"{folder / RUN} cannot be read: {err}") from err
    return Run(folder, info, torn)


def _torn_bytes(path: Path) -> int:
    last = b"\n"
    with open(path, "rb") as file:
        for line in file:
            last = line
    return 0 if last.endswith(b"\n") else len(last)


def _result(number: int, line: bytes, *, whole: bool = True) -> CaseResult:
    try:
        return decode_case(unseal(line), whole=whole)
    except ValueError as err:
        check = Check(
            DAMAGED_RULE,
            Verdict.UNKNOWN,
            path=f"{RESULTS}:{number}",
            found=repr(line[:200])[2:-1],
            message=f"the recorded result cannot be trusted: {err}",
        )
        return CaseResult(
            CaseId(f"damaged/line-{number}", "any", "any"),
            workload_hash="",
            skeleton="(damaged)",
            jlang="",
            verdict=Verdict.UNKNOWN,
            checks=(check,),
        )
