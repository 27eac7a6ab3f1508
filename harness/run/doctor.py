# SPDX-License-Identifier: Apache-2.0
"""Whether this host can run the harness: one check after the other, each with its way out.

A check looks and never mends; what it costs is at most a boot that ends after some seconds. Limits
are judged by functions of plain numbers, apart from where the numbers come from.
"""

from __future__ import annotations

import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from harness.build.cloud import is_fetched
from harness.build.container import Where, engine, where
from harness.build.full import FULL_MEMORY_MIB
from harness.build.image import build_micro
from harness.build.profile import Profile, load_profile
from harness.build.rootfs import is_built
from harness.config import StateDir, state_dir
from harness.errors import HarnessError
from harness.run.connection import Connection, connection
from harness.run.laboratory import choose_accelerator
from harness.run.options import AcceleratorChoice, Guests
from harness.vm.libvirt import is_embedded
from harness.vm.libvirt_remote import RemoteHypervisor
from harness.vm.live import LiveDir, live_dir, stale_dirs
from harness.vm.ports import Accelerator

_MIB = 1 << 20
_GUEST_MIB = {Guests.MICRO: 512, Guests.FULL: FULL_MEMORY_MIB}
_QEMU_MIB = 160
"""What QEMU needs beside the guest's memory; measured: 575 MiB resident with a guest of 512."""
_HOST_MIB = 300
_BUILD_MIB = 3 << 10
"""Free space that the first build of a profile needs."""
_RUN_MIB = 200
_FULL_MIB = {False: 1 << 10, True: 8 << 10}
"""For the disk of full guests and their layers above it; or for a vendor's image, which is unpacked
beside what was fetched."""
_CASE_BYTES = 8 << 10
"""A line of the record: 4 to 7 KiB of a case that passed."""
_ARCHIVE_TIMEOUT_S = 10
_TOOLS = ("qemu-system-x86_64", "mmdebstrap", "gcc", "make", "tar")
_KEPT_S = 1.0
"""A daemon that keeps what it knows of QEMU answers at once."""
_POOL_MIB = 600
"""Kernel, initial RAM disk, and what two guests write to their disks."""
_SLOWER = "nothing to do: runs use emulation (TCG), some times slower"
_TOOLS_THERE = tuple(program for program in _TOOLS if not program.startswith("qemu-system"))
"""What this host needs when the guests are on another."""
_FULL_TOOLS = ("mke2fs", "qemu-img")
_CLOUD_TOOLS = ("qemu-img", "xorriso")
_XFSTESTS = "HARNESS_XFSTESTS"


class Health(StrEnum):
    """What a check came to."""

    GOOD = "ok"
    NOTE = "note"
    """Works, but not as well as it could, or something optional is not there."""
    BAD = "bad"
    """Nothing will run before it is mended."""


@dataclass(frozen=True, slots=True)
class Checkup:
    """One check: what was found, and the command or step that mends it."""

    name: str
    health: Health
    found: str
    way_out: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """What the host is to be good for."""

    profile: str
    cases: int
    pairs: int = 1
    state_dir: Path | None = None
    connect: str | None = None
    guests: Guests = Guests.MICRO
    probe: bool = True
    """Whether a guest may be booted to see if KVM works."""

    @property
    def elsewhere(self) -> bool:
        """Whether the guests are not this process's own."""
        return self.connect is not None and not is_embedded(self.connect)


@dataclass(slots=True)
class _Found:
    """What earlier checks have come to, for later ones."""

    state: StateDir | None = None
    profile: Profile | None = None
    built: bool = False
    live: LiveDir | None = None
    link: Connection | None = None
    open: ExitStack = field(default_factory=ExitStack)
    """A process can open the embedded driver once only, so one connection serves all checks."""


def examine(patient: Patient) -> Iterator[Checkup]:
    """Every check in turn; one that cannot be made is bad, and says why."""
    yield python_version(sys.version_info[:3])
    for program in _TOOLS_THERE if patient.elsewhere else _TOOLS:
        yield program_there(program, shutil.which(program))
    found = _Found()
    with found.open:
        for name, check in _checks(patient, found):
            try:
                yield check()
            except HarnessError as error:
                yield Checkup(name, Health.BAD, str(error), error.hint or "")
            except OSError as error:
                yield Checkup(name, Health.BAD, str(error))


def _checks(patient: Patient, found: _Found) -> Iterator[tuple[str, Callable[[], Checkup]]]:
    guest_mib = _GUEST_MIB[patient.guests]
    if not patient.elsewhere:
        yield "memory", lambda: memory(_available_mib(), patient.pairs, guest_mib)
    yield "state directory", lambda: _state(patient, found)
    if (state := found.state) is None:
        return
    yield "profile", lambda: _profile(patient, state, found)
    yield "disk", lambda: _disk(patient, state, found)
    if found.profile is not None and patient.guests is Guests.FULL:
        for checkup in full_guests(found.profile, state, shutil.which, _status_of):
            yield checkup.name, _made(checkup)
    if (profile := found.profile) is not None and not found.built:
        yield "archive", lambda: archive(profile, _status_of)
        yield "build root", build_root
    yield "module build", _module_build
    yield "left-over guests", lambda: left_over(len(stale_dirs(state)))
    yield "libvirt", lambda: _libvirt(patient, state, found)
    if found.link is not None and (remote := found.link.remote) is not None:
        name = "memory there"
        yield name, lambda: memory(remote.available_mib(), patient.pairs, guest_mib, name)
        yield "QEMU there", lambda: probing(_seconds_to_describe(remote))
        yield "pool there", lambda: pool(remote.storage.folder, remote.storage.free_bytes() // _MIB)
    if profile is not None and found.link is not None:
        yield "KVM", lambda: _kvm(patient, state, profile, found)
    yield "xfstests", lambda: xfstests(os.environ.get(_XFSTESTS))


def _made(checkup: Checkup) -> Callable[[], Checkup]:
    return lambda: checkup


def python_version(version: tuple[int, ...]) -> Checkup:
    """3.11 is the oldest that works."""
    text = ".".join(map(str, version))
    if version < (3, 11):
        return Checkup("python", Health.BAD, f"{text} is too old", "install Python 3.11 or newer")
    return Checkup("python", Health.GOOD, text)


def program_there(program: str, path: str | None) -> Checkup:
    """``path`` is where it was found, None where it was not."""
    if path is None:
        return Checkup(program, Health.BAD, "is not installed", "make setup")
    return Checkup(program, Health.GOOD, path)


def memory(available_mib: int, pairs: int, guest_mib: int, name: str = "memory") -> Checkup:
    """Two guests of ``guest_mib`` a pair, and QEMU's own."""
    needed = pairs * 2 * (guest_mib + _QEMU_MIB) + _HOST_MIB
    found = f"{available_mib} MiB available, {needed} needed for {pairs} pair(s) of guests"
    if available_mib >= needed:
        return Checkup(name, Health.GOOD, found)
    way = "end what else uses memory" + (", or run with fewer --pairs" if pairs > 1 else "")
    return Checkup(name, Health.BAD, found, way)


def disk(free_mib: int, built: bool, cases: int, full_mib: int = 0) -> Checkup:
    """Room for what is built, the disks of the guests, and the record of a run.

    ``full_mib`` is what full guests need beyond that.
    """
    record = cases * _CASE_BYTES // _MIB
    needed = _RUN_MIB + record + full_mib + (0 if built else _BUILD_MIB)
    what = f"about {record} MiB of it for the record of {cases} cases"
    found = f"{free_mib} MiB free, {needed} needed, {what}"
    if free_mib >= needed:
        return Checkup("disk", Health.GOOD, found)
    way = "free some space, or name other disks with --state-dir DIR and --out DIR"
    return Checkup("disk", Health.BAD, found, way)


def full_guests(
    profile: Profile,
    state: StateDir,
    which: Callable[[str], str | None],
    status_of: Callable[[str], int | str],
) -> Iterator[Checkup]:
    """What full guests of ``profile`` need beyond the rest: programs, a vendor's image."""
    tools = _FULL_TOOLS if profile.cloud is None else _CLOUD_TOOLS
    for program in tools:
        yield program_there(program, which(program))
    if profile.cloud is None or is_fetched(profile.cloud, state):
        return
    status = status_of(profile.cloud.address)
    if status == 200:
        yield Checkup("cloud image", Health.GOOD, profile.cloud.address)
    else:
        found = f"{profile.cloud.address} cannot be had: {status}"
        way = "another copy of it: image = in the profile, also file:///..."
        yield Checkup("cloud image", Health.BAD, found, way)


def archive(profile: Profile, status_of: Callable[[str], int | str]) -> Checkup:
    """Whether the guest can be fetched; ``status_of`` an address is its HTTP status or a reason."""
    address = f"{profile.archive.rstrip('/')}/dists/{profile.suite}/InRelease"
    status = status_of(address)
    if status == 200:
        return Checkup("archive", Health.GOOD, profile.archive)
    way = "another mirror: HARNESS_MIRROR=URL; behind a proxy: http_proxy=URL"
    return Checkup("archive", Health.BAD, f"{address} cannot be had: {status}", way)


def build_root() -> Checkup:
    """Who may unpack a root tree: root, or a user with a range of subordinate ids."""
    if os.geteuid() == 0:
        return Checkup("build root", Health.GOOD, "built as root")
    user = os.environ.get("USER") or str(os.getuid())
    for path in ("/etc/subuid", "/etc/subgid"):
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        if not any(line.split(":")[0] in (user, str(os.getuid())) for line in lines):
            way = f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
            return Checkup("build root", Health.BAD, f"{user} has no range in {path}", way)
    return Checkup("build root", Health.GOOD, "built in a user namespace")


def module_build(wanted: Where, engine_version: str | None) -> Checkup:
    """``engine_version`` is that of the container engine that answers, None if none does."""
    if wanted is not Where.LOCAL and engine_version is not None:
        return Checkup("module build", Health.GOOD, f"in a container, by {engine_version}")
    if wanted is Where.CONTAINER:
        way = "start docker, name it with DOCKER_HOST, or leave out HARNESS_BUILD=container"
        return Checkup("module build", Health.BAD, "no container engine answers", way)
    why = "as HARNESS_BUILD says" if wanted is Where.LOCAL else "no container engine answers"
    return Checkup("module build", Health.GOOD, f"in the local build root: {why}")


def left_over(folders: int) -> Checkup:
    """``folders`` of runs that were killed."""
    if folders:
        found = f"{folders} killed run(s) left files or guests behind"
        return Checkup("left-over guests", Health.NOTE, found, "harness clean")
    return Checkup("left-over guests", Health.GOOD, "none")


def kvm(device: Path, accelerator: Accelerator | None, why_not: str = "") -> Checkup:
    """``accelerator`` is what a guest was seen to boot on, None when that was not tried."""
    way = _SLOWER
    if not device.exists():
        return Checkup("KVM", Health.NOTE, f"there is no {device}", way)
    if not os.access(device, os.R_OK | os.W_OK):
        found = f"{device} may not be opened by this user"
        return Checkup("KVM", Health.NOTE, found, "sudo usermod -aG kvm $USER, and log in again")
    if accelerator is Accelerator.KVM:
        return Checkup("KVM", Health.GOOD, "a guest boots on it")
    if accelerator is Accelerator.TCG:
        found = f"this is a {device} that never boots a guest (as under some nested hypervisors)"
        return Checkup("KVM", Health.NOTE, found, way)
    return Checkup("KVM", Health.NOTE, f"{device} is there; whether a guest boots on it: {why_not}")


def probing(seconds: tuple[float, float]) -> Checkup:
    """``seconds`` a daemon took to say what its QEMU can do, twice in a row."""
    first, second = seconds
    if second < _KEPT_S:
        said = f"looked at in {first:.1f} s, and once more in {second:.1f} s"
        return Checkup("QEMU there", Health.GOOD, said)
    found = (
        f"the daemon probes QEMU anew each time ({second:.0f} s, up to a minute on a busy host),"
        " at every start of a guest: a system libvirtd whose QEMU user cannot open /dev/kvm does so"
    )
    way = "there: usermod -aG kvm libvirt-qemu (or chmod 0666 /dev/kvm), and restart libvirtd"
    return Checkup("QEMU there", Health.NOTE, found, way)


def pool(folder: str, free_mib: int) -> Checkup:
    """The storage pool on the host of the guests; it is made by looking at it."""
    found = f"{folder}, {free_mib} MiB free, {_POOL_MIB} needed"
    if free_mib >= _POOL_MIB:
        return Checkup("pool there", Health.GOOD, found)
    return Checkup("pool there", Health.BAD, found, "define a pool named harness elsewhere there")


def kvm_there(accelerator: Accelerator | None, why_not: str = "") -> Checkup:
    """As ``kvm``, of a host whose devices cannot be looked at."""
    if accelerator is Accelerator.KVM:
        return Checkup("KVM", Health.GOOD, "a guest boots on it there")
    if accelerator is Accelerator.TCG:
        found = "offered there, but no guest boots on it, or QEMU's user may not open /dev/kvm"
        return Checkup("KVM", Health.NOTE, found, _SLOWER)
    return Checkup("KVM", Health.NOTE, f"there: {why_not}", _SLOWER)


def xfstests(folder: str | None) -> Checkup:
    """Optional: the tree that exported tests run under."""
    if not folder:
        found = "no tree named; only exported tests need one"
        return Checkup("xfstests", Health.NOTE, found, f"{_XFSTESTS}=DIR, an installed tree")
    missing = [name for name in ("check", "common/rc", "common/preamble")
               if not (Path(folder) / name).is_file()]  # fmt: skip
    if missing:
        found = f"{folder} has no {', '.join(missing)}"
        return Checkup("xfstests", Health.BAD, found, f"{_XFSTESTS}=DIR of an installed xfstests")
    return Checkup("xfstests", Health.GOOD, folder)


def _available_mib() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) >> 10
    raise OSError("/proc/meminfo has no line MemAvailable")


def _free_mib(path: Path) -> int:
    return shutil.disk_usage(path).free // _MIB


def _status_of(address: str) -> int | str:
    try:
        with urllib.request.urlopen(address, timeout=_ARCHIVE_TIMEOUT_S) as answer:
            # A file has none.
            return int(answer.status or 200)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", None) or error)


def _disk(patient: Patient, state: StateDir, found: _Found) -> Checkup:
    full_mib = 0
    if patient.guests is Guests.FULL and found.profile is not None:
        full_mib = _FULL_MIB[found.profile.cloud is not None]
    return disk(_free_mib(state.path), found.built, patient.cases, full_mib)


def _state(patient: Patient, found: _Found) -> Checkup:
    found.state = state_dir(patient.state_dir)
    return Checkup("state directory", Health.GOOD, str(found.state.path))


def _profile(patient: Patient, state: StateDir, found: _Found) -> Checkup:
    profile = found.profile = load_profile(patient.profile)
    found.built = is_built(profile, state)
    if not Path(profile.keyring).is_file():
        missing = f"{profile.name}: its keyring {profile.keyring} is missing"
        way = "install debian-archive-keyring or ubuntu-keyring"
        return Checkup("profile", Health.BAD, missing, way)
    how = "built" if found.built else "not built yet: the first run does, in some minutes"
    return Checkup("profile", Health.GOOD, f"{profile.name}, {how}")


def _module_build() -> Checkup:
    with engine() as found:
        return module_build(where(), None if found is None else found.version())


def _libvirt(patient: Patient, state: StateDir, found: _Found) -> Checkup:
    live = found.live = found.open.enter_context(live_dir(state))
    link = found.open.enter_context(connection(patient.connect, state, live))
    versions = link.hypervisor.versions()
    found.link = link
    said = ", ".join(f"{name} {version}" for name, version in versions.items())
    driver = patient.connect or "the embedded driver"
    if link.remote is not None:
        driver += f" on {link.remote.host()}"
    return Checkup("libvirt", Health.GOOD, f"{said}, by {driver}")


def _seconds_to_describe(remote: RemoteHypervisor) -> tuple[float, float]:
    return remote.seconds_to_describe_qemu(), remote.seconds_to_describe_qemu()


def _kvm(patient: Patient, state: StateDir, profile: Profile, found: _Found) -> Checkup:
    device, live, link = Path("/dev/kvm"), found.live, found.link
    if live is None or link is None:
        return kvm(device, None)
    there = link.remote is not None
    if there and not link.hypervisor.offers_kvm():
        return kvm_there(None, "none is offered")
    if not there and not os.access(device, os.R_OK | os.W_OK):
        return kvm(device, None)
    seen: Accelerator | None = None
    why_not = "" if patient.probe else "not tried"
    if not found.built:
        why_not = "seen when the profile is built"
    if not why_not:
        image = build_micro(profile, state, faults=False)
        seen = choose_accelerator(
            AcceleratorChoice.AUTO, state, live, link, image, lambda text: None
        )
    return kvm_there(seen, why_not) if there else kvm(device, seen, why_not)
