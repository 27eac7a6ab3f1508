# SPDX-License-Identifier: Apache-2.0
"""Building: what is made again and what is kept, what goes wrong, and the command line for it."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest
import report_runs as runs
from report_cases import info, result

from harness.cli.main import run_command_line
from harness.cli.report import compare
from harness.errors import InfraError, UsageError
from harness.model.verdict import Verdict
from harness.report.html import engine
from harness.report.html.serve import POLICY, listen
from harness.report.html.site import Built, Wanted, build, find_runs
from harness.report.load import load_run
from harness.report.store import RESULTS, RUN, RunStore

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two small runs."""
    folder = tmp_path / "store"
    for number in (1, 2):
        facts = info(planned=2, run_id=f"2027011{number}T080000Z-a{number}",
                     started_unix_s=runs.STARTED + number)  # fmt: skip
        with RunStore.create(folder, facts) as made:
            made.append(result(1))
            made.append(result(2, Verdict.FAIL))
    return folder


def built(store: Path, tmp_path: Path, **wanted: object) -> Built:
    return build(Wanted(find_runs(store), tmp_path / "pages", **wanted), compare)  # type: ignore[arg-type]


def test_links_to_the_newest_run_are_no_runs_of_their_own(store: Path) -> None:
    assert (store / "ace-seq1" / "latest").is_symlink()
    assert [path.name for path in find_runs(store)] == [
        "20270111T080000Z-a1",
        "20270112T080000Z-a2",
    ]


def test_a_run_that_has_not_changed_is_not_rendered_again(store: Path, tmp_path: Path) -> None:
    assert len(built(store, tmp_path).rendered) == 2
    page = next((tmp_path / "pages").rglob("cases/**/*.html"))
    before = page.stat().st_mtime_ns
    again = built(store, tmp_path)
    assert (again.rendered, again.unchanged) == ([], 2)
    assert page.stat().st_mtime_ns == before


def test_a_run_that_went_on_is_rendered_again(store: Path, tmp_path: Path) -> None:
    built(store, tmp_path)
    with RunStore.reopen(store / "ace-seq1" / "20270112T080000Z-a2") as more:
        more.append(result(3, Verdict.FAIL))
    assert built(store, tmp_path).rendered == ["ace-seq1/20270112T080000Z-a2"]
    folder = tmp_path / "pages/runs/ace-seq1/20270112T080000Z-a2/cases"
    assert len(list(folder.rglob("*.html"))) == 2


def test_pages_of_cases_that_are_gone_go(store: Path, tmp_path: Path) -> None:
    built(store, tmp_path)
    run = store / "ace-seq1" / "20270111T080000Z-a1"
    lines = (run / RESULTS).read_bytes().splitlines(keepends=True)
    (run / RESULTS).write_bytes(lines[0])
    built(store, tmp_path)
    assert not list((tmp_path / "pages/runs/ace-seq1/20270111T080000Z-a1").rglob("cases/**/*.html"))


def test_other_wishes_render_again(store: Path, tmp_path: Path) -> None:
    built(store, tmp_path)
    assert len(built(store, tmp_path, passes=True).rendered) == 2
    assert len(list((tmp_path / "pages").rglob("cases/**/*.html"))) == 4


def test_a_run_stays_when_its_record_is_gone(store: Path, tmp_path: Path) -> None:
    built(store, tmp_path)
    run = store / "ace-seq1" / "20270111T080000Z-a1"
    for path in run.iterdir():
        path.unlink()
    assert built(store, tmp_path).unchanged == 1
    assert "20270111T080000Z-a1" in (tmp_path / "pages" / "index.html").read_text()


def test_a_digest_of_another_version_is_made_anew(store: Path, tmp_path: Path) -> None:
    built(store, tmp_path)
    digest = tmp_path / "pages/runs/ace-seq1/20270111T080000Z-a1/digest.json"
    digest.write_text(digest.read_text().replace('"version":1', '"version":0'))
    assert built(store, tmp_path).rendered == ["ace-seq1/20270111T080000Z-a1"]


def test_what_a_killed_build_left_is_in_nobodys_way(store: Path, tmp_path: Path) -> None:
    left = tmp_path / "pages/runs/ace-seq1/.20270111T080000Z-a1.new"
    left.mkdir(parents=True)
    (left / "junk.html").write_text("junk")
    built(store, tmp_path)
    assert not list((tmp_path / "pages").rglob("junk.html"))


def test_of_several_results_of_a_case_the_last_counts(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "store", info()) as made:
        made.append(result(1, Verdict.FAIL))
        made.append(result(1))
    built(tmp_path / "store", tmp_path)
    page = (tmp_path / "pages/runs/ace-seq1/20270115T080000Z-abc123/index.html").read_text()
    assert "1 pass" in page
    assert "1 fail" not in page


def test_an_unreadable_run_does_not_keep_the_others_back(store: Path, tmp_path: Path) -> None:
    (store / "ace-seq1" / "20270111T080000Z-a1" / RUN).write_text("{")
    done = built(store, tmp_path)
    assert len(done.rendered) == len(done.unreadable) == 1
    assert "1 run could not be read" in (tmp_path / "pages" / "index.html").read_text()


def test_a_damaged_line_is_an_unknown_case_with_a_page(store: Path, tmp_path: Path) -> None:
    record = store / "ace-seq1" / "20270111T080000Z-a1" / RESULTS
    record.write_bytes(record.read_bytes().replace(b'"pass"', b'"Pass"', 1))
    built(store, tmp_path)
    page = tmp_path / "pages/runs/ace-seq1/20270111T080000Z-a1/cases/damaged/line-1/any@any.html"
    assert "checksum does not match" in page.read_text()


def test_two_builds_at_once_do_not_mix(store: Path, tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    with open(tmp_path / "pages" / ".lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another process"):
            built(store, tmp_path)


def test_a_full_disk_is_named_and_keeps_the_last_pages(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(store, tmp_path)
    before = (tmp_path / "pages" / "index.html").read_bytes()

    def full(_path: Path, _content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InfraError, match="No space left") as caught:
        built(store, tmp_path, passes=True)
    assert "--out" in str(caught.value.hint)
    assert (tmp_path / "pages" / "index.html").read_bytes() == before


def test_the_command_builds_what_it_is_told(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "html"
    one = store / "ace-seq1" / "latest"
    assert run_command_line(["report", "build", str(one), "--out", str(out)]) == 0
    assert "1 runs rendered" in capsys.readouterr().out
    assert run_command_line(["report", "build", "--store", str(store)]) == 0
    assert (store / "html" / "index.html").is_file()
    assert find_runs(store) == [load_run(path).path for path in find_runs(store)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["build", "/nowhere"], "not the folder of a run"),
        (["build", "--most-case-pages", "-1"], "most-case-pages"),
        (["serve", "--out", "/nowhere"], "harness report build"),
        (["serve", "--port", "70000"], "port"),
    ],
)
def test_wrong_usage_is_explained(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--out", str(tmp_path)] if words[0] == "build" else []
    assert run_command_line(["report", *words, *more]) == 64
    assert said in capsys.readouterr().err


@pytest.fixture
def address(store: Path, tmp_path: Path) -> Iterator[str]:
    built(store, tmp_path)
    with listen(tmp_path / "pages", "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.url.removesuffix("index.html")
        server.shutdown()
        thread.join()


def test_pages_are_served_under_the_policy(address: str) -> None:
    for name, kind in (("index.html", "text/html"), ("style.css", "text/css"),
                       ("icon.svg", "image/svg+xml")):  # fmt: skip
        with urllib.request.urlopen(address + name) as answer:
            assert answer.headers["Content-Security-Policy"] == POLICY
            assert answer.headers["Content-Type"] == kind
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["runs/", "missing.html", "..%2f..%2fetc/passwd", ".lock",
                                  "%2elock"])  # fmt: skip
def test_nothing_else_is_served(address: str, path: str) -> None:
    with pytest.raises(HTTPError) as caught:
        urllib.request.urlopen(address + path)
    assert caught.value.code == 404
    assert caught.value.headers["Content-Security-Policy"] == POLICY


def test_a_port_that_is_taken_is_named(address: str, tmp_path: Path) -> None:
    port = int(address.split(":")[2].strip("/"))
    with pytest.raises(UsageError, match=str(port)):
        listen(tmp_path / "pages", "127.0.0.1", port)


def test_a_wheel_has_templates_and_style(tmp_path: Path) -> None:
    """What ``pip install`` would put into place; built from a copy, without the network."""
    copy = tmp_path / "copy"
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others",
         "--exclude-standard", "harness", "ace_workloads", "pyproject.toml", "README.md"],
        cwd=CHECKOUT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (CHECKOUT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((CHECKOUT / name).read_bytes())
    pytest.importorskip("setuptools", reason="Python 3.12 and later have none of their own")
    done = subprocess.run(
        [sys.executable, "-c", "import setuptools; setuptools.setup()", "-q",
         "build_py", "--build-lib", "out"],
        cwd=copy, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    here = Path(engine.__file__).parent
    needed = {path.relative_to(here) for path in engine.sources()}
    assert len(needed) > 20
    there = copy / "out" / "harness" / "report" / "html"
    assert sorted(name for name in needed if not (there / name).is_file()) == []
