# SPDX-License-Identifier: Apache-2.0
"""Full guests: what a root tree is furnished with, and what goes along with the kernel."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.build import disk, full, furnish
from harness.build.kmod import DKMS_FILE, MODULE_FILE, module_sources
from harness.build.rootfs import RootTree
from harness.errors import InfraError

RELEASE = "6.1.0-test"
XFS = "kernel/fs/xfs/xfs.ko"


@pytest.fixture
def root(tmp_path: Path) -> RootTree:
    """A root tree in small, with one module of its kernel."""
    path = tmp_path / "tree" / "root"
    for folder in ("etc/systemd/system", "usr/src", f"usr/lib/modules/{RELEASE}/kernel/fs/xfs"):
        (path / folder).mkdir(parents=True)
    (path / "lib").symlink_to("usr/lib")
    (path / "etc/shadow").write_text("daemon:*:1::\nroot:*:20778:0:99999:7:::\nx:*:1::\n", "ascii")
    (path / "etc/hostname").write_text("builder\n", "ascii")
    (path / "etc/systemd/system/default.target").symlink_to("/lib/systemd/system/graphical.target")
    (path / f"lib/modules/{RELEASE}" / XFS).write_bytes(b"xfs")
    return RootTree(path, RELEASE)


def furnished(root: RootTree, tmp_path: Path) -> Path:
    stage = tmp_path / "stage"
    disk.stage_tree(root.path, stage)
    furnish.furnish(root, stage, [XFS], "moon-1")
    return stage


def test_the_tree_itself_is_left_alone(root: RootTree, tmp_path: Path) -> None:
    def contents() -> dict[str, str | bytes]:
        return {
            str(path): os.readlink(path) if path.is_symlink() else path.read_bytes()
            for path in root.path.rglob("*")
            if path.is_symlink() or path.is_file()
        }

    before = contents()
    furnished(root, tmp_path)
    assert contents() == before, "its files are those of the stage"


def test_who_may_log_in_where(root: RootTree, tmp_path: Path) -> None:
    stage = furnished(root, tmp_path)
    lines = (stage / "etc/shadow").read_text("ascii").splitlines()
    assert [line.partition(":")[0] for line in lines] == ["daemon", "root", "x"]
    assert lines[0] == "daemon:*:1::"
    _, given, rest = lines[1].split(":", 2)
    assert rest == "20778:0:99999:7:::"
    # Another implementation of crypt(3) than the one that the constant is from.
    salt = given.removeprefix("$6$rounds=1000$").partition("$")[0]
    said = subprocess.run(
        ["perl", "-e", "print crypt($ARGV[0], $ARGV[1])", furnish.ROOT_PASSWORD,
         f"$6$rounds=1000${salt}$"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert said == given
    assert (stage / "etc/shadow").stat().st_mode & 0o777 == 0o640
    assert furnish.ROOT_PASSWORD in (stage / "etc/issue").read_text("ascii")
    assert (stage / "etc/debian_chroot").read_text("ascii") == "moon-1\n", "shown in the prompt"
    assert (stage / "etc/hostname").read_text("ascii") == "guest\n", "not the builder's"


def test_what_is_started_and_what_is_not(root: RootTree, tmp_path: Path) -> None:
    system = furnished(root, tmp_path) / "etc/systemd/system"
    assert os.readlink(system / "default.target").endswith("/multi-user.target")
    for unit in ("harness-agent.service", "harness-console.service"):
        assert (system / "multi-user.target.wants" / unit).resolve() == system / unit
    for unit in furnish.MASKED:
        assert os.readlink(system / unit) == "/dev/null"
    own = {path.name for path in (furnish.OVERLAY / "etc/systemd/system").iterdir()}
    assert not own & set(furnish.MASKED)
    agent = (system / "harness-agent.service").read_text("ascii")
    assert f"ExecStart={furnish.PAYLOAD}/{full.AGENT_FILE} --port" in agent


def test_drivers_of_targets_find_modules_where_micro_guests_have_them(
    root: RootTree, tmp_path: Path
) -> None:
    stage = furnished(root, tmp_path)
    assert (stage / "lib/modules/xfs.ko").read_bytes() == b"xfs"
    assert os.readlink(stage / "lib/modules" / MODULE_FILE) == f"{furnish.PAYLOAD}/{MODULE_FILE}"


def test_the_source_is_where_dkms_looks_for_it(root: RootTree, tmp_path: Path) -> None:
    stage = furnished(root, tmp_path)
    folder = furnish.module_folder()
    name, _, version = folder.partition("-2")
    assert (name, version[:1]) == ("dm-rollbaccine", ".")
    assert os.readlink(stage / "usr/src" / folder) == f"{furnish.PAYLOAD}/src"


def test_what_goes_along_with_the_kernel(tmp_path: Path) -> None:
    agent, module = tmp_path / "agent", tmp_path / "module"
    agent.write_bytes(b"agent")
    module.write_bytes(b"module")
    payload = tmp_path / "payload"
    full.lay_payload(payload, agent, module)
    assert (payload / full.AGENT_FILE).read_bytes() == b"agent"
    assert (payload / MODULE_FILE).read_bytes() == b"module"
    assert {path.name for path in (payload / "src").iterdir()} == {
        path.name for path in (*module_sources(), DKMS_FILE)
    }


def test_a_tree_without_root_is_refused(root: RootTree, tmp_path: Path) -> None:
    (root.path / "etc/shadow").write_text("daemon:*:1::\n", "ascii")
    with pytest.raises(InfraError, match="has 0 lines for root"):
        furnished(root, tmp_path)
