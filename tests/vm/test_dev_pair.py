# SPDX-License-Identifier: Apache-2.0
"""``harness pair`` on real guests: a module's author at work, and whatever may end that."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Finished, Harness, qemu_pids

from harness.config import CHECKOUT
from harness.deadline import Deadline

OUTSIDE = CHECKOUT / "kmod" / "tests" / "outside"
WAIT_S = 300


class Author:
    """A module of one's own, and commands about the pair it runs on."""

    def __init__(self, harness: Harness, folder: Path) -> None:
        self.harness = harness
        self.folder = folder
        self.source = folder / "dm-plain.c"

    def pair(self, *words: str) -> Finished:
        return self.harness("pair", *words)

    def words(self) -> list[str]:
        return ["pair", "up", "--guests", "micro", "--kmod", str(self.folder), "--size", "32M"]

    def up(self) -> Finished:
        done = self.harness(*self.words())
        assert done.code == 0, done.output
        return done

    def status(self) -> dict[str, Any]:
        done = self.pair("status", "--json")
        found = dict(json.loads(done.output))
        assert done.code == (0 if found["connected"] else 1)
        return found

    def edit(self, old: str, new: str) -> None:
        text = self.source.read_text()
        assert old in text
        self.source.write_text(text.replace(old, new))

    def greetings(self) -> list[str]:
        guests = self.status()["guests"]
        return [guest["node"]["status"].get("greeting", "") for guest in guests.values()]

    def folders(self) -> list[Path]:
        """Live folders of this test's processes."""
        live = self.harness.state.live
        return [path for path in live.iterdir() if path.is_dir()] if live.is_dir() else []

    def keeper(self, process: subprocess.Popen[str]) -> int:
        """The process that ``pair up`` has started."""
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        return int(self.await_it(lambda: children.read_text().split()[:1], "a keeper")[0])

    @staticmethod
    def await_it(look: Any, what: str) -> Any:
        deadline = Deadline.after(WAIT_S, what)
        while not (found := look()):
            assert not deadline.expired, str(deadline)
            time.sleep(0.02)
        return found


@pytest.fixture
def author(harness: Harness, tmp_path: Path) -> Iterator[Author]:
    folder = tmp_path / "plain"
    shutil.copytree(OUTSIDE, folder)
    made = Author(harness, folder)
    yield made
    made.pair("down")


def test_edit_reload_crash_and_go_on_beside_a_run(author: Author) -> None:
    said = author.up().output
    assert "target plain is connected" in said
    again = author.harness(*author.words())
    assert again.code == 64, again.output
    assert "up already" in again.output
    before = author.status()["guests"]["primary"]["node"]
    assert before["status"]["greeting"] == "first"

    author.edit('"first"', '"second"')
    reloaded = author.pair("reload")
    assert reloaded.code == 0, reloaded.output
    assert author.greetings() == ["second", "second"]
    versions = [line.split("srcversion ")[1][:23] for line in reloaded.output.splitlines()[-2:]]
    assert versions[0] == before["loaded"]["dm_plain"]["srcversion"] != versions[1]
    assert "second, says the backup" in author.pair("log", "backup").output

    author.edit("static const char greeting", "static const chr greeting")
    broken = author.pair("reload")
    assert broken.code == 3, broken.output
    line = author.source.read_text().splitlines().index('static const chr greeting[] = "second";')
    assert f"{author.source}:{line + 1}:" in broken.output
    assert "unknown type name" in broken.output
    assert author.status()["connected"], "it is as it was"
    author.edit("static const chr greeting", "static const char greeting")

    assert author.pair("run", "backup", "--", "dmsetup", "info", "none").code == 1
    crashed = author.pair("run", "primary", "--", "dmsetup", "message", "plain", "0", "crash")
    assert crashed.code == 3, crashed.output
    assert "kernel BUG at" in crashed.output
    seen = author.pair("status")
    assert seen.code == 1
    assert "it has ended by itself" in seen.output
    assert "Kernel panic" in seen.output
    started = author.pair("start", "primary")
    assert started.code == 0, started.output
    # The one that came back lost what it had in memory; the other one leads.
    assert "promoting backup" in started.output
    after = author.status()
    assert after["connected"], started.output
    roles = {name: guest["node"]["status"]["role"] for name, guest in after["guests"].items()}
    assert roles == {"primary": "backup", "backup": "primary"}

    # It claims to replicate and does not: no run may find it sound.
    words = ["run", "--kmod", str(author.folder), "--suite", "smoke", "--limit", "1"]
    run = author.harness(*words, "--confirm", "0")
    assert run.code == 1, run.output
    assert f"--kmod {author.folder}" in run.output, "how to see it again"
    assert "0 left-over guests ended" in author.harness("clean").output
    assert author.status()["connected"], "a run and clean leave it alone"
    _killed_and_tidied_up(author)


def _killed_and_tidied_up(author: Author) -> None:
    (folder,) = author.folders()
    processes = Path("/proc").glob("[0-9]*/fd")
    (keeper,) = [int(path.parent.name) for path in processes if _holds(path, folder)]
    os.kill(keeper, signal.SIGKILL)
    author.await_it(lambda: not Path(f"/proc/{keeper}/fd/0").exists(), "the keeper to end")
    assert len(qemu_pids([folder.name])) == 2
    gone = author.pair("status")
    assert gone.code == 1
    assert "was killed" in gone.output
    assert "2 left-over guests ended" in author.pair("down").output
    _nothing_is_left(author, folder)


def _holds(descriptors: Path, folder: Path) -> bool:
    """Whether a process holds the lock of the live folder."""
    try:
        links = [os.readlink(each) for each in descriptors.iterdir()]
    except OSError:
        return False
    return str(folder.resolve() / "owner.lock") in links


def _nothing_is_left(author: Author, folder: Path) -> None:
    assert qemu_pids([folder.name]) == []
    assert author.folders() == []
    assert not Path(f"/tmp/harness-{folder.name}").is_symlink()
    sockets = Path("/proc/net/unix").read_text()
    assert folder.name not in sockets


def _host() -> tuple[set[str], set[str]]:
    """What of the host a pair might touch, and must not."""
    return set(os.listdir("/sys/module")), set(os.listdir("/sys/class/net"))


AT_NIGHT = pytest.mark.slow
MOMENTS = ["building", "one guest", *(
    pytest.param(moment, marks=AT_NIGHT)
    for moment in ("at once", "preparing", "booting", "both guests", "setting up", "up")
)]  # fmt: skip


def _await_moment(author: Author, process: subprocess.Popen[str], moment: str) -> None:
    author.keeper(process)
    if moment == "at once":
        return
    (folder,) = author.await_it(author.folders, "a live folder")
    if moment in ("one guest", "both guests"):
        wanted = 1 if moment == "one guest" else 2
        author.await_it(lambda: len(qemu_pids([folder.name])) >= wanted, moment)
        return
    said = {
        "preparing": "building what", "building": "building the module", "booting": "booting both",
        "setting up": "setting up target", "up": "is connected",
    }[moment]  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if said in line:
            return
    raise AssertionError(f"nothing about {said!r}")


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_it_leaves_what_clean_removes(author: Author, moment: str) -> None:
    host = _host()
    process = author.harness.start(*author.words())
    keeper = author.keeper(process)
    _await_moment(author, process, moment)
    for each in (keeper, process.pid):
        os.kill(each, signal.SIGKILL)
    process.communicate()
    author.await_it(lambda: not Path(f"/proc/{keeper}/fd/0").exists(), "the keeper to end")
    folders = author.folders()
    cleaned = author.harness("clean")
    assert cleaned.code == 0, cleaned.output
    for folder in folders:
        _nothing_is_left(author, folder)
    assert author.folders() == []
    assert _host() == host


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=AT_NIGHT)])
def test_a_keeper_whose_command_ends_does_too(author: Author, how: signal.Signals) -> None:
    process = author.harness.start(*author.words())
    keeper = author.keeper(process)
    _await_moment(author, process, "one guest")
    (folder,) = author.folders()
    os.kill(process.pid, how)
    process.communicate()
    author.await_it(lambda: not Path(f"/proc/{keeper}/fd/0").exists(), "the keeper to end")
    _nothing_is_left(author, folder)


@pytest.mark.slow
def test_a_copy_of_our_module_under_another_name_passes(author: Author, tmp_path: Path) -> None:
    copy = tmp_path / "mirrored"
    shutil.copytree(CHECKOUT / "kmod", copy)
    for path in [*copy.glob("*.[ch]"), copy / "Kbuild"]:
        text = path.read_text()
        text = text.replace("dm-rollbaccine.o", "dm-mirrored.o")
        text = text.replace("dm-rollbaccine-y", "dm-mirrored-y")
        path.write_text(text.replace('.name = "rollbaccine"', '.name = "mirrored"'))
    (copy / "target.toml").write_text(MIRRORED)
    words = ["run", "--kmod", str(copy), "--suite", "smoke"]
    done = author.harness(*words)
    assert done.code == 0, done.output
    assert {result.case_id.target for result in done.results("smoke")} == {"mirrored"}


MIRRORED = """\
name = "mirrored"
modules = ["dm-mirrored.ko"]

[device]
primary = "0 {sectors} mirrored {disk} primary {id} - {listen} 1 {peer_id} {peer_listen} 1 create"
backup = "0 {sectors} mirrored {disk} backup {id} - {listen} 1 {peer_id} {peer_listen}"

[status]
connected = ["state==connected"]
drained = ["received==applied"]

[messages]
promote = "promote"
demote = "demote"
"""


@pytest.mark.slow
def test_a_person_logs_in_at_a_full_guest(author: Author) -> None:
    import pexpect

    words = [word if word != "micro" else "full" for word in author.words()]
    up = author.harness(*words)
    assert up.code == 0, up.output
    command = author.harness.command("pair", "shell", "primary")
    environment = {**os.environ, "HARNESS_STATE_DIR": str(author.harness.state.path)}
    shell = pexpect.spawn(
        command[0], command[1:], dimensions=(37, 91), timeout=60, encoding="utf-8",
        env=environment,
    )  # fmt: skip
    shell.expect_exact("Ctrl-]")
    shell.send("\r")
    shell.expect("login: ")
    shell.send("root\r")
    shell.expect("assword: ")
    shell.send("harness\r")
    shell.expect("# ")
    deadline = Deadline.after(60, "the size of the window")
    shell.send("stty size\r")
    while shell.expect(["37 91", "\\d+ \\d+\r\n"]) != 0:
        assert not deadline.expired
        shell.send("stty size\r")
    shell.send("dmesg | grep -c 'plain: first, says'\r")
    shell.expect("1\r\n")
    shell.send("\x1d")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 0
    (folder,) = author.folders()
    down = author.pair("down")
    assert down.code == 0, down.output
    _nothing_is_left(author, folder)
