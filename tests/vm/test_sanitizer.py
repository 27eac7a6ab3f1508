# SPDX-License-Identifier: Apache-2.0
"""On the sanitizer kernel: each check of it works, and the module passes its tests under them.

Not part of CI: the kernel takes long to build, and guests with it are slow. To run it:
``.venv/bin/python -m pytest -m slow tests/vm/test_sanitizer.py``
"""

from __future__ import annotations

from pathlib import Path

import pytest
from bad_guest import BadGuest, bad_guest
from conftest import Harness
from kmod_guest import RELEASE_TESTS, KmodGuest, Machines, kmod_guest

from harness.build.kmod import SELFTEST_FILE, build_selftest
from harness.build.profile import load_profile
from harness.build.rootfs import build_root
from harness.config import state_dir
from harness.guest.oops import scan
from harness.guest.oops_rules import ReportKind

PROFILE = "debian-12-6.12-sanitizer"
pytestmark = pytest.mark.slow

_TESTS_TIMEOUT_S = 4 * 3600
# What failing disks make their users say.
_OF_FAILED_IO = (ReportKind.IO_ERROR, ReportKind.FILE_SYSTEM, ReportKind.DEVICE_MAPPER)
_IMPATIENT = (
    "sysctl.kernel.hung_task_timeout_secs=5",
    "watchdog_thresh=3",
    "rcupdate.rcu_cpu_stall_timeout=5",
)


# Lockdep says one thing per boot.
LOCKING = [
    ("lock_inversion", "WARNING: possible circular locking dependency detected"),
    ("lock_also_taken_by_interrupt", "WARNING: inconsistent lock state"),
    ("unlock_not_locked", "WARNING: bad unlock balance detected!"),
    ("free_held_lock", "WARNING: held lock freed!"),
    ("lock_not_initialised", "INFO: trying to register non-static key."),
    ("return_with_lock", "WARNING: lock held when returning to user space!"),
    ("rcu_misuse", "WARNING: suspicious RCU usage"),
]
OTHERS = [
    ("sleep_in_atomic", "bug", "BUG: scheduling while atomic: sh/N/HEX"),
    ("allocate_in_atomic", "bug", "BUG: sleeping function called from invalid context at "),
    ("shift_too_far", "ubsan", "UBSAN: shift-out-of-bounds in "),
    ("index_too_high", "ubsan", "UBSAN: array-index-out-of-bounds in "),
    ("use_after_free", "kasan", "BUG: KASAN: slab-use-after-free in use_after_free"),
    ("out_of_bounds", "kasan", "BUG: KASAN: slab-out-of-bounds in out_of_bounds"),
    ("double_free", "kasan", "BUG: KASAN: double-free in double_free"),
    ("stack_out_of_bounds", "kasan", "BUG: KASAN: stack-out-of-bounds in stack_out_of_bounds"),
    ("vmalloc_out_of_bounds", "kasan", "BUG: KASAN: vmalloc-out-of-bounds in vmalloc_out_of"),
    ("delete_twice", "list-corruption", "list_del corruption"),
    ("drop_reference_twice", "warning", "refcount_t: "),
    ("free_active_timer", "warning", "ODEBUG: free active"),
    ("leave_objects_in_cache", "leak", "BUG harness_bad: Objects remaining "),
    ("warn", "warning", "WARNING: "),
    ("hang", "hung-task", "INFO: task harness_hang blocked for more than N seconds."),
    ("stall_rcu", "rcu-stall", "rcu: INFO: rcu_preempt "),
    ("soft_lockup", "soft-lockup", "watchdog: BUG: soft lockup - CPU#N stuck for N"),
    # The guest ends here.
    ("null_dereference", "kasan", "BUG: KASAN: null-ptr-deref in null_dereference"),
]


def _missed(bad: BadGuest, name: str, kind: str, title: str) -> list[str]:
    """Commit a mistake; what is wrong with what was reported of it, if anything."""
    bad.commit(name)
    found = bad.reports_until(kind, title)
    if any(r.kind == kind and r.title.startswith(title) for r in found):
        return []
    return [f"{name}: looked for {kind} {title!r}, found {[(r.kind, r.title) for r in found]}"]


@pytest.mark.parametrize(("name", "title"), LOCKING, ids=[name for name, _ in LOCKING])
def test_mistakes_with_locks_are_seen(on: Machines, name: str, title: str, tmp_path: Path) -> None:
    with bad_guest(on, PROFILE, tmp_path) as bad:
        assert _missed(bad, name, "lockdep", title) == []


def test_other_mistakes_are_seen(on: Machines, tmp_path: Path) -> None:
    with bad_guest(on, PROFILE, tmp_path, _IMPATIENT) as bad:
        missed = [_missed(bad, name, kind, title) for name, kind, title in OTHERS]
        assert [line for lines in missed for line in lines] == []


def test_a_leak_is_seen(on: Machines, tmp_path: Path) -> None:
    """By the same steps that follow the module's tests."""
    script = """
        . /opt/kmod/tests/reports.sh
        reports_begin && no_leaks before || exit 2
        echo leak >/sys/module/harness_bad/parameters/commit
        ! no_leaks after
    """
    with bad_guest(on, PROFILE, tmp_path) as bad:
        done = bad.guest.run("bash", "-c", script, timeout_s=600)
        assert done.ok, done.text
        assert "leak+0x" in done.text, "where it was allocated"
        found = bad.reports_until("leak", "kmemleak: ")
        assert [report.kind for report in found] == [ReportKind.LEAK]


def _assert_no_report(guest: KmodGuest) -> None:
    console = guest.console.read_text(errors="replace")
    assert [str(r) for r in scan(console) if r.kind not in _OF_FAILED_IO] == []


def test_parts_pass_their_tests_in_the_kernel(on: Machines, tmp_path: Path) -> None:
    """What ``test_kmod_selftest.py`` does on Debian's kernels, and no leak."""
    script = f"""
        . /opt/kmod/tests/reports.sh
        modprobe -a gcm ctr dm-mod brd && reports_begin || exit 2
        keyctl add logon rb:good {"0123456789abcdef" * 2} @u || exit 2
        insmod /opt/kmod/{SELFTEST_FILE} key=logon:rb:good disk=/dev/ram0 || exit 1
        no_leaks "module loaded" && rmmod {SELFTEST_FILE.removesuffix(".ko")} &&
            no_leaks "module unloaded" && log_is_clean
    """
    module = build_selftest(build_root(load_profile(PROFILE), state_dir()), state_dir())
    with kmod_guest(on, PROFILE, tmp_path, faults=False, files=[module]) as guest:
        done = guest.run("bash", "-c", script, timeout_s=_TESTS_TIMEOUT_S)
        assert done.ok, f"{done.text}\n{guest.run('dmesg').text[-4000:]}"
        _assert_no_report(guest)


def test_module_passes_its_tests(on: Machines, tmp_path: Path) -> None:
    with kmod_guest(on, PROFILE, tmp_path, faults=False) as guest:
        done = guest.run_tests(*RELEASE_TESTS, timeout_s=_TESTS_TIMEOUT_S)
        assert done.ok, done.text
        _assert_no_report(guest)


def test_module_survives_failing_memory_and_disks(on: Machines, tmp_path: Path) -> None:
    with kmod_guest(on, PROFILE, tmp_path, faults=False) as guest:
        done = guest.run_script("under-faults.sh", timeout_s=_TESTS_TIMEOUT_S)
        assert done.ok, done.text
        _assert_no_report(guest)


@pytest.mark.parametrize(
    "words",
    [
        ("smoke",),
        ("device",),
        ("ace-seq1", "--sample", "100", "--seed", "1"),
        ("ace-seq1", "--sample", "100", "--seed", "1", "--encryption", "off"),
        ("kmod-endurance", "--duration", "3m", "--seed", "21"),
    ],
    ids=" ".join,
)
def test_suites_pass(harness: Harness, words: tuple[str, ...]) -> None:
    process = harness.start("run", "--suite", *words, "--profile", PROFILE)
    output, _ = process.communicate(timeout=_TESTS_TIMEOUT_S)
    assert process.returncode == 0, output
