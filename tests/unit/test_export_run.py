# SPDX-License-Identifier: Apache-2.0
"""Exported tests are run: what is legal passes, and damage makes them fail where it was done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from standin import Ran, Sandbox, sandbox

from ace_workloads.ops import Verb
from ace_workloads.registry import load_suite
from harness.export.tree import export_tests
from harness.model.content import pattern

pytestmark = pytest.mark.whole

FSYNCED_TWICE = "smoke/012"
"""write foo; sync; truncate foo; fsync foo"""
WRITTEN_DIRECTLY = "smoke/005"
"""write foo; sync; dwrite foo, which xfs_io does; fsync foo"""
BUNDLED = 5
"""Workloads of ``bundled/001``."""


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with sandbox() as made:
        smoke = load_suite("smoke")
        export_tests(smoke, made.tree, "smoke", bundle=None, size=13)
        export_tests(list(smoke)[:BUNDLED], made.tree, "bundled", bundle=13, size=13)
        for suite in ("ace-seq1-nested", "ace-seq2-nested", "paper-seq2"):
            sampled = load_suite(suite).sample(6, seed=4)
            export_tests(sampled, made.tree, suite, bundle=6, size=6)
        yield made


def faults(ran: Ran) -> set[str]:
    """Rules that the output names."""
    lines = (line.split(": ") for line in ran.unexpected)
    return {words[2] for words in lines if len(words) > 2}


@pytest.mark.parametrize("name", [f"{number:03d}" for number in range(1, 14)])
def test_one_workload_passes(box: Sandbox, name: str) -> None:
    ran = box.run(f"smoke/{name}")
    assert ran.unexpected == []
    assert ran.passed


@pytest.mark.parametrize("group", ["ace-seq1-nested", "ace-seq2-nested", "paper-seq2"])
def test_a_bundle_passes(box: Sandbox, group: str) -> None:
    ran = box.run(f"{group}/001")
    assert ran.unexpected == []
    assert ran.passed


@pytest.mark.parametrize("group", ["ace-seq1-nested", "ace-seq2-nested"])
def test_a_bundle_passes_with_programs_for_system_calls(box: Sandbox, group: str) -> None:
    ran = box.run(f"{group}/001", ACE_PROGRAMS="yes")
    assert ran.unexpected == []
    assert ran.passed


def test_each_crash_point_has_its_crash(box: Sandbox) -> None:
    calls = box.run(FSYNCED_TWICE).calls
    assert calls.count("table 1") == calls.count("recover") == 2
    assert calls.index("flakey") < calls.index("table 1") < calls.index("recover")
    assert sum(call.startswith("fsck ") for call in calls) == 2
    assert calls[-1].startswith("cleanup")


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        ("lose", "name/persisted"),
        ("stale", "name/persisted"),
        ("other", "content/persisted"),
        ("zeros", "content/persisted"),
        ("cut", "size/persisted"),
        ("copy", "attr/ino"),
        ("extra", "name/legal"),
        ("mode", "attr/mode"),
        ("unmountable", "mount"),
        ("inconsistent", "fsck"),
    ],
)
def test_damage_is_found_at_each_crash_point(box: Sandbox, damage: str, rule: str) -> None:
    ran = box.run(FSYNCED_TWICE, damage=damage)
    assert not ran.passed
    assert rule in faults(ran)
    for point in ("point 1", "point 2"):
        assert any(f"smoke/000000012: {point}: {rule}" in line for line in ran.unexpected)
    assert "smoke/000000012: 0 of 2 crash points as promised" in ran.unexpected


def test_a_changed_extended_attribute_is_found(box: Sandbox) -> None:
    assert "attr/xattr" in faults(box.run("smoke/010", damage="xattr"))


def test_a_workload_that_fails_does_not_hide_the_next(box: Sandbox) -> None:
    ran = box.run("bundled/001", damage="once")
    assert {line.split(": ")[0] for line in ran.unexpected} == {"smoke/000000001"}
    others = [line for line in ran.output.splitlines() if "as promised" in line]
    assert len(others) == BUNDLED
    assert sum(call.startswith("mkfs") for call in ran.calls) == 2, "a new one after the failure"


def test_a_step_that_fails_is_no_finding_about_the_crash(box: Sandbox, tmp_path: Path) -> None:
    ran = box.run(WRITTEN_DIRECTLY, XFS_IO_PROG="false")
    assert ran.unexpected == [
        "smoke/000000005: step 5: false: status 1",
        "smoke/000000005: 1 of 2 crash points as promised",
    ]
    ran = box.run("smoke/001", XFS_IO_PROG="false", ACE_PROGRAMS="yes")
    assert ran.unexpected == [
        "smoke/000000001: step 3: false: status 1",
        "smoke/000000001: 0 of 1 crash points as promised",
    ]
    # A program that says it did and did not: found before the crash, not after it.
    idle = tmp_path / "idle"
    idle.write_text('#!/bin/sh\ncase "$*" in *pwrite*) exit 0; esac\nexec xfs_io "$@"\n')
    idle.chmod(0o755)
    ran = box.run(WRITTEN_DIRECTLY, XFS_IO_PROG=str(idle))
    assert faults(ran) == {"live"}
    assert ran.calls.count("recover") == 1


@pytest.mark.parametrize("judge", ["exit 0", "read -r line; exit 0", "read -r line; echo end 0 0"])
def test_a_judge_that_does_not_answer_is_a_failure(
    box: Sandbox, tmp_path: Path, judge: str
) -> None:
    program = tmp_path / "perl"
    program.write_text(f"#!/bin/sh\n{judge}\n")
    program.chmod(0o755)
    assert not box.run(FSYNCED_TWICE, PERL_PROG=str(program)).passed


@pytest.mark.parametrize(
    "environment",
    [
        {"FSTYP": "vfat"},
        {"MOUNT_OPTIONS": "-o data=writeback"},
        {"MKFS_OPTIONS": "-O fast_commit"},
    ],
)
def test_not_run_where_nothing_is_promised(box: Sandbox, environment: dict[str, str]) -> None:
    ran = box.run(FSYNCED_TWICE, **environment)
    assert any(call.startswith("notrun") for call in ran.calls)
    assert not any(call.startswith("mkfs") for call in ran.calls)


HOOK = """\
#!/bin/bash
echo "$*" >> "$HOOK_LOG"
[ -n "$FSTYP" ] && [ -n "$SCRATCH_DEV" ] || exit 9
[ "$2 $3" != "$HOOK_FAILS" ] || { echo "will not"; exit 3; }
[ "$1" != point ] || cp -r "$SCRATCH_MNT" "$HOOK_LOG.${2##*/}.$3"
"""


def test_a_rendezvous_takes_the_place_of_the_crash(box: Sandbox, tmp_path: Path) -> None:
    hook, log = tmp_path / "hook", tmp_path / "log"
    hook.write_text(HOOK)
    hook.chmod(0o755)
    ran = box.run("bundled/001", HARNESS_RENDEZVOUS=str(hook), HOOK_LOG=str(log))
    assert ran.passed
    assert "flakey" not in ran.calls
    assert "recover" not in ran.calls
    assert not any(call.startswith("dm ") for call in ran.calls)
    wanted = []
    for workload in list(load_suite("smoke"))[:BUNDLED]:
        marks = [at for at, step in enumerate(workload.steps) if step.verb is Verb.CHECKPOINT]
        wanted.append(f"begin {workload.id}")
        wanted += [f"point {workload.id} {number} {at}" for number, at in enumerate(marks, 1)]
        wanted.append(f"end {workload.id}")
    assert log.read_text().splitlines() == wanted
    # smoke/000000004: write foo append; sync; write foo overlap_extend; fsync foo
    seen = [Path(f"{log}.000000004.{point}/foo").read_bytes() for point in (1, 2)]
    assert seen[0] == pattern(2, 0, 32768)
    assert seen[1] == pattern(2, 0, 30768) + pattern(5, 30768, 5000)


def test_a_rendezvous_that_fails_is_the_workloads_failure(box: Sandbox, tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text(HOOK)
    hook.chmod(0o755)
    ran = box.run(
        "bundled/001", HARNESS_RENDEZVOUS=str(hook), HOOK_LOG=str(tmp_path / "log"),
        HOOK_FAILS="smoke/000000004 2",
    )  # fmt: skip
    assert ran.unexpected == [
        "smoke/000000004: point 2: status 3",
        "smoke/000000004: 0 of 2 crash points as promised",
    ]
