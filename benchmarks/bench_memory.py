# SPDX-License-Identifier: Apache-2.0
"""Kernel memory that a device takes: ``bench_memory.py [--gib 1 4] [--fill-gib 1]``.

On a fresh pair for each figure: what the kernel uses and cannot give back (all but free memory and
caches, dropped before) when the device has been made, less what it was before, and again once
every block has been written. ``status`` is what the target itself says, if it does.
"""

from __future__ import annotations

import argparse

from io_arms import REPLICATED, Arm, booted, disk_bytes, opened, set_up, tear_down
from io_fio import fill

from harness.build.profile import DEFAULT_PROFILE
from harness.deadline import Deadline
from harness.guest.replies import parse_status
from harness.run.laboratory import Laboratory
from harness.run.pair import Guest, Pair

_GIB = 1 << 30
_SMALL = 16 << 20
_KIB_PER_MIB = 1024
_MEMINFO = "/proc/meminfo"
_REGAINABLE = ("MemFree", "Cached", "Buffers", "SReclaimable")


def used_kib(guest: Guest) -> int:
    """Memory that the guest's kernel and programs use and could not give back."""
    lines = [("drop-caches",), ("file-status", _MEMINFO)]
    said = guest.agent.run_all(lines, Deadline.after(60, "meminfo")).results[-1].text
    info = parse_status(said)
    return int(info["MemTotal"]) - sum(int(info[key]) for key in _REGAINABLE)


def used_by_both(pair: Pair) -> list[int]:
    return [used_kib(guest) for guest in pair.guests]


def own_account(pair: Pair, arm: Arm) -> list[str]:
    """``memory`` of the target's status on both guests, in MiB; empty where there is none."""
    assert arm.target is not None
    found = []
    for guest in pair.guests:
        lines = arm.target.backup_status_lines()
        said = guest.agent.run_all(lines, Deadline.after(60, "a status")).results[-1].text
        memory = parse_status(said.splitlines()[-1]).get("memory")
        found.append("" if memory is None else f"{int(memory) / (1 << 20):.1f}")
    return found


def show(what: str, before: list[int], pair: Pair, arm: Arm, gib: float) -> None:
    """One line: MiB and MiB per GiB of device, primary then backup."""
    grown = [now - then for now, then in zip(used_by_both(pair), before, strict=True)]
    mib = [value / _KIB_PER_MIB for value in grown]
    status = own_account(pair, arm)
    print(f"{arm.name:20}{gib:4g} GiB {what:8}" + "".join(
        f"  {role} {value:7.1f} MiB, {value / gib:6.1f} per GiB (status {own or '-'})"
        for role, value, own in zip(("primary", "backup"), mib, status, strict=True)
    ), flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, nargs="+", default=[1, 4], help="device lengths")
    parser.add_argument("--fill-gib", type=float, default=1, help="write devices up to this length")
    parser.add_argument("--profile", default=DEFAULT_PROFILE)
    parser.add_argument("--arm", action="append", choices=REPLICATED, help="may be repeated")
    options = parser.parse_args()
    with opened(options.profile) as lab:
        for name in options.arm or REPLICATED:
            for gib in options.gib:
                measure(lab, name, gib, written=gib <= options.fill_gib)


def measure(lab: Laboratory, name: str, gib: float, *, written: bool) -> None:
    """Print the figures of one device on a pair of its own."""
    length = int(gib * _GIB)
    with booted(lab, disk_bytes(1, length)) as pair:
        # A small device first: what the modules take when loaded is not the device's.
        tear_down(pair, set_up(lab, pair, (name,), _SMALL))
        before = used_by_both(pair)
        (arm,) = set_up(lab, pair, (name,), length)
        show("made", before, pair, arm, gib)
        if written:
            fill(pair.primary.agent, arm.device, length)
            show("written", before, pair, arm, gib)


if __name__ == "__main__":
    main()
