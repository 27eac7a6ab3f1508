# SPDX-License-Identifier: Apache-2.0
"""Kernel reports are found on a console, and nothing else is taken for one.

``tests/golden/console/*.txt``: a ``KIND:`` and a ``TITLE:`` line for each report in order, with
``TRUNCATED: yes`` where its end is missing, an empty line, the console. To add a case, add a file.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.guest.oops import MOST_LINES, KernelReport, Scanner, scan
from harness.guest.oops_rules import RULES, ReportKind

GOLDEN = sorted((Path(__file__).parent.parent / "golden" / "console").glob("*.txt"))
Expected = list[tuple[str, str, bool]]


def read_golden(path: Path) -> tuple[Expected, str]:
    header, _, console = path.read_text("utf-8").partition("\n\n")
    if path.read_text("utf-8").startswith("\n"):
        header, console = "", path.read_text("utf-8")[1:]
    expected: Expected = []
    for line in header.splitlines():
        name, _, value = line.partition(": ")
        if name == "KIND":
            expected.append((value, "", False))
        elif name == "TITLE":
            expected[-1] = (expected[-1][0], value, False)
        else:
            assert (name, value) == ("TRUNCATED", "yes")
            expected[-1] = (*expected[-1][:2], True)
    return expected, console


def summary(reports: tuple[KernelReport, ...]) -> Expected:
    return [(report.kind.value, report.title, report.truncated) for report in reports]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_golden_consoles(path: Path, newline: str) -> None:
    expected, console = read_golden(path)
    assert summary(scan(console.replace("\n", newline))) == expected


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_consoles_line_by_line(path: Path) -> None:
    expected, console = read_golden(path)
    scanner = Scanner()
    found = [report for line in console.splitlines(True) for report in scanner.feed(line.encode())]
    assert [report.kind.value for report in found] == [kind for kind, _, _ in expected]


def test_every_kind_but_the_rare_has_a_golden_console() -> None:
    rare = {
        ReportKind.HARD_LOCKUP,
        ReportKind.WORKQUEUE_STALL,
        ReportKind.KCSAN,
        ReportKind.OUT_OF_MEMORY,
    }
    seen = {ReportKind(kind) for path in GOLDEN for kind, _, _ in read_golden(path)[0]}
    assert seen == {rule.kind for rule in RULES} - rare


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("watchdog: Watchdog detected hard LOCKUP on cpu 1", ReportKind.HARD_LOCKUP),
        ("watchdog: CPU1: Watchdog detected hard LOCKUP on cpu 0", ReportKind.HARD_LOCKUP),
        ("BUG: workqueue lockup - pool cpus=0 node=0 stuck for 31s!", ReportKind.WORKQUEUE_STALL),
        ("BUG: KCSAN: data-race in rb_map / rb_status", ReportKind.KCSAN),
        ("Out of memory: Killed process 33 (mkfs.ext4) total-vm:1kB", ReportKind.OUT_OF_MEMORY),
    ],
)
def test_rare_kinds(line: str, kind: ReportKind) -> None:
    assert [report.kind for report in scan(f"[    1.000000] {line}\n")] == [kind]


OOPS = read_golden(next(path for path in GOLDEN if path.stem == "panic-after-oops"))[1].encode()


@settings(deadline=None)
@given(st.lists(st.integers(0, len(OOPS)), max_size=8))
def test_cuts_anywhere_neither_lose_nor_repeat_a_report(cuts: list[int]) -> None:
    scanner = Scanner()
    found: list[KernelReport] = []
    edges = [0, *sorted(cuts), len(OOPS)]
    for start, end in itertools.pairwise(edges):
        found += scanner.feed(OOPS[start:end])
    # A cut within the words of a heading can leave the kind open, never the place.
    assert [report.position for report in found] == [
        OOPS.index(b"[   41.733180] BUG"),
        OOPS.index(b"[   41.736700] Kernel panic"),
    ]


def test_a_report_under_way_is_not_held_back() -> None:
    scanner = Scanner()
    head = OOPS[: OOPS.index(b"[   41.735400] Call Trace")]
    (report,) = scanner.feed(head)
    assert report.kind is ReportKind.OOPS
    assert report.truncated
    (panic,) = scanner.feed(OOPS[len(head) :])
    assert panic.kind is ReportKind.PANIC


def test_last_words_without_a_newline_count() -> None:
    scanner = Scanner()
    (report,) = scanner.feed(b"[    1.000000] Kernel panic - not syncing")
    assert report.kind is ReportKind.PANIC
    assert report.truncated
    assert scanner.feed(b": Fatal exception\n") == ()


def test_the_excerpt_is_the_report_without_stamps() -> None:
    oops, panic = scan(OOPS.decode())
    assert oops.excerpt[0] == "BUG: kernel NULL pointer dereference, address: 0000000000000018"
    assert oops.excerpt[-1] == "---[ end trace 0000000000000000 ]---"
    assert panic.excerpt[-1] == "Kernel Offset: disabled"
    assert str(oops).splitlines()[:2] == [f"oops: {oops.title}", oops.excerpt[0]]


def test_a_report_without_end_is_bounded_and_says_so() -> None:
    lines = "".join(f"[    2.000000]  frame_{number}\n" for number in range(1000))
    (report,) = scan(f"[    1.000000] INFO: task a:1 blocked for more than 60 seconds.\n{lines}")
    assert len(report.excerpt) == MOST_LINES
    assert report.truncated


def test_bytes_that_are_no_text_do_no_harm() -> None:
    console = b"\xff\xfe\0\x80" * 5000 + b"\n[    1.000000] Kernel panic - not syncing: \xff\n"
    (report,) = Scanner().feed(console)
    assert report.title == "Kernel panic - not syncing: \ufffd"
