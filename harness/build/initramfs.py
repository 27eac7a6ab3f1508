# SPDX-License-Identifier: Apache-2.0
"""The micro-guest's initramfs: agent as init, file-system tools, kernel modules in load order."""

from __future__ import annotations

import lzma
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness import proc
from harness.build.rootfs import RootTree
from harness.errors import InfraError

TOOLS = (
    "/sbin/mke2fs",
    "/sbin/e2fsck",
    "/sbin/debugfs",
    "/sbin/mkfs.xfs",
    "/sbin/xfs_repair",
    "/bin/btrfs",
    "/sbin/mkfs.btrfs",
    "/sbin/dmsetup",
    "/usr/bin/fio",
    "/usr/sbin/drbdmeta",
    "/lib/drbd/drbdsetup-84",
    "/usr/sbin/chroot",
)
# Runs at every crash point; finding its libraries takes an emulated guest as long as the check.
_STATIC = {"/sbin/e2fsck": "/sbin/e2fsck.static"}
_PACK_TIMEOUT_S = 300
_UNPACK_TIMEOUT_S = 60
_LDD_LINE = re.compile(r"(?:=>\s*)?(/\S+)\s+\(0x")
MODULE_DIR = "/lib/modules"
_FOLDERS = (
    *("dev", "proc", "sys", "tmp", "run", "mnt", "etc/harness", "lib/modules"),
    "var/lock",  # DRBD's tools do nothing without
)


def module_order(root: RootTree, names: Iterable[str]) -> tuple[str, ...]:
    """Files (relative to the kernel's module folder) of ``names`` and all they need, in load order.

    Names built into the kernel are left out. Raises InfraError for a name the kernel has not got.
    """
    needs: dict[str, list[str]] = {}
    by_name: dict[str, str] = {}
    for line in _listing(root, "modules.dep"):
        file, _, rest = line.partition(":")
        needs[file] = rest.split()
        by_name[_module_name(file)] = file
    builtin = {_module_name(line) for line in _listing(root, "modules.builtin")}
    order: list[str] = []
    for name in names:
        wanted = name.replace("-", "_")
        if wanted in by_name:
            # modules.dep lists direct and indirect needs, the innermost last.
            order += [*reversed(needs[by_name[wanted]]), by_name[wanted]]
        elif wanted not in builtin:
            raise InfraError(f"kernel {root.release} has no module {name}")
    return tuple(dict.fromkeys(order))


def has_modules(root: RootTree, names: Iterable[str]) -> bool:
    """Whether the kernel has all of ``names``, as modules or built in."""
    files = [line.partition(":")[0] for line in _listing(root, "modules.dep")]
    there = {_module_name(file) for file in (*files, *_listing(root, "modules.builtin"))}
    return there >= {name.replace("-", "_") for name in names}


def _listing(root: RootTree, name: str) -> list[str]:
    try:
        return (root.modules / name).read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise InfraError(
            f"root tree {root.path} is damaged: {error}",
            hint="remove that folder; it is built again",
        ) from error


def _module_name(file: str) -> str:
    return Path(file).name.split(".ko")[0].replace("-", "_")


def guest_module_path(file: str) -> str:
    """Where ``file`` of the kernel's module folder lies in the micro-guest."""
    return f"{MODULE_DIR}/{Path(file).name.split('.ko')[0]}.ko"


def assemble(
    root: RootTree, agent: Path, boot_modules: Sequence[str], files: Sequence[str], tree: Path
) -> None:
    """Lay out the initramfs below the new folder ``tree``.

    ``boot_modules`` are loaded by the agent before it answers; ``files`` (a superset, both relative
    to the kernel's module folder) are put into the image, uncompressed.
    """
    for folder in _FOLDERS:
        (tree / folder).mkdir(parents=True)
    # Merged /usr, as in the release itself, so that each library path of ldd resolves.
    (tree / "usr").mkdir()
    for link in ("bin", "sbin", "lib64"):
        (tree / "usr" / link).mkdir(parents=True)
        (tree / link).symlink_to(f"usr/{link}")
    (tree / "usr" / "lib").symlink_to("../lib")
    shutil.copy2(agent, tree / "init")
    (tree / "etc" / "mtab").symlink_to("/proc/self/mounts")
    for program in [*TOOLS, *_libraries(root)]:
        _copy(root, _STATIC.get(program, program), program, tree)
    for file in files:
        install_module(root.modules / file, tree / guest_module_path(file).lstrip("/"))
    list_modules(boot_modules, tree)


def list_modules(files: Sequence[str], tree: Path) -> None:
    """Name in ``tree`` the modules that the agent loads as process 1, in this order."""
    listing = "".join(f"{guest_module_path(file)}\n" for file in files)
    (tree / "etc" / "harness" / "modules").write_text(listing, encoding="ascii")


def _libraries(root: RootTree) -> list[str]:
    output = proc.run(
        root.chroot("/usr/bin/ldd", *TOOLS), what="finding the tools' libraries", timeout_s=60
    )
    return sorted({match for match in _LDD_LINE.findall(output)})


def _copy(root: RootTree, original: str, path: str, tree: Path) -> None:
    source = (root.path / original.lstrip("/")).resolve()
    if not source.is_relative_to(root.path):
        # An absolute link inside the tree points into the tree.
        source = root.path / str(source).lstrip("/")
    target = tree / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copy2(source, target)


def install_module(source: Path, target: Path) -> None:
    """Copy a module of the kernel's own, uncompressed. InfraError if that cannot be."""
    if source.suffix == ".zst":
        words = ["zstd", "--decompress", "--quiet", "--force", str(source), "-o", str(target)]
        proc.run(words, what=f"unpacking {source.name}", timeout_s=_UNPACK_TIMEOUT_S)
        return
    data = source.read_bytes()
    if source.suffix == ".xz":
        data = lzma.decompress(data)
    elif source.suffix != ".ko":
        raise InfraError(f"module {source} is compressed in a way the harness does not know")
    target.write_bytes(data)


def pack(tree: Path, archive: Path) -> None:
    """Write ``tree`` as an uncompressed newc archive: unpacking dear bytes costs boot time."""
    names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    proc.run(
        ["cpio", "--create", "--format=newc", "--owner=0:0", "--quiet", "--reproducible",
         f"--file={archive}"],
        what=f"packing {archive.name}",
        timeout_s=_PACK_TIMEOUT_S,
        cwd=tree,
        feed="\n".join(names).encode(),
    )  # fmt: skip
