# SPDX-License-Identifier: Apache-2.0
"""The control arm: a plain device, no replication. What fails here is not the replication's fault.

The primary mounts a dm-linear device on the control disk; the backup guest sees the same disk
read-only, so that the crash state is recovered by a kernel that never mounted it.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.deadline import Deadline
from harness.guest.agent import Agent
from harness.target.base import Line, Standing, standing_by_index

_NAME = "control"
_DISK = "/dev/vdb"
_SECTOR_BYTES = 512


class LinearTarget:
    """dm-linear over the control disk."""

    name = "linear"
    replicated = False
    mount_device = f"/dev/mapper/{_NAME}"
    inspect_device = _DISK

    def create(self, primary: Agent, backup: Agent, length: int, deadline: Deadline) -> None:
        del backup
        table = f"0 {length // _SECTOR_BYTES} linear {_DISK} 0"
        primary.run_all(
            [("zero", _DISK, str(length)), ("dm-create", _NAME, "-", "RW", table)], deadline
        )

    def remove(self, primary: Agent, backup: Agent, deadline: Deadline) -> None:
        del backup
        primary.run_script([("dm-remove", _NAME)], deadline)

    def status_lines(self) -> list[Line]:
        return []

    def drain_lines(self, timeout_ms: int, upto: int | None = None) -> list[Line]:
        # Pausing the primary settles its disk requests; there is nothing else under way.
        del timeout_ms, upto
        return []

    def backup_status_lines(self) -> list[Line]:
        return []

    def standing(self, status: Mapping[str, str]) -> Standing:
        return standing_by_index(status)
