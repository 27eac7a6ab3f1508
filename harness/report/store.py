# SPDX-License-Identifier: Apache-2.0
"""The run store, writing side: one folder per run, every case on disk as soon as it ends.

``reports/README.md`` describes the files. Order of care: the line in ``results.jsonl`` is the
record and is synced before ``append`` returns; everything else can be made again from it.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import cast

from harness.errors import InfraError, UsageError
from harness.model.case import CaseId, CaseResult, RunInfo
from harness.model.codec import encode_case, encode_run
from harness.report.lines import seal

RESULTS = "results.jsonl"
RUN = "run.json"
LATEST = "latest"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def new_run_id(started_unix_s: float, token: str) -> str:
    """``20260131T120102Z-<token>``: sorts by time, ``token`` keeps runs of one second apart."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(started_unix_s)) + f"-{token}"


@dataclass(frozen=True, slots=True)
class CaseTexts:
    """What is laid out for people in the folder of a case, beside its workload and verdict."""

    expected: str = ""
    recovered: str = ""
    diff: str = ""
    consoles: Mapping[str, str] = field(default_factory=dict)
    """Guest name -> console excerpt."""


class RunStore:
    """The folder of a run that is under way. One writer, one thread at a time."""

    def __init__(self, path: Path, mode: str = "xb") -> None:
        """``create`` makes the folder; this only opens the record in it, for nobody else."""
        self.path = path
        with _naming(path / RESULTS):
            self._results = cast(FileIO, open(path / RESULTS, mode, buffering=0))  # noqa: SIM115 - closed by close()
            try:
                fcntl.flock(self._results, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                self._results.close()
                raise UsageError(
                    f"run {path} is under way in another process",
                    hint="wait for it, or end it, before it is resumed",
                ) from error

    @classmethod
    def create(cls, reports: Path, info: RunInfo) -> RunStore:
        """Make ``reports/<suite>/<run id>/`` with its ``run.json`` and point ``latest`` at it.

        InfraError when that cannot be written, or a run of that id exists.
        """
        path = reports / info.suite / info.run_id
        with _naming(path):
            path.mkdir(parents=True)
        store = cls(path)
        store.write_info(info)
        with _naming(path.parent / LATEST):
            _point(path.parent / LATEST, info.run_id)
        return store

    @classmethod
    def reopen(cls, path: Path) -> RunStore:
        """Go on with the record in ``path``; an unfinished last line is taken off.

        UsageError when another process writes it, InfraError when it cannot be written.
        """
        store = cls(path, "r+b")
        with _naming(path / RESULTS):
            whole = sum(len(line) for line in store._results if line.endswith(b"\n"))
            store._results.truncate(whole)
            store._results.seek(whole)
        return store

    def __enter__(self) -> RunStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the record; the folder stays as it is."""
        self._results.close()

    def append(self, result: CaseResult) -> None:
        """Add ``result`` to the record, durably. InfraError when it cannot be written whole.

        After an error the record is as it was before, so that a later append (once there is room)
        does not end up on the same line as a torn one.
        """
        line = seal(encode_case(result))
        before = self._results.tell()
        with _naming(self.path / RESULTS):
            try:
                _write_all(self._results.fileno(), line)
                os.fsync(self._results.fileno())
            except OSError:
                self._results.truncate(before)
                self._results.seek(before)
                raise

    def write_info(self, info: RunInfo) -> None:
        """Replace ``run.json``, so that a reader sees either the old or the new one."""
        self.write_text(RUN, encode_run(info))

    def write_text(self, name: str, text: str) -> Path:
        """Put ``text`` into the file ``name`` of the run's folder, replacing it atomically."""
        path = self.path / name
        with _naming(path):
            _replace(path, text)
        return path

    def new_folder(self, name: str) -> Path:
        """A path in the run's folder at which there is nothing: ``name``, ``name-2`` ..."""
        paths = (self.path / (name if n == 1 else f"{name}-{n}") for n in itertools.count(1))
        return next(path for path in paths if not path.exists())

    def case_folder(self, case_id: CaseId) -> Path:
        """Where the evidence of ``case_id`` is laid out, whether or not it has been."""
        return self.path / case_folder_name(case_id)

    def write_case(self, result: CaseResult, texts: CaseTexts) -> Path:
        """Lay out a case for people; returns its folder. InfraError when it cannot be written."""
        folder = self.case_folder(result.case_id)
        files = {
            "workload.jlang": result.jlang,
            "expected.txt": texts.expected,
            "recovered.txt": texts.recovered,
            "diff.txt": texts.diff,
            "verdict.json": encode_case(result) + "\n",
        } | {f"console-{guest}.log": text for guest, text in texts.consoles.items()}
        with _naming(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                _replace(folder / name.replace("/", "_"), text)
        return folder


def case_folder_name(case_id: CaseId) -> Path:
    """Folder of a case relative to its run."""
    return Path("cases", case_id.workload, f"{case_id.fs}@{case_id.target}")


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn an ``OSError`` into one that names ``path`` and the way out."""
    try:
        yield
    except OSError as err:
        if err.errno in _NO_SPACE:
            hint = "results so far are kept; free space there, or name another place with --out DIR"
        elif isinstance(err, FileExistsError):
            hint = "another run began in the same second; start again"
        else:
            hint = "name a place that can be written with --out DIR"
        raise InfraError(f"cannot write {path}: {err.strerror or err}", hint=hint) from err


def _write_all(descriptor: int, data: bytes) -> None:
    # A nearly full disk takes a part first and says ENOSPC only to the next write.
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    try:
        with open(temporary, "wb", buffering=0) as file:
            # Undecodable bytes of a guest's path stay visible instead of failing the write.
            _write_all(file.fileno(), text.encode("utf-8", "backslashreplace"))
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _point(link: Path, name: str) -> None:
    temporary = link.with_name(f".{link.name}.{name}")
    temporary.symlink_to(name)
    os.replace(temporary, link)
