# SPDX-License-Identifier: Apache-2.0
"""What a person reads, where there is a terminal and where there is none."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from report_cases import info, result
from rich.console import Console

from harness.events import (
    CaseEnded,
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
    Watched,
)
from harness.model.case import CaseResult, Rerun
from harness.model.verdict import Verdict
from harness.report.console import PLAIN_WIDTH, ConsoleReporter, new_console

FOLDER = Path("reports/ace-seq1/20270115T080000Z-abc123")


class Clock:
    """Time that passes when told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


def show(*events: Event, step_s: float = 0.0, every_s: float = 10.0) -> list[str]:
    clock, out = Clock(), io.StringIO()
    console = Console(file=out, width=PLAIN_WIDTH, highlight=False)
    reporter = ConsoleReporter(console, every_s=every_s, clock=clock)
    for event in events:
        reporter(event)
        clock.now += step_s
    return [line.rstrip() for line in out.getvalue().splitlines()]


def ended(*results: CaseResult) -> list[Event]:
    return [RunStarted(info(len(results)), FOLDER), CaseStarted(results[0].case_id)] + [
        CaseEnded(each) for each in results
    ]


def test_a_case_that_does_not_pass_shows_at_once() -> None:
    lines = show(
        *ended(result(1), result(2, Verdict.FAIL), result(3, None), result(4, Verdict.SKIPPED))
    )
    assert lines[1:] == [
        "fail ace-seq1/000002@ext4@rollbaccine (creat) size/persisted: A/foo: size differs",
        "infra ace-seq1/000003@ext4@rollbaccine (creat) backup: no answer within 30 s",
    ]


def test_without_a_terminal_progress_comes_now_and_then() -> None:
    lines = show(*ended(*map(result, range(1, 11))), step_s=1.0, every_s=4.0)
    assert lines[1:] == [
        "4/10 cases: 4 pass, 0 fail, 0 unknown, 0 infra; 1.0/s, 6.0 s left",
        "8/10 cases: 8 pass, 0 fail, 0 unknown, 0 infra; 1.0/s, 2.0 s left",
    ]


def test_a_flood_of_failures_is_bounded() -> None:
    lines = show(*ended(*(result(number, Verdict.FAIL) for number in range(1000))))
    assert len(lines) < 60
    assert lines[-1] == "further cases that do not pass are only counted here"


def test_what_takes_too_long_is_told_with_the_last_console_lines() -> None:
    console = {"backup": tuple(f"line {n}" for n in range(9)), "primary": ()}
    lines = show(
        WatchdogFired(Watched.GUEST, "guest backup hangs: no sign of life for 30 s", 1, console),
        WatchdogFired(Watched.RUN, "x" * 800),
    )
    assert lines == [
        "guest of pair 1 is overdue: guest backup hangs: no sign of life for 30 s",
        *(f"backup: line {n}" for n in range(4, 9)),
        "run is overdue: " + "x" * 800,
    ]


def test_running_again_is_told_where_it_changes_something() -> None:
    case = result(1).case_id
    lines = show(
        CaseRerun(case, Rerun(Verdict.FAIL)),
        CaseRerun(case, Rerun(Verdict.PASS)),
        CaseRerun(case, Rerun(None, infra_error="gone")),
    )
    assert lines == [
        f"again {case}: passed this time",
        f"again {case}: no verdict: gone",
    ]


def test_other_events_are_lines() -> None:
    lines = show(
        PhaseNote("booting", 1),
        PhaseNote("building the module"),
        CaseRetried(result(1).case_id, "guest lost"),
        PairLost(0, "backup panicked"),
        Warned("no /dev/kvm, using TCG"),
    )
    assert lines == [
        "pair 1: booting",
        "building the module",
        "retry ace-seq1/000001@ext4@rollbaccine: guest lost",
        "pair 0 lost: backup panicked",
        "warning: no /dev/kvm, using TCG",
    ]


def test_the_end_is_one_screen() -> None:
    results = [result(1), result(2, Verdict.FAIL), result(3, Verdict.FAIL), result(4, None)]
    end = RunEnded(info(5, exit_code=1, warnings=("disk nearly full",)), FOLDER)
    lines = show(*ended(*results), end, step_s=0.5)
    assert [" ".join(x.split()) for x in lines[lines.index("where the time went") + 1 :]] == [
        "phase total mean share",
        "fsck 0.8 s 200.0 ms 80%",
        "ops 0.2 s 50.0 ms 20%",
        "",
        "findings",
        "cases outcome finding what seen as smallest case",
        # Ids are hashes: printf 'fail\nrollbaccine\nlost\n' | b2sum
        "2 fail f42c402886 what was persisted is gone or as it was before"
        " creat:fsync:lost:data ace-seq1/000002@ext4@rollbaccine",
        "1 infra fac78c3fd2 infrastructure error: backup-no-answer-within-N-s"
        " creat:none:infra:backup-no-answer-within-N-s ace-seq1/000004@ext4@rollbaccine",
        "",
        "4 of 4 cases in 2.0 s (2.0 workloads/s)",
        "1 pass, 2 fail, 0 unknown, 1 infra",
        "warning: disk nearly full",
        f"run: {FOLDER}",
        "2 failures in 3 cases: rate 20.8 % to 93.9 % (95 %)",
        "replay the first finding: harness replay ace-seq1/000002@ext4@rollbaccine",
        "exit code 1: findings: at least one case failed",
    ]


def test_time_outside_every_phase_shows() -> None:
    lines = show(*ended(result(1, phases_s={"ops": 0.05})), RunEnded(info(), FOLDER))
    assert "(other)  0.2 s  200.0 ms    80%" in lines


def test_missing_results_show() -> None:
    lines = show(RunStarted(info(3), FOLDER), CaseEnded(result(1)), RunEnded(info(3), FOLDER))
    assert "2 planned cases left no result" in lines
    assert "exit code 2: no finding, but not every case came to a verdict" in lines


def test_text_of_a_guest_is_neither_markup_nor_control() -> None:
    hostile = result(1, None, infra_error="[bold]x[/nope] \x1b[2J\0\udcff\nnext", skeleton="[red]")
    lines = show(*ended(hostile), RunEnded(info(), FOLDER))
    assert "([red]) [bold]x[/nope] \\x1b[2J\\x00\\udcff next" in lines[1]
    assert "\x1b" not in "".join(lines)


def on_terminal(monkeypatch: pytest.MonkeyPatch, no_color: bool) -> str:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    out = Terminal()
    reporter = ConsoleReporter(Console(file=out, width=120, highlight=False), clock=Clock())
    for event in ended(result(1, Verdict.FAIL), result(2)):
        reporter(event)
    reporter(RunEnded(info(2), FOLDER))
    return out.getvalue()


def test_a_terminal_gets_a_bar_and_gets_its_cursor_back(monkeypatch: pytest.MonkeyPatch) -> None:
    text = on_terminal(monkeypatch, no_color=False)
    assert "2/2" in text
    assert "\x1b[1;31mfail" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    text = on_terminal(monkeypatch, no_color=True)
    assert "fail ace-seq1/000001" in text.replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert "\x1b[1;31m" not in text
    assert "\x1b[31m" not in text


def test_output_to_a_file_is_not_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert new_console().width == PLAIN_WIDTH
