# SPDX-License-Identifier: Apache-2.0
"""All kinds of pages, made from all kinds of runs: whole, safe, linked, and of bounded weight."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import report_runs as runs
from html_check import Page, pages, picture_faults, site_faults
from report_cases import info, result

from harness.cli.report import compare
from harness.model.case import CaseResult, Rerun
from harness.model.content import RAW, Segment
from harness.model.tree import Tree
from harness.model.verdict import Check, Verdict
from harness.report.html.digest import read
from harness.report.html.site import Built, Wanted, build, find_runs
from harness.report.store import RESULTS, RunStore

pytestmark = pytest.mark.whole

HOSTILE = (
    "<script>alert(1)</script>", "]]>--><!-- &amp; \" onload='x' </td></table></main>",
    "".join(map(chr, range(0xA0))), "\udc80\udcff\ud800 \ufffe\uffff\U0001ffff",
    "\u202e right to left \u2066", "../../../etc/passwd#?%00", "{{ 7 * 7 }}{% raw %}",
)  # fmt: skip
SPREAD = runs.indices(41, 4_600)


@dataclass(frozen=True)
class Site:
    """Pages that were built, and from what."""

    root: Path
    store: Path
    built: Built

    def page(self, name: str) -> Page:
        """The page ``name`` below the top."""
        return Page(self.root / name)


def build_all(store: Path, root: Path, **wanted: object) -> Built:
    return build(Wanted(find_runs(store), root, **wanted), compare)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Two runs of a lane, an endurance run, a hostile one, and runs that went wrong."""
    store, root = tmp_path_factory.mktemp("store"), tmp_path_factory.mktemp("pages")
    sound = list(runs.seeded(SPREAD, 0))
    runs.store(store, sound, run_id="20270115T080000Z-a1", exit_code=0)
    bad = [*runs.seeded(SPREAD[:38], 3), runs.infra(SPREAD[38]), runs.unknown(SPREAD[39]),
           flaky(SPREAD[40])]  # fmt: skip
    runs.store(store, bad, run_id="20270116T080000Z-b2", started_unix_s=runs.STARTED + 86400)
    runs.store(store, [runs.round_case()], suite="kmod-endurance", run_id="20270116T090000Z-e1")
    runs.store(
        store,
        [runs.hostile(text) for text in HOSTILE[-1:]],
        suite="hostile",
        run_id="20270116T090000Z-h1",
        warnings=HOSTILE,
        kernels={text: text for text in HOSTILE},
        options={"fs": HOSTILE, "target": HOSTILE[0], "defect": HOSTILE[3], "only": HOSTILE},
        versions={HOSTILE[2]: HOSTILE[3]},
    )
    RunStore.create(store, info(suite="empty")).close()
    with RunStore.create(store, info(planned=9, suite="killed")) as killed:
        killed.append(result(1))
        with open(killed.path / RESULTS, "ab") as record:
            record.write(b'{"blake2b":"0000')
    return Site(root, store, build_all(store, root))


def flaky(index: int) -> CaseResult:
    """A case that failed once and passed when it was run again."""
    return runs.case(index, runs.lost_name, reruns=(Rerun(Verdict.PASS, elapsed_s=0.3),))


def test_nothing_is_wrong_with_any_page_or_picture(site: Site) -> None:
    assert len(list(pages(site.root))) > 30
    assert len(list(site.root.rglob("*.svg"))) > 30
    assert site_faults(site.root) == []


def test_every_page_can_be_reached_from_the_first(site: Site) -> None:
    seen = {site.root / "index.html"}
    todo = list(seen)
    while todo:
        page = Page(todo.pop())
        for link in page.links:
            path = (page.path.parent / link.split("#")[0]).resolve()
            if path.suffix == ".html" and path not in seen:
                seen.add(path)
                todo.append(path)
    assert {path.resolve() for path in seen} == {p.resolve() for p in site.root.rglob("*.html")}


def test_the_broken_block_is_three_clicks_from_the_first_page(site: Site) -> None:
    """First page, run, finding, case: and the smallest case of each finding is one click less."""
    name = "runs/ace-seq2/20270116T080000Z-b2/index.html"
    assert name in site.page("index.html").links
    run = site.page(name)
    smallest = {link for link in run.links if link.startswith("cases/")}
    digest = read(run.path.with_name("digest.json"))
    assert digest is not None
    assert {finding.smallest.page for finding in digest.findings} <= smallest
    findings = {link for link in run.links if "/findings/f" in link}
    cases = {
        (run.path.parent / finding).parent / link
        for finding in findings
        for link in Page(run.path.parent / finding).links
        if "/cases/" in link
    }
    texts = [Page(path).text for path in cases]
    assert any("block 7" in text and "28,672 to 32,767" in text for text in texts)


def test_a_case_page_says_all_there_is(site: Site) -> None:
    folder = site.root / "runs/ace-seq2/20270116T080000Z-b2/cases"
    texts = [page.text for page in pages(folder)]
    lost = next(text for text in texts if "lost:data" in text)
    for words in (
        "harness replay ace-seq2/", "--profile debian-12", "Crash point 1",
        "the primary is stopped",
        "content/persisted", "promised 49, applied 49", "EXT4-fs (dm-3): recovery complete",
        "Equal in every 4 KiB block", "Expected on the left",
    ):  # fmt: skip
        assert words in lost, words
    differ = next(text for text in texts if "Not equal" in text)
    assert "1,031 to 1,033" in differ
    assert "4,222,976" in differ
    unmountable = next(text for text in texts if "Checksum for group 0 failed" in text)
    assert "nothing was recovered" in unmountable
    assert any("no answer within 30 s" in text and "Earlier attempts" in text for text in texts)
    assert any("Run again to confirm" in text for text in texts)


def test_a_round_has_its_own_page(site: Site) -> None:
    (page,) = pages(site.root / "runs/kmod-endurance/20270116T090000Z-e1/cases")
    for words in (
        "kill_primary after 14 flushes", "torn: 11/3/0 and 11/4/1", "promote on node2: EBUSY",
        "2 batches acknowledged by a primary", "3 to 5, 77", "batch 813 EIO", "never",
        "harness replay kmod-endurance/42.0007@raw@rollbaccine",
    ):  # fmt: skip
        assert words in page.text, words


def test_new_and_fixed_findings_are_told(site: Site) -> None:
    bad = site.page("runs/ace-seq2/20270116T080000Z-b2/index.html").text
    digest = read(site.root / "runs/ace-seq2/20270116T080000Z-b2/digest.json")
    assert digest is not None
    assert bad.count(" new ") == len(digest.finding_ids) >= 3
    assert "none of the newest" not in bad
    assert "Fixed since" not in bad


def test_a_run_that_was_killed_says_so(site: Site) -> None:
    page = site.page("runs/killed/20270115T080000Z-abc123/index.html").text
    assert "8 of 9 planned cases have no result" in page
    assert "16 bytes" in page
    assert "no case has a result" in site.page("runs/empty/20270115T080000Z-abc123/index.html").text


@pytest.mark.parametrize("text", [*HOSTILE, "x" * 300_000, "&\n" * 150_000])
def test_hostile_text_in_every_field_stays_text(text: str, tmp_path: Path) -> None:
    runs.store(tmp_path / "store", [runs.hostile(text)])
    built = build_all(tmp_path / "store", tmp_path / "pages")
    assert built.unreadable == []
    assert site_faults(tmp_path / "pages") == []
    (case,) = pages(tmp_path / "pages" / "runs" / "ace-seq2" / "20270115T080000Z-abc123" / "cases")
    assert case.path.stat().st_size < 500_000


def test_a_console_of_10_mb_is_cut(tmp_path: Path) -> None:
    case = replace(
        runs.case(110_361, runs.lost_page),
        console={"primary": ("<" * 10_000_000,), "backup": ("panic & more",) * 800_000},
    )
    runs.store(tmp_path / "store", [case])
    build_all(tmp_path / "store", tmp_path / "pages")
    assert site_faults(tmp_path / "pages") == []
    (page,) = pages(tmp_path / "pages" / "runs" / "ace-seq2" / "20270115T080000Z-abc123" / "cases")
    assert "799,600 lines before this left out" in page.text
    assert page.path.stat().st_size < 300_000


def test_what_html_cannot_hold_is_spelt_out(tmp_path: Path) -> None:
    runs.store(tmp_path / "store", [runs.hostile("a\x00b\udc80c\x1b[31m")])
    build_all(tmp_path / "store", tmp_path / "pages")
    (case,) = pages(tmp_path / "pages" / "runs" / "ace-seq2" / "20270115T080000Z-abc123" / "cases")
    assert r"a\x00b\udc80c\x1b[31m" in case.text


def test_a_page_that_would_be_too_long_shows_less(tmp_path: Path) -> None:
    """Thousands of names, ranges and checks, each with text that grows when it is escaped."""
    base = runs.case(110_361, runs.lost_page)
    assert base.evidence is not None
    crash = base.evidence.crashes[-1]
    assert crash.recovered is not None
    foo = crash.recovered.entries["foo"]
    pieces = tuple(Segment(64, n % 3 and RAW, b"\xff" * 64 if n % 3 else b"") for n in range(500))
    torn = replace(foo, size=64 * 500, content=pieces, digest=None)
    names = {f"{'&' * 250}{n:05}": replace(foo, path=f"{'&' * 250}{n:05}") for n in range(500)}
    tree = Tree({**crash.recovered.entries, "foo": torn, **names})
    checks = tuple(Check("name/legal", Verdict.FAIL, "<" * 900, "<" * 900) for _ in range(2000))
    many = runs.with_crashes(base, (replace(crash, recovered=tree),) * 4)
    runs.store(tmp_path / "store", [replace(many, verdict=Verdict.FAIL, checks=checks)])
    build_all(tmp_path / "store", tmp_path / "pages")
    assert site_faults(tmp_path / "pages") == []
    (page,) = pages(tmp_path / "pages" / "runs" / "ace-seq2" / "20270115T080000Z-abc123" / "cases")
    assert "25 of 2000" in page.text, "shortened once"


def test_lists_are_paged_and_lead_from_the_matrix(tmp_path: Path) -> None:
    runs.large(tmp_path / "store", 2400)
    build_all(tmp_path / "store", tmp_path / "pages", most_case_pages=10)
    assert site_faults(tmp_path / "pages") == []
    folder = tmp_path / "pages/runs/ace-seq2/20270116T080000Z-1a"
    lists = sorted(path.name for path in folder.glob("cases-pass-*.html"))
    assert lists == ["cases-pass-001.html", "cases-pass-002.html", "cases-pass-003.html"]
    rows = [Page(folder / name).text.count("@ext4@rollbaccine") for name in lists]
    digest = read(folder / "digest.json")
    assert digest is not None
    assert sum(rows) == digest.counts["pass"] > 2000
    assert digest.case_pages == 10
    assert len(list((folder / "cases").rglob("*.html"))) == 10
    assert digest.without_page == digest.counts["fail"] - 10


@pytest.mark.parametrize(
    ("markup", "fault"),
    [
        ("<script src='x.js'></script>", "element script"),
        ("<p style='color:red'>x</p>", "p style"),
        ("<p onclick='x()'>x</p>", "p onclick"),
        ("<a href='javascript:x()'>x</a>", "javascript"),
        ("<a href='missing.html'>x</a>", "leads nowhere"),
        ("<a href='#missing'>x</a>", "no such place"),
        ("<a href='https://example.org/'>x</a>", "leads out"),
        ("<img src='a.svg'>", "without alt"),
        ("<table><tr><th scope='row'>x</th></tr></table>", "without caption"),
        ("<table><caption>x</caption><tr><th>x</th></tr></table>", "th without scope"),
        ("<h4>x</h4>", "h4 after h1"),
        ("<h1>x</h1>", "headings"),
        ("<p id='a'></p><p id='a'></p>", "twice"),
        ("<p><b>x</p>", "closes nothing"),
        ("<p>\x1b</p>", "character"),
        ("<p aria-labelledby='nobody'></p>", "label"),
        (f"<p>{'x' * 2_000_000}</p>", "bytes"),
    ],
)
def test_the_checker_finds_what_is_wrong(markup: str, fault: str, tmp_path: Path) -> None:
    frame = "<title>t</title><header></header><nav></nav><main><h1>t</h1>{}</main>"
    (tmp_path / "a.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (tmp_path / "index.html").write_text(frame.format(""), encoding="utf-8")
    assert site_faults(tmp_path) == []
    (tmp_path / "index.html").write_text(frame.format(markup), encoding="utf-8")
    assert any(fault in found for found in site_faults(tmp_path))


@pytest.mark.parametrize("inner", ["<style/>", "<script/>", "<rect style='x'/>", "<a href='x'/>"])
def test_the_checker_finds_what_is_wrong_with_a_picture(inner: str, tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    path.write_text(f"<svg xmlns='http://www.w3.org/2000/svg'>{inner}</svg>")
    assert list(picture_faults(path))
