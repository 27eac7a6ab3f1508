# SPDX-License-Identifier: Apache-2.0
"""What the linters do not look at: licence lines and sizes, over the files that git knows."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
SUFFIXES = {".py", ".c", ".h", ".sh", ".toml", ".conf"}
NAMES = {"Makefile", "Kbuild"}
SCRIPTS = ("scripts/setup", ".ci/run")
MOST_LINES = {".py": 500, ".c": 800, ".h": 800}
KERNEL_LICENCE = "GPL-2.0-only"
LICENCE = "Apache-2.0"


def tracked() -> list[str]:
    """Files under version control, or about to be, that are source of some kind."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others",
         "--exclude-standard"],
        cwd=CHECKOUT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    names = [name for name in listed.split("\0") if name and (CHECKOUT / name).is_file()]
    return sorted(
        name
        for name in names
        if Path(name).suffix in SUFFIXES or Path(name).name in NAMES or name in SCRIPTS
    )


def licence_fault(name: str, text: str) -> str | None:
    """What is wrong with the licence line of the file ``name``, None when it is right."""
    lines = text.splitlines()
    if lines and lines[0].startswith("#!"):
        del lines[0]
    first = lines[0] if lines else ""
    wanted = KERNEL_LICENCE if name.startswith("kmod/") else LICENCE
    for opening, end in (("// ", ""), ("/* ", " */"), ("# ", "")):
        if first == f"{opening}SPDX-License-Identifier: {wanted}{end}":
            return None
    return f"{name} begins with {first!r}, not with its licence, {wanted}"


def size_fault(name: str, text: str) -> str | None:
    """How much too long the file ``name`` is, None when it is not."""
    most = MOST_LINES.get(Path(name).suffix)
    lines = text.count("\n")
    return f"{name} has {lines} lines, more than {most}" if most and lines > most else None


def test_the_files_are_found() -> None:
    names = tracked()
    assert {"Makefile", "kmod/Kbuild", "pyproject.toml", "harness/cli/main.py"} <= set(names)
    assert {"vm_images/agent/main.c", "kmod/tests/lib.sh", "scripts/setup"} <= set(names)


@pytest.mark.parametrize("check", [licence_fault, size_fault])
def test_every_file(check: object) -> None:
    assert callable(check)
    texts = {name: (CHECKOUT / name).read_text(encoding="utf-8") for name in tracked()}
    assert [fault for name, text in texts.items() if (fault := check(name, text))] == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("harness/proc.py", ""),
        ("harness/proc.py", '"""Docs."""\n# SPDX-License-Identifier: Apache-2.0\n'),
        ("harness/proc.py", "# SPDX-License-Identifier: GPL-2.0-only\n"),
        ("kmod/compat.h", "/* SPDX-License-Identifier: Apache-2.0 */\n"),
        ("kmod/tests/lib.sh", "#!/bin/sh\n\n# SPDX-License-Identifier: GPL-2.0-only\n"),
    ],
)
def test_a_wrong_licence_line_is_found(name: str, text: str) -> None:
    assert licence_fault(name, text)


def test_a_long_file_is_found() -> None:
    assert size_fault("a.py", "x\n" * 501)
    assert size_fault("a.c", "x\n" * 801)
    assert not size_fault("a.py", "x\n" * 500)
    assert not size_fault("a.toml", "x\n" * 9000)
