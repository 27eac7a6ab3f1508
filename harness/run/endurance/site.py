# SPDX-License-Identifier: Apache-2.0
"""One place of a pair: a guest that may be ended and started again, and its disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import InfraError
from harness.guest.agent import Agent, CommandResult, ScriptResult
from harness.run import observe
from harness.run.endurance.schedule import Disk
from harness.run.pair import DISK_BYTES, Guest, PairBuilder
from harness.target.base import Line

_COPY_BYTES = 1 << 24


class Site:
    """A guest by its place, whatever role its node has."""

    def __init__(self, place: int, guest: Guest, builder: PairBuilder) -> None:
        self.place = place
        self.name = f"node{place + 1}"
        self.guest = guest
        self.boot = 1
        """Counts the boots of the guest."""
        self.suspends = True
        """Whether its node, as a primary, lets I/O wait that cannot be replicated, or fails it."""
        self._builder = builder
        self._side: Agent | None = None
        self._reports: list[str] = []

    @property
    def disk(self) -> Path:
        """The file behind the disk of the target."""
        return self.guest.spec.disks[0].path

    @property
    def old_image(self) -> Path:
        """A copy of the disk as it was some rounds ago."""
        return self.disk.with_name(f"{self.disk.name}.old")

    def keep_image(self) -> None:
        """Copy the disk as it is."""
        copy_sparse(self.disk, self.old_image)

    def run(self, lines: Sequence[Line], deadline: Deadline) -> ScriptResult:
        """Run commands; whether they succeed is for the caller to see."""
        return self.guest.agent.run_script(lines, deadline)

    def failure(self, lines: Sequence[Line], deadline: Deadline) -> str | None:
        """Run commands that have to work; what went wrong, or None."""
        failures = self.run(lines, deadline).failures
        return None if not failures else f"{self.name}: {failure_text(failures[0])}"

    def side_agent(self, deadline: Deadline) -> Agent:
        """The second agent of the guest, which runs the load."""
        if self._side is None:
            self._side = self._builder.side_agent(self.guest, deadline)
        return self._side

    def kill(self) -> None:
        """End the guest as a power failure would."""
        self.collect_reports()
        self.guest.machine.destroy()

    def restart(self, disk: Disk) -> None:
        """Start an ended guest again, with its disk, an older image of it, or a blank one."""
        self.close()
        self.collect_reports()
        if disk is Disk.OLD:
            copy_sparse(self.old_image, self.disk)
        elif disk is Disk.BLANK:
            os.truncate(self.disk, 0)
            os.truncate(self.disk, DISK_BYTES)
        self.guest = self._builder.reboot(self.guest)
        self.boot += 1

    def collect_reports(self) -> None:
        """Take in what the kernel said on the console."""
        self._reports += observe.report_texts(self.guest.kernel_reports())

    def take_reports(self) -> tuple[str, ...]:
        """Kernel reports since the last call, of all boots."""
        self.collect_reports()
        reports, self._reports = tuple(self._reports), []
        return reports

    def close(self) -> None:
        """Close the connections to the guest."""
        self.guest.agent.close()
        if self._side is not None:
            self._side.close()
            self._side = None


def failure_text(result: CommandResult) -> str:
    """A failed command in one line."""
    said = " | ".join(result.text.split("\n")) or "no output"
    return f"{' '.join(result.command[:6])}: {said} (status {result.status})"


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file and leave its holes out; InfraError when that fails."""
    try:
        with open(source, "rb") as reader, open(target, "wb") as writer:
            size = os.fstat(reader.fileno()).st_size
            os.truncate(writer.fileno(), size)
            at = 0
            while at < size:
                try:
                    at = os.lseek(reader.fileno(), at, os.SEEK_DATA)
                except OSError:  # nothing but a hole follows
                    break
                end = os.lseek(reader.fileno(), at, os.SEEK_HOLE)
                while at < end:
                    part = os.pread(reader.fileno(), min(_COPY_BYTES, end - at), at)
                    at += os.pwrite(writer.fileno(), part, at)
    except OSError as error:
        raise InfraError(f"cannot copy {source}: {error}") from error
