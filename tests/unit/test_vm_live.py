# SPDX-License-Identifier: Apache-2.0
"""Folders of running processes: the living are left alone, the dead are cleaned up after."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.config import CHECKOUT, StateDir
from harness.errors import InfraError
from harness.vm import live, orphans
from harness.vm.live import live_dir, stale_dirs, sweep

HOLDER = """
import sys
from pathlib import Path
from harness.config import StateDir
from harness.vm.live import live_dir
with live_dir(StateDir(Path(sys.argv[1]))) as folder:
    (folder.path / "disk.img").write_text("x")
    print(folder.path.resolve(), flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def holder(state: StateDir) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that holds a live folder, until it is told otherwise or killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(state.path)], cwd=CHECKOUT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with process:
        try:
            assert process.stdout is not None
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def folders(state: StateDir) -> list[Path]:
    return [path for path in state.live.iterdir() if path.is_dir()]


def test_a_folder_lives_as_long_as_its_context(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    with live_dir(state) as one, live_dir(state) as other:
        assert one.path != other.path
        assert one.owner in str(one.path)
        (one.path / "disk.img").write_text("x", encoding="ascii")
        one.libvirt_root.mkdir()
        assert len(folders(state)) == 2
    assert folders(state) == []


def test_it_goes_away_when_its_context_raises(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    with pytest.raises(ZeroDivisionError), live_dir(state):
        raise ZeroDivisionError
    assert folders(state) == []


def test_a_killed_process_is_cleaned_up_after_and_a_running_one_is_not(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    with holder(state) as (dead, gone), holder(state) as (_, kept):
        assert sorted(folders(state)) == sorted([gone, kept])
        assert stale_dirs(state) == []
        dead.kill()
        assert dead.wait() == -signal.SIGKILL
        assert stale_dirs(state) == [gone]
        assert sweep(state) == 0
        assert folders(state) == [kept]
        assert (kept / "disk.img").is_file()
    sweep(state)


@contextlib.contextmanager
def qemu(*files: Path, program: str = "qemu-system-x86_64") -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like a guest with ``files``, and runs until it is killed."""
    words = [program, "-c", "import signal; print(flush=True); signal.pause()", *map(str, files)]
    process = subprocess.Popen(words, executable=sys.executable, stdout=subprocess.PIPE)
    with process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def test_guests_of_a_killed_process_are_ended_and_counted(tmp_path: Path) -> None:
    state = StateDir(tmp_path / ("long" * 20))
    (state.live / "other").mkdir(parents=True)
    with holder(state) as (process, real):
        short = Path((real / "short-path").read_text(encoding="utf-8"))
        with (
            qemu(real / "disk.img") as one,
            qemu(Path("/boot/vmlinuz"), short / "monitor.sock") as two,
            qemu(real.with_name(f"{real.name}0") / "disk.img") as another_run,
            qemu(real / "disk.img", program="less") as no_guest,
        ):
            assert sweep(state) == 0, "its process is alive"
            process.kill()
            process.wait()
            assert sweep(state) == 2
            assert [one.wait(), two.wait()] == [-signal.SIGKILL] * 2
            assert [another_run.poll(), no_guest.poll()] == [None] * 2
    assert folders(state) == []


def test_guests_that_could_not_be_ended_keep_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    state = StateDir(tmp_path)
    dead = state.live / "dead"
    dead.mkdir(parents=True)
    (dead / "owner.lock").touch()
    with qemu(dead / "disk.img") as process:
        monkeypatch.setattr(orphans.signal, "pidfd_send_signal", refused)
        with pytest.raises(InfraError, match=f"{process.pid} .* not permitted") as caught:
            sweep(state)
        assert str(dead) in str(caught.value.hint)
        assert folders(state) == [dead]
        monkeypatch.undo()
        monkeypatch.setattr(orphans.signal, "pidfd_send_signal", lambda *_: None)
        monkeypatch.setattr(live, "_SWEEP_TIMEOUT_S", 0)
        with pytest.raises(InfraError, match="has not ended"):
            sweep(state)
        assert folders(state) == [dead]


def test_a_folder_that_was_never_claimed_is_removed(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    (state.live / "unclaimed").mkdir(parents=True)
    assert sweep(state) == 0
    assert folders(state) == []


def test_nobody_sweeps_while_a_folder_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making the folder and locking it, it looks like one of a dead process."""
    state = StateDir(tmp_path)
    free: list[bool] = []
    flock = fcntl.flock

    def watched(file: object, how: int) -> None:
        if folders(state):
            with open(state.live / ".lock", encoding="ascii") as registry:
                try:
                    flock(registry, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    free.append(True)
                except BlockingIOError:
                    free.append(False)
        flock(file, how)  # type: ignore[arg-type]

    monkeypatch.setattr(live.fcntl, "flock", watched)
    with live_dir(state):
        monkeypatch.undo()
    assert free == [False]


def test_the_lock_is_the_last_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = StateDir(tmp_path)

    seen: list[list[Path]] = []

    def killed(*_: object, **__: object) -> None:
        seen.append(stale_dirs(state))
        raise KeyboardInterrupt

    def lock_first(path: Path) -> list[Path]:
        return sorted(map(path.joinpath, os.listdir(path)), key=Path.is_dir)

    monkeypatch.setattr(live.shutil, "rmtree", killed)
    monkeypatch.setattr(Path, "iterdir", lock_first)
    with pytest.raises(KeyboardInterrupt), live_dir(state) as folder:
        folder.libvirt_root.mkdir()
    monkeypatch.undo()
    assert seen == [[]], "nobody else takes it up while its own process removes it"
    assert stale_dirs(state) == folders(state) != [], "but what is left of it is found"


def test_a_long_path_gets_a_short_name_that_is_removed(tmp_path: Path) -> None:
    state = StateDir(tmp_path / ("long" * 20))
    with live_dir(state) as folder:
        # sun_path holds 108 bytes, and libvirt appends some 50.
        assert len(str(folder.libvirt_root)) <= 58
        folder.libvirt_root.mkdir()
        assert (state.live / folder.owner / "libvirt").is_dir()
        link = folder.path
        assert link.is_symlink()
    assert not link.is_symlink()
    assert folders(state) == []


def test_the_short_name_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    state = StateDir(tmp_path / ("long" * 20))
    with holder(state) as (process, real):
        link = Path((real / "short-path").read_text(encoding="utf-8"))
        assert link.is_symlink()
        process.kill()
        process.wait()
        sweep(state)
    assert not link.is_symlink()
    assert not real.exists()


def test_no_room_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    state = StateDir(tmp_path / ("long" * 20))
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InfraError, match="No space left") as caught, live_dir(state):
        pass
    assert "--state-dir" in str(caught.value.hint)
    assert folders(state) == []


def test_nothing_to_sweep(tmp_path: Path) -> None:
    assert sweep(StateDir(tmp_path)) == 0
    assert list(tmp_path.iterdir()) == []
