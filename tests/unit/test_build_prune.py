# SPDX-License-Identifier: Apache-2.0
"""What a cache loses when it is tidied, and what it must not."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from harness.build.cache import Pruned, built, prune
from harness.cli.main import run_command_line

DAY_S = 24 * 3600


def make(work: Path) -> None:
    (work / "product").write_bytes(b"x" * 10000)


def aged(folder: Path, days: float) -> Path:
    """``folder`` as if it had been asked for last so long ago."""
    then = time.time() - days * DAY_S
    os.utime(folder, (then, then))
    return folder


def test_what_was_not_asked_for_goes_and_the_rest_stays(tmp_path: Path) -> None:
    old, new = aged(built(tmp_path, "old", make), 40), built(tmp_path, "new", make)
    used = aged(built(tmp_path, "used", make), 40)
    assert built(tmp_path, "used", make) == used
    gone = prune(tmp_path, 30 * DAY_S)
    assert (gone.artefacts, gone.kept) == (1, 2)
    assert gone.freed_bytes >= 10000
    assert not old.exists()
    assert new.is_dir()
    assert used.is_dir()
    assert prune(tmp_path, 30 * DAY_S) == Pruned(0, 2, 0)


def test_it_is_built_again_when_asked_for(tmp_path: Path) -> None:
    aged(built(tmp_path, "old", make), 2)
    assert prune(tmp_path, DAY_S).artefacts == 1
    assert (built(tmp_path, "old", make) / "product").is_file()


def test_what_is_being_built_or_is_no_artefact_stays(tmp_path: Path) -> None:
    busy = aged(built(tmp_path, "busy", make), 40)
    host = tmp_path / "qemu-capabilities"
    host.mkdir()
    aged(host, 40)
    record = tmp_path / "accelerator.json"
    record.write_text("{}", encoding="ascii")
    aged(record, 40)
    with open(tmp_path / ".busy.lock", "r+", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert prune(tmp_path, DAY_S) == Pruned(0, 1, 0)
    assert busy.is_dir()
    assert host.is_dir()
    assert record.is_file()
    assert prune(tmp_path, DAY_S).artefacts == 1


def test_what_is_asked_for_at_that_moment_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = aged(built(tmp_path, "old", make), 40)
    rename = os.rename

    def asked_for_before(source: Path, target: Path) -> None:
        if source == old:
            assert built(tmp_path, "old", make) == old
        rename(source, target)

    monkeypatch.setattr(os, "rename", asked_for_before)
    assert prune(tmp_path, DAY_S) == Pruned(0, 1, 0)
    assert (old / "product").is_file()


def test_a_cache_that_is_not_there(tmp_path: Path) -> None:
    assert prune(tmp_path / "none", DAY_S) == Pruned()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "state" / "cache"
    old = aged(built(cache, "old", make), 8)
    built(cache, "new", make)
    state = ["--state-dir", str(tmp_path / "state")]
    assert run_command_line(["clean", *state]) == 0
    assert old.is_dir()
    assert run_command_line(["clean", "--unused", "7", *state]) == 0
    assert not old.exists()
    assert "1 built things not used for 7 days removed, 0.0 GiB; 1 stay" in capsys.readouterr().out
    assert run_command_line(["clean", "--unused", "0", *state]) == 64
    assert run_command_line(["clean", "--unused", "7", "--connect", "qemu:///system", *state]) == 64
