# SPDX-License-Identifier: Apache-2.0
"""What a container engine is asked for, and what of it is removed; the engine is in memory."""

from __future__ import annotations

import fcntl
import io
import platform
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError, ImageNotFound

from harness.build import container
from harness.build.cache import lock_of
from harness.build.container import LABEL_HOST, LABEL_LOCK, LABEL_TREE, Engine, EngineError
from harness.build.rootfs import RootTree
from harness.errors import InfraError, UsageError
from harness.proc import ToolError


@dataclass
class FakeContainer:
    """Compiles by writing down what it was given."""

    engine: FakeEngine
    image: str
    facts: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)
    started: bool = False

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.facts["labels"])

    def put_archive(self, path: str, data: bytes) -> None:
        assert path == "/"
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for entry in archive.getmembers():
                if (file := archive.extractfile(entry)) is not None:
                    self.files[f"/{entry.name}"] = file.read()
                assert (entry.uid, entry.gid) == (0, 0)

    def start(self) -> None:
        self.started = True
        self.engine.fails("start")

    def wait(self, timeout: float) -> dict[str, int]:
        self.engine.fails("wait")
        return {"StatusCode": self.engine.status}

    def logs(self, tail: int) -> bytes:
        return b"dm-rollbaccine-net.c:7: error: no such thing\n"

    def get_archive(self, path: str) -> tuple[Iterator[bytes], dict[str, str]]:
        name = path.rpartition("/")[2]
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            entry = tarfile.TarInfo(name)
            data = b"built from " + b", ".join(sorted(self.files.values()))
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        raw = packed.getvalue()
        return iter([raw[:100], raw[100:]]), {}

    def remove(self, force: bool) -> None:
        assert force
        self.engine.live.remove(self)


@dataclass
class FakeImage:
    id: str
    labels: dict[str, str]


@dataclass
class FakeEngine:
    """As much of docker's client as is used."""

    live: list[FakeContainer] = field(default_factory=list)
    made: dict[str, FakeImage] = field(default_factory=dict)
    asked: list[FakeContainer] = field(default_factory=list)
    imports: int = 0
    status: int = 0
    fails: Callable[[str], None] = lambda verb: None

    @property
    def containers(self) -> FakeEngine:
        return self

    @property
    def api(self) -> FakeEngine:
        return self

    @property
    def images(self) -> _Images:
        return _Images(self)

    def create(self, image: str, **facts: Any) -> FakeContainer:
        self.asked.append(FakeContainer(self, image, facts))
        self.live.append(self.asked[-1])
        return self.asked[-1]

    def list(self, all: bool, filters: dict[str, str]) -> list[FakeContainer]:
        assert all
        return [each for each in self.live if filters["label"] in each.labels]

    def import_image(self, src: str, repository: str, tag: str, changes: list[str]) -> None:
        self.fails("import")
        self.imports += 1
        with tarfile.open(src) as archive:
            names = archive.getnames()
        assert "./usr/bin/make" in names
        assert not [name for name in names if name.startswith(("./boot/", "./dev/", "./build/"))]
        key, _, value = changes[0].removeprefix("LABEL ").partition("=")
        assert (key, value) == (LABEL_TREE, tag)
        self.made[f"{repository}:{tag}"] = FakeImage(f"{tag}-id", {key: value})

    def version(self) -> dict[str, str]:
        return {"Version": "20.10"}


@dataclass
class _Images:
    engine: FakeEngine

    def get(self, name: str) -> FakeImage:
        if name not in self.engine.made:
            raise ImageNotFound(name)
        return self.engine.made[name]

    def list(self, filters: dict[str, str]) -> list[FakeImage]:
        return [each for each in self.engine.made.values() if filters["label"] in each.labels]

    def remove(self, name: str, force: bool) -> None:
        assert force
        self.engine.made = {key: each for key, each in self.engine.made.items() if each.id != name}


@dataclass
class Bench:
    """A root tree, a source, and a folder to build in."""

    folder: Path
    engine: FakeEngine = field(default_factory=FakeEngine)

    def __post_init__(self) -> None:
        self.root = RootTree(self.folder / "root-debian-12-0123" / "root", "6.1.0")
        for file in ("usr/bin/make", "boot/vmlinuz", "dev/null", "build/old/x.c"):
            (self.root.path / file).parent.mkdir(parents=True, exist_ok=True)
            (self.root.path / file).write_text("x")
        self.source = self.folder / "dm.c"
        self.source.write_text("int a;")
        self.work = self.folder / "cache" / ".kmod-6.1.0-release-89ab.tmp"
        self.work.mkdir(parents=True)
        self.product = self.work / "dm.ko"

    def make(self) -> None:
        Engine(self.engine).make(self.root, [self.source], ["KVER=6.1.0"], self.product, "building")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_same_folder_and_words_as_in_the_local_build_root(bench: Bench) -> None:
    bench.make()
    (made,) = bench.engine.asked
    assert made.started
    folder = "/build/.kmod-6.1.0-release-89ab.tmp"
    assert made.facts["command"] == ["/usr/bin/make", "-C", folder, "KVER=6.1.0"]
    assert made.files == {f"{folder}/dm.c": b"int a;"}
    assert made.facts["network_mode"] == "none"
    assert made.facts["environment"]["LC_ALL"] == "C"
    assert bench.product.read_bytes() == b"built from int a;"
    assert bench.engine.live == []


def test_an_image_is_made_once_per_tree(bench: Bench) -> None:
    bench.make()
    bench.make()
    assert bench.engine.imports == 1
    assert list(bench.engine.made) == ["harness-root:root-debian-12-0123"]
    assert {each.image for each in bench.engine.asked} == {"harness-root:root-debian-12-0123"}
    assert sorted(path.name for path in bench.work.iterdir()) == ["dm.ko"], "no archive is left"


def test_what_does_not_compile_says_what_the_compiler_said(bench: Bench) -> None:
    bench.engine.status = 2
    with pytest.raises(ToolError, match="no such thing"):
        bench.make()
    assert bench.engine.live == []


@pytest.mark.parametrize("verb", ["import", "start", "wait"])
@pytest.mark.parametrize("error", [APIError("no space left"), TimeoutError("timed out")])
def test_an_engine_that_fails_leaves_no_container(
    bench: Bench, verb: str, error: Exception
) -> None:
    def fail(now: str) -> None:
        if now == verb:
            raise error

    bench.engine.fails = fail
    with pytest.raises(EngineError) as caught:
        bench.make()
    assert str(error) in str(caught.value)
    assert "HARNESS_BUILD=local" in (caught.value.hint or "")
    assert bench.engine.live == []


def leave(bench: Bench, name: str, host: str | None = None) -> Path:
    """A container as a builder of ``name`` leaves it that is killed, and the lock it held."""
    lock = lock_of(bench.work.parent / f".{name}.tmp")
    lock.touch()
    labels = {LABEL_LOCK: str(lock), LABEL_HOST: host or platform.node()}
    bench.engine.create("harness-root:x", labels=labels)
    return lock


def test_clean_removes_what_nobody_waits_for(bench: Bench) -> None:
    leave(bench, "dead")
    living = leave(bench, "living")
    leave(bench, "elsewhere", host="another host")
    bench.engine.create("ubuntu", labels={})
    bench.make()
    bench.engine.made["ubuntu"] = FakeImage("ubuntu", {})
    with open(living, encoding="ascii") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        left = Engine(bench.engine).clean(bench.work.parent, images=False)
        assert (left.containers, left.images) == (1, 0)
        assert len(bench.engine.live) == 3
    left = Engine(bench.engine).clean(bench.work.parent, images=True)
    assert (left.containers, left.images) == (1, 1)
    assert len(bench.engine.live) == 2
    assert list(bench.engine.made) == ["ubuntu"]


def test_without_an_engine_the_local_build_root_is_used_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    local: list[str] = []
    monkeypatch.setattr(container, "make_inside", lambda *_: local.append("local"))
    monkeypatch.setattr(container, "_SOCKET", bench.folder / "no.sock")
    monkeypatch.delenv("DOCKER_HOST", raising=False)

    def make(choice: str) -> None:
        monkeypatch.setenv("HARNESS_BUILD", choice)
        container.make_module(bench.root, [bench.source], [], bench.product, "building")

    make("")
    make("auto")
    make("local")
    assert local == ["local"] * 3
    with pytest.raises(InfraError, match="no container engine answers"):
        make("container")
    with pytest.raises(UsageError, match="none of auto, container, local"):
        make("cloud")
    # One that is named and does not answer is none.
    monkeypatch.setenv("DOCKER_HOST", f"unix://{bench.folder}/silent.sock")
    make("auto")
    assert len(local) == 4
    with pytest.raises(InfraError, match="no container engine answers"):
        make("container")


def test_an_engine_that_fails_is_done_without_unless_it_is_wanted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    local: list[str] = []
    monkeypatch.setattr(container, "make_inside", lambda *_: local.append("local"))

    def fail(now: str) -> None:
        if now == "start":
            raise APIError("no cgroups")

    bench.engine.fails = fail

    class Found:
        def __enter__(self) -> Engine:
            return Engine(bench.engine)

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(container, "engine", Found)

    def make(choice: str) -> None:
        monkeypatch.setenv("HARNESS_BUILD", choice)
        container.make_module(bench.root, [bench.source], [], bench.product, "building")

    make("auto")
    assert local == ["local"]
    with pytest.raises(EngineError, match="no cgroups"):
        make("container")
    bench.engine.fails = lambda now: None
    bench.engine.status = 2
    # A mistake in the source is one everywhere.
    with pytest.raises(ToolError):
        make("auto")
    bench.engine.status = 0
    make("auto")
    assert (local, bench.product.exists()) == (["local"], True)
