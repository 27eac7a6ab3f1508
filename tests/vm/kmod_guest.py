# SPDX-License-Identifier: Apache-2.0
"""A single guest with the profile's whole root tree on a disk, for the module's own tests."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import proc
from harness.build.cache import built, content_key
from harness.build.image import build_micro
from harness.build.kmod import KMOD_SOURCE, MODULE_FILE, build_module, build_selftest
from harness.build.profile import load_profile
from harness.build.rootfs import RootTree, build_root, make_inside
from harness.config import StateDir, state_dir
from harness.deadline import Deadline
from harness.guest.agent import Agent, CommandResult
from harness.guest.ports import SocketChannel
from harness.vm.libvirt import LibvirtHypervisor, embedded_uri
from harness.vm.live import LiveDir, live_dir
from harness.vm.ports import Accelerator, DiskSpec, Hypervisor, MachineSpec

ROOT = "/mnt/root"
BAD_FILE = "harness_bad.ko"
RELEASE_TESTS = tuple(
    sorted(
        path.name
        for path in (KMOD_SOURCE / "tests").glob("[0-9]*.sh")
        if path.name != "95-faults.sh"
    )
)
"""The module's tests that a build without seeded defects can pass."""
_BOOT_TIMEOUT_S = 180
_DISK_MIB = 1024
_TESTS_MIB = 1024
"""For the tests' own disks, beyond what a guest of the profile has."""
_COMMAND_LINE = "console=ttyS0,115200 loglevel=5 panic=-1 oops=panic"
DEBUGGING = (
    # Memory that was not initialised must not be zero by the kernel's courtesy.
    "init_on_alloc=0",
    # Consistency, red zones, poison and owners, checked on each allocation and release.
    "slub_debug=FZPU",
    # 6.12 only; a kernel without it takes no notice.
    "kfence.sample_interval=100",
)
"""Kernel arguments by which any distribution's kernel finds some misuse of memory."""
_LEFT_OUT = shutil.ignore_patterns("boot", "build", "src", "doc", "gcc", "firmware")
_KERNEL_FILESYSTEMS = (("proc", "proc"), ("sys", "sysfs"), ("dev", "devtmpfs"), ("tmp", "tmpfs"))


# What udev and the kernel's own module loading (which looks in the initramfs) would have done.
_PREPARE = (
    ("ln", "-s", "/proc/self/fd", "/dev/fd"),
    ("mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug"),
    ("modprobe", "-a", "dm-flakey", "dm-snapshot", "loop", "xfs", "btrfs"),
    ("modprobe", "-a", "ctr", "gcm", "ghash-generic", "aesni-intel"),
)
_TOOL_TIMEOUT_S = 60.0


def _in_root(*words: str, timeout_s: float = _TOOL_TIMEOUT_S) -> tuple[str, ...]:
    """A command of the root tree, as a line for the agent."""
    path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
    return (
        "exec",
        str(int(timeout_s * 1000)),
        "/usr/sbin/chroot",
        ROOT,
        "/usr/bin/env",
        path,
        *words,
    )


@dataclass
class KmodGuest:
    """Runs the scripts of ``kmod/tests`` inside the root tree."""

    agent: Agent
    console: Path

    def run(self, *words: str, timeout_s: float = _TOOL_TIMEOUT_S) -> CommandResult:
        """A command of the root tree; its result, whatever that is."""
        deadline = Deadline.after(timeout_s + 60, " ".join(words))
        line = _in_root(*words, timeout_s=timeout_s)
        return self.agent.run_script([line], deadline).results[0]

    def run_tests(self, *names: str, timeout_s: float) -> CommandResult:
        """``run.sh`` with these tests; its result, whatever that is."""
        return self.run_script("run.sh", *names, timeout_s=timeout_s)

    def run_script(self, script: str, *words: str, timeout_s: float) -> CommandResult:
        """A script of ``kmod/tests`` that takes the module's path first."""
        path = f"/opt/kmod/tests/{script}"
        return self.run("bash", path, f"/opt/kmod/{MODULE_FILE}", *words, timeout_s=timeout_s)


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
    on: Machines,
    profile_name: str,
    folder: Path,
    *,
    faults: bool,
    arguments: Sequence[str] = DEBUGGING,
    files: Sequence[Path] = (),
) -> Iterator[KmodGuest]:
    """Boot a guest whose disk holds the root tree, the module and its tests.

    ``arguments`` go to its kernel, before those of the profile; ``files`` are put beside the
    module, into ``/opt/kmod``.
    """
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
        command_line=" ".join((_COMMAND_LINE, *arguments, *profile.kernel_arguments)),
        accelerator=Accelerator.TCG,
        console=console,
        channel=on.live.path / "agent.sock",
        owner=on.live.owner,
        memory_mib=_TESTS_MIB + profile.memory_mib,
        disks=(DiskSpec(_disk(root, [module, *files], folder)),),
    )
    machine = on.hypervisor.start(spec)
    try:
        agent = Agent(SocketChannel.connect(spec.channel), "kmod")
        deadline = Deadline.after(_BOOT_TIMEOUT_S * profile.patience, "the kmod guest to boot")
        agent.hello(deadline)
        ext4 = [("insmod", path) for path in image.on_demand["ext4"]]
        mounts = [("mount", "/dev/vda", ROOT, "ext4", "-")]
        mounts += [("mount", kind, f"{ROOT}/{at}", kind, "-") for at, kind in _KERNEL_FILESYSTEMS]
        patient_s = _TOOL_TIMEOUT_S * profile.patience
        prepare = [_in_root(*words, timeout_s=patient_s) for words in _PREPARE]
        agent.run_all([*ext4, *mounts, *prepare], deadline)
        yield KmodGuest(agent, console)
    finally:
        machine.destroy()


class KmodGuests:
    """Guests with the release module, one per profile, that tests share as long as they pass.

    One at a time: tests of the same profile are to come one after the other.
    """

    def __init__(self, on: Machines, folder: Callable[[], Path]) -> None:
        self._on, self._folder = on, folder
        self._up: tuple[str, KmodGuest, contextlib.ExitStack] | None = None

    @contextlib.contextmanager
    def use(self, profile: str, *, last: bool = False) -> Iterator[KmodGuest]:
        """The guest of ``profile``; ended afterwards if it is the ``last`` use, or fails."""
        if self._up is None or self._up[0] != profile:
            self.close()
            stack = contextlib.ExitStack()
            files = extra_modules(profile)
            booted = kmod_guest(self._on, profile, self._folder(), faults=False, files=files)
            self._up = profile, stack.enter_context(booted), stack
        try:
            yield self._up[1]
        except BaseException:
            last = True
            raise
        finally:
            if last:
                self.close()

    def close(self) -> None:
        """End the guest there is."""
        up, self._up = self._up, None
        if up is not None:
            up[2].close()


def extra_modules(profile: str) -> list[Path]:
    """Modules beside the one under test: its parts' own tests, and one that makes mistakes."""
    state = state_dir()
    root = build_root(load_profile(profile), state)
    return [build_selftest(root, state), build_bad(root, state)]


def build_bad(root: RootTree, state: StateDir) -> Path:
    """The module that commits mistakes."""
    sources = sorted(path for path in (KMOD_SOURCE / "tests" / "bad").iterdir() if path.is_file())
    words = [f"KVER={root.release}"]
    key = content_key([root.path.parent.name, *sources])

    def build(work: Path) -> None:
        make_inside(root, sources, words, work / BAD_FILE, "building the bad module")

    return built(state.cache, f"bad-module-{key}", build) / BAD_FILE


def _disk(root: RootTree, files: Sequence[Path], folder: Path) -> Path:
    staging = folder / "staging"
    shutil.copytree(root.path, staging, symlinks=True, ignore=_LEFT_OUT, copy_function=_link)
    shutil.rmtree(staging / "opt" / "kmod", ignore_errors=True)
    shutil.copytree(KMOD_SOURCE / "tests", staging / "opt" / "kmod" / "tests")
    for file in files:
        shutil.copy2(file, staging / "opt" / "kmod" / file.name)
    disk = folder / "root.img"
    words = ["mke2fs", "-q", "-t", "ext4", "-d", staging, disk, f"{_DISK_MIB}M"]
    proc.run(words, what="making the module tests' disk", timeout_s=600)
    shutil.rmtree(staging)
    return disk


def _link(source: str, target: str) -> None:
    # The tree is read, not changed: names of the same files are enough.
    Path(target).hardlink_to(source)
