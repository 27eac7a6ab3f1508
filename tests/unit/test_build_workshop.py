# SPDX-License-Identifier: Apache-2.0
"""Modules that are being worked on: what is copied, what is built again, what is told."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness import proc
from harness.build import workshop
from harness.build.rootfs import RootTree
from harness.build.workshop import build_working_copy, describe
from harness.config import StateDir
from harness.errors import InfraError, UsageError

MODINFO = b"\0version=2.0\0license=GPL\0srcversion=ABC123\0depends=\0"


class Shop:
    """A root tree whose make does as it is told."""

    def __init__(self, folder: Path) -> None:
        self.root = RootTree(folder / "root", "6.1")
        self.state = StateDir(folder)
        self.source = folder / "mine"
        self.out = folder / "out"
        self.commands: list[list[str]] = []
        self.seen: list[dict[str, str]] = []
        self.error: str | None = None
        self.makes: dict[str, bytes] = {"dm-mine.ko": b"ELF" + MODINFO}
        for path in (self.root.path, self.state.cache, self.source):
            path.mkdir()
        self.write("Kbuild", "obj-m := dm-mine.o\n")
        self.write("dm-mine.c", "int a;\n")

    def write(self, name: str, text: str) -> None:
        path = self.source / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def inside(self) -> Path:
        (found,) = (self.root.path / "build").iterdir()
        return found

    def run(self, argv: Sequence[str], *, what: str, **_: object) -> str:
        words = [str(word) for word in argv]
        self.commands.append(words[words.index("LC_ALL=C") + 1 :])
        inside = self.inside()
        if "strip" in words:
            target = self.root.path / words[-2].lstrip("/")
            target.write_bytes((self.root.path / words[-1].lstrip("/")).read_bytes())
            return ""
        files = [path for path in inside.rglob("*") if path.is_file()]
        self.seen.append({str(path.relative_to(inside)): path.read_text() for path in files
                          if path.suffix != ".ko"})  # fmt: skip
        if self.error is not None:
            raise proc.ToolError(
                f"{what} failed: {self.error.format(inside='/build/' + inside.name)}"
            )
        for name, data in self.makes.items():
            (inside / name).write_bytes(data)
        return ""

    def build(self, *words: str) -> tuple[workshop.BuiltModule, ...]:
        return build_working_copy(
            self.root, self.state, self.source, ["dm-mine.ko"], words, self.out
        )


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    made = Shop(tmp_path)
    monkeypatch.setattr(workshop.proc, "run", made.run)
    return made


def test_what_is_built_is_described(shop: Shop) -> None:
    (module,) = shop.build("DEBUG=1")
    assert (module.name, module.version, module.srcversion) == ("dm_mine", "2.0", "ABC123")
    assert module.path == shop.out / "dm-mine.ko"
    assert "dm_mine version 2.0 srcversion ABC123 sha256 " in str(module)
    make = shop.commands[0]
    assert make[:3] == ["make", "-C", "/lib/modules/6.1/build"]
    assert make[-2:] == ["modules", "DEBUG=1"]
    assert f"M=/build/{shop.inside().name}" in make


def test_a_module_that_says_nothing_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "dm-x.ko"
    path.write_bytes(b"ELF")
    module = describe(path)
    assert (module.version, module.srcversion) == (None, None)
    with pytest.raises(InfraError, match=r"none\.ko"):
        describe(tmp_path / "none.ko")


def test_only_what_has_changed_is_touched(shop: Shop) -> None:
    shop.write("sub/part.h", "int b;\n")
    shop.build()
    long_ago = 1_000_000_000
    for path in shop.inside().rglob("*"):
        os.utime(path, (long_ago, long_ago))
    shop.write("dm-mine.c", "int c;\n")
    # Older than what was built of it: make must see that it is another one all the same.
    os.utime(shop.source / "dm-mine.c", (1, 1))
    shop.build()
    stamps = {p.name: p.stat().st_mtime for p in shop.inside().rglob("*") if p.is_file()}
    assert stamps["dm-mine.c"] > long_ago
    assert stamps["part.h"] == stamps["Kbuild"] == long_ago
    assert shop.seen[-1]["dm-mine.c"] == "int c;\n"


def test_what_was_removed_is_removed_and_products_stay(shop: Shop) -> None:
    shop.write("old.c", "")
    shop.build()
    (shop.inside() / "dm-mine.o").write_text("object")
    (shop.source / "old.c").unlink()
    shop.build()
    assert "old.c" not in shop.seen[-1]
    assert shop.seen[-1]["dm-mine.o"] == "object"


def test_products_of_the_author_are_not_copied(shop: Shop) -> None:
    for name in ("dm-mine.o", "dm-mine.mod.c", "Module.symvers", ".git/config", "x.c~",
                 ".dm-mine.o.cmd", "modules.order", "dm-mine.ko"):  # fmt: skip
        shop.write(name, "theirs")
    shop.build()
    copied = set(shop.seen[-1]) - {".harness-sources"}
    assert copied == {"Kbuild", "dm-mine.c"}


def test_errors_are_about_the_files_of_the_author(shop: Shop) -> None:
    shop.error = "{inside}/dm-mine.c:3:1: error: what?"
    with pytest.raises(proc.ToolError, match="error: what") as caught:
        shop.build()
    assert f"{shop.source}/dm-mine.c:3:1: error" in str(caught.value)
    assert not shop.out.exists()


def test_a_build_that_makes_something_else(shop: Shop) -> None:
    shop.makes = {"dm-other.ko": b""}
    with pytest.raises(UsageError, match=r"made no dm-mine\.ko"):
        shop.build()


def test_a_folder_that_is_no_module(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workshop, "_MOST_FILES", 3)
    for number in range(4):
        shop.write(f"file-{number}", "")
    with pytest.raises(UsageError, match="more than 3 files"):
        shop.build()


def test_sources_that_cannot_be_read(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(workshop, "_copy_if_other", refused)
    with pytest.raises(InfraError, match="Permission denied"):
        shop.build()
