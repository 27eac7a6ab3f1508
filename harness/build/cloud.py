# SPDX-License-Identifier: Apache-2.0
"""A vendor's cloud image as a full guest: its own boot loader, kernel and init.

What makes it a guest of the harness is on a second disk that cloud-init looks for (``seed.py``).
Agent and module are built in the root tree of the same profile: the kernel that it names has to be
the image's, or the module does not fit.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness import proc
from harness.build import furnish, initramfs
from harness.build.cache import built, content_key
from harness.build.disk import DISK_FILE
from harness.build.download import fetch
from harness.build.full import FULL_MEMORY_MIB, build_initrd, lay_payload
from harness.build.guest_agent import build_agent
from harness.build.image import MicroImage, image_of, on_demand_files
from harness.build.kmod import build_module
from harness.build.profile import CloudSource, Profile
from harness.build.rootfs import RootTree, build_root
from harness.config import StateDir
from harness.errors import InfraError

_TIMEOUT_S = 60
_UNPACK_TIMEOUT_S = 1800
_FORMATS = ("qcow2", "raw")


@dataclass(frozen=True, slots=True)
class CloudImage(MicroImage):
    """A vendor's disk and what is given to it. Kernel and initramfs are for probing the host."""

    disk: Path = Path()
    """The vendor's image as a raw file, never written to."""
    payload: Path = Path()
    """Folder with agent, module, its source, and the kernel's modules that a test may need."""


def build_cloud(
    profile: Profile, source: CloudSource, state: StateDir, *, faults: bool = False
) -> CloudImage:
    """Fetch, build, or find in the cache, what a guest of ``profile`` from ``source`` needs."""
    disk = _build_disk(source, state)
    root = build_root(profile, state)
    return image_of(
        CloudImage,
        profile,
        root,
        build_initrd(profile, root, state, faults),
        memory_mib=max(FULL_MEMORY_MIB, profile.memory_mib),
        disk=disk,
        payload=_build_payload(profile, root, state, faults),
    )


def _build_disk(source: CloudSource, state: StateDir) -> Path:
    """The image at ``source``, unpacked: no format of it is looked at again."""

    def make(work: Path) -> None:
        fetch(source.address, source.sha256, work / "image")
        kind = format_of(work / "image", source.address)
        proc.run(
            ["qemu-img", "convert", "-f", kind, "-O", "raw", work / "image", work / DISK_FILE],
            what=f"unpacking {source.address}",
            timeout_s=_UNPACK_TIMEOUT_S,
        )
        (work / "image").unlink()

    return built(state.cache, _disk_name(source), make) / DISK_FILE


def is_fetched(source: CloudSource, state: StateDir) -> bool:
    """Whether the image is there: nothing has to be fetched for it then."""
    return (state.cache / _disk_name(source)).is_dir()


def _disk_name(source: CloudSource) -> str:
    return f"cloud-{source.sha256[:16]}"


def format_of(disk: Path, name: str) -> str:
    """The format of the image ``disk``; InfraError unless it is one that stands by itself."""
    told = proc.run(
        ["qemu-img", "info", "--output=json", disk],
        what=f"looking at {name}",
        timeout_s=_TIMEOUT_S,
    )
    facts = json.loads(told)
    if facts["format"] not in _FORMATS:
        raise InfraError(f"{name} is {facts['format']}, not {' or '.join(_FORMATS)}")
    more = facts.get("format-specific", {}).get("data", {}).get("data-file")
    if other := facts.get("backing-filename") or more:
        # Whatever file of the host that names, the guest would be given it.
        raise InfraError(f"{name} is only a layer above another file: {other}")
    return str(facts["format"])


def _build_payload(profile: Profile, root: RootTree, state: StateDir, faults: bool) -> Path:
    agent, module = build_agent(root, state), build_module(root, state, faults=faults)
    files = on_demand_files(root)
    key = content_key(["1", root.path.parent.name, agent, module, *files, *furnish.sources()])

    def lay(work: Path) -> None:
        folder = work / "payload"
        lay_payload(folder, agent, module)
        (folder / "modules").mkdir()
        for file in files:
            target = folder / "modules" / Path(initramfs.guest_module_path(file)).name
            initramfs.install_module(root.modules / file, target)
        shutil.copytree(furnish.OVERLAY, folder / "full")
        for name, text in _words().items():
            (folder / name).write_text(text, encoding="ascii")

    return built(state.cache, f"payload-{profile.name}-{key}", lay) / "payload"


def _words() -> dict[str, str]:
    """What ``setup.sh`` reads, by the names of its files."""
    timers = [unit for unit in furnish.MASKED if unit.endswith(".timer")]
    return {
        "password": f"{furnish.PASSWORD_HASH}\n",
        "masked-timers": "".join(f"{unit}\n" for unit in timers),
        "masked-rules": "".join(f"{rule}\n" for rule in furnish.MASKED_RULES),
    }
