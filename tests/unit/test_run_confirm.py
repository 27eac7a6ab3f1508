# SPDX-License-Identifier: Apache-2.0
"""Running a failed case again, where the guests change on the way; guests in memory."""

from __future__ import annotations

from pathlib import Path

from run_world import World, worker
from test_run_worker import case, lose_files

from harness.guest.fake import Command, Reply
from harness.model.verdict import Verdict


def test_a_report_in_one_rerun_costs_the_next_one_its_guests(tmp_path: Path) -> None:
    world = World()
    lose_files(world)

    def complains_second(role: str, command: Command) -> Reply | None:
        second = world.seen["primary", "image-restore"] == 2
        if (role, command[0]) == ("backup", "probe") and second and world.boots() == 1:
            world.report("primary")
        return None

    world.rules.append(complains_second)
    result = worker(world, tmp_path, [], confirm=2).run(case(tmp_path))
    assert [(rerun.verdict, rerun.fresh_pair) for rerun in result.reruns] == [
        (Verdict.FAIL, False), (Verdict.FAIL, True),
    ]  # fmt: skip
    assert "console" in {check.rule for check in result.reruns[0].checks}
    assert "console" not in {check.rule for check in result.reruns[1].checks}


def test_what_a_sound_kernel_says_of_a_bad_disk_costs_no_guests(tmp_path: Path) -> None:
    world = World()
    lose_files(world)
    bad_disk = "[   12.1] EXT4-fs error (device ram0): ext4_lookup:1786: inode #2: comm x: bad\n"

    def complains(role: str, command: Command) -> Reply | None:
        if (role, command[0]) == ("backup", "probe"):
            world.report("backup", bad_disk)
        return None

    world.rules.append(complains)
    result = worker(world, tmp_path, [], confirm=2).run(case(tmp_path))
    assert "console" in {check.rule for check in result.checks}
    assert [rerun.fresh_pair for rerun in result.reruns] == [False, False]
    assert world.boots() == 1
