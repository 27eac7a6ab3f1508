# SPDX-License-Identifier: Apache-2.0
"""A single guest with the profile's whole root tree on a disk, for the module's own tests."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import proc
from harness.build.image import build_micro
from harness.build.kmod import KMOD_SOURCE, MODULE_FILE, build_module
from harness.build.profile import load_profile
from harness.build.rootfs import RootTree, build_root
from harness.config import state_dir
from harness.deadline import Deadline
from harness.guest.agent import Agent, CommandResult
from harness.guest.ports import SocketChannel
from harness.vm.libvirt import LibvirtHypervisor, embedded_uri
from harness.vm.live import LiveDir, live_dir
from harness.vm.ports import Accelerator, DiskSpec, Hypervisor, MachineSpec

ROOT = "/mnt/root"
_BOOT_TIMEOUT_S = 180
_DISK_MIB = 1024
_LEFT_OUT = shutil.ignore_patterns("boot", "build", "src", "doc", "gcc", "firmware")
_KERNEL_FILESYSTEMS = (("proc", "proc"), ("sys", "sysfs"), ("dev", "devtmpfs"), ("tmp", "tmpfs"))


# What udev and the kernel's own module loading (which looks in the initramfs) would have done.
_PREPARE = (
    ("ln", "-s", "/proc/self/fd", "/dev/fd"),
    ("modprobe", "-a", "dm-flakey", "dm-snapshot", "loop", "xfs", "btrfs"),
    ("modprobe", "-a", "ctr", "gcm", "ghash-generic", "aesni-intel"),
)
_TOOL_TIMEOUT_MS = 60_000


def _in_root(*words: str, timeout_ms: int = _TOOL_TIMEOUT_MS) -> tuple[str, ...]:
    """A command of the root tree, as a line for the agent."""
    path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
    return ("exec", str(timeout_ms), "/usr/sbin/chroot", ROOT, "/usr/bin/env", path, *words)


@dataclass
class KmodGuest:
    """Runs the scripts of ``kmod/tests`` inside the root tree."""

    agent: Agent
    console: Path

    def run_tests(self, *names: str, timeout_s: float) -> CommandResult:
        """``run.sh`` with these tests; its result, whatever that is."""
        deadline = Deadline.after(timeout_s + 60, f"module tests {' '.join(names)}")
        script = ("bash", "/opt/kmod/tests/run.sh", f"/opt/kmod/{MODULE_FILE}", *names)
        line = _in_root(*script, timeout_ms=int(timeout_s * 1000))
        return self.agent.run_script([line], deadline).results[0]


@dataclass(frozen=True)
class Machines:
    """One hypervisor for the whole process: an embedded driver cannot be opened twice."""

    hypervisor: Hypervisor
    live: LiveDir


@contextlib.contextmanager
def machines() -> Iterator[Machines]:
    """Open the embedded driver; every guest is ended with it."""
    state = state_dir()
    with live_dir(state) as live:
        uri = embedded_uri(live.libvirt_root, state.cache / "qemu-capabilities")
        hypervisor = LibvirtHypervisor(uri)
        try:
            yield Machines(hypervisor, live)
        finally:
            hypervisor.destroy_owned(live.owner)
            hypervisor.close()


@contextlib.contextmanager
def kmod_guest(
    on: Machines, profile_name: str, folder: Path, *, faults: bool
) -> Iterator[KmodGuest]:
    """Boot a guest whose disk holds the root tree, the module and its tests."""
    state = state_dir()
    profile = load_profile(profile_name)
    image = build_micro(profile, state)
    root = build_root(profile, state)
    module = build_module(root, state, faults=faults)
    console = folder / "console.log"
    console.touch()
    spec = MachineSpec(
        name=f"harness-{on.live.owner}-kmod",
        kernel=image.kernel,
        initrd=image.initrd,
        command_line="console=ttyS0,115200 loglevel=5 panic=-1 oops=panic",
        accelerator=Accelerator.TCG,
        console=console,
        channel=on.live.path / "agent.sock",
        owner=on.live.owner,
        memory_mib=1536,
        disks=(DiskSpec(_disk(root, module, folder)),),
    )
    machine = on.hypervisor.start(spec)
    try:
        agent = Agent(SocketChannel.connect(spec.channel), "kmod")
        deadline = Deadline.after(_BOOT_TIMEOUT_S, "the kmod guest to boot")
        agent.hello(deadline)
        ext4 = [("insmod", path) for path in image.on_demand["ext4"]]
        mounts = [("mount", "/dev/vda", ROOT, "ext4", "-")]
        mounts += [("mount", kind, f"{ROOT}/{at}", kind, "-") for at, kind in _KERNEL_FILESYSTEMS]
        agent.run_all([*ext4, *mounts, *(_in_root(*words) for words in _PREPARE)], deadline)
        yield KmodGuest(agent, console)
    finally:
        machine.destroy()


def _disk(root: RootTree, module: Path, folder: Path) -> Path:
    staging = folder / "staging"
    shutil.copytree(root.path, staging, symlinks=True, ignore=_LEFT_OUT, copy_function=_link)
    shutil.rmtree(staging / "opt" / "kmod", ignore_errors=True)
    shutil.copytree(KMOD_SOURCE / "tests", staging / "opt" / "kmod" / "tests")
    shutil.copy2(module, staging / "opt" / "kmod" / MODULE_FILE)
    disk = folder / "root.img"
    words = ["mke2fs", "-q", "-t", "ext4", "-d", staging, disk, f"{_DISK_MIB}M"]
    proc.run(words, what="making the module tests' disk", timeout_s=600)
    shutil.rmtree(staging)
    return disk


def _link(source: str, target: str) -> None:
    # The tree is read, not changed: names of the same files are enough.
    Path(target).hardlink_to(source)
