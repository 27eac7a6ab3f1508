# SPDX-License-Identifier: Apache-2.0
"""Tests in a real browser. Skipped where there is none, unless HARNESS_REQUIRE_BROWSER=1."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from devtools import Browser, find_browser

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

import report_runs as runs

from harness.cli.report import compare
from harness.report.html.serve import listen
from harness.report.html.site import Wanted, build, find_runs

LARGE = 50_000


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    path = find_browser()
    if path is None:
        reason = "no chromium installed: run 'make setup', or install the package chromium"
        if os.environ.get("HARNESS_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(f"{reason}; HARNESS_REQUIRE_BROWSER=1 turns this skip into a failure")
    with Browser(path, tmp_path_factory.mktemp("browser")) as made:
        yield made


@dataclass(frozen=True)
class Site:
    """Pages on a server that sends the policy."""

    url: str
    root: Path
    shots: Path
    """Where pictures of the pages go; ``HARNESS_SCREENSHOTS`` names a folder to keep them."""

    def first(self, pattern: str, containing: str = "") -> str:
        """Path of the first page that matches ``pattern`` and has ``containing`` in it."""
        for path in sorted(self.root.glob(pattern)):
            if containing in path.read_text("utf-8"):
                return str(path.relative_to(self.root))
        raise AssertionError(f"no page {pattern} with {containing!r}")


@pytest.fixture(scope="session")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A run of 50,000 cases, one with defects, a sound one, a round and a hostile case."""
    store, root = tmp_path_factory.mktemp("store"), tmp_path_factory.mktemp("pages")
    spread = runs.indices(40, 4_700)
    runs.large(store, LARGE)
    runs.store(store, list(runs.seeded(spread, 0)), run_id="20270115T080000Z-a1")
    runs.store(store, list(runs.seeded(spread, 3)), run_id="20270117T080000Z-b2",
               started_unix_s=runs.STARTED + 2 * 86400)  # fmt: skip
    runs.store(store, [runs.round_case()], suite="kmod-endurance", run_id="20270116T090000Z-e1")
    hostile = runs.hostile("<script>alert(1)</script>]]>\x00\x1b[31m\udc80 " + "x" * 3000)
    runs.store(store, [hostile], suite="hostile", run_id="20270116T090000Z-h1")
    build(Wanted(find_runs(store), root, most_case_pages=20), compare)
    kept = os.environ.get("HARNESS_SCREENSHOTS")
    shots = Path(kept) if kept else tmp_path_factory.mktemp("shots")
    with listen(root, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Site(server.url.removesuffix("index.html"), root, shots)
        server.shutdown()
        thread.join()
