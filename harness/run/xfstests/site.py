# SPDX-License-Identifier: Apache-2.0
"""The place on the primary where ``check`` runs: a root tree in layers, and what is put into it.

Scripts for the primary's agent only: pure. The guest is a micro-guest; the root tree of its profile
and the xfstests tree are disks that it reads, and what is written above them is in its memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.build.xfstests import GUEST_DIR
from harness.run.filesystems import FileSystem
from harness.target.base import Line

ROOT = "/mnt/root"
ROOT_DISK = "/dev/vdc"
TREE_DISK = "/dev/vdd"
TEST_DISK = "/dev/vde"
TEST_DISK_BYTES = 2 << 30
DISK_BYTES = 2 << 30
"""Of the target, for tests that want room."""
MEMORY_MIB = 1024
SCRATCH_MOUNT = "/mnt/scratch"
TEST_MOUNT = "/mnt/test"
RESULTS = "/var/tmp/results"
_LAYERS = "/layers"
_AGENT = "/run/harness/agent"
_SOCKET = "/run/harness/socket"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TOOL_TIMEOUT_MS = 300_000
_MIB = 1 << 20

_MKFS_OPTIONS = {
    # No background thread may write after mkfs has returned.
    "ext4": "-E nodiscard,lazy_itable_init=0,lazy_journal_init=0",
    "xfs": "-K",
    "btrfs": "-K",
}


@dataclass(frozen=True, slots=True)
class CheckJob:
    """One start of ``check``: its tests, and for how long it may go on."""

    tests: tuple[str, ...]
    """As ``ace-seq1/001``."""
    timeout_ms: int


def layers_script() -> list[Line]:
    """Put the root tree together, with the kernel's file systems and the agent in it."""
    upper, work = f"{_LAYERS}/over/upper", f"{_LAYERS}/over/work"
    lower = f"{_LAYERS}/tree:{_LAYERS}/root"
    return [
        ("mount", ROOT_DISK, f"{_LAYERS}/root", "ext4", "ro"),
        ("mount", TREE_DISK, f"{_LAYERS}/tree", "ext4", "ro"),
        ("mount", "tmpfs", f"{_LAYERS}/over", "tmpfs", "-"),
        # For the folders on the way.
        ("file-put", f"{upper}{SCRATCH_MOUNT}/.keep", ""),
        ("file-put", f"{upper}{TEST_MOUNT}/.keep", ""),
        ("file-put", f"{work}/.keep", ""),
        ("mount", "overlay", ROOT, "overlay", f"lowerdir={lower},upperdir={upper},workdir={work}"),
        ("mount", "proc", f"{ROOT}/proc", "proc", "-"),
        ("mount", "sysfs", f"{ROOT}/sys", "sysfs", "-"),
        ("mount", "devtmpfs", f"{ROOT}/dev", "devtmpfs", "-"),
        ("mount", "devpts", f"{ROOT}/dev/pts", "devpts", "-"),
        ("mount", "tmpfs", f"{ROOT}/dev/shm", "tmpfs", "-"),
        ("mount", "tmpfs", f"{ROOT}/run", "tmpfs", "-"),
        ("mount", "tmpfs", f"{ROOT}/tmp", "tmpfs", "-"),
        ("install", f"{ROOT}{_AGENT}"),
    ]


USERS = (
    "for user in fsgqa 123456-fsgqa fsgqa2; do id $user > /dev/null 2>&1 ||"
    " useradd --badname -m $user; done"
)
"""Shell: the users that tests of permissions want, as xfstests' README names them."""


def test_disk_script(fs: FileSystem) -> list[Line]:
    """A file system on the disk that ``check`` wants beside the one under test."""
    return [("exec", str(_TOOL_TIMEOUT_MS), *fs.mkfs, TEST_DISK)]


def config_text(fs: FileSystem, device: str, *, whole: bool = True) -> str:
    """``local.config``: the target's device is the scratch device, a plain disk the test device.

    ``whole``: file systems of workloads are as large as the device.
    """
    settings = {
        "FSTYP": fs.name,
        "TEST_DEV": TEST_DISK,
        "TEST_DIR": TEST_MOUNT,
        "SCRATCH_DEV": device,
        "SCRATCH_MNT": SCRATCH_MOUNT,
        "RESULT_BASE": RESULTS,
        "MKFS_OPTIONS": f'"{_MKFS_OPTIONS[fs.name]}"',
    }
    if whole:
        # As large as the target; it is compared as a whole after each workload.
        settings["ACE_MEGABYTES"] = str(fs.device_bytes // _MIB)
    return "".join(f"export {name}={value}\n" for name, value in settings.items())


def file_lines(files: Mapping[str, str]) -> list[Line]:
    """Put files, by their path below the xfstests tree, where ``check`` finds them."""
    return [
        ("file-put", f"{ROOT}{GUEST_DIR}/{path}", text.encode().hex())
        for path, text in files.items()
    ]


def check_line(job: CheckJob, *, meets: bool = True) -> Line:
    """Run ``check``; its tests meet the host by way of ``HARNESS_RENDEZVOUS``, if they are to."""
    meeting = (f"HARNESS_RENDEZVOUS={_AGENT} --tell {_SOCKET}",) if meets else ()
    # A daemon started here ends with the job. Events of devices made before it are replayed.
    script = (
        "/lib/systemd/systemd-udevd --daemon && udevadm trigger --settle &&"
        f" cd {GUEST_DIR} && exec ./check {' '.join(job.tests)}"
    )
    return (
        "job", ROOT, f"{ROOT}{_SOCKET}", str(job.timeout_ms),
        "/usr/bin/env", f"PATH={_PATH}", "HOME=/root", "LC_ALL=C", "TERM=linux",
        "SYSTEMD_IGNORE_CHROOT=1",
        *meeting, "/bin/bash", "-c", script,
    )  # fmt: skip


def shell_line(script: str, timeout_ms: int = _TOOL_TIMEOUT_MS) -> Line:
    """Run a few words of shell in the root tree."""
    words = ("/usr/bin/env", f"PATH={_PATH}", "/bin/bash", "-c", script)
    return ("job", ROOT, f"{ROOT}{_SOCKET}", str(timeout_ms), *words)


def clean_up_lines() -> list[Line]:
    """Unmount what a ``check`` that was ended may have left mounted."""
    mounts = (SCRATCH_MOUNT, TEST_MOUNT)
    return [("always", "try", "umount", f"{ROOT}{mount}") for mount in mounts]


def output_lines(tests: tuple[str, ...], endings: tuple[str, ...]) -> list[Line]:
    """Read what ``check`` wrote about its tests; files that are not there fail alone."""
    return [
        ("always", "try", "file-read", f"{ROOT}{RESULTS}/{test}{ending}")
        for test in tests
        for ending in endings
    ]
