# SPDX-License-Identifier: Apache-2.0
"""The suites that come with the package, and any other suite by its file."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import resources
from pathlib import Path

from ace_workloads.errors import SuiteError
from ace_workloads.imported import ImportedSuite
from ace_workloads.ops import Mode
from ace_workloads.space import Space
from ace_workloads.suite import Listed, Suite
from ace_workloads.suite_file import SuiteFile, parse_suite, read_suite_file
from ace_workloads.workload import Workload

SUITE_NAMES = (
    "smoke",
    "ace-seq1",
    "ace-seq1-nested",
    "ace-seq2",
    "ace-seq2-nested",
    "ace-seq3",
    "ace-seq3-nested",
    "paper-seq1",
    "paper-seq2",
    "paper-seq3-data",
    "paper-seq3-metadata",
    "paper-seq3-nested",
)

_SUITES = resources.files("ace_workloads") / "suites"
_ID = re.compile(r"(?P<suite>[^/@]+)(?:@(?P<mode>[a-z]+))?/(?P<index>[0-9]+)")


def load_suite(name_or_path: str | Path, *, mode: Mode = Mode.CLEAN) -> Suite:
    """The suite of this name, or the one that a TOML file describes.

    Raises:
        SuiteError: no such suite, or a file that does not make sense; see ``suite_file``.
    """
    if name_or_path in SUITE_NAMES:
        name = str(name_or_path)
        text = (_SUITES / f"{name}.toml").read_text(encoding="utf-8")
        return _suite(parse_suite(text, mode, source=name), mode, _recorded_counts()[name][mode])
    path = Path(name_or_path)
    if path.suffix != ".toml":
        names = ", ".join(SUITE_NAMES)
        raise SuiteError(f"no suite {str(name_or_path)!r}: there are {names}, or a .toml file")
    described = read_suite_file(path, mode)
    if described.name in SUITE_NAMES:
        raise SuiteError(f"{path}: name = {described.name!r}: taken by a suite of ours")
    return _suite(described, mode, None)


def load_workload(identifier: str, *, suite_file: Path | None = None) -> Workload:
    """The workload with this id; one of a suite of the user's needs the suite's file.

    Raises:
        SuiteError: not an id, no such suite, or no such workload.
    """
    match = _ID.fullmatch(identifier)
    modes = [mode for mode in Mode if match and mode == (match["mode"] or Mode.CLEAN)]
    if match is None or not modes:
        raise SuiteError(f"no workload id: {identifier!r}; they look like ace-seq2/000123456")
    suite = load_suite(suite_file or match["suite"], mode=modes[0])
    if suite.name != match["suite"]:
        raise SuiteError(f"no workload {identifier} in {suite_file}, which is {suite.name}")
    return suite.workload(int(match["index"]))


def _suite(described: SuiteFile, mode: Mode, recorded: int | None) -> Suite:
    if described.texts is not None:
        return ImportedSuite(
            described.name, described.covers, mode, described.bounds, described.texts
        )
    return Suite(
        name=described.name,
        covers=described.covers,
        mode=mode,
        bounds=described.bounds,
        addresses=(
            Listed(described.entries) if described.entries else Space(described.bounds, mode)
        ),
        recorded_count=recorded,
    )


@cache
def _recorded_counts() -> dict[str, dict[str, int]]:
    return tomllib.loads((_SUITES / "counts.toml").read_text(encoding="utf-8"))
