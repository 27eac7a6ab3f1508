# SPDX-License-Identifier: Apache-2.0
"""Our replicating module: ``kmod/README.md`` has the table line and the status line."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from harness.deadline import Deadline
from harness.errors import UsageError
from harness.guest.agent import Agent
from harness.target.base import Line, Standing, standing_by_index

_NAME = "replicated"
_ROLES = ("primary", "backup")
_DISK = "/dev/vda"
_SECTOR_BYTES = 512
_FIRST_PORT = 12000
_PORTS = 20000
_CONNECT_TIMEOUT_MS = 20_000
# A backup on a busy host, or while it takes a snapshot, may be silent for long: to be given up by
# its primary would look like a defect of the replication.
_PEER_TIMEOUT_MS = 30_000
# Over all targets of this process: a pair gets a new driver object with each target set up on it.
_incarnations = itertools.count(1)
# The key is no secret: it protects the disks of a test from nobody. Its name is that of a harness.
_KEY_NAME = "harness:replicated"
_KEY_HEX = bytes(range(32)).hex()
_NO_KEY = "-"
DEFECTS = {
    "early_ack": "primary",
    "drop_write": "backup",
    "reorder_overlap": "backup",
    "skip_last_page": "backup",
    "ignore_discard": "backup",
    "corrupt_byte": "backup",
    "nonce_reuse": "primary",
    "skip_tag_check": "backup",
    "stale_tag": "backup",
    "ack_before_durable": "backup",
    "resync_skip": "primary",
    "ignore_epoch": "backup",
}
"""Side on which each seeded defect of a FAULTS=1 module is switched on."""


def check_defect(defect: str | None) -> None:
    """UsageError unless ``defect`` (``NAME`` or ``NAME:PARAMETER``) is None or a known one."""
    if defect is not None and defect.partition(":")[0] not in DEFECTS:
        raise UsageError(
            f"no seeded defect {defect!r}", hint=f"known defects: {', '.join(sorted(DEFECTS))}"
        )


class RollbaccineTarget:
    """One primary and one backup over TCP; a seeded ``defect`` only with a FAULTS=1 module."""

    name = "rollbaccine"
    replicated = True

    def __init__(
        self,
        module: str,
        addresses: tuple[str, str],
        defect: str | None = None,
        *,
        encryption: bool = True,
        disk: str = _DISK,
        device: str = _NAME,
    ) -> None:
        """``addresses`` of primary and backup; ``device`` is the name of what is made on ``disk``.

        UsageError for a defect that does not exist.
        """
        check_defect(defect)
        self.mount_device = self.inspect_device = f"/dev/mapper/{device}"
        self._disk = disk
        self._device = device
        self._module = module
        self._addresses = dict(zip(_ROLES, addresses, strict=True))
        self._defect = defect
        self._encryption = encryption
        self._incarnation = 0

    def create(self, primary: Agent, backup: Agent, length: int, deadline: Deadline) -> None:
        # A new cluster reads as zeros, whatever an earlier one left on the disks.
        self._incarnation = next(_incarnations)
        for runner, role in ((backup, "backup"), (primary, "primary")):
            lines: list[Line] = [("insmod", self._module)]
            if self._encryption:
                lines.append(("key-add", "logon", _KEY_NAME, _KEY_HEX))
            lines.append(("dm-create", self._device, "-", "RW", self._table(role, length)))
            runner.run_all(lines, deadline)
        connected = ("dm-wait", self._device, str(_CONNECT_TIMEOUT_MS), "state==connected")
        for runner in (backup, primary):
            runner.run(connected, deadline)

    def _table(self, role: str, length: int) -> str:
        other = _ROLES[1 - _ROLES.index(role)]
        key = f"logon:{_KEY_NAME}" if self._encryption else _NO_KEY
        words = [f"0 {length // _SECTOR_BYTES} rollbaccine {self._disk} {role}"]
        words += [str(self._identity(role)), key, self._listens(role)]
        words += ["1", str(self._identity(other)), self._listens(other)]
        features = f"peer_timeout_ms {_PEER_TIMEOUT_MS}"
        if role == "primary":
            features = f"create {features}"
        if self._defect is not None and DEFECTS[self._defect.partition(":")[0]] == role:
            features += f" fault {self._defect}"
        return " ".join([*words, str(len(features.split())), features])

    def _identity(self, role: str) -> int:
        """Never used twice, neither by the two nodes nor over incarnations."""
        return 2 * self._incarnation + _ROLES.index(role)

    def _listens(self, role: str) -> str:
        # A fresh port per incarnation: a late connection of an earlier pair cannot reach this one.
        return f"{self._addresses[role]}:{_FIRST_PORT + self._incarnation % _PORTS}"

    def remove(self, primary: Agent, backup: Agent, deadline: Deadline) -> None:
        for runner in (primary, backup):
            runner.run_script([("dm-remove", self._device)], deadline)

    def status_lines(self) -> list[Line]:
        return [("dm-status", self._device)]

    def drain_lines(self, timeout_ms: int, upto: int | None = None) -> list[Line]:
        del upto  # what has been acknowledged has been applied
        return [("dm-wait", self._device, str(timeout_ms), "received==applied")]

    def backup_status_lines(self) -> list[Line]:
        return [("dm-status", self._device)]

    def standing(self, status: Mapping[str, str]) -> Standing:
        return standing_by_index(status)
