# SPDX-License-Identifier: Apache-2.0
"""The root tree of a profile: guest kernel, its headers and compiler, file-system tools.

One tree serves as the source of the micro-guest's files, as the build root of the kernel module
and the agent, and as the root disk of full guests, so that all belong to the same release.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import proc
from harness.build.cache import built, content_key
from harness.build.kernel import KERNEL_TOOLS, build_kernel, lay_kernel
from harness.build.profile import Profile
from harness.config import StateDir
from harness.errors import InfraError

_PACKAGES = (
    "btrfs-progs",
    "dmsetup",
    "drbd-utils",
    "e2fsck-static",
    "e2fsprogs",
    "fio",
    "gcc",
    "keyutils",
    "kmod",
    "libc6-dev",
    "make",
    "mount",
    "xfsprogs",
)
# What a full guest boots to, and what people and xfstests look for in it.
_FULL_PACKAGES = (
    "acl",
    "attr",
    "bc",
    "bsdextrautils",
    "gawk",
    "iproute2",
    "iputils-ping",
    "less",
    "libcap2-bin",
    "liburing2",
    "login",
    "passwd",
    "perl",
    "procps",
    "psmisc",
    "quota",
    "strace",
    "systemd-sysv",
    "udev",
    "uuid-runtime",
    "vim-tiny",
)
# The kernel's objtool looks at every object of a module; packaged headers bring what it needs.
_OBJTOOL_NEEDS = ("libelf1",)
# Nothing in a guest reads documentation or translations: a third of the tree.
_EXCLUDES = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
_BUILD_TIMEOUT_S = 1800
MAKE_TIMEOUT_S = 600
BUILD_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
_FORMAT = "1"


def as_root() -> list[str]:
    """What a command is begun with so that the tree's files are root's to it."""
    return [] if os.geteuid() == 0 else ["unshare", "--map-root-user"]


@dataclass(frozen=True, slots=True)
class RootTree:
    """An unpacked root file system with exactly one kernel."""

    path: Path
    release: str
    """Kernel release, as ``uname -r`` would say."""

    @property
    def kernel(self) -> Path:
        return self.path / "boot" / f"vmlinuz-{self.release}"

    @property
    def modules(self) -> Path:
        return self.path / "lib" / "modules" / self.release

    def chroot(self, *words: str) -> list[str]:
        """``words`` as a command inside the tree; without root, in a user namespace."""
        return [*as_root(), "chroot", str(self.path), *words]


def build_root(profile: Profile, state: StateDir) -> RootTree:
    """The root tree of ``profile``, made by mmdebstrap on first use (two minutes).

    Where the profile names a kernel source, that kernel is built first (much longer).
    Raises ToolError when the archive cannot be reached or a tool fails.
    """
    if profile.kernel_source is None or profile.kernel_config is None:
        return _describe(_tree(profile, "root", _guest_packages(profile), state) / "root")
    folder = _tree(profile, "root", _guest_packages(profile), state)
    # Apart from the guest's tree, so that a change of its packages does not build the kernel again.
    builder = _tree(profile, "builder", (profile.kernel_source, *KERNEL_TOOLS), state)
    kernel = build_kernel(builder / "root", profile.kernel_source, profile.kernel_config, state)
    name = f"root-{profile.name}-{content_key([folder.name, kernel.name])}"
    merged = built(state.cache, name, lambda work: lay_kernel(folder / "root", kernel, work))
    return _describe(merged / "root")


def is_built(profile: Profile, state: StateDir) -> bool:
    """Whether the guest's own part of the root tree is there: nothing has to be fetched then."""
    return (state.cache / _tree_name(profile, "root", _guest_packages(profile))).is_dir()


def _guest_packages(profile: Profile) -> tuple[str, ...]:
    needs = _OBJTOOL_NEEDS if profile.kernel_source else ()
    return (*_PACKAGES, *_FULL_PACKAGES, *profile.packages, *needs)


def _tree_name(profile: Profile, kind: str, tools: Sequence[str]) -> str:
    # The release's main component alone is what everybody has: it has no part in the key.
    more = profile.components if profile.components != ("main",) else ()
    return f"{kind}-{profile.name}-{content_key([_FORMAT, repr(profile), *more, *tools])}"


def _tree(profile: Profile, kind: str, tools: Sequence[str], state: StateDir) -> Path:
    packages = (*profile.kernel_packages, *tools)
    name = _tree_name(profile, kind, tools)
    return built(state.cache, name, lambda work: _bootstrap(profile, packages, work))


def make_inside(
    root: RootTree, sources: Sequence[Path], words: Sequence[str], product: Path, what: str
) -> None:
    """Run ``make`` on copies of ``sources`` inside ``root`` and move out the file ``product``.

    Raises ToolError with the compiler's last lines when it fails.
    """
    folder = f"/build/{product.parent.name}"
    inside = root.path / folder.lstrip("/")
    shutil.rmtree(inside, ignore_errors=True)
    inside.mkdir(parents=True)
    try:
        for source in sources:
            shutil.copy2(source, inside)
        environment = [f"{name}={value}" for name, value in BUILD_ENVIRONMENT.items()]
        proc.run(
            root.chroot("/usr/bin/env", *environment, "make", "-C", folder, *words),
            what=what,
            timeout_s=MAKE_TIMEOUT_S,
        )
        shutil.copy2(inside / product.name, product)
    finally:
        shutil.rmtree(inside, ignore_errors=True)


def _bootstrap(profile: Profile, packages: Sequence[str], work: Path) -> None:
    _require(profile)
    archive = work / "root.tar"
    words: list[str | Path] = ["mmdebstrap", "--variant=apt"]
    words += ['--aptopt=Apt::Install-Recommends "false"']
    # A server that does not answer is given up in a minute, not in ten.
    words += ['--aptopt=Acquire::http::Timeout "20"', '--aptopt=Acquire::Retries "1"']
    words += [f"--dpkgopt=path-exclude={pattern}" for pattern in _EXCLUDES]
    words += [f"--include={','.join(packages)}"]
    words += [profile.suite, archive, *profile.sources()]
    proc.run(
        words,
        what=f"building the root tree of profile {profile.name} from {profile.archive}",
        timeout_s=_BUILD_TIMEOUT_S,
        hint=f"can {profile.archive} be reached? another mirror of it: HARNESS_MIRROR=URL",
    )
    root = work / "root"
    root.mkdir()
    # Device nodes cannot be made without root and no part of the tree needs them but /dev/null.
    proc.run(
        ["tar", "-C", root, "--exclude=./dev/*", "-xf", archive],
        what=f"unpacking the root tree of profile {profile.name}",
        timeout_s=_BUILD_TIMEOUT_S,
    )
    (root / "dev" / "null").touch()
    archive.unlink()


def _require(profile: Profile) -> None:
    if shutil.which("mmdebstrap") is None:
        raise InfraError("mmdebstrap is not installed", hint="run 'make setup'")
    if not Path(profile.keyring).is_file():
        raise InfraError(
            f"keyring {profile.keyring} of profile {profile.name} is missing",
            hint=f"with its keys is checked what comes from {profile.archive}, or its mirror named "
            "by HARNESS_MIRROR=URL; it is in the package debian-archive-keyring, or ubuntu-keyring "
            "of Ubuntu's archive",
        )


def _describe(path: Path) -> RootTree:
    releases = sorted(entry.name for entry in (path / "lib" / "modules").glob("*"))
    if len(releases) != 1:
        raise InfraError(
            f"root tree {path} has {len(releases)} kernels ({', '.join(releases)}), expected one",
            hint="remove that folder; it is built again",
        )
    return RootTree(path, releases[0])
