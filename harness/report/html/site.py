# SPDX-License-Identifier: Apache-2.0
"""All pages: runs that changed are rendered, then everything that looks over several runs."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import HarnessError, InfraError, UsageError
from harness.report.html import digest as digests
from harness.report.html import engine, text
from harness.report.html.case_view import Compare
from harness.report.html.digest import DIGEST, Lane, RunDigest, change_of
from harness.report.html.overview import write_findings, write_index, write_lanes
from harness.report.html.run_pages import write_front, write_run
from harness.report.load import load_run
from harness.report.store import RESULTS, RUN

MOST_CASE_PAGES = 5000
_RUNS = "runs"
_LOCK = ".lock"


@dataclass(slots=True)
class Built:
    """What a build did."""

    index: Path
    rendered: list[str] = field(default_factory=list)
    unchanged: int = 0
    pages: int = 0
    bytes: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    """(folder, why) of runs that could not be shown."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which pages a build makes."""

    runs: Sequence[Path]
    out: Path
    most_case_pages: int = MOST_CASE_PAGES
    passes: bool = False
    """Pages for cases that passed, too."""
    strict: bool = False
    """Whether a run that cannot be read ends the build: it was asked for by name."""


def find_runs(store: Path) -> list[Path]:
    """Folders of all runs in the run store, oldest first."""
    return sorted(
        (path.parent for path in store.glob(f"*/*/{RUN}") if not path.parent.is_symlink()),
        key=lambda path: (path.name, path.parent.name),
    )


def build(wanted: Wanted, compare: Compare) -> Built:
    """Make the pages; runs whose record has not changed since are not rendered again.

    UsageError when another build is at work there, or a run asked for is none; InfraError when
    the pages cannot be written.
    """
    out = wanted.out
    try:
        out.mkdir(parents=True, exist_ok=True)
        with _alone(out):
            return _build(wanted, compare)
    except OSError as error:
        raise InfraError(
            f"pages cannot be written below {out}: {error.strerror or error}",
            hint="free space there, or name another place with --out DIR",
        ) from error


def _build(wanted: Wanted, compare: Compare) -> Built:
    built = Built(wanted.out / "index.html")
    version = _version(wanted)
    for path in wanted.runs:
        try:
            _run(wanted, path, version, compare, built)
        except HarnessError as error:
            if wanted.strict:
                raise
            built.unreadable.append((str(path), str(error)))
    known = [
        found
        for path in sorted((wanted.out / _RUNS).glob(f"*/*/{DIGEST}"))
        if (found := digests.read(path)) is not None
    ]
    top = engine.Output(wanted.out)
    top.static()
    lanes = digests.lanes(known)
    _fronts(top, lanes)
    write_lanes(top, lanes)
    write_findings(top, lanes)
    write_index(top, lanes, built.unreadable)
    built.pages += top.pages
    built.bytes += top.bytes
    return built


def _run(wanted: Wanted, path: Path, version: str, compare: Compare, built: Built) -> None:
    run = load_run(path)
    name = f"{text.slug(run.info.suite)}/{text.slug(run.info.run_id)}"
    folder = wanted.out / _RUNS / name
    key = _key(run.path, version)
    old = digests.read(folder / DIGEST)
    if old is not None and old.key == key:
        built.unchanged += 1
        return
    fresh = folder.with_name(f".{folder.name}.new")
    if fresh.exists():
        shutil.rmtree(fresh)
    page = engine.Output(fresh, f"{_RUNS}/{name}/")
    found = write_run(
        page, run, _named(run.path), key, compare, wanted.most_case_pages, passes=wanted.passes
    )
    page.data(DIGEST, digests.write(found))
    engine.replace_folder(fresh, folder)
    built.rendered.append(name)
    built.pages += page.pages
    built.bytes += page.bytes


def _named(path: Path) -> str:
    """``path`` as one would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _fronts(top: engine.Output, lanes: list[Lane]) -> None:
    for lane in lanes:
        before: RunDigest | None = None
        for run in lane.runs:
            write_front(top, f"{run.page_folder}index.html", run, lane, change_of(run, before))
            before = run


def _version(wanted: Wanted) -> str:
    """Changes with everything but the record that has a say in how a run is shown."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{wanted.most_case_pages} {wanted.passes}".encode())
    for path in engine.sources():
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _key(path: Path, version: str) -> str:
    record = (path / RESULTS).stat()
    facts = (path / RUN).read_bytes()
    digest = hashlib.blake2b(facts, digest_size=16)
    digest.update(f"{record.st_size} {record.st_mtime_ns} {version}".encode())
    return digest.hexdigest()


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    with open(out / _LOCK, "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"another process builds the pages below {out}",
                hint="wait for it, or name another place with --out DIR",
            ) from error
        yield
