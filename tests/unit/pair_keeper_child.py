# SPDX-License-Identifier: Apache-2.0
"""The command line with guests in memory, for tests that need a keeper in a process of its own.

``HARNESS_TEST_PAIR`` says what bringing the pair up comes to: ``up``, ``refused`` or ``stuck``.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pair_world import FILE, PairWorld
from run_world import IMAGE

from harness.build.workshop import BuiltModule
from harness.cli.main import run_command_line
from harness.config import StateDir, state_dir
from harness.run.devpair import keeper, launch
from harness.run.devpair.kit import Kit
from harness.run.devpair.stack import make_stack
from harness.run.options import RunOptions
from harness.run.pair import PairBuilder
from harness.vm.live import LiveDir
from harness.vm.ports import Accelerator

_FOREVER = ["sleep", "1000"]


@dataclass
class FakeLaboratory:
    state: StateDir
    live: LiveDir
    image = IMAGE

    def pairs(self, options: RunOptions) -> PairBuilder:
        return PairBuilder(
            WORLD.hypervisor, self.live, IMAGE, Accelerator.TCG, self.live.path,
            boot_timeout_s=options.boot_timeout_s, connect=WORLD.connect,
        )  # fmt: skip


WORLD = PairWorld()


@contextlib.contextmanager
def laboratory(options: RunOptions, say: object, live: LiveDir) -> Iterator[FakeLaboratory]:
    yield FakeLaboratory(state_dir(options.state_dir), live)


def build_kit(options: RunOptions, image: object, state: StateDir, out: Path) -> Kit:
    what = os.environ["HARNESS_TEST_PAIR"]
    if what == "refused":
        (out.parent / "keeper.log").read_bytes()
        raise keeper.UsageError("no such module", hint="another one")
    if what == "stuck":
        # As a compiler would be, in the group of the keeper.
        with subprocess.Popen(_FOREVER):
            pass
    out.mkdir()
    path = out / "dm-rollbaccine.ko"
    path.write_bytes(b"A1")
    stack = make_stack(options, IMAGE, None, FILE)
    return Kit(stack, out, (BuiltModule(path, "dA1", "2", "A1"),), {FILE: path})


if __name__ == "__main__":
    launch._HARNESS = (sys.executable, __file__)
    keeper.laboratory = laboratory  # type: ignore[assignment]
    keeper.build_kit = build_kit  # type: ignore[assignment]
    sys.exit(run_command_line(sys.argv[1:]))
