# SPDX-License-Identifier: Apache-2.0
"""Building without building: cache, profiles, order of modules, the archive a guest boots."""

from __future__ import annotations

import errno
import lzma
import os
import subprocess
import threading
from pathlib import Path

import pytest

from harness.build import initramfs, rootfs
from harness.build.cache import built, content_key
from harness.build.kernel import lay_kernel, missing_settings
from harness.build.profile import Profile, load_profile, profile_names
from harness.build.rootfs import RootTree
from harness.errors import InfraError, UsageError
from harness.proc import ToolError

RELEASE = "6.1.0-test"
GOOD = """\
suite = "bookworm"
archive = "http://archive.example/debian"
security = "http://archive.example/security"
keyring = "/usr/share/keyrings/k.gpg"
kernel_packages = ["linux-image-cloud-amd64"]
"""


def make(work: Path) -> None:
    (work / "product").write_text("made", encoding="ascii")


def test_built_once(tmp_path: Path) -> None:
    calls: list[Path] = []

    def build(work: Path) -> None:
        calls.append(work)
        make(work)

    folder = built(tmp_path / "cache", "thing-1", build)
    assert folder == tmp_path / "cache" / "thing-1"
    assert built(tmp_path / "cache", "thing-1", build) == folder
    assert (folder / "product").read_text(encoding="ascii") == "made"
    assert len(calls) == 1
    assert not calls[0].exists()


@pytest.mark.parametrize("error", [ToolError("make failed"), KeyboardInterrupt(), OSError("x")])
def test_a_failed_build_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def build(work: Path) -> None:
        make(work)
        raise error

    expected = InfraError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        built(tmp_path, "thing", build)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
    assert built(tmp_path, "thing", make).is_dir()


def test_what_a_killed_build_left_is_not_taken_up(tmp_path: Path) -> None:
    (tmp_path / ".thing.tmp").mkdir()
    (tmp_path / ".thing.tmp" / "half").touch()
    folder = built(tmp_path, "thing", make)
    assert [path.name for path in folder.iterdir()] == ["product"]


def test_a_full_disk_is_said_with_the_way_out(tmp_path: Path) -> None:
    def build(work: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(work))

    with pytest.raises(InfraError, match="no space left while building thing") as caught:
        built(tmp_path, "thing", build)
    assert "--state-dir" in str(caught.value.hint)


def test_a_cache_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(InfraError, match="cannot build thing"):
        built(tmp_path / "cache", "thing", make)


def test_one_build_at_a_time(tmp_path: Path) -> None:
    entered, go, calls = threading.Event(), threading.Event(), list[int]()

    def build(work: Path) -> None:
        calls.append(1)
        make(work)
        entered.set()
        assert go.wait(10)

    threads = [threading.Thread(target=built, args=(tmp_path, "thing", build)) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert entered.wait(10)
    go.set()
    for thread in threads:
        thread.join()
    assert calls == [1]


def test_a_key_depends_on_names_contents_and_borders(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1", encoding="ascii")
    (tmp_path / "b").write_text("2", encoding="ascii")
    before = content_key(["x", tmp_path])
    assert before == content_key(["x", tmp_path])
    keys = {before, content_key(["y", tmp_path]), content_key(["x", tmp_path / "a"])}
    (tmp_path / "a").write_text("2", encoding="ascii")
    keys.add(content_key(["x", tmp_path]))
    (tmp_path / "a").rename(tmp_path / "c")
    keys |= {content_key(["x", tmp_path]), content_key(["ab", "c"]), content_key(["a", "bc"])}
    assert len(keys) == 7


def test_profiles_that_come_with_the_harness() -> None:
    assert {"debian-12", "debian-12-6.12"} <= set(profile_names())
    for name in profile_names():
        profile = load_profile(name)
        assert profile.name == name
        assert len(profile.sources()) == 3
        assert all("signed-by=/" in line for line in profile.sources()), "nothing unverified"


def profile_from(folder: Path, text: str | bytes) -> Profile:
    path = folder / "mine.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_profile(str(path))


def test_a_profile_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_MIRROR", raising=False)
    assert profile_from(tmp_path, GOOD).name == "mine"
    monkeypatch.setenv("HARNESS_MIRROR", "http://mirror.example/debian")
    mirrored = profile_from(tmp_path, GOOD)
    assert mirrored.archive == "http://mirror.example/debian"
    assert mirrored.security == "http://archive.example/security"


def test_components_and_packages_of_a_profile(tmp_path: Path) -> None:
    more = 'components = ["main", "universe"]\npackages = ["libaio1t64"]\n'
    profile = profile_from(tmp_path, GOOD + more)
    assert all(line.endswith(" main universe") for line in profile.sources())
    assert profile.packages == ("libaio1t64",)
    plain = profile_from(tmp_path, GOOD)
    assert all(line.endswith(" main") for line in plain.sources())
    assert len({_root_name(profile), _root_name(plain)}) == 2
    # A kernel takes an hour to build: what is installed in guests must not name its builder.
    other = profile_from(tmp_path, GOOD + 'packages = ["libaio1t64"]\n')
    assert rootfs._tree_name(other, "builder", ()) == rootfs._tree_name(plain, "builder", ())
    assert _root_name(other) != _root_name(plain)


def _root_name(profile: Profile) -> str:
    return rootfs._tree_name(profile, "root", rootfs._guest_packages(profile))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("suite =", "suit ="), ["unknown key 'suit'"]),
        (('suite = "bookworm"\n', ""), ["key 'suite' is missing"]),
        (('"bookworm"', "12"), ["suite", "12"]),
        (('"bookworm"', '" "'), ["suite", "' '"]),
        (('["linux-image-cloud-amd64"]', '"linux-image"'), ["kernel_packages", "'linux-image'"]),
        (('["linux-image-cloud-amd64"]', "[]"), ["kernel_packages", "[]"]),
        (('["linux-image-cloud-amd64"]', "[1]"), ["kernel_packages", "[1]"]),
        (('"bookworm"', "bookworm"), ["cannot be read", "line 1"]),
    ],
)
def test_a_bad_profile_is_told_by_key_and_value(
    tmp_path: Path, change: tuple[str, str], named: list[str]
) -> None:
    assert change[0] in GOOD
    with pytest.raises(UsageError) as caught:
        profile_from(tmp_path, GOOD.replace(*change))
    for text in ["mine.toml", *named]:
        assert text in str(caught.value)


SOURCE = 'kernel_source = "linux-source-6.12"\nkernel_config = "k.config"\n'
FROM_SOURCE = GOOD.replace('kernel_packages = ["linux-image-cloud-amd64"]\n', SOURCE)


def test_a_profile_with_a_kernel_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "k.config").touch()
    profile = profile_from(tmp_path, FROM_SOURCE)
    assert profile.kernel_packages == ()
    assert profile.kernel_source == "linux-source-6.12"
    assert profile.kernel_config == tmp_path / "k.config", "beside the profile, not the caller"
    assert (profile.kernel_arguments, profile.memory_mib) == ((), 512)


def test_what_a_profile_says_about_its_guests(tmp_path: Path) -> None:
    text = GOOD + 'kernel_arguments = ["a=1", "b"]\nmemory_mib = 1024\npatience = 3\n'
    profile = profile_from(tmp_path, text)
    assert (profile.kernel_arguments, profile.memory_mib) == (("a=1", "b"), 1024)
    assert (profile.patience, profile_from(tmp_path, GOOD).patience) == (3, 1)
    assert repr(profile) == repr(profile_from(tmp_path, GOOD)), "the same root tree serves both"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (FROM_SOURCE + 'kernel_packages = ["x"]\n', ["kernel_source", "'kernel_packages'"]),
        (FROM_SOURCE.replace("k.config", "none.config"), ["kernel_config", "none.config"]),
        (GOOD + SOURCE.splitlines()[1], ["'kernel_config'", "kernel_source"]),
        (SOURCE.splitlines()[0] + "\n", ["'suite' is missing"]),
        (FROM_SOURCE.replace('kernel_config = "k.config"\n', ""), ["'kernel_config' is missing"]),
        (GOOD + "kernel_arguments = [1]\n", ["kernel_arguments", "[1]"]),
        (GOOD + "memory_mib = 0\n", ["memory_mib", "0"]),
        (GOOD + "memory_mib = true\n", ["memory_mib", "True"]),
    ],
)
def test_a_bad_kernel_in_a_profile(tmp_path: Path, text: str, named: list[str]) -> None:
    (tmp_path / "k.config").touch()
    with pytest.raises(UsageError) as caught:
        profile_from(tmp_path, text)
    for part in ["mine.toml", *named]:
        assert part in str(caught.value)


CONFIG = """\
# CONFIG_WERROR is not set
CONFIG_KASAN=y
CONFIG_XFS_FS=m
CONFIG_NR_CPUS=4
CONFIG_LOCALVERSION="-mine"
"""


def test_a_kernel_that_has_all_that_was_asked_for() -> None:
    fragment = "# words\nCONFIG_KASAN=y\n# CONFIG_WERROR is not set\n# CONFIG_GONE is not set\n"
    assert missing_settings(fragment, CONFIG) == ()


@pytest.mark.parametrize(
    "line",
    [
        "CONFIG_KMEMLEAK=y",
        "CONFIG_XFS_FS=y",
        "CONFIG_NR_CPUS=8",
        'CONFIG_LOCALVERSION=""',
        "# CONFIG_KASAN is not set",
    ],
)
def test_a_setting_that_was_dropped_is_named(line: str) -> None:
    name = line.removeprefix("# ").replace(" ", "=").partition("=")[0]
    assert missing_settings(f"CONFIG_KASAN=y\n{line}\n", CONFIG)[-1] == name


def test_a_kernel_is_laid_over_a_root_tree(tmp_path: Path) -> None:
    root, kernel = tmp_path / "guest", tmp_path / "kernel"
    for file in ("usr/bin/gcc", "usr/lib/libc.so"):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(file, encoding="ascii")
    (root / "lib").symlink_to("usr/lib")
    (kernel / "lib" / "modules" / RELEASE).mkdir(parents=True)
    (kernel / "lib" / "modules" / RELEASE / "modules.dep").touch()
    (kernel / "boot").mkdir()
    (kernel / "boot" / f"vmlinuz-{RELEASE}").touch()
    lay_kernel(root, kernel, tmp_path)
    tree = RootTree(tmp_path / "root", RELEASE)
    assert tree.kernel.is_file()
    assert (tree.modules / "modules.dep").is_file()
    assert (tree.path / "lib").is_symlink(), "the kernel's modules went through the link"
    assert (tree.path / "usr" / "bin" / "gcc").samefile(root / "usr" / "bin" / "gcc")
    assert not (root / "boot").exists(), "what it was made from is as it was"


def test_what_the_sanitizer_kernel_is_for() -> None:
    profile = load_profile("debian-12-6.12-sanitizer")
    assert profile.kernel_config is not None
    fragment = profile.kernel_config.read_text(encoding="utf-8")
    for name in ("KASAN", "PROVE_LOCKING", "DEBUG_ATOMIC_SLEEP", "DEBUG_KMEMLEAK", "FAILSLAB"):
        assert f"CONFIG_{name}=y\n" in fragment


def test_profiles_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        profile_from(tmp_path, b'suite = "\xff"')
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        load_profile(str(tmp_path / "folder.toml"))
    for name in ("debian-11", str(tmp_path / "none.toml")):
        with pytest.raises(UsageError, match="no guest profile") as caught:
            load_profile(name)
        assert "debian-12" in str(caught.value.hint)


@pytest.fixture
def root(tmp_path: Path) -> RootTree:
    """A root tree with nothing but lists of modules, as depmod writes them."""
    tree = RootTree(tmp_path / "root", RELEASE)
    tree.modules.mkdir(parents=True)
    (tree.modules / "modules.dep").write_text(
        "kernel/lib/crc.ko.xz:\n"
        "kernel/lib/inner.ko.xz:\n"
        "kernel/fs/mbcache.ko.xz: kernel/lib/inner.ko.xz\n"
        # Direct and indirect needs: whoever needs nothing comes last.
        "kernel/fs/ext4/ext4.ko.xz: kernel/fs/mbcache.ko.xz kernel/lib/inner.ko.xz"
        " kernel/lib/crc.ko.xz\n"
        "kernel/drivers/md/dm-mod.ko:\n"
        "kernel/drivers/md/dm-snapshot.ko: kernel/drivers/md/dm-mod.ko\n",
        encoding="ascii",
    )
    (tree.modules / "modules.builtin").write_text(
        "kernel/drivers/block/virtio_blk.ko\n", encoding="ascii"
    )
    return tree


def test_modules_come_after_what_they_need(root: RootTree) -> None:
    order = initramfs.module_order(root, ["ext4", "dm-snapshot", "dm_mod"])
    names = [Path(file).name.partition(".")[0] for file in order]
    assert sorted(names) == sorted(["crc", "inner", "mbcache", "ext4", "dm-mod", "dm-snapshot"])
    for needed, by in [
        ("inner", "mbcache"), ("mbcache", "ext4"), ("crc", "ext4"), ("dm-mod", "dm-snapshot"),
    ]:  # fmt: skip
        assert names.index(needed) < names.index(by)


@pytest.mark.parametrize("name", ["dm-mod", "dm_mod"])
def test_a_module_by_either_spelling(root: RootTree, name: str) -> None:
    assert initramfs.module_order(root, [name]) == ("kernel/drivers/md/dm-mod.ko",)


def test_what_the_kernel_has_built_in_is_not_loaded(root: RootTree) -> None:
    assert initramfs.module_order(root, ["virtio_blk"]) == ()


def test_a_module_that_the_kernel_has_not_got(root: RootTree) -> None:
    with pytest.raises(InfraError, match=f"kernel {RELEASE} has no module f2fs"):
        initramfs.module_order(root, ["ext4", "f2fs"])


@pytest.mark.parametrize(
    ("names", "there"),
    [(("ext4", "dm_snapshot"), True), (("virtio_blk",), True), (("ext4", "drbd"), False)],
)
def test_whether_a_kernel_has_modules(root: RootTree, names: list[str], there: bool) -> None:
    assert initramfs.has_modules(root, names) is there


def test_a_damaged_root_tree(root: RootTree) -> None:
    (root.modules / "modules.dep").unlink()
    with pytest.raises(InfraError, match="damaged") as caught:
        initramfs.module_order(root, ["ext4"])
    assert "built again" in str(caught.value.hint)


def test_modules_are_put_in_unpacked(tmp_path: Path) -> None:
    plain, packed, dense = (tmp_path / name for name in ("a.ko", "b.ko.xz", "d.ko.zst"))
    plain.write_bytes(b"ELF")
    packed.write_bytes(lzma.compress(b"ELF"))
    subprocess.run(["zstd", "-q", plain, "-o", dense], check=True)
    for source in (plain, packed, dense):
        (tmp_path / "out.ko").unlink(missing_ok=True)
        initramfs.install_module(source, tmp_path / "out.ko")
        assert (tmp_path / "out.ko").read_bytes() == b"ELF"
    (tmp_path / "c.ko.gz").write_bytes(b"?")
    with pytest.raises(InfraError, match="compressed"):
        initramfs.install_module(tmp_path / "c.ko.gz", tmp_path / "out.ko")
    dense.write_bytes(b"?")
    with pytest.raises(ToolError, match=r"unpacking d.ko.zst failed"):
        initramfs.install_module(dense, tmp_path / "out.ko")
    assert initramfs.guest_module_path("kernel/fs/ext4/ext4.ko.xz") == "/lib/modules/ext4.ko"


def test_the_archive_holds_the_tree(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc" / "a name").write_text("x", encoding="ascii")
    (tree / "init").symlink_to("etc/a name")
    archive = tmp_path / "initrd.cpio"
    initramfs.pack(tree, archive)
    listed = subprocess.run(
        ["cpio", "--list", "--quiet", "--file", archive],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert listed.splitlines() == ["etc", "etc/a name", "init"]
    assert archive.read_bytes()[:6] == b"070701", "newc, the only format the kernel unpacks"


def test_an_archive_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    with pytest.raises(ToolError, match="packing x failed"):
        initramfs.pack(tmp_path / "tree", tmp_path / "none" / "x")


def test_commands_inside_the_tree(root: RootTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert root.chroot("ls", "/") == ["chroot", str(root.path), "ls", "/"]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert root.chroot("ls")[:3] == ["unshare", "--map-root-user", "chroot"]
