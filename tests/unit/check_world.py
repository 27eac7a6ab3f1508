# SPDX-License-Identifier: Apache-2.0
"""Two guests in memory, the primary of which runs tests of xfstests: as good as ``run_world``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from run_world import DIGEST, IMAGE, STATUS, World, options, tree_payload

from ace_workloads.registry import load_suite
from ace_workloads.workload import Workload
from harness.events import Event
from harness.export.table import crash_lines
from harness.guest.fake import Command, Reply
from harness.guest.protocol import encode_word
from harness.run.options import Engine
from harness.run.xfstests.bundle import OUTPUT
from harness.run.xfstests.worker import CheckWorker

_RUN = re.compile(r"^_ace_run (\S+) ", re.MULTILINE)


@dataclass
class CheckWorld(World):
    """Runs the workloads of a bundle faultlessly; tests change what becomes of one."""

    bundles: list[list[str]] = field(default_factory=list)
    """Ids of the workloads of each start of ``check``."""
    said: dict[str, str] = field(default_factory=dict)
    """Ending of a file of the test -> what ``check`` wrote into it."""
    status: int = 0
    """Of ``check``."""
    spoken: Callable[[str, str], str | None] = lambda _id, words: words
    """(workload, what a test is to say) -> what it says; None if it breaks off there."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._loaded: list[Workload] = []
        self.rules.append(self._check)

    def _check(self, role: str, command: Command) -> Reply | None:
        if command[0] == "file-put" and command[1].endswith("/ace-harness/001"):
            script = bytes.fromhex(command[2]).decode()
            suite = {workload.id: workload for workload in load_suite("smoke")}
            self._loaded = [suite[found] for found in _RUN.findall(script)]
        if command[0] == "file-read":
            ending = next((e for e in self.said if command[1].endswith(e)), None)
            if ending is None:
                return Reply.failure("open: ENOENT: it", -2)
            return Reply(self.said[ending].encode())
        if command[0] == "job" and "./check" not in command[-1]:
            return Reply()
        if command[0] == "job":
            self.bundles.append([workload.id for workload in self._loaded])
            return Reply(b"Ran: x\n", self.status == 0, self.status, self._events(role))
        return None

    def _events(self, role: str) -> Iterator[bytes]:
        assert role == "primary"
        pair = self.machines["primary"].name.removesuffix("primary")
        for workload in self._loaded:
            self._at[pair] = workload.steps, 0
            for words, line in self._words(workload):
                self._at[pair] = workload.steps, line
                said = self.spoken(workload.id, words)
                if said is None:
                    break
                yield self._event(said)

    def _words(self, workload: Workload) -> Iterator[tuple[str, int]]:
        yield f"begin {workload.id}", 0
        for number, line in enumerate(crash_lines(workload.steps), 1):
            yield f"point {workload.id} {number} {line}", line
        yield f"end {workload.id}", len(workload.steps)

    def _event(self, said: str) -> bytes:
        payloads: list[tuple[int, bytes]] = []
        if said.startswith("point"):
            tree = tree_payload(self.tree())
            payloads = [(0, STATUS.encode()), (1, tree)]
        elif said.startswith("end"):
            payloads = [(2, STATUS.encode()), (3, DIGEST)]
        blocks = [b"R %d ok 0 0 %d\n%b\n" % (at, len(p), p) for at, p in payloads]
        return b"rendezvous " + encode_word(said).encode() + b"\n" + b"".join(blocks)

    def complain(self, *lines: str) -> None:
        """Let ``check`` be discontent, with these lines in the output of its test."""
        self.status = 1
        self.said[OUTPUT] = "QA output created by 001\n" + "".join(f"{line}\n" for line in lines)


def check_worker(
    world: CheckWorld, folder: Path, events: list[Event], **changes: object
) -> CheckWorker:
    """A worker on pairs of ``world``, with cases of suite smoke."""
    builder = replace(
        world.builder(folder),
        image=replace(IMAGE, on_demand={**IMAGE.on_demand, "layers": ("/lib/overlay.ko",)}),
    )
    asked = options(folder, engine=Engine.XFSTESTS, xfstests=folder, **changes)
    return CheckWorker(0, builder, asked, events.append)
