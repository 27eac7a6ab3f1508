# SPDX-License-Identifier: Apache-2.0
"""What a workload costs as a test of xfstests, alone and in a bundle: ``bench_xfstests.py DIR``.

DIR is a built xfstests tree. The tests are run by its ``check`` in a guest, on a plain disk with
dm-flakey, as a reader of an export would run them: nobody is met at their crash points. A round is
one test, several tests, and one test of many workloads, each by a ``check`` of its own; what one
more test takes is the price of a test, what is left of the first one the start of ``check``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from statistics import median

from ace_workloads.registry import load_suite
from ace_workloads.workload import Workload
from harness.build.profile import DEFAULT_PROFILE
from harness.build.xfstests import look_at_tree
from harness.deadline import Deadline
from harness.export.tree import common_files
from harness.export.xfstests import build_test
from harness.guest.agent import Agent
from harness.run.filesystems import FILE_SYSTEMS
from harness.run.laboratory import laboratory
from harness.run.options import Engine, RunOptions
from harness.run.xfstests import site

_GROUP = "ace-bench"
_DEVICE = "/dev/vda"
_TIMEOUT_S = 3600.0


def put(agent: Agent, tests: Sequence[Sequence[Workload]]) -> list[str]:
    """Tests of these workloads, in the guest; their names as ``check`` wants them."""
    files = {f"common/{name}": text for name, text in common_files().items()}
    names, listed = [], ""
    for number, workloads in enumerate(tests, 1):
        test = build_test(f"{number:03d}", workloads)
        files[f"tests/{_GROUP}/{test.name}"] = test.script
        files[f"tests/{_GROUP}/{test.name}.out"] = test.golden
        listed += f"{test.name} {' '.join(test.groups)}\n"
        names.append(f"{_GROUP}/{test.name}")
    files[f"tests/{_GROUP}/group.list"] = listed
    agent.run_all(site.file_lines(files), _deadline("tests to be put into the guest"))
    return names


def check(agent: Agent, names: Sequence[str]) -> float:
    """Seconds that ``check`` takes for these tests, all of which have to pass."""
    job = site.CheckJob(tuple(names), int(_TIMEOUT_S * 1000))
    started = time.monotonic()
    done = agent.run(site.check_line(job, meets=False), _deadline(f"{len(names)} tests to end"))
    seconds = time.monotonic() - started
    if "Not run" in done.text:
        raise SystemExit(f"not run:\n{done.text}")
    return seconds


def _deadline(what: str) -> Deadline:
    return Deadline.after(_TIMEOUT_S, what)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tree", type=Path)
    parser.add_argument("--fs", choices=FILE_SYSTEMS, default="ext4")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tests", type=int, default=5, help="of one workload each, in a round")
    parser.add_argument("--bundle", type=int, default=100, help="workloads of one test")
    parser.add_argument("--profile", default=DEFAULT_PROFILE)
    asked = parser.parse_args()
    options = RunOptions(
        suite="ace-seq1", profile=asked.profile, engine=Engine.XFSTESTS,
        xfstests=look_at_tree(asked.tree).path,
    )  # fmt: skip
    workloads = list(islice(load_suite("ace-seq1"), asked.bundle))
    step = max(1, len(workloads) // asked.tests)
    alone = [[each] for each in workloads[::step][: asked.tests]]
    fs = FILE_SYSTEMS[asked.fs]
    with laboratory(options, print) as lab:
        builder = lab.pairs(options)
        pair = builder.boot("bench")
        agent, modules = pair.primary.agent, builder.image.on_demand
        loads = [("insmod", path) for path in (*modules["layers"], *modules[fs.name])]
        config = {"local.config": site.config_text(fs, _DEVICE, whole=False)}
        made = [*site.layers_script(), *site.test_disk_script(fs), *site.file_lines(config)]
        agent.run_all([*loads, *made], _deadline("the guest to be made ready"))
        *singles, bundle = put(agent, [*alone, workloads])
        prices, shares = [], []
        for number in range(1, asked.rounds + 1):
            one, many = check(agent, singles[:1]), check(agent, singles)
            all_at_once = check(agent, [bundle])
            price = (many - one) / (len(singles) - 1)
            share = (all_at_once - (one - price)) / len(workloads)
            print(f"round {number}: a test {price:.2f} s, a workload of {bundle} {share:.2f} s")
            prices.append(price)
            shares.append(share)
        print(
            f"{fs.name}: a test {median(prices):.2f} s, a workload in a bundle of"
            f" {len(workloads)} {median(shares):.2f} s: ratio {median(shares) / median(prices):.3f}"
        )
        pair.close()


if __name__ == "__main__":
    main()
