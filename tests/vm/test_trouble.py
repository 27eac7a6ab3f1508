# SPDX-License-Identifier: Apache-2.0
"""Things go wrong around a run: clear words, the right exit code, no lost results."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Harness, qemu_pids

from harness.config import CHECKOUT
from harness.deadline import Deadline
from harness.report.load import load_run


def await_results(harness: Harness, process: subprocess.Popen[str], count: int) -> None:
    """Wait until a run under way has recorded ``count`` cases."""
    deadline = Deadline.after(300, f"{count} results")
    while not any(
        record.read_bytes().count(b"\n") >= count
        for record in harness.out.glob("*/latest/results.jsonl")
    ):
        assert process.poll() is None, process.communicate()[0]
        assert not deadline.expired, str(deadline)
        time.sleep(0.05)


def _owner(process: subprocess.Popen[str]) -> str:
    """Folder name of the live process, part of its guests' command lines."""
    for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
        target = os.readlink(descriptor)
        if target.endswith("/owner.lock"):
            return Path(target).parent.name
    raise AssertionError("the run holds no lock")


def test_killed_run_leaves_guests_that_clean_removes(harness: Harness) -> None:
    process = harness.start("run", "--suite", "ace-seq1")
    await_results(harness, process, 2)
    owner = _owner(process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(qemu_pids([owner])) == 2
    assert len(list(load_run(harness.out / "ace-seq1" / "latest").results())) >= 2
    cleaned = harness("clean")
    assert cleaned.code == 0, cleaned.output
    assert "left-over guests ended" in cleaned.output
    assert qemu_pids([owner]) == []


def test_run_killed_while_its_guests_start_is_cleaned_up_after(harness: Harness) -> None:
    """Libvirt has a guest half started then, and nobody who would finish it."""
    process = harness.start("run", "--suite", "smoke")
    deadline = Deadline.after(300, "a guest to be started")
    folder = ""
    while not folder or not qemu_pids([folder]):
        assert process.poll() is None
        assert not deadline.expired, str(deadline)
        made = [path for path in harness.state.live.glob("*/libvirt") if path.is_dir()]
        folder = str(made[0].parent.name) if made else ""
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    again = harness("run", "--suite", "smoke", "--limit", "1")
    assert again.code == 0, again.output
    assert "guests that a killed run had left behind" in again.output
    assert qemu_pids([folder]) == []


def test_running_run_is_left_alone_by_clean_and_by_a_second_run(harness: Harness) -> None:
    process = harness.start("run", "--suite", "smoke")
    await_results(harness, process, 1)
    assert "0 left-over guests ended" in harness("clean").output
    second = harness("run", "--suite", "smoke", "--limit", "1")
    assert second.code == 0, second.output
    first = harness.finish(process)
    assert first.code == 0, first.output


def test_interrupt_keeps_the_record_and_exits_130(harness: Harness) -> None:
    process = harness.start("run", "--suite", "ace-seq1")
    await_results(harness, process, 2)
    owner = _owner(process)
    os.kill(process.pid, signal.SIGINT)
    done = harness.finish(process)
    assert done.code == 130, done.output
    run = done.run("ace-seq1")
    assert run.info.exit_code == 130
    assert len(list(run.results())) >= 2
    assert (run.path / "junit.xml").is_file()
    assert qemu_pids([owner]) == []


@pytest.mark.parametrize("role", ["primary", "backup"])
def test_guest_killed_in_mid_run_costs_a_retry_and_no_result(harness: Harness, role: str) -> None:
    process = harness.start("run", "--suite", "ace-seq1", "--limit", "6")
    await_results(harness, process, 2)
    (victim,) = qemu_pids([_owner(process), f"-{role},"])
    os.kill(victim, signal.SIGKILL)
    done = harness.finish(process)
    assert done.code == 0, done.output
    results = done.results("ace-seq1")
    assert len(results) == 6
    assert sum(bool(result.attempts) for result in results) == 1, done.output


@pytest.mark.parametrize("role", ["primary", "backup"])
def test_guest_that_hangs_is_named_and_replaced(harness: Harness, role: str) -> None:
    """A stopped QEMU process answers neither its guest's agent nor libvirt."""
    process = harness.start("run", "--suite", "ace-seq1", "--limit", "6", "--heartbeat-s", "10")
    await_results(harness, process, 2)
    (victim,) = qemu_pids([_owner(process), f"-{role},"])
    os.kill(victim, signal.SIGSTOP)
    done = harness.finish(process)
    assert done.code == 0, done.output
    assert f"guest {role} hangs: no sign of life for" in done.output
    results = done.results("ace-seq1")
    assert len(results) == 6
    assert sum(bool(result.attempts) for result in results) == 1, done.output
    assert not Path(f"/proc/{victim}").exists(), "it is ended, though it is stopped"


def test_guest_that_does_not_boot_in_time(harness: Harness) -> None:
    done = harness("run", "--suite", "smoke", "--boot-timeout-s", "1")
    assert done.code == 3, done.output
    assert "did not come up" in done.output
    assert "Traceback" not in done.output


def test_no_libvirt_at_that_address(harness: Harness) -> None:
    done = harness("run", "--suite", "smoke", "--connect", "qemu+unix:///system?socket=/nowhere")
    assert done.code == 3, done.output
    assert "libvirt cannot open" in done.output
    assert "Traceback" not in done.output


def test_module_that_does_not_load(tmp_path: Path) -> None:
    for folder in ("harness", "ace_workloads", "kmod", "vm_images"):
        shutil.copytree(CHECKOUT / folder, tmp_path / folder)
    source = tmp_path / "kmod" / "dm-rollbaccine-target.c"
    text = source.read_text()
    # The device mapper has a target of this name: it builds, and the kernel refuses it.
    taken = text.replace('.name = "rollbaccine"', '.name = "linear"')
    assert taken != text
    source.write_text(taken)
    words = [sys.executable, "-m", "harness", "run", "--suite", "smoke", "--limit", "1"]
    words += ["--out", str(tmp_path / "reports")]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 3, output
    assert "dm-rollbaccine.ko" in output
    assert "File exists" in output or "EEXIST" in output
    assert "Traceback" not in output


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small tmpfs")
def test_full_disk_ends_the_run_with_what_was_recorded(harness: Harness) -> None:
    harness.out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(harness.out)]
    subprocess.run(mount, check=True)
    try:
        done = harness("run", "--suite", "ace-seq1")
        assert done.code == 3, done.output
        assert "no space" in done.output.lower()
        assert "Traceback" not in done.output
        assert len(done.results("ace-seq1")) >= 1
    finally:
        subprocess.run(["umount", str(harness.out)], check=True)
