# SPDX-License-Identifier: Apache-2.0
"""Values and bytes over time."""

from __future__ import annotations

import pytest

from harness.model.content import RAW, ZERO, Segment, encode, pattern
from harness.oracle.history import END, Change, History, Region, Span, bad_ranges, regions

WRITE_2 = Change(2, 0, 8192, 2)
WRITE_5 = Change(5, 4096, 12288, 5)
CUT = Change(6, 2500, END, ZERO)


def test_history_tells_what_was_in_force_when() -> None:
    history = History(0, "a")
    history.set(3, "b")
    history.set(7, "c")
    history.set(7, "d")
    history.set(9, "d")
    assert [history.at(line) for line in (-1, 0, 2, 3, 6, 7, 99)] == list("aaabbdd")
    assert history.since(5) == ((3, "b"), (7, "d"))
    assert history.now() == "d"


def region(start: int, end: int, *legal: int, promised: bool = False) -> Region:
    return Region(start, end, legal, promised)


@pytest.mark.parametrize(
    ("changes", "spans", "size", "expected"),
    [
        ([], [], 0, []),
        ([], [], 10, [region(0, 10, ZERO)]),
        ([WRITE_2], [], 8192, [region(0, 8192, ZERO, 2)]),
        ([WRITE_2], [Span(2)], 8192, [region(0, 8192, 2, promised=True)]),
        ([WRITE_2], [Span(1)], 8192, [region(0, 8192, ZERO, 2)]),
        ([WRITE_2, WRITE_5], [Span(3)], 12288,
         [region(0, 4096, 2, promised=True), region(4096, 8192, 2, 5),
          region(8192, 12288, ZERO, 5)]),
        ([WRITE_2, WRITE_5], [Span(3), Span(5, 4096, 6000)], 8192,
         [region(0, 4096, 2, promised=True), region(4096, 6000, 5, promised=True),
          region(6000, 8192, 2, 5)]),
        ([WRITE_2, CUT], [Span(6)], 4000,
         [region(0, 2500, 2, promised=True), region(2500, 4000, ZERO, promised=True)]),
        ([WRITE_2, CUT], [Span(2)], 4000,
         [region(0, 2500, 2, promised=True), region(2500, 4000, 2, ZERO)]),
    ],
)  # fmt: skip
def test_regions(
    changes: list[Change], spans: list[Span], size: int, expected: list[Region]
) -> None:
    assert list(regions(changes, spans, size)) == expected


def found_in(data: bytes, legal: list[Region]) -> list[tuple[int, int, int]]:
    return [(bad.start, bad.end, bad.found) for bad in bad_ranges(encode(data, [2, 5]), legal)]


PROMISED_2 = [region(0, 8192, 2, promised=True)]


@pytest.mark.parametrize(
    ("data", "legal", "expected"),
    [
        (pattern(2, 0, 8192), PROMISED_2, []),
        (bytes(8192), PROMISED_2, [(0, 8192, ZERO)]),
        (pattern(2, 0, 8192), [region(0, 4096, ZERO, 5), region(4096, 8192, ZERO, 2)],
         [(0, 4096, 2)]),
        (pattern(2, 0, 5000) + pattern(5, 5000, 3192),
         [region(0, 5000, 2), region(5000, 8192, 5)], []),
        (pattern(2, 0, 100) + b"\xff" * 8092, PROMISED_2, [(100, 8192, RAW)]),
    ],
)  # fmt: skip
def test_bad_ranges(data: bytes, legal: list[Region], expected: list[tuple[int, int, int]]) -> None:
    assert found_in(data, legal) == expected


def test_equal_bytes_of_two_writes_are_no_difference() -> None:
    """Records differ in one digit only: a reader may ascribe the rest to either write."""
    cut = 4096 + 8
    data = pattern(2, 0, cut) + pattern(5, cut, 8192 - cut)
    ascribed_otherwise = (Segment(4096, 2), Segment(4096, 5))
    assert data == pattern(2, 0, 4096) + pattern(5, 4096, 4096)
    legal = [region(0, cut, 2), region(cut, 8192, 5)]
    assert bad_ranges(ascribed_otherwise, legal) == []


def test_raw_bytes_that_are_right_by_content_are_right() -> None:
    raw = (Segment(8192, RAW, pattern(2, 0, 8192)),)
    assert bad_ranges(raw, PROMISED_2) == []


def test_a_segment_that_lacks_its_bytes_is_not_right() -> None:
    assert bad_ranges((Segment(8192, RAW, b""),), PROMISED_2) != []
