# SPDX-License-Identifier: Apache-2.0
"""The target that a target file describes, driven like those that come with the harness."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import AgentError
from harness.guest.agent import Agent
from harness.guest.deliver import deliver
from harness.target.base import Line, Standing
from harness.target.file import ROLES, Place, TargetFile

_DISK = "/dev/vda"
_FIRST_PORT = 40000
_PORTS = 20000
_CONNECT_TIMEOUT_MS = 60_000
_incarnations = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Outside:
    """A target file, and what was built for it."""

    file: TargetFile
    modules: tuple[Path, ...]
    """On the host, in load order, those of the kernel first."""

    @property
    def files(self) -> Mapping[str, Path]:
        """Path in a guest -> path on the host."""
        return {f"/run/{path.name}": path for path in self.modules}


def module_name(file: str) -> str:
    """What the kernel calls the module in ``file``."""
    return file.rpartition("/")[2].partition(".")[0].replace("-", "_")


class OutsideNodes:
    """Its two nodes one by one; a place, 0 or 1, is a guest whatever its role."""

    def __init__(self, outside: Outside, addresses: tuple[str, str]) -> None:
        """``addresses`` by place."""
        self.file = outside.file
        self.name = outside.file.name
        self.device = outside.file.device
        self.mount_device = outside.file.mount_device
        self.connected: Sequence[str] = outside.file.connected
        self._files = outside.files
        self._addresses = addresses
        self._incarnation = 0
        self.renew()

    def renew(self) -> None:
        """From now on identities and ports are others: a late connection reaches nobody."""
        self._incarnation = next(_incarnations)

    def start_lines(self, place: int, length: int, *, create: bool) -> list[Line]:
        """Commands that start a node, whose modules have been delivered."""
        role = ROLES[place] if create else "backup"
        line = role if create else "returning"
        table = self._place(place, role).fill(self.file.tables[line], length)
        lines: list[Line] = [("insmod", path) for path in self._files]
        if create:
            # What an earlier target left is not this one's.
            lines.append(("zero", _DISK, "0"))
        return [*lines, ("dm-create", self.device, "-", "RW", table)]

    def deliver(self, agent: Agent, deadline: Deadline) -> None:
        """Put the modules into a guest, unless they are loaded there."""
        own = [path for path in self._files if path.rpartition("/")[2] in self.file.modules]
        asked: list[Line] = [
            ("try", "file-read", f"/sys/module/{module_name(path)}/refcnt") for path in own
        ]
        if not all(result.ok for result in agent.run_script(asked, deadline).results):
            deliver(agent, self._files, deadline)

    def promote_lines(self) -> list[Line]:
        return self._message("promote")

    def demote_lines(self) -> list[Line]:
        return self._message("demote")

    def status_lines(self) -> list[Line]:
        return [("dm-status", self.device)]

    def _message(self, name: str) -> list[Line]:
        text = self.file.messages.get(name)
        return [] if text is None else [("dm-message", self.device, "0", *text.split())]

    def _place(self, place: int, role: str) -> Place:
        port = _FIRST_PORT + self._incarnation % _PORTS
        return Place(
            role=role,
            identity=2 * self._incarnation + place,
            peer_identity=2 * self._incarnation + 1 - place,
            address=self._addresses[place],
            peer_address=self._addresses[1 - place],
            port=port,
            peer_port=port,
            disk=_DISK,
        )


class OutsideTarget:
    """The target as a ``Target``: a primary and a backup."""

    replicated = True

    def __init__(self, outside: Outside, addresses: tuple[str, str]) -> None:
        """``addresses`` of primary and backup."""
        self._nodes = OutsideNodes(outside, addresses)
        self._file = outside.file
        self.name = outside.file.name
        self.mount_device = outside.file.mount_device
        self.inspect_device = outside.file.inspect_device

    def create(self, primary: Agent, backup: Agent, length: int, deadline: Deadline) -> None:
        self._nodes.renew()
        for place, runner in ((1, backup), (0, primary)):
            self._nodes.deliver(runner, deadline)
            runner.run_all(self._nodes.start_lines(place, length, create=True), deadline)
        if not self._file.connected:
            return
        waits = ("dm-wait", self._file.device, str(_CONNECT_TIMEOUT_MS), *self._file.connected)
        for runner in (backup, primary):
            result = runner.run_script([waits], deadline).results[0]
            if not result.ok:
                raise AgentError(
                    f"guest {runner.name}: target {self.name} does not connect: its status is"
                    f" {result.text.strip()!r}, status.connected of {self._file.path} wants"
                    f" {' '.join(self._file.connected)}"
                )

    def remove(self, primary: Agent, backup: Agent, deadline: Deadline) -> None:
        for runner in (primary, backup):
            runner.run_script([("dm-remove", self._file.device)], deadline)

    def status_lines(self) -> list[Line]:
        return self._nodes.status_lines()

    def drain_lines(self, timeout_ms: int, upto: int | None = None) -> list[Line]:
        arrived = [] if upto is None else [f"{self._file.counters['received']}>={upto}"]
        conditions = [*arrived, *self._file.drained]
        return [("dm-wait", self._file.device, str(timeout_ms), *conditions)]

    def backup_status_lines(self) -> list[Line]:
        return self._nodes.status_lines()

    def standing(self, status: Mapping[str, str]) -> Standing:
        acked, received, applied = (
            status.get(self._file.counters[key]) for key in ("acked", "received", "applied")
        )
        return Standing(
            acked=int(acked) if acked is not None and acked.isdigit() else None,
            applied=int(applied) if applied is not None and applied.isdigit() else None,
            settled=received is not None and received == applied,
            mark=received or "",
        )
