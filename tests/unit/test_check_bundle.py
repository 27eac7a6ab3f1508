# SPDX-License-Identifier: Apache-2.0
"""What ``check`` writes, read: nothing bad is lost, nothing is put down to the wrong workload."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ace_workloads.registry import load_suite
from harness.build import xfstests
from harness.build.xfstests import look_at_tree
from harness.config import StateDir
from harness.errors import UsageError
from harness.model.content import decode, encode, pattern, restate_filled
from harness.run.filesystems import CHECKED
from harness.run.xfstests import site
from harness.run.xfstests.bundle import (
    FULL,
    KERNEL_LOG,
    NOT_RUN,
    OUTPUT,
    bundle,
    complaints,
    read_verdict,
    step_errors,
)

WORKLOADS = list(load_suite("smoke"))[:3]
FIRST, SECOND, _ = (workload.id for workload in WORKLOADS)
GOLDEN = bundle(WORKLOADS).golden
PRINTED = "FSTYP         -- ext4\n\nace-harness/001 12s\nRan: ace-harness/001\n"


def test_a_test_that_passed_leaves_nothing_to_say() -> None:
    verdict = read_verdict(WORKLOADS, GOLDEN, {FULL: "mkfs"}, PRINTED, 0)
    assert (verdict.not_run, dict(verdict.complaints), verdict.common) == (None, {}, ())


def test_each_line_goes_to_its_workload_and_the_rest_to_all() -> None:
    golden = GOLDEN.splitlines()
    output = "\n".join(
        [golden[0], f"{FIRST}: step 2: x", golden[1].replace("1 of", "0 of"), *golden[2:],
         f"{SECOND}x: no workload", "Segmentation fault"]
    )  # fmt: skip
    verdict = read_verdict(WORKLOADS, GOLDEN, {OUTPUT: output}, PRINTED, 1)
    assert list(verdict.complaints) == [FIRST]
    assert len(verdict.complaints[FIRST]) == 2
    assert verdict.common == (f"{SECOND}x: no workload", "Segmentation fault")


def test_the_kernels_words_are_everybodys() -> None:
    verdict = read_verdict(WORKLOADS, GOLDEN, {KERNEL_LOG: "a\nb\n"}, PRINTED, 1)
    assert verdict.common == ("kernel log: a", "kernel log: b")


def test_a_failure_without_a_reason_is_one_all_the_same() -> None:
    verdict = read_verdict(WORKLOADS, GOLDEN, {}, PRINTED, 1)
    assert "Ran: ace-harness/001" in verdict.common
    assert read_verdict(WORKLOADS, GOLDEN, {}, "", 3).common == ("check ended with status 3",)


def test_not_run_without_a_reason() -> None:
    assert read_verdict(WORKLOADS, GOLDEN, {NOT_RUN: "\n"}, PRINTED, 0).not_run == "no reason given"


def test_failed_steps_are_told_from_the_rest() -> None:
    lines = (
        "step 3: ln: failed to create hard link: No space left on device",
        "step 12: status 1",
        "1 of 2 crash points as promised",
        "fsck: status 4, see it",
    )
    assert step_errors(lines) == ((3, "ln: ENOSPC"), (12, "status 1"))
    assert complaints(lines) == ("fsck: status 4, see it",)
    assert complaints(lines[2:]) == lines[2:], "without a failed step the count needs a reason"


def test_what_a_program_fills_is_restated_as_what_the_agent_stores() -> None:
    raw = bytearray(pattern(2, 0, 12288))
    raw[100:4096] = bytes([1 + (17 * 5) % 251]) * (4096 - 100)
    raw[4096:6000] = bytes([1 + (17 * 5 + 1) % 251]) * (6000 - 4096)
    restated = restate_filled(bytes(raw), [5])
    assert restated == pattern(2, 0, 100) + pattern(5, 100, 5900) + pattern(2, 6000, 6288)
    assert decode(encode(restated, [2, 5])) == restated
    assert restate_filled(bytes(raw), []) == raw
    # The second page's byte in the first page is none of this line's.
    wrong = bytes([1 + (17 * 5 + 1) % 251]) * 4096
    assert restate_filled(wrong, [5]) == wrong


@pytest.mark.parametrize("fs", sorted(CHECKED))
def test_the_configuration_is_shell(fs: str) -> None:
    text = site.config_text(CHECKED[fs], "/dev/mapper/it")
    assert f"export FSTYP={fs}\n" in text
    assert "export SCRATCH_DEV=/dev/mapper/it\n" in text
    assert f"export ACE_MEGABYTES={CHECKED[fs].device_bytes >> 20}\n" in text


def tree(folder: Path) -> Path:
    """As much of xfstests as is looked at."""
    for name, text in {
        "check": "#!/bin/bash\n",
        "common/preamble": "_begin_fstest()\n{\n}\n",
        "common/rc": "_scratch_mkfs_sized()\n{\n}\n_exclude_fs() {\n}\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="ascii")
    for name in ("ltp/fsstress", "ltp/fsx", "src/lstat64"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch(mode=0o755)
    return folder


def test_a_tree_is_known_by_its_scripts(tmp_path: Path) -> None:
    first = look_at_tree(tree(tmp_path)).version
    assert first.startswith("scripts ")
    (tmp_path / "check").write_text("#!/bin/bash\n# newer\n", encoding="ascii")
    assert look_at_tree(tmp_path).version != first


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: (path / "check").unlink(), "no file check"),
        (lambda path: (path / "common/preamble").unlink(), "has no common/preamble"),
        (lambda path: (path / "common/rc").write_text("_scratch_mkfs_sized()\n"), "_exclude_fs"),
        (lambda path: (path / "common/rc").unlink(), "_scratch_mkfs_sized"),
        (lambda path: (path / "ltp/fsx").unlink(), "is not built: no ltp/fsx"),
        (lambda path: (path / "src/lstat64").chmod(stat.S_IRUSR), "no src/lstat64"),
    ],
)
def test_a_tree_that_will_not_do_is_told_what_it_lacks(
    tmp_path: Path, spoil: object, message: str
) -> None:
    spoil(tree(tmp_path))  # type: ignore[operator]
    with pytest.raises(UsageError, match=message):
        look_at_tree(tmp_path)


def test_a_changed_file_makes_another_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def note(stage: Path, image: Path) -> None:
        made.append(stage)
        assert (stage / "opt/xfstests/check").is_file()
        assert not (stage / "opt/xfstests/results").exists()
        image.touch()

    monkeypatch.setattr(xfstests, "make_image", note)
    found = look_at_tree(tree(tmp_path / "tree"))
    (tmp_path / "tree" / "results").mkdir()
    state = StateDir(tmp_path / "state")
    first = xfstests.pack_tree(found, state)
    (tmp_path / "tree" / "results" / "check.log").touch()
    assert xfstests.pack_tree(found, state) == first
    assert len(made) == 1
    os.utime(tmp_path / "tree" / "check", ns=(1, 1))
    assert xfstests.pack_tree(found, state) != first
