# SPDX-License-Identifier: Apache-2.0
"""The fio jobs of the cost benchmark, and what their reports say."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from harness.deadline import Deadline
from harness.guest.agent import Agent

FIO = "/usr/bin/fio"
_MIB = 1 << 20
_GRACE_S = 300.0
# Buffers are filled once and altered for each write: new random bytes would cost more than the I/O.
_COMMON = ("--name=job", "--direct=1", "--norandommap", "--randseed=20240611",
           "--output-format=json")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Job:
    """One kind of load."""

    title: str
    unit: str
    """Of its rate: ``op/s`` or ``MiB/s``."""
    options: tuple[str, ...]
    reads: bool = False


# A job that writes ends with a flush, inside its time: what is still on its way to the backup then
# would be somebody else's cost.
JOBS = (
    Job(
        "4 KiB random read", "op/s",
        ("--rw=randread", "--bs=4k", "--ioengine=libaio", "--iodepth=16"), reads=True,
    ),
    Job(
        "4 KiB random write", "op/s",
        ("--rw=randwrite", "--bs=4k", "--ioengine=libaio", "--iodepth=16", "--end_fsync=1"),
    ),
    Job(
        "4 KiB write+fsync", "op/s",
        ("--rw=randwrite", "--bs=4k", "--ioengine=psync", "--fsync=1"),
    ),
    Job(
        "1 MiB sequential write", "MiB/s",
        ("--rw=write", "--bs=1m", "--ioengine=libaio", "--iodepth=4", "--end_fsync=1"),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run of a job came to."""

    rate: float
    """In the job's unit."""
    operations: int


def run_job(agent: Agent, job: Job, device: str, length: int, seconds: float) -> Measured:
    """Run ``job`` on the first ``length`` bytes of ``device``. AgentError when fio fails."""
    timing = ("--time_based", f"--runtime={seconds}")
    words = (*_COMMON, f"--filename={device}", f"--size={length}", *timing, *job.options)
    return parse(job, _fio(agent, words, seconds))


def fill(agent: Agent, device: str, length: int) -> None:
    """Write all of ``device`` once, so that reads find data and no block is a first one."""
    words = (*_COMMON, f"--filename={device}", f"--size={length}", "--rw=write", "--bs=1m",
             "--ioengine=libaio", "--iodepth=4", "--end_fsync=1")  # fmt: skip
    _fio(agent, words, length / _MIB)


def scatter(agent: Agent, device: str, length: int, blocks: int) -> None:
    """Overwrite ``blocks`` different 4 KiB blocks of ``device``, at random places."""
    words = ("--name=job", "--direct=1", "--randseed=7", "--output-format=json",
             f"--filename={device}", f"--size={length}", f"--io_size={blocks * 4096}",
             "--rw=randwrite", "--bs=4k", "--ioengine=libaio", "--iodepth=16",
             "--end_fsync=1")  # fmt: skip
    _fio(agent, words, blocks / 100)


def _fio(agent: Agent, words: tuple[str, ...], seconds: float) -> str:
    limit = seconds + _GRACE_S
    deadline = Deadline.after(limit + 30, "fio to end")
    return agent.run(("exec", str(int(limit * 1000)), FIO, *words), deadline).text


def parse(job: Job, text: str) -> Measured:
    """The figures in fio's report; what fio said before it is skipped."""
    report: dict[str, Any] = json.loads(text[text.index("{") :])
    (found,) = report["jobs"]
    side: dict[str, Any] = found["read" if job.reads else "write"]
    rate = side["bw_bytes"] / _MIB if job.unit == "MiB/s" else side["iops"]
    return Measured(float(rate), int(side["total_ios"]))
