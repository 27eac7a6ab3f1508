# SPDX-License-Identifier: Apache-2.0
"""Guests under a libvirt daemon: everything goes over its connection, nothing over shared files."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Harness, qemu_pids
from daemon import Daemon, private_daemon, ssh_to
from test_trouble import await_results

from ace_workloads.registry import load_suite
from harness.deadline import Deadline
from harness.model.verdict import Verdict

SMOKE = [workload.id for workload in load_suite("smoke")]


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    with private_daemon() as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made


def _await_no_guests(daemon: Daemon) -> None:
    """Guests of this daemon have paths of its pool on their command lines."""
    deadline = Deadline.after(60, "the guests to be ended")
    while qemu_pids(["images/harness/harness-run-"]):
        assert not deadline.expired, str(deadline)


def test_sound_cases_pass_and_a_defect_is_found(harness: Harness, daemon: Daemon) -> None:
    """The same cases as under the embedded driver, with the same verdicts."""
    words = [word for case in SMOKE[:3] for word in ("--only", case)]
    done = harness("run", "--suite", "smoke", *words, "--connect", daemon.uri, "--confirm", "0",
                   "--defect", "skip_last_page")  # fmt: skip
    assert done.code == 1, done.output
    results = done.results("smoke")
    assert [result.verdict for result in results] == [Verdict.PASS, Verdict.PASS, Verdict.FAIL]
    assert results[2].control is Verdict.PASS
    assert not any(result.attempts or result.infra_error for result in results)
    assert done.run("smoke").info.host["connection"].startswith("qemu:///")
    for console in (done.run("smoke").path / "consoles").iterdir():
        assert "harness-agent: ready" in console.read_text(errors="replace")
    left = harness("clean", "--connect", daemon.uri)
    assert "0 left-over guests ended, 0 volumes removed" in left.output, left.output
    kept = harness("clean", "--connect", daemon.uri, "--cache")
    assert "2 volumes removed" in kept.output, "kernel and initial RAM disk, once"
    assert not list(daemon.folder.glob("**/images/harness"))


def test_a_connection_that_is_lost_is_no_verdict(harness: Harness, daemon: Daemon) -> None:
    process = harness.start("run", "--suite", "ace-seq1", "--connect", daemon.uri)
    await_results(harness, process, 2)
    daemon.kill()
    done = harness.finish(process)
    assert done.code == 3, done.output
    assert "the connection to qemu:///" in done.output
    assert "--resume" in done.output
    assert "Traceback" not in done.output
    results = done.results("ace-seq1")
    assert len(results) >= 2
    assert {result.verdict for result in results} == {Verdict.PASS}
    # Their daemon was not there to end them. It knows them again.
    assert len(qemu_pids(["images/harness/harness-run-"])) == 2
    daemon.start()
    cleaned = harness("clean", "--connect", daemon.uri)
    assert "2 left-over guests ended, 3 volumes removed" in cleaned.output, cleaned.output
    _await_no_guests(daemon)


@pytest.mark.slow
def test_a_daemon_that_does_not_answer_is_given_up(harness: Harness, daemon: Daemon) -> None:
    """Stopped, not dead: its socket takes everything, and nothing comes back."""
    process = harness.start("run", "--suite", "ace-seq1", "--connect", daemon.uri)
    await_results(harness, process, 2)
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        done = harness.finish(process)
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    assert done.code == 3, done.output
    assert "the connection to qemu:///" in done.output
    assert {result.verdict for result in done.results("ace-seq1")} == {Verdict.PASS}
    _await_no_guests(daemon)


@pytest.mark.slow
def test_all_of_smoke_passes(harness: Harness, daemon: Daemon) -> None:
    done = harness("run", "--suite", "smoke", "--pairs", "2", "--connect", daemon.uri)
    assert done.code == 0, done.output
    results = done.results("smoke")
    assert len(results) == len(SMOKE)
    assert not any(result.attempts for result in results)


@pytest.mark.slow
def test_guests_of_a_killed_run_are_ended_by_the_daemon(harness: Harness, daemon: Daemon) -> None:
    process = harness.start("run", "--suite", "ace-seq1", "--connect", daemon.uri)
    await_results(harness, process, 1)
    beside = harness("clean", "--connect", daemon.uri, "--cache")
    assert "0 left-over guests ended, 2 volumes removed" in beside.output, "it lives"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    _await_no_guests(daemon)
    cleaned = harness("clean", "--connect", daemon.uri)
    assert "0 left-over guests ended, 3 volumes removed" in cleaned.output


@pytest.mark.slow
def test_full_guests_have_their_disk_over_there(harness: Harness, daemon: Daemon) -> None:
    done = harness("run", "--suite", "smoke", "--limit", "2", "--guests", "full",
                   "--connect", daemon.uri)  # fmt: skip
    assert done.code == 0, done.output


@pytest.mark.slow
@pytest.mark.skipif(not Path("/usr/sbin/sshd").exists(), reason="openssh-server is not installed")
def test_over_ssh(harness: Harness, daemon: Daemon) -> None:
    with ssh_to(daemon) as uri:
        checked = harness("doctor", "--connect", uri, "--no-probe")
        assert checked.code == 0, checked.output
        done = harness("run", "--suite", "smoke", "--limit", "3", "--connect", uri)
        assert done.code == 0, done.output
        results = done.results("smoke")
        assert len(results) == 3
        assert not any(result.attempts for result in results)
        refused = harness("run", "--suite", "smoke", "--connect", uri.replace("/key&", "/host&"))
        assert refused.code == 3, refused.output
        assert "libvirt cannot open qemu+ssh:" in refused.output
