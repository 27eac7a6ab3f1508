# SPDX-License-Identifier: Apache-2.0
"""What the pages are made of: words, numbers, pictures and comparisons, piece by piece."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import report_runs as runs
from report_cases import info

from ace_workloads.jlang import parse_line
from ace_workloads.ops import Verb
from harness.cli.report import compare
from harness.model.case import Outcome
from harness.model.comparison import FileRange, Mark, NameRow
from harness.model.evidence import Moment
from harness.report.html import text
from harness.report.html.charts import Phases, Trend
from harness.report.html.digest import CaseRef, FindingDigest, RunDigest, change_of, lanes
from harness.report.html.filemap import FileMap
from harness.report.html.matrix import matrix
from harness.report.html.run_pages import run_command
from harness.report.html.scan import Row, Scan, choose
from harness.report.html.steps import sentence, step_views
from harness.report.html.svg import DARK, LIGHT
from harness.report.html.timeline import tick, timeline
from harness.report.load import Place


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.064, "64 ms"), (1.24, "1.2 s"), (59.9, "60 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_times_as_people_say_them(value: float, said: str) -> None:
    assert text.seconds(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0 bytes"), (1, "1 byte"), (4096, "4 KiB"), (5000, "5,000 bytes"), (1 << 30, "1 GiB")],
)
def test_sizes_as_people_say_them(value: int, said: str) -> None:
    assert text.size(value) == said


def test_names_that_are_no_file_names_are_told_apart() -> None:
    slugs = {text.slug(name) for name in ("a b", "a/b", "a-b", "..", ".", "", "\udc80", "\udc81")}
    assert len(slugs) == 8
    assert all(not slug.startswith(".") and "/" not in slug for slug in slugs)


def test_the_end_of_a_console_is_kept_within_its_limits() -> None:
    lines = [f"line {n} " + "x" * 50 for n in range(1000)]
    kept = text.excerpt(lines, 400, 10_000_000)
    assert (kept.left_out, kept.text.splitlines()[-1][:8]) == (600, "line 999")
    small = text.excerpt(lines, 400, 1000)
    assert len(small.text) < 1000
    assert small.left_out == 1000 - len(small.text.splitlines())


def test_blocks_are_those_that_the_bytes_are_in() -> None:
    assert text.blocks_of(28672, 32768) == "block 7"
    assert text.blocks_of(4095, 4097) == "blocks 0 to 1"
    assert text.ranges_of([5, 3, 4, 9]) == [(3, 5), (9, 9)]


def test_every_verb_has_a_sentence() -> None:
    lines = {
        "open foo O_RDWR|O_CREAT 0777": "create or open foo",
        "write Afoo 0 32768": "write 32 KiB at 0 of A/foo",
        "falloc foo FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE 0 5000":
            "punch a hole of 5,000 bytes at 0 in foo, size kept",
        "falloc foo 0 0 8192": "allocate 8 KiB at 0 in foo",
        "rename foo bar": "rename foo to bar",
        "symlink foo bar": "make bar a symbolic link to foo",
        "sync": "sync: everything",
    }  # fmt: skip
    assert {line: sentence(parse_line(line)) for line in lines} == lines
    step = parse_line("sync")
    assert all(sentence(replace(step, verb=verb)) for verb in Verb)


def test_steps_carry_crash_points_and_errors() -> None:
    case = runs.case(110_361)
    assert case.evidence is not None
    failed = replace(case, evidence=replace(case.evidence, step_errors=((2, "write: EIO"),)))
    views = {view.line: view for view in step_views(failed)}
    assert views[2].error == "write: EIO"
    assert [line for line, view in views.items() if view.crash] == [6, 10]
    assert 7 not in views, "a checkpoint mark says nothing more"
    strange = step_views(replace(case, jlang="no such verb\nsync\n"))
    assert [view.said for view in strange] == ["", ""]


def test_the_time_line_adds_up_and_stops_the_primary_at_each_crash() -> None:
    case = runs.case(110_361)
    line = timeline(case)
    assert line is not None
    spent = sum(s for name, s in case.phases_s.items() if name != "judge")
    assert line.total_s == pytest.approx(spent)
    assert [crash.number for crash in line.crashes] == [1, 2]
    assert [(crash.promised, crash.applied) for crash in line.crashes] == [(49, 49), (58, 58)]
    for crash in line.crashes:
        busy = [s for s in line.spans if s.lane == "primary" and s.name == "ops"]
        assert not any(s.start_s < crash.at_s < s.end_s for s in busy)
    for lane in ("primary", "backup"):
        spans = sorted((s.start_s, s.end_s) for s in line.spans if s.lane == lane)
        assert all(a[1] <= b[0] + 1e-9 for a, b in pairwise(spans)), lane


def test_a_time_line_that_was_seen_is_drawn_as_it_was() -> None:
    case = runs.case(110_361)
    assert case.evidence is not None
    moments = (
        Moment("backup", "fsck", 0.3, 0.7),
        Moment("primary", "ops", 0.0, 0.1, (1, 2)),
        Moment("primary", "paused", 0.1, 0.2),
        Moment("backup", "snapshot", 0.12, 0.18),
        Moment("primary", "ops", 0.2, 0.5, (4, 4)),
    )
    line = timeline(replace(case, evidence=replace(case.evidence, moments=moments)))
    assert line is not None
    assert (line.seen, line.shared, line.total_s) == (True, False, 0.7)
    assert [(crash.number, crash.at_s, crash.drained_s) for crash in line.crashes] == [
        (1, 0.1, 0.18),
    ]  # fmt: skip
    assert [span.label for span in line.spans if span.name == "ops"] == ["lines 1 to 2", "line 4"]
    shown = "".join(ElementTree.fromstring(line.draw(LIGHT)).itertext())
    assert "lines 1 to 2" in shown


def test_a_case_without_times_has_no_time_line() -> None:
    assert timeline(replace(runs.case(1), phases_s={})) is None
    assert timeline(runs.infra(1)) is None


@pytest.mark.parametrize("total", [0.0004, 0.05, 1.0, 7.3, 120.0, 1e7])
def test_ticks_are_few_and_round(total: float) -> None:
    assert 1 <= total / tick(total) <= 9 or total < 0.001


def test_a_file_map_shows_the_broken_block() -> None:
    row = NameRow("foo", Mark.BROKEN, ("file",), ("file",), size=32768, ranges=(
        FileRange(0, 28672, (2,), 2, True, Mark.SAME),
        FileRange(28672, 32768, (2,), 0, True, Mark.BROKEN),
    ))  # fmt: skip
    made = FileMap.of(row, "x")
    assert "block 7, bytes 28672 to 32767" in made.alt
    shown = "".join(ElementTree.fromstring(made.draw(LIGHT)).itertext())
    assert "block 7, bytes 28672 to 32767: zeros" in shown
    assert made.draw(LIGHT) != made.draw(DARK)


def test_a_file_map_of_anything_is_a_picture() -> None:
    for end in (1, 31, 4096, 1 << 40):
        item = FileRange(0, end, (), -1, False, Mark.BROKEN)
        row = NameRow("\x00\udc80", Mark.BROKEN, (), (), ranges=(item,))
        ElementTree.fromstring(FileMap.of(row, "x").draw(DARK))


def digest(number: int, findings: tuple[str, ...] = (), **fields: Any) -> RunDigest:
    """Run ``number`` of a lane, of ten cases."""
    ref = CaseRef("ace-seq2/1@ext4@rollbaccine", "creat", "fail", 1.0)
    shown = tuple(
        FindingDigest(name, "fail", "rollbaccine", name, 1, {}, 0, ref, (), 0.0, 0.0)
        for name in findings
    )
    facts: dict[str, Any] = {
        "planned": 10, "run_id": f"r{number}", "options": runs.OPTIONS, "ended_unix_s": 1.0,
        "started_unix_s": runs.STARTED + number,
    }  # fmt: skip
    facts |= fields.pop("facts", {})
    plain: dict[str, Any] = {
        "key": "", "info": info(**facts), "folder": "", "torn_bytes": 0, "flaky": 0,
        "counts": {"pass": 10 - len(findings), "fail": len(findings)} , "case_time_s": 1.0,
        "wall_s": 2.0, "phases_s": {}, "skeletons": {}, "places": {}, "list_pages": {},
        "findings": shown, "slowest": (), "case_pages": 0, "without_page": 0,
    }  # fmt: skip
    return RunDigest(**(plain | fields))


def names(findings: tuple[FindingDigest, ...]) -> list[str]:
    return [finding.id for finding in findings]


def test_findings_are_new_or_fixed_against_the_run_before() -> None:
    change = change_of(digest(2, ("b", "c")), digest(1, ("a", "b")))
    assert (names(change.new), names(change.fixed), names(change.unseen)) == (["c"], ["a"], [])


@pytest.mark.parametrize(
    "fields",
    [
        {"facts": {"planned": 4}, "counts": {"pass": 4}},
        {"facts": {"ended_unix_s": None}},
        {"facts": {"left": 2}},
        {"counts": {"pass": 9}},
    ],
)
def test_a_finding_that_was_not_looked_for_is_not_fixed(fields: dict[str, Any]) -> None:
    change = change_of(digest(2, **fields), digest(1, ("a",)))
    assert (names(change.fixed), names(change.unseen)) == ([], ["a"])


def test_runs_that_cannot_be_compared_are_in_lanes_of_their_own() -> None:
    def with_option(number: int, **options: Any) -> RunDigest:
        return digest(number, facts={"options": {**runs.OPTIONS, **options}})

    others = [
        with_option(2, defect="skip_last_page"), with_option(3, fs=("xfs",)),
        with_option(4, target="drbd"), with_option(5, encryption="off"),
        with_option(6, shard="1/2"), digest(7, facts={"kernels": {"guests": "6.12"}}),
        digest(8, facts={"suite": "smoke"}), with_option(9, link_delay_ms=5),
        with_option(10, guests="full"),
    ]  # fmt: skip
    made = lanes([digest(1), digest(0), *others])
    assert len(made) == 10
    assert [run.info.run_id for lane in made for run in lane.runs if len(lane.runs) > 1] == [
        "r0", "r1"
    ]  # fmt: skip


def test_a_run_is_called_by_its_worst() -> None:
    assert digest(1).worst == "pass"
    assert digest(1, ("a",)).worst == "fail"
    assert digest(1, counts={"pass": 9}).worst == "unknown", "a case without a result"
    assert digest(1, counts={"infra": 1, "pass": 9}).worst == "infra"


def test_the_matrix_counts_by_first_and_second_op() -> None:
    run = digest(
        1,
        skeletons={"creat-link": {"pass": 3, "fail": 1}, "creat-link-sync": {"pass": 2},
                   "link-creat": {"unknown": 1}},
        places={"fail": {"creat-link": 2}, "unknown": {"link-creat": 1}},
    )  # fmt: skip
    made = matrix(run)
    assert made is not None
    cell = made.cells["creat", "link"]
    assert (cell.total, cell.bad, cell.worst, cell.shade) == (6, 1, "fail", 1)
    assert cell.link == "cases-fail-002.html#s-creat-link"
    assert (made.rows, made.columns, made.longer) == (("creat", "link"), ("creat", "link"), True)
    assert matrix(digest(1, skeletons={"creat": {"pass": 1}})) is None


def test_case_pages_go_to_the_smallest_of_each_finding_first() -> None:
    def row(number: int, finding: str, ops: int, outcome: str = "fail") -> Row:
        return Row(f"w/{number}@ext4@t", "creat", outcome, 1.0, ops, Place(number, number), "",
                   finding)  # fmt: skip

    rows = [row(n, "a", 9 - n) for n in range(8)]
    rows += [row(8, "b", 3), row(9, "", 1, "pass"), row(10, "c", 1, "unknown")]
    seen = Scan(rows={each.id: each for each in rows})
    chosen = choose(seen, 4, passes=False)
    assert [each.place.line for each in chosen] == [6, 7, 8, 10]
    assert len(choose(seen, 100, passes=False)) == 10
    assert len(choose(seen, 100, passes=True)) == 11


def test_one_bad_case_in_many_is_seen_in_the_trend() -> None:
    run = digest(1, counts={"pass": 49_999, "fail": 1})
    tree = ElementTree.fromstring(Trend([run]).draw(LIGHT))
    bars = [e for e in tree.iter() if e.get("fill") == LIGHT.outcomes[Outcome.FAIL]]
    assert len(bars) == 1
    assert float(bars[0].get("height", "0")) >= 3
    assert "1 fail" in Trend([run]).alt


def test_the_phase_picture_says_shares() -> None:
    made = Phases([("ops", 3.0), ("fsck", 1.0)])
    assert made.alt == "Time by phase: ops 75 %, fsck 25 %"
    assert "3.0 s, 75 %" in "".join(ElementTree.fromstring(made.draw(LIGHT)).itertext())


def test_the_command_of_a_run_has_its_options() -> None:
    about = info(suite="ace-seq2", options={
        **runs.OPTIONS, "fs": ("ext4", "xfs"), "defect": "skip last", "fail_fast": True,
        "time_budget_s": 3600.0, "out": "/x",
    })  # fmt: skip
    assert run_command(about) == (
        "harness run --suite ace-seq2 --fs ext4 --fs xfs --target rollbaccine --profile debian-12 "
        "--sample 300 --seed 7 --encryption on --defect 'skip last' --fail-fast --time-budget 3600s"
    )


def test_evidence_the_oracle_cannot_read_leaves_a_page(tmp_path: Path) -> None:
    broken = replace(runs.case(110_361, runs.lost_page), jlang="no workload\n")
    with pytest.raises(ValueError, match="cannot be read"):
        compare(broken)
    short = replace(runs.case(110_361, runs.lost_page), jlang="sync\n")
    with pytest.raises(ValueError, match="oracle failed"):
        compare(short)
