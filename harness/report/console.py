# SPDX-License-Identifier: Apache-2.0
"""What a person sees of a run: progress while it goes on, one screen of result at its end.

A live bar where the output is a terminal, plain lines otherwise. Colours are left to rich, which
honours ``NO_COLOR``. Text from guests is never taken for markup nor for terminal control.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from harness.events import (
    CaseEnded,
    CaseKnown,
    CaseRerun,
    CaseRetried,
    CaseStarted,
    Event,
    PairLost,
    PhaseNote,
    RunEnded,
    RunStarted,
    Warned,
    WatchdogFired,
)
from harness.findings import NOTHING_KNOWN, Finding, KnownIssues
from harness.model.case import CaseResult, Outcome, Rerun, RunInfo
from harness.model.verdict import Verdict
from harness.report.evidence_text import replay_command
from harness.report.finding_tables import STYLE, cell, findings_table, plain_table
from harness.report.summary import PhaseTime, Summary, headline
from harness.report.xmltext import one_line

PLAIN_WIDTH = 200
"""Columns where there is no terminal: nothing is wrapped that a log viewer could show."""
_LINE_CHARS = 300
_MOST_SHOWN = 50
"""Cases listed while the run goes on; the rest is in the findings at the end."""
_MOST_FINDINGS = 20
_OVERDUE_CHARS = 900
_CONSOLE_LINES = 5
"""Of a guest's console, where something took too long."""


def new_console() -> Console:
    """Standard output, wide where it is no terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


class ConsoleReporter:
    """Subscriber that shows a run; ``close`` (or the end of the run) gives the terminal back."""

    def __init__(
        self,
        console: Console,
        *,
        known: KnownIssues = NOTHING_KNOWN,
        every_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Without a terminal a progress line comes at most every ``every_s`` seconds."""
        self._console = console
        self._every_s = every_s
        self._clock = clock
        self._summary = Summary(known=known)
        self._shown = 0
        self._earlier = 0
        """Results that were in the record before this run went on."""
        self._first_s: float | None = None
        self._last_s = self._last_line_s = clock()
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __call__(self, event: Event) -> None:
        """Show ``event``."""
        match event:
            case RunStarted():
                self._start(event)
            case CaseKnown(result=result):
                self._known(result)
            case CaseStarted():
                self._begin_clock()
            case CaseEnded():
                self._case(event)
            case PhaseNote(text=text, pair=pair):
                self._line("" if pair is None else f"pair {pair}: ", text, "dim")
            case CaseRetried(case_id=case_id, reason=reason):
                self._line(f"retry {case_id}: ", reason, "yellow")
            case CaseRerun(case_id=case_id, rerun=rerun) if rerun.verdict is not Verdict.FAIL:
                self._line(f"again {case_id}: ", _came_to(rerun), "yellow")
            case PairLost(pair=pair, reason=reason):
                self._line(f"pair {pair} lost: ", reason, "yellow")
            case WatchdogFired():
                self._overdue(event)
            case Warned(text=text):
                self._line("warning: ", text, "yellow")
            case RunEnded():
                self.close()
                self._summary.planned = self._summary.planned or event.info.planned
                self._summary.left = event.info.left
                show_result(
                    self._console, event.info, event.folder, self._summary, self.cases_s,
                    self._earlier,
                )  # fmt: skip

    def close(self) -> None:
        """Take the live display off the terminal; nothing on a second call."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    @property
    def cases_s(self) -> float:
        """Seconds from the begin of the first case to the end of the last so far."""
        return 0.0 if self._first_s is None else self._last_s - self._first_s

    def _start(self, event: RunStarted) -> None:
        self._summary.planned = event.info.planned
        # A plan that goes by the clock has no number yet.
        cases = f"{event.info.planned} cases" if event.info.planned else "cases by the clock"
        self._line("", f"{event.info.suite}: {cases}, recorded in {event.folder}")
        if self._console.file.isatty() and not self._console.is_dumb_terminal:
            self._progress = Progress(
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[counts]}", markup=False),
                TextColumn("{task.fields[rate]}", markup=False),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._task = self._progress.add_task(
                "", total=event.info.planned or None, counts="", rate="", start=False
            )
            self._progress.start()

    def _known(self, result: CaseResult) -> None:
        self._summary.add(result)
        self._earlier += 1
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, advance=1)

    def _begin_clock(self) -> None:
        if self._first_s is None:
            # Booting and building are no part of the rate, nor of the time that is left.
            self._first_s = self._last_s = self._last_line_s = self._clock()
            if self._progress is not None and self._task is not None:
                self._progress.start_task(self._task)

    def _case(self, event: CaseEnded) -> None:
        result = event.result
        # Nor is what follows the last case: guests are ended then.
        self._last_s = self._clock()
        self._summary.add(result)
        if result.outcome not in (Outcome.PASS, Outcome.SKIPPED):
            self._bad_case(result, event.folder)
        if self._progress is not None and self._task is not None:
            self._progress.update(
                self._task, advance=1, counts=self._summary.counts_text(), rate=self._rate()
            )
        elif self._clock() - self._last_line_s >= self._every_s:
            self._last_line_s = self._clock()
            self._line("", self._progress_line())

    def _bad_case(self, result: CaseResult, folder: Path | None) -> None:
        self._shown += 1
        if self._shown > _MOST_SHOWN:
            return
        style = STYLE[result.outcome]
        self._line(
            f"{result.outcome} {result.case_id} ", f"({result.skeleton}) {headline(result)}", style
        )
        if folder is not None:
            self._line("", f"  evidence: {folder}", "dim")
        if self._shown == _MOST_SHOWN:
            self._line("", "further cases that do not pass are only counted here")

    def _overdue(self, event: WatchdogFired) -> None:
        where = "" if event.pair is None else f" of pair {event.pair}"
        head = f"{event.what}{where} is overdue: "
        self._line(head, event.text, "bold yellow", _OVERDUE_CHARS)
        for guest, lines in event.console.items():
            for line in lines[-_CONSOLE_LINES:]:
                self._line(f"  {guest}: ", line, "dim")

    def _progress_line(self) -> str:
        done, planned = self._summary.done, self._summary.planned
        if not planned:
            return f"{done} cases: {self._summary.counts_text()}"
        left_s = (planned - done) * self.cases_s / max(1, done - self._earlier)
        return (
            f"{done}/{planned} cases: {self._summary.counts_text()}; {self._rate()},"
            f" {_duration(left_s)} left"
        )

    def _rate(self) -> str:
        return f"{(self._summary.done - self._earlier) / max(self.cases_s, 1e-3):.1f}/s"

    def _line(self, head: str, text: str, style: str = "", most: int = _LINE_CHARS) -> None:
        line = Text(one_line(head, most), style)
        line.append((" " if head else "") + one_line(text, most), "")
        self._console.print(line, soft_wrap=True)


def show_result(
    console: Console,
    info: RunInfo,
    folder: Path,
    summary: Summary,
    cases_s: float,
    earlier: int = 0,
) -> None:
    """One screen: where the time went, what was found, counts, where it is, what the code means.

    ``cases_s`` is the wall time of the cases, all pairs together, without set-up; ``earlier`` of
    the results were there before.
    """
    if summary.phases:
        console.print(_phase_table(summary))
    if found := summary.collector.ranked():
        console.print()
        console.print(
            findings_table("findings", found, lambda one: known_text(summary, one), _MOST_FINDINGS)
        )
    console.print()
    for line in _result_lines(info, folder, summary, cases_s, earlier):
        console.print(Text(line), soft_wrap=True)


def known_text(summary: Summary, finding: Finding) -> str:
    """How many cases of ``finding`` are on the list of known issues: nothing, ``3``, ``all``."""
    known = summary.known_by_finding[finding.id]
    return "all" if known == finding.cases else str(known or "")


def _phase_table(summary: Summary) -> Table:
    table = plain_table("where the time went", "phase", ">total", ">mean", ">share")
    named_s = sum(phase.total_s for phase in summary.phases.values())
    phases = summary.ranked_phases()
    if summary.case_time_s > named_s:
        phases.append(("(other)", PhaseTime(summary.case_time_s - named_s, summary.done)))
    whole_s = max(named_s, summary.case_time_s)
    for name, phase in phases:
        share = phase.total_s / whole_s if whole_s else 0.0
        table.add_row(
            cell(name), f"{phase.total_s:.1f} s", f"{phase.mean_ms:.1f} ms", f"{share:.0%}"
        )
    return table


def _result_lines(
    info: RunInfo, folder: Path, summary: Summary, cases_s: float, earlier: int
) -> Iterator[str]:
    new = summary.done - earlier
    rate = f" ({new / cases_s:.1f} workloads/s)" if cases_s > 0 else ""
    yield (
        f"{summary.done} of {summary.planned} cases"
        + (f", {new} of them now," if earlier else "")
        + f" in {_duration(cases_s)}{rate}"
    )
    yield summary.counts_text()
    if summary.missing:
        yield f"{summary.missing} planned cases left no result"
    if summary.left:
        yield f"{summary.left} planned cases were not begun, as asked for"
    if summary.left or summary.missing:
        yield f"go on with: harness run --resume {shlex.quote(str(folder))}"
    for warning in info.warnings:
        yield f"warning: {one_line(warning, _LINE_CHARS)}"
    yield f"run: {one_line(str(folder), _LINE_CHARS)}"
    if summary.rate.cases:
        yield summary.rate.text()
    for finding in summary.collector.ranked()[:1]:
        yield f"replay the first finding: {replay_command(finding.smallest, info)}"
    code = summary.exit_code() if info.exit_code is None else info.exit_code
    yield f"exit code {code}: {summary.meaning(code)}"


def _came_to(rerun: Rerun) -> str:
    if rerun.verdict is None:
        return f"no verdict: {rerun.infra_error}"
    if rerun.verdict is Verdict.PASS:
        return "passed this time"
    return f"{rerun.verdict}" + "".join(f" {check.rule}" for check in rerun.checks[:1])


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
