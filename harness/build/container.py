# SPDX-License-Identifier: Apache-2.0
"""The module built in a container, where a container engine answers.

The container's image is the profile's own root tree, so that compiler, headers and paths are those
of the local build root, and so is every byte of what is built. No registry and no network is used.
"""

from __future__ import annotations

import contextlib
import io
import os
import platform
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness import proc
from harness.build.cache import is_locked, lock_of
from harness.build.rootfs import BUILD_ENVIRONMENT, MAKE_TIMEOUT_S, RootTree, make_inside
from harness.errors import InfraError, UsageError
from harness.proc import ToolError

REPOSITORY = "harness-root"
LABEL_LOCK = "org.harness.lock"
"""On a container: the file that is locked as long as somebody waits for it."""
LABEL_HOST = "org.harness.host"
"""On a container: whose file that is."""
LABEL_TREE = "org.harness.tree"
"""On an image: the root tree it was made of."""
_VARIABLE = "HARNESS_BUILD"
_SOCKET = Path("/var/run/docker.sock")
_ANSWER_S = 3
_WORK_S = 900
_TAIL_LINES = 15
# The kernel and the engine bring their own.
_LEFT_OUT = ("boot", "build", "dev", "proc", "sys")


class Where(StrEnum):
    """Where the module is built."""

    AUTO = "auto"
    """In a container if an engine answers."""
    CONTAINER = "container"
    LOCAL = "local"


def where() -> Where:
    """``$HARNESS_BUILD``, ``auto`` if it is not set; UsageError when it is no such word."""
    text = os.environ.get(_VARIABLE) or Where.AUTO
    try:
        return Where(text)
    except ValueError as error:
        words = ", ".join(Where)
        raise UsageError(f"{_VARIABLE}={text} is none of {words}") from error


@contextlib.contextmanager
def engine() -> Iterator[Engine | None]:
    """The container engine that answers, None if none does.

    Costs nothing where there can be none, and at most some seconds where one is silent.
    """
    if not os.environ.get("DOCKER_HOST") and not _SOCKET.exists():
        yield None
        return
    # Importing takes a third of a second, which is more than most commands need.
    import docker
    from docker.errors import DockerException

    try:
        docker.from_env(timeout=_ANSWER_S).ping()
        client = docker.from_env(timeout=_WORK_S)
    except (DockerException, OSError):
        yield None
        return
    with contextlib.closing(client):
        yield Engine(client)


def make_module(
    root: RootTree, sources: Sequence[Path], words: Sequence[str], product: Path, what: str
) -> None:
    """As ``make_inside``, in a container if that is wanted and can be had."""
    wanted = where()
    if wanted is Where.LOCAL:
        make_inside(root, sources, words, product, what)
        return
    with engine() as found:
        if found is None and wanted is Where.CONTAINER:
            raise InfraError(
                "no container engine answers",
                hint=f"start docker, name it with DOCKER_HOST, or leave out {_VARIABLE}=container",
            )
        if found is not None:
            try:
                found.make(root, sources, words, product, what)
                return
            except EngineError:
                if wanted is Where.CONTAINER:
                    raise
    make_inside(root, sources, words, product, what)


class EngineError(InfraError):
    """The engine did not do what it was asked; says nothing about what was to be built."""


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What was removed."""

    containers: int
    images: int


class Engine:
    """A container engine with the API of docker."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def version(self) -> str:
        """What it calls itself."""
        with _explained("asking the container engine for its version"):
            return f"docker {self._client.version()['Version']}"

    def make(
        self,
        root: RootTree,
        sources: Sequence[Path],
        words: Sequence[str],
        product: Path,
        what: str,
    ) -> None:
        """Run ``make`` on ``sources`` in a container and write its file ``product``.

        ToolError with the compiler's last lines when it fails, EngineError when it was not run.
        """
        folder = f"/build/{product.parent.name}"
        with _explained(f"{what} in a container"):
            container = self._client.containers.create(
                self._image(root, product.parent),
                command=["/usr/bin/make", "-C", folder, *words],
                environment=dict(BUILD_ENVIRONMENT),
                network_mode="none",
                labels={LABEL_LOCK: str(lock_of(product.parent)), LABEL_HOST: platform.node()},
            )
            try:
                container.put_archive("/", _packed(folder, sources))
                container.start()
                status = container.wait(timeout=MAKE_TIMEOUT_S)["StatusCode"]
                if status:
                    said = container.logs(tail=_TAIL_LINES).decode(errors="replace")
                    raise ToolError(f"{what} failed (status {status}) in a container\n{said}")
                stream, _ = container.get_archive(f"{folder}/{product.name}")
                product.write_bytes(_unpacked(b"".join(stream), product.name))
            finally:
                container.remove(force=True)

    def containers(self) -> list[str]:
        """Ids of the containers that modules are built in, or were left in."""
        with _explained("listing containers"):
            return [container.id for container in self._ours()]

    def _ours(self) -> list[Any]:
        return list(self._client.containers.list(all=True, filters={"label": LABEL_LOCK}))

    def clean(self, cache: Path, *, images: bool) -> Leftovers:
        """Remove containers whose builder is dead, and with ``images`` what they were made from.

        Of this host and cache only; EngineError when something cannot be removed.
        """
        removed = 0
        with _explained("removing containers"):
            for container in self._ours():
                if self._is_dead(container.labels, cache):
                    container.remove(force=True)
                    removed += 1
            made = self._client.images.list(filters={"label": LABEL_TREE}) if images else []
            for image in made:
                self._client.images.remove(image.id, force=True)
        return Leftovers(removed, len(made))

    def _is_dead(self, labels: dict[str, str], cache: Path) -> bool:
        lock = Path(labels[LABEL_LOCK])
        here = labels.get(LABEL_HOST) == platform.node() and lock.parent == cache
        return here and not is_locked(lock)

    def _image(self, root: RootTree, work: Path) -> str:
        """Name of the image of a root tree, which is made the first time."""
        from docker.errors import ImageNotFound

        tree = root.path.parent.name
        name = f"{REPOSITORY}:{tree}"
        try:
            self._client.images.get(name)
        except ImageNotFound:
            archive = work / "root.tar"
            left_out = [f"--exclude=./{folder}/*" for folder in _LEFT_OUT]
            proc.run(
                ["tar", "-C", root.path, "--owner=0", "--group=0", *left_out, "-cf", archive, "."],
                what=f"packing {root.path} for a container",
                timeout_s=_WORK_S,
            )
            self._client.api.import_image(
                src=str(archive), repository=REPOSITORY, tag=tree,
                changes=[f"LABEL {LABEL_TREE}={tree}"],
            )  # fmt: skip
            archive.unlink()
            # An engine says in its answer, not by a status, that it could not.
            self._client.images.get(name)
        return name


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """What the engine or the way to it says, as an EngineError."""
    from docker.errors import DockerException

    try:
        yield
    except (DockerException, OSError) as error:
        raise EngineError(f"{what}: {error}", hint=f"{_VARIABLE}=local does without") from error


def _packed(folder: str, sources: Sequence[Path]) -> bytes:
    """``sources`` as an archive that puts them into ``folder``."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        parts = Path(folder).parts[1:]
        for depth in range(1, len(parts) + 1):
            entry = tarfile.TarInfo("/".join(parts[:depth]))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for source in sources:
            archive.add(source, f"{folder.lstrip('/')}/{source.name}", filter=_of_root)
    return packed.getvalue()


def _of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def _unpacked(packed: bytes, name: str) -> bytes:
    """The file ``name`` of an archive; OSError when it is not in it."""
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        file = archive.extractfile(name)
        if file is None:
            raise OSError(f"{name} is no file")
        return file.read()
