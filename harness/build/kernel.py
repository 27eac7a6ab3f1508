# SPDX-License-Identifier: Apache-2.0
"""Build a kernel of our own configuration from the distribution's source package.

The work is done inside the root tree that has the package and its compiler, so that the result does
not depend on the host. It takes a quarter of an hour on two cores; the result is cached by content.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from harness import proc
from harness.build.cache import built, content_key
from harness.config import StateDir
from harness.errors import InfraError

KERNEL_TOOLS = (
    "bc",
    "bison",
    "flex",
    "gcc",
    "kmod",
    "libc6-dev",
    "libelf-dev",
    "lz4",
    "make",
    "xz-utils",
)
"""Packages with which a kernel is built, beside its source."""

_TIMEOUT_S = 4 * 3600
_FORMAT = "1"
_FRAGMENT = "harness.config"
_SETTING = re.compile(r"(?:# )?(CONFIG_\w+)(=| is not set)")
# What kbuild reads to build a module outside of the tree; sources and objects are 2 GB.
_KEPT_FOLDERS = ("include", "scripts", "arch/x86/include", "arch/x86/scripts")
_KEPT_FILES = (".config", "Makefile", "Module.symvers", "tools/objtool/objtool")
_KEPT_IN_ARCH = ("Makefile*", "Kbuild*")


def build_kernel(builder: Path, source: str, config: Path, state: StateDir) -> Path:
    """A folder to be laid over a root tree: the kernel, its modules and their build tree.

    ``builder`` is the root tree with package ``source``. ``config`` names what is to be on, built
    in or set; all else is off. Raises ToolError when it does not build, InfraError when the
    configuration cannot be had as it is asked for.
    """
    key = content_key([_FORMAT, builder.parent.name, source, config])

    def compile_kernel(work: Path) -> None:
        tree = builder / "build" / work.name.lstrip(".")
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir(parents=True)
        try:
            _compile(builder, tree, source, config, work)
        finally:
            shutil.rmtree(tree, ignore_errors=True)

    return built(state.cache, f"kernel-{source}-{config.stem}-{key}", compile_kernel)


def lay_kernel(root: Path, kernel: Path, work: Path) -> None:
    """Make ``work/root`` the root tree ``root`` with ``kernel`` in it.

    Both are only read by what uses them, so the files are links and cost no space.
    """
    for tree in (root, kernel):
        shutil.copytree(
            tree, work / "root", symlinks=True, copy_function=os.link, dirs_exist_ok=True
        )


def missing_settings(fragment: str, config: str) -> tuple[str, ...]:
    """Names of the settings in ``fragment`` that do not hold in ``config``, in order.

    The kernel's configuration drops without a word what depends on something that is off.
    """
    got = _settings(config)
    return tuple(name for name, value in _settings(fragment).items() if got.get(name, "n") != value)


def _settings(text: str) -> dict[str, str]:
    found = {}
    for line in text.splitlines():
        if match := _SETTING.match(line):
            found[match[1]] = line.partition("=")[2] if match[2] == "=" else "n"
    return found


def _compile(builder: Path, tree: Path, source: str, config: Path, work: Path) -> None:
    inside = f"/{tree.relative_to(builder)}"
    what = f"building a kernel from {source} with {config.name}"

    def run(*words: str) -> None:
        proc.run(_isolated(builder, *words), what=what, timeout_s=_TIMEOUT_S)

    archive = f"/usr/src/{source}.tar.xz"
    if not (builder / archive.lstrip("/")).is_file():
        raise InfraError(f"{what}: package {source} has no {archive}")
    run("tar", "-C", inside, "--strip-components=1", "-xf", archive)
    shutil.copyfile(config, tree / _FRAGMENT)
    run("make", "-C", inside, f"KCONFIG_ALLCONFIG={_FRAGMENT}", "allnoconfig")
    fragment, finished = (
        path.read_text(encoding="utf-8") for path in (tree / _FRAGMENT, tree / ".config")
    )
    if missing := missing_settings(fragment, finished):
        raise InfraError(
            f"{what}: {', '.join(missing)} cannot be set so",
            hint=f"in {config}: something they depend on is off, or this kernel has not got them",
        )
    run("make", "-C", inside, f"-j{os.cpu_count() or 1}", "bzImage", "modules")
    run("make", "-C", inside, f"INSTALL_MOD_PATH={inside}/.out", "modules_install")
    _collect(tree, work)


def _isolated(root: Path, *words: str) -> list[str | Path]:
    """``words`` inside ``root`` with a working /dev/null, ended together with us.

    In the tree it is a plain file: what one rule writes there the next would read, and the kernel's
    build asks the compiler many questions that way.
    """
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    if os.geteuid() != 0:
        namespaces.append("--map-root-user")
    script = 'mount --bind /dev/null "$0/dev/null" && exec chroot "$0" "$@"'
    path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
    named = ("KBUILD_BUILD_USER=harness", "KBUILD_BUILD_HOST=harness")
    return [
        *namespaces,
        "sh",
        "-c",
        script,
        root,
        "/usr/bin/env",
        "-i",
        path,
        "LC_ALL=C",
        *named,
        *words,
    ]


def _collect(tree: Path, work: Path) -> None:
    release = (tree / "include" / "config" / "kernel.release").read_text(encoding="ascii").strip()
    modules = work / "lib" / "modules" / release
    modules.parent.mkdir(parents=True)
    shutil.move(tree / ".out" / "lib" / "modules" / release, modules)
    for link in ("build", "source"):
        (modules / link).unlink(missing_ok=True)
    for file in _build_tree(tree):
        target = modules / "build" / file.relative_to(tree)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target, follow_symlinks=False)
    boot = work / "boot"
    boot.mkdir()
    shutil.copyfile(tree / "arch" / "x86" / "boot" / "bzImage", boot / f"vmlinuz-{release}")
    shutil.copyfile(tree / ".config", boot / f"config-{release}")
    shutil.copyfile(tree / "System.map", boot / f"System.map-{release}")


def _build_tree(tree: Path) -> Iterator[Path]:
    for folder in _KEPT_FOLDERS:
        files = (path for path in (tree / folder).rglob("*") if not path.is_dir())
        yield from (path for path in files if path.suffix not in (".o", ".cmd"))
    for pattern in _KEPT_IN_ARCH:
        yield from (tree / "arch" / "x86").glob(pattern)
    yield from (tree / name for name in _KEPT_FILES if (tree / name).exists())
