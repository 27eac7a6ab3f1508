# SPDX-License-Identifier: Apache-2.0
"""Reads a folder of J-lang files, such as the published generator writes, into a suite."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ace_workloads.imported import MARK, MOST
from ace_workloads.jlang import parse_line, run_section
from ace_workloads.ops import Step
from harness.errors import InfraError, UsageError
from harness.export.executable import first_obstacle

MOST_BYTES = 1 << 20
"""No workload's file is longer."""

_RUN = "# run"
_SECTIONS = ("# define", "# declare", "# setup", _RUN)
_NAME = re.compile(r"j-lang([0-9]{1,9})|([0-9]{1,9})\.jlang")
_LINE = re.compile(r"[a-z]+( +([A-Za-z][A-Za-z0-9_|]*|-?[0-9]+))*")
_NUMBERS = re.compile(r"([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong with a file."""

    path: str
    line: int
    """0 for the file as a whole."""
    message: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else self.path
        return f"{where}: {self.message}"


class NotJlang(Exception):
    """The file is something else."""


class Malformed(Exception):
    """The file is J-lang with a mistake: line (0 for none) and what it is."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass
class Imported:
    """What a folder came to."""

    files: int = 0
    others: int = 0
    """Files that are not J-lang."""
    written: int = 0
    duplicates: int = 0
    not_executable: int = 0
    malformed: int = 0
    renumbered: bool = False
    """Whether the files' names have no number each, so that workloads are counted instead."""
    faults: list[Fault] = field(default_factory=list)
    """The first ones."""

    def note(self, path: str, line: int, message: str, most: int = 100) -> None:
        """Keep a fault; the counts are kept beside them."""
        if len(self.faults) < most:
            self.faults.append(Fault(shown(path), line, message))


def shown(text: str) -> str:
    """``text`` on one line of a terminal, whatever is in it."""
    plain = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in plain)


def files_below(folder: Path) -> Iterator[str]:
    """Every name below ``folder`` that is no folder, in the order of the numbers in it.

    Symbolic links are not followed.

    Raises:
        UsageError: no such folder.
        InfraError: one of them cannot be read.
    """

    def refuse(error: OSError) -> None:
        if os.path.abspath(error.filename) == os.path.abspath(folder):
            raise UsageError(f"{shown(str(folder))} cannot be read: {error.strerror}")
        raise InfraError(f"{shown(error.filename)} cannot be read: {error.strerror}")

    def order(name: str) -> list[tuple[int, str]]:
        return [(int(w), w) if w.isdigit() else (-1, w) for w in _NUMBERS.split(name)]

    for top, folders, names in os.walk(folder, onerror=refuse):
        folders.sort(key=order)
        yield from (os.path.join(top, name) for name in sorted(names, key=order))


def read_steps(path: str) -> tuple[list[int], tuple[Step, ...]]:
    """Steps of a J-lang file, and the line each is on.

    Raises:
        NotJlang: it has no run section, or is no regular file.
        Malformed: it has one that makes no sense.
    """
    text = _read_text(path)
    lines = text.splitlines()
    if _RUN not in lines:
        raise NotJlang
    section, numbers, steps = "", [], []
    for number, line in enumerate(lines, 1):
        if line in _SECTIONS:
            section = line
        elif section == "# setup" and line.strip():
            raise Malformed(number, "a step in the setup section, which is to be empty")
        elif section == _RUN and line.strip():
            numbers.append(number)
            steps.append(_step(number, line.strip()))
    if not steps:
        raise Malformed(0, "its run section is empty")
    return numbers, tuple(steps)


def _step(number: int, line: str) -> Step:
    if not line.isascii() or not _LINE.fullmatch(line):
        raise Malformed(number, f"no step of J-lang: {shown(line[:80])}")
    try:
        return parse_line(line)
    except ValueError as error:
        raise Malformed(number, str(error)[:200]) from error


def _read_text(path: str) -> str:
    try:
        # Not blocking, lest a pipe be waited for; and no other file than the one of this name.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if stat.S_ISREG(_mode(path)):
            raise Malformed(0, f"cannot be read: {error.strerror}") from error
        raise NotJlang from error
    with open(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise NotJlang
        try:
            data = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise Malformed(0, f"cannot be read: {error.strerror}") from error
    if b"\0" in data or f"\n{_RUN}".encode() not in b"\n" + data:
        raise NotJlang
    if len(data) > MOST_BYTES:
        raise Malformed(0, f"longer than {MOST_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Malformed(data.count(b"\n", 0, error.start) + 1, "not UTF-8") from error


def _mode(path: str) -> int:
    with suppress(OSError):
        return os.lstat(path).st_mode
    return 0


@dataclass(frozen=True, slots=True)
class _Held:
    """A workload that was taken: the number in its file's name, and where its lines are."""

    number: int
    start: int
    length: int


def import_folder(folder: Path, out: Path, name: str, *, keep: bool) -> Imported:
    """Make the suite ``name`` of the workloads below ``folder``: ``out`` and a text beside it.

    A workload keeps the number of its file. ``keep`` takes repeated texts too, and what cannot be
    carried out. Memory: a few dozen bytes for each workload.

    Raises:
        UsageError: no such folder, nothing in it, or ``out`` is there already.
        InfraError: it cannot be written.
    """
    text = out.with_suffix(".jlang")
    for path in (out, text):
        if path.exists():
            raise UsageError(
                f"{shown(str(path))} exists", hint="remove it, or choose another --out"
            )
    done = Imported()
    try:
        with tempfile.TemporaryFile(dir=out.parent) as spool:
            held = _take(folder, spool, done, keep)
            if not held:
                raise UsageError(
                    f"{shown(str(folder))} has no workload that can be run", hint=_nothing(done)
                )
            _write(held, spool, out, text, name, done)
    except OSError as error:
        raise InfraError(f"cannot write {shown(str(out))}: {error.strerror}") from error
    return done


def _nothing(done: Imported) -> str:
    if done.faults:
        return str(done.faults[0])
    return f"of its {done.files} files none has a section `# run`"


def _take(folder: Path, spool: IO[bytes], done: Imported, keep: bool) -> list[_Held]:
    held: list[_Held] = []
    seen: set[bytes] = set()
    for path in files_below(folder):
        done.files += 1
        try:
            numbers, steps = read_steps(path)
        except NotJlang:
            done.others += 1
            continue
        except Malformed as error:
            done.malformed += 1
            done.note(path, error.line, str(error))
            continue
        lines = run_section(steps).encode()
        if not (keep or _wanted(path, numbers, steps, lines, seen, done)):
            continue
        match = _NAME.fullmatch(os.path.basename(path))
        held.append(_Held(int(match[1] or match[2]) if match else 0, spool.tell(), len(lines)))
        spool.write(lines)
    return held


def _wanted(
    path: str, numbers: list[int], steps: tuple[Step, ...], lines: bytes, seen: set[bytes],
    done: Imported,
) -> bool:  # fmt: skip
    obstacle = first_obstacle(steps)
    if obstacle is not None:
        done.not_executable += 1
        done.note(path, numbers[obstacle[0] - 1] if obstacle[0] else 0, obstacle[1])
        return False
    digest = hashlib.sha256(lines).digest()[:16]
    if digest in seen:
        done.duplicates += 1
        return False
    seen.add(digest)
    return True


def _write(
    held: list[_Held], spool: IO[bytes], out: Path, text: Path, name: str, done: Imported
) -> None:
    numbers = Counter(item.number for item in held)
    done.renumbered = 0 in numbers or len(numbers) != len(held) or max(numbers) > MOST
    if not done.renumbered:
        held.sort(key=lambda item: item.number)
    digest = hashlib.sha256()
    with text.open("xb") as file:
        for count, item in enumerate(held, 1):
            index = count if done.renumbered else item.number
            spool.seek(item.start)
            lines = f"{MARK}{name}/{index:09d}\n".encode() + spool.read(item.length)
            digest.update(lines)
            file.write(lines)
    done.written = len(held)
    table = [
        "# SPDX-License-Identifier: Apache-2.0",
        f'name = "{name}"',
        'covers = "imported workloads"',
        f'jlang = "{text.name}"',
        f'sha256 = "{digest.hexdigest()}"',
    ]
    with out.open("x", encoding="utf-8", newline="\n") as file_out:
        file_out.write("\n".join(table) + "\n")
