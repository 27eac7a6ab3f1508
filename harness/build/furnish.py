# SPDX-License-Identifier: Apache-2.0
"""What makes a full guest of a root tree: units, login, no time lost at boot.

``vm_images/full`` is laid over the tree. Only the guest's own things are on the disk: agent and
module come with the kernel (``full.py``), so that a changed one does not need another disk.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.build import initramfs
from harness.build.kmod import DKMS_FILE, MODULE_FILE
from harness.build.rootfs import RootTree
from harness.config import CHECKOUT
from harness.errors import InfraError

OVERLAY = CHECKOUT / "vm_images" / "full"
PAYLOAD = "/run/harness"
"""Where a full guest finds what came with the kernel: the agent mounts it there."""
ROOT_PASSWORD = "harness"
# Of ROOT_PASSWORD, with few rounds: emulation is slow, and there is no network to be attacked by.
PASSWORD_HASH = (
    "$6$rounds=1000$harness$ABzS.Hs0v0GtTZmCfClzQ4b7.RqUk6CgyHflYuv"
    ".eRVaY5efQYMRAwAyhZgni17IAeG09yX89Sh4zORAtvNmA0"
)
_SYSTEMD = "etc/systemd/system"
_ENABLED = ("harness-agent.service", "harness-console.service")
# Waits for what never comes, writes what nobody keeps, or runs when a test does.
MASKED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "blk-availability.service",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "dpkg-db-backup.timer",
    "drbd.service",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty-static.service",
    "getty@tty1.service",
    "hwclock.service",
    "kmod-static-nodes.service",
    "modprobe@configfs.service",
    "modprobe@drm.service",
    "modprobe@efi_pstore.service",
    "modprobe@fuse.service",
    "proc-sys-fs-binfmt_misc.automount",
    "quota.service",
    "quotarpc.service",
    "serial-getty@ttyS0.service",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-journal-flush.service",
    "systemd-logind.service",
    "systemd-machine-id-commit.service",
    "systemd-networkd-wait-online.service",
    "systemd-pcrphase-sysinit.service",
    "systemd-pcrphase.service",
    "systemd-pstore.service",
    "systemd-random-seed.service",
    "systemd-remount-fs.service",
    "systemd-repart.service",
    "systemd-sysusers.service",
    "systemd-timesyncd.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-update-utmp.service",
    "uuidd.socket",
    "xfs_scrub_all.timer",
)
# Read by systemd-modules-load: the agent loads what a test needs.
_MASKED_LOADS = ("drbd.conf", "modules.conf")
# These open every disk that appears, to see what is on it.
MASKED_RULES = (
    "13-dm-disk.rules",
    "60-persistent-storage-dm.rules",
    "60-persistent-storage.rules",
    "64-btrfs-dm.rules",
    "64-btrfs-zoned.rules",
    "64-btrfs.rules",
    "65-drbd.rules",
    "96-e2scrub.rules",
)


def sources() -> tuple[str | Path, ...]:
    """What decides how a tree is furnished, for the disk's key."""
    return (
        OVERLAY,
        PASSWORD_HASH,
        module_folder(),
        *_ENABLED,
        *MASKED,
        *MASKED_RULES,
        *_MASKED_LOADS,
    )


def furnish(root: RootTree, stage: Path, modules: Sequence[str], name: str) -> None:
    """Make the staged tree ``stage`` of ``root`` bootable as a guest of profile ``name``.

    ``modules``: files relative to the kernel's module folder that the agent is to find where it
    finds them in a micro-guest, and not compressed. Files in ``stage`` are replaced, not written.
    """
    for file in (path for path in OVERLAY.rglob("*") if path.is_file()):
        _put(stage / file.relative_to(OVERLAY), file.read_bytes())
    _put(stage / "etc" / "debian_chroot", f"{name}\n".encode())
    _put(stage / "etc" / "shadow", _with_password(stage / "etc" / "shadow"), mode=0o640)
    _link(stage / _SYSTEMD / "default.target", "/lib/systemd/system/multi-user.target")
    for unit in _ENABLED:
        _link(stage / _SYSTEMD / "multi-user.target.wants" / unit, f"../{unit}")
    for unit in MASKED:
        _link(stage / _SYSTEMD / unit, "/dev/null")
    for rule in MASKED_RULES:
        _link(stage / "etc" / "udev" / "rules.d" / rule, "/dev/null")
    for load in _MASKED_LOADS:
        _link(stage / "etc" / "modules-load.d" / load, "/dev/null")
    for module in modules:
        target = stage / initramfs.guest_module_path(module).lstrip("/")
        initramfs.install_module(root.modules / module, target)
    _link(stage / initramfs.MODULE_DIR.lstrip("/") / MODULE_FILE, f"{PAYLOAD}/{MODULE_FILE}")
    _link(stage / "usr" / "src" / module_folder(), f"{PAYLOAD}/src")
    _link(stage / "usr" / "src" / module_folder().rpartition("-")[0], module_folder())


def module_folder() -> str:
    """The folder that DKMS looks for below ``/usr/src``: name and version of the module."""
    text = DKMS_FILE.read_text(encoding="ascii")
    words = dict(re.findall(r'^(PACKAGE_\w+)="([^"]+)"$', text, re.MULTILINE))
    try:
        return f"{words['PACKAGE_NAME']}-{words['PACKAGE_VERSION']}"
    except KeyError as error:
        raise InfraError(f"{DKMS_FILE} does not name {error}") from error


def _with_password(shadow: Path) -> bytes:
    """The password file with that of root set."""
    text, found = re.subn(
        r"^root:[^:]*:",
        lambda _: f"root:{PASSWORD_HASH}:",
        shadow.read_text("ascii"),
        flags=re.MULTILINE,
    )
    if found != 1:
        raise InfraError(f"{shadow} has {found} lines for root, expected one")
    return text.encode()


def _put(path: Path, data: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # The old one is the root tree's as well.
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(target)
