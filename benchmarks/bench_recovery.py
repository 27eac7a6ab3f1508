# SPDX-License-Identifier: Apache-2.0
"""How long a backup that was away needs to be whole again: ``bench_recovery.py [--mib 1024]``.

Each round, for our target: the backup's device is removed, so that all it held in memory is gone;
a share of its disk is overwritten (or all of it zeroed: a full copy); the device is made again.
The time runs until the primary counts the backup as in sync. For DRBD, which finds stale blocks by
its bitmap: the backup is disconnected, the primary overwrites the same share, they connect again;
a full copy is one asked for with ``invalidate``. Both devices are compared afterwards.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

from io_arms import DRBD, REPLICATED, Arm, booted, disk_bytes, opened, set_up
from io_fio import fill, scatter
from io_table import spread

from harness.build.profile import DEFAULT_PROFILE
from harness.deadline import Deadline
from harness.guest.agent import Agent
from harness.run.pair import Pair
from harness.target.base import Line
from harness.target.drbd import DrbdTarget

_MIB = 1 << 20
_BLOCK = 4096
_TIMEOUT_S = 1800.0
_TIMEOUT_MS = str(int(_TIMEOUT_S * 1000))
_DRBDSETUP = "/lib/drbd/drbdsetup-84"
_DRBD_STATUS = "/proc/drbd"


def _deadline(what: str) -> Deadline:
    return Deadline.after(_TIMEOUT_S, what)


def _run(agent: Agent, *lines: Line) -> str:
    """Run ``lines`` and return what the last one said."""
    return agent.run_all(lines, _deadline(" ".join(lines[0][:3]))).results[-1].text


@dataclass(frozen=True, slots=True)
class Case:
    """One arm's device of a pair, and how many of its blocks go stale; 0: all."""

    pair: Pair
    arm: Arm
    length: int
    stale: int


def recover_ours(case: Case) -> float:
    """Seconds until a backup that comes back with an empty memory is in sync."""
    primary, backup = case.pair.primary.agent, case.pair.backup.agent
    name = case.arm.device.rpartition("/")[2]
    table = _run(backup, ("dm-table", name))
    _run(backup, ("dm-remove", name))
    if case.stale:
        scatter(backup, case.arm.disk, case.length, case.stale)
    else:
        _run(backup, ("zero", case.arm.disk, str(case.length)))
    started = time.monotonic()
    _run(backup, ("dm-create", name, "-", "RW", table))
    _run(backup, ("dm-wait", name, _TIMEOUT_MS, "state==connected", "missing==0"))
    _run(primary, ("dm-wait", name, _TIMEOUT_MS, "state==connected"))
    return time.monotonic() - started


def recover_drbd(case: Case) -> float:
    """Seconds until DRBD's resynchronisation has ended."""
    target = case.arm.target
    assert isinstance(target, DrbdTarget)
    primary, backup = case.pair.primary.agent, case.pair.backup.agent
    if case.stale:
        for agent, of_backup in ((backup, True), (primary, False)):
            _run(agent, target.disconnect_line(of_backup))
        scatter(primary, case.arm.device, case.length, case.stale)
        started = time.monotonic()
        # Both, since a node that has been waiting tries again only now and then.
        for agent, of_backup in ((backup, True), (primary, False)):
            _run(agent, target.connect_line(of_backup))
    else:
        started = time.monotonic()
        _run(backup, ("exec", _TIMEOUT_MS, _DRBDSETUP, "invalidate", "0"))
    # The backup knows before anybody else that it is not up to date.
    whole = ("cs==Connected", "ds==UpToDate/UpToDate", "oos==0")
    _run(backup, ("file-wait", _DRBD_STATUS, _TIMEOUT_MS, *whole))
    return time.monotonic() - started


def compare(case: Case) -> bool:
    """Whether both devices hold the same, as their targets show them."""
    target = case.arm.target
    assert target is not None
    mine = _run(case.pair.primary.agent, ("digest", target.mount_device, str(case.length)))
    theirs = _run(case.pair.backup.agent, ("digest", target.inspect_device, str(case.length)))
    return mine == theirs


RECOVER: dict[str, Callable[[Case], float]] = {DRBD: recover_drbd}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mib", type=int, default=1024, help="length of the device")
    parser.add_argument("--percent", type=float, default=1, help="of the blocks that are stale")
    parser.add_argument("--profile", default=DEFAULT_PROFILE)
    parser.add_argument("--arm", action="append", choices=REPLICATED, help="may be repeated")
    options = parser.parse_args()
    length = options.mib * _MIB
    few = max(1, int(length // _BLOCK * options.percent / 100))
    print(f"{options.mib} MiB, seconds: min median max of {options.rounds}")
    with opened(options.profile) as lab:
        for name in options.arm or REPLICATED:
            with booted(lab, disk_bytes(1, length)) as pair:
                (arm,) = set_up(lab, pair, (name,), length)
                if isinstance(arm.target, DrbdTarget):
                    _let_drbd_run(pair)
                fill(pair.primary.agent, arm.device, length)
                recover = RECOVER.get(name, recover_ours)
                for title, stale in ((f"{options.percent:g} % stale", few), ("full copy", 0)):
                    case = Case(pair, arm, length, stale)
                    times = [recover(case) for _ in range(options.rounds)]
                    equal = "devices equal" if compare(case) else "DEVICES DIFFER"
                    print(f"{name:20}{title:14}{spread(times, '8.2f')}  {equal}", flush=True)


def _let_drbd_run(pair: Pair) -> None:
    """DRBD copies at 250 KiB/s unless told otherwise, so as not to disturb other I/O."""
    for guest in pair.guests:
        words = ("disk-options", "0", "--c-plan-ahead=0", "--resync-rate=4000M", "--c-min-rate=0")
        _run(guest.agent, ("exec", _TIMEOUT_MS, _DRBDSETUP, *words))


if __name__ == "__main__":
    main()
