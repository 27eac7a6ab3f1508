# SPDX-License-Identifier: Apache-2.0
"""Imports go one way, and one file owns each outside library: read off the source, not run."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PACKAGES = ("ace_workloads", "harness")

BASE = ("errors", "config", "proc", "deadline", "events")
"""Modules of ``harness`` itself that every package in it may use."""
ROOMS = ("oracle", "findings", "target", "guest", "vm", "report", "build", "minimize")
"""Packages side by side: they do not import each other."""
ALSO = {("target", "guest"), ("findings", "oracle"), ("report", "findings"), ("minimize", "oracle")}
"""But for these: (who, whom). Findings know the oracle's rules, and reports show findings."""

LIBRARIES = {
    "click": ("harness/cli/",),
    "libvirt": ("harness/vm/libvirt",),
    "jinja2": ("harness/report/html/engine.py",),
    "junit_xml": ("harness/report/junit.py",),
    "markupsafe": ("harness/report/html/engine.py",),
    "rich": (
        "harness/report/console.py",
        "harness/report/finding_tables.py",
        "harness/cli/suites.py",
        "harness/cli/pair_view.py",
    ),
    # Python's own, but there is one wrapper around it.
    "subprocess": ("harness/proc.py",),
    "docker": ("harness/build/container.py",),
    "pexpect": ("harness/guest/console.py",),
}
"""Outside library (or one of Python's to be kept in one place) -> files or folders it is for."""


def imported_modules(source: str, package: str) -> Iterator[str]:
    """Absolute dotted names that a module in ``package`` imports, at any depth of its code.

    ``from harness import proc`` counts as ``harness.proc``: which name is a module does not matter
    to the layers, since a name belongs to the layer of its module.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            start = ".".join(above) if node.level else ""
            module = ".".join(part for part in (start, node.module or "") if part)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def layer(dotted: str) -> str:
    """Where a module of ours stands: ``ace_workloads``, ``base``, ``model``, a room, run, cli."""
    parts = dotted.split(".")
    if parts[0] == "ace_workloads" or len(parts) == 1:
        return parts[0]
    return "base" if parts[1] in (*BASE, "__version__", "__init__") else parts[1]


def allowed(importer: str, imported: str) -> bool:
    """Whether code of layer ``importer`` may use layer ``imported``."""
    if importer == imported or imported == "ace_workloads":
        return importer != "ace_workloads" or imported == "ace_workloads"
    if importer in ("__main__", "cli", "run"):
        order = ("__main__", "cli", "run")
        return imported not in order or order.index(importer) < order.index(imported)
    if importer == "export":
        # Writes down what the oracle expects; nothing is run.
        return imported in ("oracle", "model", "base")
    if importer in ROOMS:
        return imported in ("model", "base") or (importer, imported) in ALSO
    # The model and the base files may use each other, and nothing above them.
    return importer in ("model", "base") and imported in ("model", "base")


def faults(path: str, source: str) -> list[str]:
    """What the imports of the module in ``path`` (relative to the checkout) do wrong."""
    parts = Path(path).with_suffix("").parts
    here, found = ".".join(parts), []
    for name in imported_modules(source, ".".join(parts[:-1])):
        top = name.split(".")[0]
        if top in PACKAGES:
            if not allowed(layer(here), layer(name)):
                found.append(f"{path}: {layer(here)} must not import {name}")
        elif top in LIBRARIES:
            if not path.startswith(LIBRARIES[top] or ("no file",)):
                found.append(f"{path}: {top} is for {' and '.join(LIBRARIES[top]) or 'no file'}")
        elif top not in sys.stdlib_module_names:
            found.append(f"{path}: {top} has no file that owns it")
        if parts[0] == "ace_workloads" and top not in (*sys.stdlib_module_names, parts[0]):
            found.append(f"{path}: ace_workloads uses the standard library only, not {name}")
    return found


def modules() -> list[str]:
    files = (path for package in PACKAGES for path in (CHECKOUT / package).rglob("*.py"))
    return sorted(str(path.relative_to(CHECKOUT)) for path in files)


def test_there_is_something_to_look_at() -> None:
    names = modules()
    assert len(names) > 50
    rooms = {name.split("/")[1] for name in names if name.count("/") == 2}
    assert rooms == {"cli", "run", "export", "model", *ROOMS}, (
        "a new package needs a place in the order"
    )


@pytest.mark.parametrize("path", modules())
def test_imports_go_one_way(path: str) -> None:
    assert faults(path, (CHECKOUT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("ace_workloads/bounds.py", "import harness.errors"),
        ("ace_workloads/bounds.py", "import click"),
        ("harness/model/case.py", "from harness.oracle import judge_case"),
        ("harness/errors.py", "from harness.run.plan import Plan"),
        ("harness/oracle/checks.py", "from harness.guest.replies import parse_tree"),
        ("harness/report/store.py", "from harness.oracle.diff import diff_lines"),
        ("harness/findings/finding.py", "from harness.report.load import load_run"),
        ("harness/oracle/checks.py", "from harness.findings import findings"),
        ("harness/vm/live.py", "import harness.build.cache"),
        ("harness/guest/agent.py", "from harness.target import base"),
        ("harness/target/base.py", "from harness.vm.ports import Machine"),
        ("harness/build/image.py", "from harness import vm"),
        ("harness/minimize/search.py", "from harness.run.plan import Case"),
        ("harness/minimize/candidate.py", "from harness.findings import signature"),
        ("harness/oracle/model.py", "from harness.minimize.search import Search"),
        ("harness/vm/live.py", "from ..run import plan"),
        ("harness/vm/live.py", "def f():\n    from harness.cli.main import harness"),
        ("harness/export/tree.py", "from harness.run.plan import Plan"),
        ("harness/export/table.py", "from harness.report.store import RunStore"),
        ("harness/oracle/model.py", "from harness.export.table import table_lines"),
        ("harness/run/plan.py", "if True:\n    from harness.cli import options"),
        ("harness/cli/run.py", "from harness.__main__ import main"),
        ("harness/run/pair.py", "import libvirt"),
        ("harness/run/connection.py", "import libvirt"),
        ("harness/vm/bridge.py", "import libvirt"),
        ("harness/vm/remote_files.py", "from libvirt import open"),
        ("harness/vm/domain_xml.py", "from libvirt import open"),
        ("harness/report/summary.py", "from rich.table import Table"),
        ("harness/report/store.py", "import junit_xml"),
        ("harness/run/worker.py", "import click"),
        ("harness/guest/agent.py", "import pexpect"),
        ("harness/build/rootfs.py", "from subprocess import run"),
        ("harness/run/worker.py", "import numpy"),
    ],
)
def test_an_import_that_goes_the_wrong_way_is_found(path: str, source: str) -> None:
    assert faults(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("harness/run/worker.py", "from harness.oracle import judge_case\nimport threading"),
        ("harness/target/base.py", "from harness.guest.agent import Agent"),
        ("harness/vm/live.py", "from . import ports\nfrom harness.config import StateDir"),
        ("harness/report/junit.py", "from junit_xml import TestCase"),
        ("harness/report/junit.py", "from harness.findings import findings"),
        ("harness/findings/root.py", "from harness.oracle.rules import Rule"),
        ("harness/export/table.py", "from harness.oracle.expect import Expectation"),
        ("harness/model/case.py", "from harness.errors import UsageError"),
        ("harness/events.py", "from harness.model.case import CaseId"),
        ("harness/proc.py", "import subprocess"),
        ("harness/vm/libvirt_pool.py", "import libvirt"),
    ],
)
def test_an_import_that_goes_the_right_way_is_let_through(path: str, source: str) -> None:
    assert faults(path, source) == []
