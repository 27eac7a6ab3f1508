# SPDX-License-Identifier: Apache-2.0
"""A disk image as vendors make them for clouds: partition, boot loader, kernel, cloud-init.

Made of the distribution's packages, without root's help from the kernel: the boot loader's two
parts are put where its installer would put them.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
from pathlib import Path

from harness import proc
from harness.build import disk, rootfs
from harness.build.cache import built, content_key
from harness.build.profile import Profile
from harness.config import StateDir

LABEL = "cloudimg-rootfs"
_PACKAGES = (
    *("linux-image-cloud-amd64", "initramfs-tools", "systemd-sysv", "udev", "dbus"),
    *("cloud-init", "netplan.io", "login", "passwd", "kmod", "iproute2", "iputils-ping"),
    *("e2fsprogs", "dmsetup", "grub-common", "grub-pc-bin"),
)
_SECTOR = 512
_START = 2048
"""First sector of the partition; before it is room for the boot loader."""
_BYTES = 3 << 30
_GRUB_MODULES = ("biosdisk", "part_msdos", "ext2", "linux", "normal", "configfile")
_GRUB_MENU = f"""\
set timeout=0
menuentry guest {{
    linux /vmlinuz root=LABEL={LABEL} ro console=tty1 console=ttyS0 quiet
    initrd /initrd.img
}}
"""
_FSTAB = f"LABEL={LABEL} / ext4 discard,errors=remount-ro 0 1\n"
_TOOL_TIMEOUT_S = 600


def cloud_image(profile: Profile, state: StateDir) -> Path:
    """The image, a qcow2 file, with the release and kernel of ``profile``; made once."""
    key = content_key(["1", repr(profile), *_PACKAGES, Path(__file__)])

    def make(work: Path) -> None:
        rootfs._bootstrap(profile, _PACKAGES, work)
        tree = work / "root"
        raw = work / "image.raw"
        _make_raw(tree, work, raw)
        proc.run(
            ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, work / "image.img"],
            what="making the image of the test",
            timeout_s=_TOOL_TIMEOUT_S,
        )
        raw.unlink()
        shutil.rmtree(tree)

    return built(state.cache, f"cloud-test-{profile.name}-{key}", make) / "image.img"


def profile_of(image: Path, base: Path, keys: str = "") -> str:
    """The text of a profile with guests from ``image``, and all else as in the profile ``base``."""
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    text = base.read_text(encoding="utf-8")
    return f'{text}source = "cloud-image"\nimage = "file://{image}"\nsha256 = "{digest}"\n{keys}'


def _make_raw(tree: Path, work: Path, raw: Path) -> None:
    core = _boot_loader(tree)
    (tree / "boot" / "grub").mkdir(exist_ok=True)
    (tree / "boot" / "grub" / "grub.cfg").write_text(_GRUB_MENU, encoding="ascii")
    (tree / "etc" / "fstab").write_text(_FSTAB, encoding="ascii")
    (tree / "dev" / "null").unlink()
    size_kib = (_BYTES - _START * _SECTOR) >> 10
    with open(raw, "wb") as file:
        file.truncate(_BYTES)
    proc.run(
        [*rootfs.as_root(), "mke2fs", "-q", "-F", "-t", "ext4", "-L", LABEL,
         "-O", ",".join(disk._FEATURES), "-E", f"offset={_START * _SECTOR},root_owner=0:0",
         "-d", tree, raw, f"{size_kib}k"],
        what="making the file system of the test's image",
        timeout_s=_TOOL_TIMEOUT_S,
    )  # fmt: skip
    boot = (tree / "usr/lib/grub/i386-pc/boot.img").read_bytes()
    with open(raw, "r+b") as file:
        file.write(boot[:446] + _partition_table())
        file.write(core)
        assert file.tell() <= _START * _SECTOR, "no room for the boot loader"


def _boot_loader(tree: Path) -> bytes:
    """The part that comes after the first sector and reads menu and kernel."""
    root = rootfs.RootTree(tree, "")
    proc.run(
        root.chroot("/usr/bin/grub-mkimage", "-O", "i386-pc", "-o", "/boot/core.img",
                    "-p", "(hd0,msdos1)/boot/grub", *_GRUB_MODULES),
        what="making the boot loader of the test's image",
        timeout_s=_TOOL_TIMEOUT_S,
    )  # fmt: skip
    core = tree / "boot" / "core.img"
    data = core.read_bytes()
    core.unlink()
    return data


def _partition_table() -> bytes:
    """One partition, active, of Linux's type, with addresses by sector number alone."""
    sectors = _BYTES // _SECTOR - _START
    nowhere = b"\xfe\xff\xff"
    entry = struct.pack("<B3sB3sII", 0x80, nowhere, 0x83, nowhere, _START, sectors)
    return entry + bytes(48) + b"\x55\xaa"
