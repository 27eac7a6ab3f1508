# SPDX-License-Identifier: Apache-2.0
"""What the run needs to know about a block stack under test: a target is data plus these verbs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.deadline import Deadline
from harness.guest.agent import Agent

Line = Sequence[str]
"""One command of the agent's script language, as words."""


SECTOR_BYTES = 512


def in_sectors(length: int) -> int:
    """``length`` bytes in device mapper's unit."""
    return length // SECTOR_BYTES


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a node has come, as one of its statuses tells."""

    acked: int | None
    """On the primary: what it has promised to be on the backup, in a unit that only grows."""
    applied: int | None
    """On the backup: what it has applied without a gap, in the same unit; None: not known."""
    settled: bool
    """On the backup: all that has arrived is applied."""
    mark: str
    """On the backup: another one as soon as anything has arrived or was applied."""


def standing_by_index(status: Mapping[str, str]) -> Standing:
    """Of a target that counts operations: keys ``acked``, ``received``, ``applied``."""
    received, applied = status.get("received"), status.get("applied")
    return Standing(
        acked=_number(status.get("acked")),
        applied=_number(applied),
        settled=received is not None and received == applied,
        mark=received or "",
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


class Target(Protocol):
    """A block device on the primary, and the device on the backup that must hold the same."""

    @property
    def name(self) -> str: ...

    @property
    def replicated(self) -> bool:
        """Whether a second copy exists that must equal the first after a drain."""

    @property
    def mount_device(self) -> str:
        """Device on the primary that file systems are made on and mounted from."""

    @property
    def inspect_device(self) -> str:
        """Device on the backup that a snapshot is taken of."""

    def create(self, primary: Agent, backup: Agent, length: int, deadline: Deadline) -> None:
        """Set the target up on both guests, ``length`` bytes of zeros, and wait until it is ready.

        AgentError with the guest's kernel log lines when it cannot be set up.
        """

    def remove(self, primary: Agent, backup: Agent, deadline: Deadline) -> None:
        """Take it down on both guests; it need not be in working order."""

    def status_lines(self) -> list[Line]:
        """Commands that print the primary's status right after a persistence op."""

    def drain_lines(self, timeout_ms: int, upto: int | None = None) -> list[Line]:
        """Commands for the backup that end when it has applied all it received.

        ``upto`` is what the primary has acknowledged and may still be sending.
        """

    def backup_status_lines(self) -> list[Line]:
        """Commands that print the backup's status, without waiting."""

    def standing(self, status: Mapping[str, str]) -> Standing:
        """What a status of either node, as ``key value`` pairs, says."""
