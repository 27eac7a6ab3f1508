# SPDX-License-Identifier: Apache-2.0
"""Everything that has to exist before the first pair can boot, and goes away after the last."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from harness.build.cache import content_key
from harness.build.cloud import build_cloud
from harness.build.disk import build_root_disk
from harness.build.full import build_full
from harness.build.image import MicroImage, build_micro
from harness.build.profile import Profile, load_profile
from harness.build.workshop import BuiltModule
from harness.build.xfstests import look_at_tree, pack_tree
from harness.config import StateDir, state_dir
from harness.deadline import Deadline
from harness.errors import HarnessError, UsageError
from harness.guest.agent import Agent
from harness.run.connection import Connection, broom, connection
from harness.run.options import AcceleratorChoice, Guests, RunOptions
from harness.run.outside import build_outside
from harness.run.pair import DISK_BYTES, PairBuilder
from harness.run.xfstests import site
from harness.target.outside import Outside
from harness.vm.live import LiveDir, live_dir, sweep
from harness.vm.ports import Accelerator, Hypervisor, MachineSpec

_PROBE_TIMEOUT_S = 20.0
_PROBE_COMMAND_LINE = "console=ttyS0,115200 loglevel=5 panic=-1"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Laboratory:
    """A hypervisor, an image to boot, and where this process keeps its things."""

    state: StateDir
    live: LiveDir
    link: Connection
    image: MicroImage
    accelerator: Accelerator
    outside: Outside | None = None
    modules: tuple[BuiltModule, ...] = ()
    """What was built of a module that does not come with the harness."""
    layers: tuple[Path, ...] = ()
    """Disks for a primary that runs xfstests: root tree, and xfstests."""
    xfstests: str = ""
    """Version of the latter."""

    @property
    def hypervisor(self) -> Hypervisor:
        return self.link.hypervisor

    @property
    def connection(self) -> str:
        """Address of the hypervisor."""
        return self.link.uri

    def with_kmod(self, options: RunOptions, say: Say) -> Laboratory:
        """This one with the module of ``--kmod``, if there is one. Errors as of its build."""
        if options.kmod is None:
            return self
        say(f"building the module in {options.kmod}")
        out = self.live.path / "module"
        outside, modules = build_outside(options.kmod, options.profile, self.state, out)
        return replace(self, outside=outside, modules=modules)

    def pairs(self, options: RunOptions, consoles: Path | None = None) -> PairBuilder:
        """A builder of pairs for a run with ``options``, their console logs in ``consoles``."""
        return PairBuilder(
            self.hypervisor,
            self.live,
            self.image,
            self.accelerator,
            consoles or self.live.path,
            boot_timeout_s=options.boot_timeout_s,
            link_delay_ms=options.link_delay_ms,
            connect=self.link.channel,
            cable=self.link.cable,
            outside=self.outside,
            memory_mib=site.MEMORY_MIB if self.layers else 0,
            primary_disks=self.layers,
            spare_bytes=site.TEST_DISK_BYTES if self.layers else 0,
            disk_bytes=site.DISK_BYTES if options.group else DISK_BYTES,
        )


@contextlib.contextmanager
def laboratory(
    options: RunOptions, say: Say, folder: LiveDir | None = None
) -> Iterator[Laboratory]:
    """Clean up after killed runs, build what is missing, connect, choose the accelerator.

    ``say`` is told what takes long, ``folder`` is the live folder of this process if it has one
    already. On leaving, every guest of this process is ended.
    """
    state = state_dir(options.state_dir)
    if ended := sweep(state):
        say(f"ended {ended} guests that a killed run had left behind")
    profile = load_profile(options.profile)
    say(f"building what guest profile {profile.name} needs, unless it is cached")
    image = build_image(profile, state, options.guests, faults=options.defect is not None)
    layers, version = _layers(options, profile, image, state)
    with contextlib.ExitStack() as stack:
        live = folder or stack.enter_context(live_dir(state))
        link = stack.enter_context(connection(options.connect, state, live))
        if link.remote is not None and (left := link.remote.sweep(broom(state))).guests:
            say(f"ended {left.guests} guests that a killed run had left behind there")
        accelerator = choose_accelerator(options.accel, state, live, link, image, say)
        yield Laboratory(state, live, link, image, accelerator, layers=layers, xfstests=version)


def _layers(
    options: RunOptions, profile: Profile, image: MicroImage, state: StateDir
) -> tuple[tuple[Path, ...], str]:
    """The disks for xfstests, and its version; nothing where the agent runs the workloads."""
    if options.xfstests is None:
        return (), ""
    if "layers" not in image.on_demand:
        raise UsageError(
            f"kernel {image.release} has no overlay file system, which xfstests needs in a guest",
            hint="--engine native, or another --profile",
        )
    tree = look_at_tree(options.xfstests)
    return (build_root_disk(profile, state), pack_tree(tree, state)), tree.version


def build_image(profile: Profile, state: StateDir, guests: Guests, *, faults: bool) -> MicroImage:
    """Build, or find in the cache, what ``guests`` of ``profile`` boot from."""
    if guests is Guests.MICRO:
        return build_micro(profile, state, faults=faults)
    if profile.cloud is not None:
        return build_cloud(profile, profile.cloud, state, faults=faults)
    return build_full(profile, state, faults=faults)


def choose_accelerator(
    choice: AcceleratorChoice,
    state: StateDir,
    live: LiveDir,
    link: Connection,
    image: MicroImage,
    say: Say,
) -> Accelerator:
    """KVM only where a guest has been seen to boot on it: /dev/kvm alone proves nothing.

    The answer is kept until the host boots again, or QEMU or the guest's kernel change.
    """
    if choice is AcceleratorChoice.TCG:
        return Accelerator.TCG
    if choice is AcceleratorChoice.KVM:
        return Accelerator.KVM
    if not link.hypervisor.offers_kvm():
        return Accelerator.TCG
    record = state.cache / _record_name(link)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    key = [boot, link.hypervisor.versions()["qemu"], image.release]
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(record.read_text(encoding="ascii"))
        if found["key"] == key:
            return Accelerator(found["accelerator"])
    say(f"probing KVM: a guest has {_PROBE_TIMEOUT_S:.0f} s to boot on it")
    accelerator = Accelerator.KVM if _boots(live, link, image) else Accelerator.TCG
    if accelerator is Accelerator.TCG:
        say("/dev/kvm is there, but no guest boots on it: using emulation (TCG)")
    # Only a short cut for the next run: it may fail.
    with contextlib.suppress(OSError):
        record.write_text(json.dumps({"key": key, "accelerator": accelerator}), encoding="ascii")
    return accelerator


def _record_name(link: Connection) -> str:
    if link.remote is None:
        return "accelerator.json"
    # What another host can do is looked at again when this one has booted.
    return f"accelerator-{content_key([link.uri, link.remote.host()])}.json"


def _boots(live: LiveDir, link: Connection, image: MicroImage) -> bool:
    folder = live.path / "probe"
    folder.mkdir()
    (folder / "console.log").touch()
    spec = MachineSpec(
        name=f"harness-{live.owner}-probe",
        kernel=image.kernel,
        initrd=image.initrd,
        command_line=_PROBE_COMMAND_LINE,
        accelerator=Accelerator.KVM,
        console=folder / "console.log",
        channel=folder / "agent.sock",
        owner=live.owner,
    )
    try:
        machine = link.hypervisor.start(spec)
    except HarnessError:
        return False
    try:
        agent = Agent(link.channel(folder / "agent.sock"), "probe")
        agent.hello(Deadline.after(_PROBE_TIMEOUT_S, "the KVM probe guest to boot"))
    except (HarnessError, OSError):
        return False
    finally:
        machine.destroy()
    return True
