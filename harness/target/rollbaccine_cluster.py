# SPDX-License-Identifier: Apache-2.0
"""The nodes of our replicating module one by one: start, promote, demote, take back."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from harness.target.base import Line
from harness.target.rollbaccine import DEFECTS, check_defect

_NAME = "replicated"
_DISK = "/dev/vda"
_SECTOR_BYTES = 512
_FIRST_PORT = 32000
_PORTS = 8000
# Short, so that some disturbances outlast it and some do not.
_PEER_TIMEOUT_MS = 5_000
# The key is no secret: it protects the disks of a test from nobody.
_KEY_NAME = "harness:replicated"
_KEY_HEX = bytes(range(32)).hex()
_NO_KEY = "-"
_OF_EITHER = frozenset(
    {"nonce_reuse", "skip_tag_check", "stale_tag", "ack_before_durable", "resync_skip",
     "ignore_epoch"}
)  # fmt: skip
_incarnations = itertools.count(1)


class RollbaccineCluster:
    """Two nodes over TCP; a seeded ``defect`` only with a FAULTS=1 module."""

    name = "rollbaccine"
    device = f"/dev/mapper/{_NAME}"
    rejoins = True

    def __init__(
        self,
        module: str,
        addresses: tuple[str, str],
        defect: str | None = None,
        *,
        encryption: bool = True,
    ) -> None:
        """``addresses`` by place; UsageError for a defect that does not exist.

        A node is given the defect if it is one that the role can have in which it is started.
        """
        check_defect(defect)
        self._module = module
        self._addresses = addresses
        self._defect = defect
        self._encryption = encryption
        self._incarnation = next(_incarnations)

    def start_lines(self, place: int, *, length: int, create: bool, suspend: bool) -> list[Line]:
        lines: list[Line] = [("insmod", self._module)]
        role, key = "primary" if create else "backup", _NO_KEY
        if self._encryption:
            key = f"logon:{_KEY_NAME}"
            lines.append(("key-add", "logon", _KEY_NAME, _KEY_HEX))
        words = self._features(role, suspend=suspend)
        other = 1 - place
        table = " ".join(
            [
                f"0 {length // _SECTOR_BYTES} rollbaccine {_DISK} {role} {self._id(place)} {key}",
                f"{self._listens(place)} 1 {self._id(other)} {self._listens(other)}",
                f"{len(words)} {' '.join(words)}",
            ]
        )
        return [*lines, ("dm-create", _NAME, "-", "RW", table)]

    def _features(self, role: str, *, suspend: bool) -> list[str]:
        words = ["create"] if role == "primary" else []
        words += ["peer_timeout_ms", str(_PEER_TIMEOUT_MS)]
        words += ["on_peer_loss", "suspend" if suspend else "error"]
        if self._defect is not None and self._has_defect(role):
            words += ["fault", self._defect]
        return words

    def _has_defect(self, role: str) -> bool:
        name = (self._defect or "").partition(":")[0]
        # Roles move: what may be wrong with either node is wrong with both.
        return name in _OF_EITHER or DEFECTS[name] == role

    def _id(self, place: int) -> int:
        """Never used twice, neither by the two nodes nor over incarnations."""
        return 2 * self._incarnation + place

    def _listens(self, place: int) -> str:
        # A fresh port per cluster: a late connection of an earlier one cannot reach this one.
        return f"{self._addresses[place]}:{_FIRST_PORT + self._incarnation % _PORTS}"

    def quiet_lines(self, timeout_ms: int, primary: Mapping[str, str] | None) -> list[Line]:
        issued = [] if primary is None else [f"received>={primary['issued']}"]
        return [("dm-wait", _NAME, str(timeout_ms), *issued, "received==applied")]

    def in_sync_lines(self, timeout_ms: int) -> list[Line]:
        return [("dm-wait", _NAME, str(timeout_ms), "state==connected", "synced>=1")]

    def promotable(self, status: Mapping[str, str]) -> bool:
        in_sync = status["state"] in ("connected", "connecting", "lost")
        return in_sync and status["missing"] == "0"

    def promote_lines(self) -> list[Line]:
        return [("dm-message", _NAME, "0", "promote")]

    def demote_lines(self) -> list[Line]:
        return [("dm-message", _NAME, "0", "demote")]

    def deposed_lines(self, timeout_ms: int) -> list[Line]:
        return [("dm-wait", _NAME, str(timeout_ms), "state==fenced")]

    def suspend_lines(self) -> list[Line]:
        return [("dm-suspend", _NAME)]

    def resume_lines(self) -> list[Line]:
        return [("dm-resume", _NAME)]

    def status_lines(self) -> list[Line]:
        return [("dm-status", _NAME)]
