# SPDX-License-Identifier: Apache-2.0
"""What the run needs to know about a block stack under test: a target is data plus these verbs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from harness.deadline import Deadline
from harness.guest.agent import Agent

Line = Sequence[str]
"""One command of the agent's script language, as words."""


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

    def drain_lines(self, timeout_ms: int) -> list[Line]:
        """Commands for the backup that end when it has applied all it received."""

    def backup_status_lines(self) -> list[Line]:
        """Commands that print the backup's status, without waiting."""
