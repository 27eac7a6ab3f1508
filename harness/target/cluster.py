# SPDX-License-Identifier: Apache-2.0
"""What an endurance run needs from a target whose nodes come and go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from harness.target.base import Line


class ClusterTarget(Protocol):
    """Two nodes of which either may lead; a place, 0 or 1, is a guest whatever its role."""

    @property
    def name(self) -> str: ...

    @property
    def device(self) -> str:
        """The device, on either node."""

    @property
    def rejoins(self) -> bool:
        """Whether a backup can be promoted, and a node that was away be taken back."""

    def start_lines(self, place: int, *, length: int, create: bool, suspend: bool) -> list[Line]:
        """Commands that start a node of ``length`` bytes.

        With ``create`` as the primary of a new cluster in which every block reads as zeros; else
        with empty memory, to be told by a primary what its disk is worth. ``suspend`` makes what
        cannot be replicated wait; otherwise it fails after a time-out.
        """

    def quiet_lines(self, timeout_ms: int, primary: Mapping[str, str] | None) -> list[Line]:
        """Commands for a backup that end when it has applied all that it received.

        With the status of a primary that stands still, also all that this one has issued.
        """

    def in_sync_lines(self, timeout_ms: int) -> list[Line]:
        """Commands for a primary that end when its backup is in sync."""

    def promotable(self, status: Mapping[str, str]) -> bool:
        """Whether a backup with this status has all that was acknowledged."""

    def promote_lines(self) -> list[Line]:
        """Commands that make a backup in sync the primary."""

    def demote_lines(self) -> list[Line]:
        """Commands that make a primary that is idle, or was deposed, a backup."""

    def deposed_lines(self, timeout_ms: int) -> list[Line]:
        """Commands for a primary that end when it knows of a later one."""

    def suspend_lines(self) -> list[Line]:
        """Commands that suspend the device."""

    def resume_lines(self) -> list[Line]:
        """Commands that resume it."""

    def status_lines(self) -> list[Line]:
        """Commands that print the status, of either node."""
