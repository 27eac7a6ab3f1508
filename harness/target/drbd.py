# SPDX-License-Identifier: Apache-2.0
"""DRBD 8.4, the replication of the distribution's own kernel, set up by hand without drbdadm.

Disk layout on both nodes: the data from byte 0 of the disk, DRBD's metadata right behind it. DRBD
keeps its lower device for itself, and its secondary cannot be read; a second mapping of the same
range shows what the backup's disk holds.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from harness.deadline import Deadline
from harness.guest.agent import Agent
from harness.target.base import Line, Standing, in_sectors

_SETUP = "/lib/drbd/drbdsetup-84"
_META = "/usr/sbin/drbdmeta"
_DISK = "/dev/vda"
_RESOURCE = "replicated"
_MINOR = "0"
_LOWER = "lower"
_METADATA = "metadata"
_VIEW = "view"
_STATUS = "/proc/drbd"
_PORT_BASE = 7000
_PORTS = 1000
_TOOL_TIMEOUT_MS = "60000"
_CONNECT_TIMEOUT_MS = "60000"
# Superblock and activity log, and one bit per 4 KiB of data.
_METADATA_FIXED = 1 << 20
_DATA_PER_METADATA_BYTE = 8 * 4096
# A primary stands still for as long as its backup is looked at, which must not count as its loss:
# DRBD would go on without the other node and make up for it later. Seconds and tenths of seconds.
# The last one is how long a connection is watched before it counts, by default as long as a ping.
_PATIENCE = ("--ping-int=60", "--ping-timeout=300", "--connect-int=30", "--timeout=250",
             "--socket-check-timeout=5")  # fmt: skip
_incarnations = itertools.count()

PROTOCOLS = {"drbd": "C", "drbd-a": "A"}
"""Target name -> DRBD's protocol: C waits for the backup's disk, A only for its own send buffer."""


def _drbd(*words: str) -> Line:
    return ("exec", _TOOL_TIMEOUT_MS, _SETUP, *words)


class DrbdTarget:
    """One primary and one secondary; ``name`` is a key of ``PROTOCOLS``."""

    replicated = True
    mount_device = f"/dev/drbd{_MINOR}"
    inspect_device = f"/dev/mapper/{_VIEW}"

    def __init__(
        self, name: str, modules: Sequence[str], addresses: tuple[str, str], disk: str = _DISK
    ) -> None:
        """``modules`` in load order; ``addresses`` of primary and backup."""
        self.name = name
        self._modules = modules
        self._addresses = addresses
        self._disk = disk
        self._port = _PORT_BASE

    def create(self, primary: Agent, backup: Agent, length: int, deadline: Deadline) -> None:
        # A fresh port: no late frame of an earlier pair reaches this one.
        self._port = _PORT_BASE + next(_incarnations) % _PORTS
        for runner, of_backup in ((backup, True), (primary, False)):
            runner.run_all(self._prepare(length), deadline)
            runner.run(self.connect_line(of_backup), deadline)
        self._await(primary, backup, "cs==Connected", deadline)
        # Both disks are zeroed: they are equal, and nothing has to be copied.
        primary.run(_drbd("new-current-uuid", _MINOR, "--clear-bitmap"), deadline)
        self._await(primary, backup, "ds==UpToDate/UpToDate", deadline)
        primary.run(_drbd("primary", _MINOR), deadline)

    def connect_line(self, of_backup: bool) -> Line:
        """Connects a node that is not; it goes on trying by itself."""
        options = (f"--protocol={PROTOCOLS[self.name]}", *_PATIENCE)
        return _drbd("connect", _RESOURCE, *self._ends(of_backup), *options)

    def disconnect_line(self, of_backup: bool) -> Line:
        """Ends a node's connection; it does not try again."""
        return _drbd("disconnect", *self._ends(of_backup))

    def _ends(self, of_backup: bool) -> list[str]:
        own, other = reversed(self._addresses) if of_backup else self._addresses
        return [f"ipv4:{address}:{self._port}" for address in (own, other)]

    def _prepare(self, length: int) -> list[Line]:
        metadata = _METADATA_FIXED + -(-length // _DATA_PER_METADATA_BYTE // 4096) * 4096
        data = f"0 {in_sectors(length)} linear {self._disk} 0"
        behind = f"0 {in_sectors(metadata)} linear {self._disk} {in_sectors(length)}"
        lower, meta = f"/dev/mapper/{_LOWER}", f"/dev/mapper/{_METADATA}"
        return [
            *(self._load(path) for path in self._modules),
            ("zero", self._disk, str(length + metadata)),
            ("dm-create", _LOWER, "-", "RW", data),
            ("dm-create", _METADATA, "-", "RW", behind),
            ("dm-create", _VIEW, "-", "RO", data),
            ("exec", _TOOL_TIMEOUT_MS, _META, "--force", _MINOR, "v08", meta, "flex-external",
             "create-md"),
            _drbd("new-resource", _RESOURCE),
            _drbd("new-minor", _RESOURCE, _MINOR, "0"),
            _drbd("attach", _MINOR, lower, meta, "flexible"),
        ]  # fmt: skip

    @staticmethod
    def _load(path: str) -> Line:
        # Otherwise the kernel calls drbdadm for everything that happens.
        quiet = ("usermode_helper=disabled",) if path.endswith("/drbd.ko") else ()
        return ("insmod", path, *quiet)

    def _await(self, primary: Agent, backup: Agent, condition: str, deadline: Deadline) -> None:
        for runner in (primary, backup):
            runner.run(("file-wait", _STATUS, _CONNECT_TIMEOUT_MS, condition), deadline)

    def remove(self, primary: Agent, backup: Agent, deadline: Deadline) -> None:
        names = (_VIEW, _LOWER, _METADATA)
        lines = [_drbd("down", _RESOURCE), *(("dm-remove", name) for name in names)]
        for runner in (primary, backup):
            runner.run_script([("try", *line) for line in lines], deadline)

    def status_lines(self) -> list[Line]:
        return [("file-status", _STATUS)]

    def drain_lines(self, timeout_ms: int, upto: int | None = None) -> list[Line]:
        # Of several local requests at most one is not complete: the one that is being received.
        conditions = ["lo<=1", "ua==0", *([f"nr>={upto}"] if upto is not None else [])]
        return [("file-wait", _STATUS, str(timeout_ms), *conditions)]

    def backup_status_lines(self) -> list[Line]:
        return self.status_lines()

    def standing(self, status: Mapping[str, str]) -> Standing:
        """Counted in KiB of written data, which both nodes count alike from their creation on.

        A request that is being received counts as local (``lo``) before its data has come, which
        it never does once the primary stands still: one such request is as good as none.
        """
        sent, received = status.get("ns", ""), status.get("nr", "")
        # What is still under way has been counted as sent: then nothing is known for certain.
        certain = status.get("pe") == "0" and status.get("ap") == "0"
        return Standing(
            acked=(int(sent) if certain else 0) if sent.isdigit() else None,
            applied=int(received) if received.isdigit() else None,
            settled=status.get("lo") in ("0", "1") and status.get("ua") == "0",
            # Zeroes and discards are not received as data, but count as written.
            mark=f"{received} {status.get('dw', '')}",
        )
