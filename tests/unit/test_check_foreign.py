# SPDX-License-Identifier: Apache-2.0
"""Tests that come with xfstests: which are meant, and what is made of what they leave."""

from __future__ import annotations

from pathlib import Path

import pytest
from check_world import CheckWorld, check_worker
from run_world import OOPS, options

from harness.errors import UsageError
from harness.guest.fake import Command, Reply
from harness.model.case import CaseResult, Outcome
from harness.model.verdict import Verdict
from harness.oracle.rules import Rule
from harness.run.options import Engine
from harness.run.plan import ForeignPlan
from harness.run.xfstests.bundle import NOT_RUN
from harness.run.xfstests.foreign import group_tests

LISTED = """\
# a comment
001 auto quick

002 auto metadata   # slow
1003 auto quick
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree" / "tests" / "generic"
    folder.mkdir(parents=True)
    (folder / "group.list").write_text(LISTED, encoding="ascii")
    for name in ("001", "002", "1003"):
        (folder / name).write_text(f"#!/bin/bash\n# {name}\n", encoding="ascii")
    return tmp_path / "tree"


def names(tree: Path, wanted: str) -> list[str]:
    return [test.name for test in group_tests(tree, wanted)]


def test_a_group_is_what_the_list_says(tree: Path) -> None:
    assert names(tree, "generic/quick") == ["generic/001", "generic/1003"]
    assert names(tree, "generic/auto") == ["generic/001", "generic/002", "generic/1003"]
    assert names(tree, "generic/002") == ["generic/002"]
    assert len({test.content_hash for test in group_tests(tree, "generic/auto")}) == 3


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("quick", "no group of tests"), ("generic", "no group of tests"),
        ("ext4/quick", "no group of tests"), ("../generic/quick", "no group of tests"),
        ("generic/slow", "in a group 'slow'"), ("generic/003", "in a group '003'"),
        ("generic/", "in a group ''"),
    ],
)  # fmt: skip
def test_what_there_is_not_is_said(tree: Path, wanted: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        group_tests(tree, wanted)


def test_a_listed_test_that_is_missing_is_said(tree: Path) -> None:
    (tree / "tests/generic/002").unlink()
    with pytest.raises(UsageError, match="generic/002 cannot be read"):
        group_tests(tree, "generic/auto")


def run(world: CheckWorld, tree: Path, **changes: object) -> list[CaseResult]:
    """Results of all of generic/auto."""
    asked = dict(engine=Engine.XFSTESTS, xfstests=tree, group="generic/auto") | changes
    plan = ForeignPlan(options(tree, suite="xfstests", **asked))
    del asked["engine"], asked["xfstests"]
    worker = check_worker(world, tree, [], **asked)
    results = []
    while (case := plan.take()) is not None:
        results += worker.results(case, plan.take)
    return results


def test_each_is_run_alone_and_both_devices_compared(tree: Path) -> None:
    world = CheckWorld()
    results = run(world, tree)
    assert [str(result.case_id) for result in results] == [
        f"xfstests/generic/{name}@ext4@rollbaccine" for name in ("001", "002", "1003")
    ]
    assert {result.outcome for result in results} == {Outcome.PASS}
    for result in results:
        assert {Rule.DEVICE_EQUAL, Rule.FSCK} <= {check.rule for check in result.checks}
    assert world.seen["primary", "job"] == 3 + 1, "and one that makes users"


def test_what_one_leaves_has_to_be_the_same_on_the_backup(tree: Path) -> None:
    world = CheckWorld()

    def differs(role: str, command: Command) -> Reply | None:
        if (role, command[0]) == ("backup", "digest") and len(world.bundles) == 2:
            return Reply(b"f" * 32 + b" 7")
        return None

    world.rules.insert(0, differs)
    results = run(world, tree)
    assert [result.outcome for result in results] == [Outcome.PASS, Outcome.FAIL, Outcome.PASS]
    assert [c.rule for c in results[1].checks if c.verdict is Verdict.FAIL] == ["device/equal"]


@pytest.mark.parametrize(
    ("dirty", "outcome"),
    [(("backup",), Outcome.FAIL), (("primary", "backup"), Outcome.PASS),
     (("primary",), Outcome.PASS)],
)  # fmt: skip
def test_the_checker_may_find_on_the_backup_what_it_finds_on_the_primary(
    tree: Path, dirty: tuple[str, ...], outcome: Outcome
) -> None:
    world = CheckWorld()

    def fsck(role: str, command: Command) -> Reply | None:
        if command[0] == "exec" and "/sbin/e2fsck" in command and role in dirty:
            return Reply(b"bitmap differs", ok=False, status=4)
        return None

    world.rules.insert(0, fsck)
    (result, *_) = run(world, tree, group="generic/001")
    assert result.outcome is outcome


def test_one_that_is_not_run_is_skipped(tree: Path) -> None:
    world = CheckWorld(said={NOT_RUN: "needs a zoned device"})
    results = run(world, tree, group="generic/002")
    assert [result.outcome for result in results] == [Outcome.SKIPPED]
    assert results[0].checks[0].found == "needs a zoned device"


def test_one_that_fails_fails_with_what_it_said(tree: Path) -> None:
    world = CheckWorld()
    world.complain("some file is missing")
    (result,) = run(world, tree, group="generic/002")
    assert [c.found for c in result.checks if c.rule == Rule.CASE_CHECK] == [
        "QA output created by 001", "some file is missing",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("role", "text", "outcome"),
    [
        ("primary", "[    9.100000] EXT4-fs error (device dm-0): ext4_shutdown:1: on purpose\n",
         Outcome.PASS),
        ("backup", "[    9.100000] EXT4-fs error (device dm-0): ext4_shutdown:1: by whom?\n",
         Outcome.FAIL),
        ("primary", OOPS, Outcome.FAIL),
    ],
)  # fmt: skip
def test_a_test_may_make_the_kernel_speak_of_its_file_system(
    tree: Path, role: str, text: str, outcome: Outcome
) -> None:
    world = CheckWorld()
    told: list[int] = []

    def speaks(_: str, command: Command) -> Reply | None:
        if command[0] == "job" and "./check" in command[-1] and not told:
            told.append(1)
            world.report(role, text)
        return None

    world.rules.insert(0, speaks)
    (result,) = run(world, tree, group="generic/002")
    assert result.outcome is outcome


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"sample": 1}, "--sample"), ({"only": ("1",)}, "--only"), ({"shard": (7, 1000)}, "--shard")],
)
def test_options_that_make_no_sense(tree: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(CheckWorld(), tree, **changes)
