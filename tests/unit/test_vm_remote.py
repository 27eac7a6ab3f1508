# SPDX-License-Identifier: Apache-2.0
"""What is put on the host of the guests, under which names, and what is removed there again."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.errors import HostLostError, InfraError
from harness.run.connection import unattended
from harness.vm.cable import cable_here, cable_there
from harness.vm.domain_xml import Owner
from harness.vm.ports import Accelerator, DiskSpec, MachineSpec
from harness.vm.remote_files import (
    Broom,
    RemoteFiles,
    content_digest,
    is_complete,
    owner_of_volume,
    pool_path,
)

OURS = Owner("01234567", "89abcdef")
OTHER = Owner("01234567", "00000001")
AFAR = Owner("fedcba98", "89abcdef")


@dataclass
class FakeStorage:
    """A pool in memory: name -> length and content."""

    there: dict[str, int] = field(default_factory=dict)
    content: dict[str, bytes] = field(default_factory=dict)
    filled: list[str] = field(default_factory=list)
    layers: dict[str, Path] = field(default_factory=dict)
    """Name -> path of the volume below it."""
    fails: Callable[[str], None] = lambda verb: None

    def volumes(self) -> dict[str, int]:
        return dict(self.there)

    def create(self, name: str, length_bytes: int, backing: Path | None = None) -> None:
        self.fails("create")
        if backing is not None:
            self.layers[name] = backing
        if name in self.there:
            raise InfraError(f"{name} exists")
        self.there[name] = length_bytes

    def fill(self, name: str, source: Path) -> None:
        self.fails("fill")
        self.content[name] = source.read_bytes()
        self.filled.append(name)

    def grow(self, name: str, length_bytes: int) -> None:
        self.fails("grow")
        self.there[name] = length_bytes

    def remove(self, name: str) -> None:
        self.fails(f"remove {name}")
        self.there.pop(name, None)

    def path(self, name: str) -> Path:
        assert name in self.there
        return Path("/pool") / name


def spec(folder: Path, *disks: DiskSpec) -> MachineSpec:
    (folder / "vmlinuz").write_bytes(b"kernel")
    (folder / "initrd").write_bytes(b"files")
    return MachineSpec(
        name="harness-89abcdef-0-1-primary",
        kernel=folder / "vmlinuz",
        initrd=folder / "initrd",
        command_line="",
        accelerator=Accelerator.TCG,
        console=folder / "console.log",
        channel=folder / "agent.sock",
        owner=OURS.run,
        disks=disks,
    )


def sparse(path: Path, length: int) -> Path:
    path.touch()
    os.truncate(path, length)
    return path


def test_kernels_go_over_once_per_content(tmp_path: Path) -> None:
    storage, wanted = FakeStorage(), spec(tmp_path)
    placed = RemoteFiles(storage, OURS).placed(wanted)
    assert storage.content[placed.kernel.name] == b"kernel"
    assert storage.content[placed.initrd.name] == b"files"
    again = RemoteFiles(storage, OTHER).placed(wanted)
    assert (again.kernel, again.initrd) == (placed.kernel, placed.initrd)
    assert len(storage.filled) == 2
    wanted.kernel.write_bytes(b"another kernel")
    newer = RemoteFiles(storage, OURS).placed(wanted)
    assert newer.kernel != placed.kernel
    assert storage.content[newer.kernel.name] == b"another kernel"
    assert newer.initrd == placed.initrd


def test_a_digest_is_of_all_that_is_in_a_file(tmp_path: Path) -> None:
    path, digests = tmp_path / "disk.img", list[str]()
    changes = ((0, b"a", 1), (0, b"b", 1), (3 << 20, b"b", 8 << 20), (5 << 20, b"b", 8 << 20))
    for offset, data, length in (*changes, (5 << 20, b"c", 8 << 20), (5 << 20, b"c", 9 << 20)):
        sparse(path, length)
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(data)
        digests.append(content_digest(path))
        assert content_digest(path) == digests[-1]
    assert len(set(digests)) == len(digests)


def test_disks_belong_to_the_run_and_an_empty_one_is_not_sent(tmp_path: Path) -> None:
    storage = FakeStorage()
    files = RemoteFiles(storage, OURS)
    empty = DiskSpec(sparse(tmp_path / "own.img", 1 << 20))
    full = DiskSpec(tmp_path / "full.img", shareable=True)
    full.path.write_bytes(b"something")
    seen = DiskSpec(full.path, read_only=True, shareable=True)
    placed = files.placed(spec(tmp_path, empty, full, seen))
    own, other, same = placed.disks
    assert storage.there[own.path.name] == 1 << 20
    assert own.path.name not in storage.content
    assert storage.content[other.path.name] == b"something"
    assert (other.read_only, other.shareable) == (False, True)
    assert (same.path, same.read_only) == (other.path, True), "one writes what the other sees"
    assert owner_of_volume(own.path.name) == owner_of_volume(other.path.name) == OURS
    again = files.placed(spec(tmp_path, empty, full, seen))
    assert again == placed, "a guest that starts again finds its disks"
    second = RemoteFiles(storage, OTHER).placed(spec(tmp_path, empty, full))
    assert {disk.path for disk in second.disks}.isdisjoint(disk.path for disk in placed.disks)
    assert files.remove() == 2
    assert {owner_of_volume(name) for name in storage.there} == {OTHER, None}


def test_one_volume_that_cannot_be_removed_does_not_keep_the_others(tmp_path: Path) -> None:
    storage = FakeStorage()
    files = RemoteFiles(storage, OURS)
    disks = [DiskSpec(sparse(tmp_path / f"{n}.img", 4096)) for n in range(3)]
    first = files.placed(spec(tmp_path, *disks)).disks[0].path.name

    def stuck(verb: str) -> None:
        if verb == f"remove {first}":
            raise InfraError("in use")

    storage.fails = stuck
    with pytest.raises(InfraError, match="in use"):
        files.remove()
    assert [name for name in storage.there if owner_of_volume(name) == OURS] == [first]


def test_a_disk_that_was_built_and_is_only_read_is_kept_there(tmp_path: Path) -> None:
    storage, built = FakeStorage(), DiskSpec(tmp_path / "tree.img", read_only=True, shareable=True)
    built.path.write_bytes(b"a tree")
    one, two = (
        RemoteFiles(storage, owner).placed(spec(tmp_path, built)) for owner in (OURS, OTHER)
    )
    assert one.disks == two.disks
    assert owner_of_volume(one.disks[0].path.name) is None
    assert storage.content[one.disks[0].path.name] == b"a tree"


def test_a_layer_is_made_there_above_a_disk_that_all_share(tmp_path: Path) -> None:
    storage, base = FakeStorage(), tmp_path / "root.img"
    base.write_bytes(b"the disk of all")
    layers = [DiskSpec(tmp_path / f"{n}.qcow2", format="qcow2", backing=base) for n in (1, 2)]
    for layer in layers:
        layer.path.write_bytes(b"names a file of this host")
    files = RemoteFiles(storage, OURS)
    placed = files.placed(spec(tmp_path, *layers))
    (below,) = set(storage.layers.values())
    assert storage.content[below.name] == b"the disk of all"
    assert [disk.path.name for disk in placed.disks] == list(storage.layers)
    assert not set(storage.layers) & set(storage.content), "what names a file here is not sent"
    assert {storage.there[name] for name in storage.layers} == {len(b"the disk of all")}
    assert files.remove() == 2
    assert below.name in storage.there


@pytest.mark.parametrize("verb", ["create", "fill", "grow"])
def test_an_upload_that_fails_is_made_for_this_run_alone(tmp_path: Path, verb: str) -> None:
    """Also when another run is at it, or was killed at it."""
    storage, failed = FakeStorage(), list[str]()

    def once(now: str) -> None:
        if now == verb and not failed:
            failed.append(now)
            raise InfraError("the wire broke")

    storage.fails = once
    placed = RemoteFiles(storage, OURS).placed(spec(tmp_path))
    assert failed == [verb]
    assert storage.content[placed.kernel.name] == b"kernel"
    assert owner_of_volume(placed.kernel.name) == OURS
    after = RemoteFiles(storage, OTHER).placed(spec(tmp_path))
    # What is not complete is used by nobody.
    half_done = verb != "create"
    assert (owner_of_volume(after.kernel.name) == OTHER) == half_done
    assert storage.content[after.kernel.name] == b"kernel"


def test_a_lost_host_is_not_asked_for_another_volume(tmp_path: Path) -> None:
    def lost(_verb: str) -> None:
        raise HostLostError("gone")

    with pytest.raises(HostLostError):
        RemoteFiles(FakeStorage(fails=lost), OURS).placed(spec(tmp_path))


def volumes(tmp_path: Path) -> FakeStorage:
    """What three runs left, a half sent file, and things of other people."""
    storage = FakeStorage()
    wanted = spec(tmp_path, DiskSpec(sparse(tmp_path / "own.img", 1 << 20)))
    for owner in (OURS, OTHER, AFAR):
        RemoteFiles(storage, owner).placed(wanted)
    storage.there["harness-shared-" + "0" * 32 + "-100000-vmlinuz"] = 100_000
    for foreign in ("debian.qcow2", "harness.img", "harness-run-me-1-own.img", "harness-shared-x"):
        storage.there[foreign] = 4096
    return storage


def swept(broom: Broom, storage: FakeStorage) -> set[str]:
    """What is removed, in short."""
    taken = [name for name, size in storage.there.items() if broom.takes_volume(name, size)]
    owners = {OURS: "ours", OTHER: "other", AFAR: "afar"}
    short = set()
    for name in taken:
        owner = owner_of_volume(name)
        if owner is not None:
            short.add(owners[owner])
        else:
            short.add("shared" if is_complete(name, storage.there[name]) else "half sent")
    return short


@pytest.mark.parametrize(
    ("living", "everywhere", "shared", "gone"),
    [
        ({OURS.run, OTHER.run}, False, False, {"half sent"}),
        ({OURS.run}, False, False, {"other", "half sent"}),
        (set(), False, False, {"ours", "other", "half sent"}),
        ({OURS.run}, True, False, {"other", "afar", "half sent"}),
        (set(), True, True, {"ours", "other", "afar", "shared", "half sent"}),
    ],
)
def test_what_a_broom_takes(
    tmp_path: Path, living: set[str], everywhere: bool, shared: bool, gone: set[str]
) -> None:
    broom = Broom(OURS.place, living.__contains__, everywhere, shared)
    assert swept(broom, volumes(tmp_path)) == gone


def test_the_pool_is_where_qemu_may_read() -> None:
    home = Path("/home/anna")
    expected = {
        "qemu:///system": "/var/lib/libvirt/images/harness",
        "qemu+ssh://bob@host/system": "/var/lib/libvirt/images/harness",
        "qemu:///session": "/home/anna/.local/share/libvirt/images/harness",
        "qemu+ssh://bob@host/session": "/var/tmp/harness-bob",
        "qemu+ssh://host/session?no_tty=1": "/var/tmp/harness-anna",
    }
    assert {uri: pool_path(uri, "anna", home) for uri in expected} == expected


def test_ssh_asks_nothing_where_nobody_answers() -> None:
    uri = "qemu+ssh://bob@host:2222/system"
    assert unattended(uri, asks=True) == uri
    assert unattended(uri, asks=False) == f"{uri}?no_tty=1"
    more = f"{uri}?keyfile=/home/anna/key"
    assert unattended(more, asks=False) == f"{more}&no_tty=1"
    assert unattended(f"{uri}?no_tty=0", asks=False) == f"{uri}?no_tty=0"
    assert unattended("qemu:///system", asks=False) == "qemu:///system"


def test_links_of_other_hosts_hardly_meet() -> None:
    chance = random.Random(7)
    drawn = [cable_there(chance) for _ in range(1000)]
    assert len({cable.address for cable in drawn}) > 990
    for cable in drawn:
        numbers = [int(part) for part in cable.address.split(".")]
        assert numbers[0] == 127
        assert all(0 <= number < 256 for number in numbers)
        assert cable.address != "127.0.0.1"
        near, far = cable.ports
        assert near != far
        assert all(1024 < port < 32768 for port in cable.ports)


def test_a_link_of_this_host_is_on_free_ports() -> None:
    cable = cable_here()
    assert cable.address == "127.0.0.1"
    assert len(set(cable.ports)) == 2
