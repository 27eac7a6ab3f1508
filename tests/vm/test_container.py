# SPDX-License-Identifier: Apache-2.0
"""The module built by a real container engine, which the test starts and ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.build.container import engine
from harness.build.kmod import build_module
from harness.build.profile import load_profile
from harness.build.rootfs import RootTree, build_root
from harness.config import CHECKOUT, StateDir, state_dir
from harness.deadline import Deadline

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("dockerd") is None,
        reason="needs root and dockerd: apt-get install docker.io",
    ),
]
_START_S = 120.0


@pytest.fixture(scope="module")
def docker() -> Iterator[None]:
    """An engine without any network, and with all its files in a folder that goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="hdk-", dir="/var/tmp"))
    socket = f"unix://{folder}/docker.sock"
    with open(folder / "log", "wb") as log:
        daemon = subprocess.Popen(
            ["dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none",
             f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid",
             f"--host={socket}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    before = os.environ.get("DOCKER_HOST")
    os.environ["DOCKER_HOST"] = socket
    try:
        deadline = Deadline.after(_START_S, "dockerd to answer")
        while not _answers():
            assert daemon.poll() is None, (folder / "log").read_text()
            assert not deadline.expired, str(deadline)
        yield
    finally:
        daemon.terminate()
        daemon.wait(timeout=_START_S)
        if before is None:
            del os.environ["DOCKER_HOST"]
        else:
            os.environ["DOCKER_HOST"] = before
        shutil.rmtree(folder)


def _answers() -> bool:
    with engine() as found:
        return found is not None


@pytest.fixture(scope="module")
def root() -> RootTree:
    return build_root(load_profile("debian-12"), state_dir())


def _containers() -> list[str]:
    with engine() as found:
        assert found is not None
        return found.containers()


def test_the_same_bytes_as_in_the_local_build_root(
    docker: None, root: RootTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = {}
    for choice in ("local", "container"):
        monkeypatch.setenv("HARNESS_BUILD", choice)
        state = StateDir(tmp_path / choice)
        built[choice] = build_module(root, state, faults=True).read_bytes()
        assert len(list(state.cache.glob("kmod-*/*"))) == 1, "nothing beside the module"
    assert built["local"] == built["container"]
    assert _containers() == []


def test_a_killed_build_leaves_what_clean_removes(
    docker: None, root: RootTree, tmp_path: Path
) -> None:
    state = StateDir(tmp_path / "state")
    state.cache.mkdir(parents=True)
    script = (
        "from harness.build.kmod import build_module\n"
        "from harness.build.rootfs import RootTree\n"
        "from harness.config import StateDir\n"
        "from pathlib import Path\n"
        f"build_module(RootTree(Path({str(root.path)!r}), {root.release!r}),"
        f" StateDir(Path({str(state.path)!r})), faults=True)\n"
    )
    environment = {**os.environ, "HARNESS_BUILD": "container", "PYTHONPATH": str(CHECKOUT)}
    builder = subprocess.Popen([sys.executable, "-c", script], env=environment)
    deadline = Deadline.after(600, "the container to be made")
    while not _containers():
        assert builder.poll() is None
        assert not deadline.expired, str(deadline)

    def clean(*words: str) -> str:
        command = [sys.executable, "-m", "harness", "clean", *words]
        done = subprocess.run(
            [*command, "--state-dir", str(state.path)], env=environment, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout

    assert "0 left-over containers" in clean(), "somebody waits for it"
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    assert "1 left-over containers and 0 images removed" in clean()
    assert _containers() == []
    assert "0 left-over containers and 1 images removed" in clean("--cache")
