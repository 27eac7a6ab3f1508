# SPDX-License-Identifier: Apache-2.0
"""QEMU processes that a killed run left behind, found in /proc and ended without libvirt.

A run may be killed at any moment, also while libvirt starts a guest: then the guest is not yet in
libvirt's records, or is there with a lock that nobody will release.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import InfraError


def end_qemu(folders: Iterable[Path], deadline: Deadline) -> int:
    """Kill every QEMU that has a file below one of ``folders`` on its command line; their number.

    Returns when they have ended. InfraError when one may not be killed, or does not end in time.
    """
    marks = [f"{folder}/".encode() for folder in folders]
    ended = 0
    for pid in _pids():
        with contextlib.suppress(ProcessLookupError), _process(pid) as process:
            # Opened first: from here on the number cannot be another process's.
            if _is_ours(pid, marks):
                _kill(pid, process, deadline)
                ended += 1
    return ended


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


@contextlib.contextmanager
def _process(pid: int) -> Iterator[int]:
    process = os.pidfd_open(pid)
    try:
        yield process
    finally:
        os.close(process)


def _is_ours(pid: int, marks: list[bytes]) -> bool:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    program = os.path.basename(line.partition(b"\0")[0])
    return program.startswith(b"qemu") and any(mark in line for mark in marks)


def _kill(pid: int, process: int, deadline: Deadline) -> None:
    try:
        signal.pidfd_send_signal(process, signal.SIGKILL)
    except PermissionError as error:
        raise InfraError(f"process {pid} of QEMU cannot be ended: {error.strerror}") from error
    waiting = select.poll()
    waiting.register(process, select.POLLIN)
    if not waiting.poll(deadline.remaining * 1000):
        raise InfraError(f"process {pid} of QEMU was killed and has not ended: {deadline}")
