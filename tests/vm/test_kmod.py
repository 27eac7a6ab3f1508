# SPDX-License-Identifier: Apache-2.0
"""The module's own tests (``kmod/tests``) in a guest, with the release and the FAULTS=1 build."""

from __future__ import annotations

from pathlib import Path

import pytest
from kmod_guest import KmodGuests, Machines, kmod_guest

from harness.build.kmod import KMOD_SOURCE, build_module
from harness.build.profile import load_profile
from harness.build.rootfs import build_root
from harness.config import state_dir

TESTS = sorted(path.name for path in (KMOD_SOURCE / "tests").glob("[0-9]*.sh"))
# Debugging of slabs, emulation and a busy host add up.
_TIMEOUT_S = 3600
_FAULTS_TESTS = ("95-faults.sh",)
# The longest; suites and pair tests of CI do much of it, on two machines.
_AT_NIGHT = (
    "10-filesystems.sh", "20-fio.sh", "30-zeroing.sh", "60-peer-loss.sh", "80-cycles.sh",
    "85-removal.sh", "90-snapshot.sh",
)  # fmt: skip
# What kernels differ in: block layer limits, crypto, flushes, memory management, removal.
_ON_EVERY_KERNEL = (
    "45-integrity.sh", "65-resync.sh", "67-promote.sh", "77-reload.sh",
)  # fmt: skip


@pytest.mark.parametrize(
    ("profile", "chosen"),
    [
        ("debian-12", set(TESTS) - set(_AT_NIGHT)),
        pytest.param("debian-12", set(_AT_NIGHT), marks=pytest.mark.slow),
        ("debian-12-6.12", set(_ON_EVERY_KERNEL)),
        pytest.param("debian-12-6.12", set(TESTS) - set(_ON_EVERY_KERNEL), marks=pytest.mark.slow),
    ],
)
def test_release_build_passes_its_tests(
    kmod_guests: KmodGuests, profile: str, chosen: set[str]
) -> None:
    chosen = chosen - set(_FAULTS_TESTS)
    assert chosen <= set(TESTS)
    with kmod_guests.use(profile) as guest:
        done = guest.run_tests(*sorted(chosen), timeout_s=_TIMEOUT_S)
        assert done.ok, f"{done.text}\n{guest.console.read_text(errors='replace')[-4000:]}"
        assert done.text.count("ok     ") == len(chosen)


# ``test_defects.py`` has them in a pair.
@pytest.mark.slow
def test_faults_build_has_its_defects(on: Machines, tmp_path: Path) -> None:
    with kmod_guest(on, "debian-12", tmp_path, faults=True) as guest:
        done = guest.run_tests(*_FAULTS_TESTS, timeout_s=_TIMEOUT_S)
        assert done.ok, f"{done.text}\n{guest.console.read_text(errors='replace')[-4000:]}"


@pytest.mark.parametrize("profile", ["debian-12", "debian-12-6.12"])
def test_release_build_contains_no_seeded_defect(profile: str) -> None:
    root = build_root(load_profile(profile), state_dir())
    release = build_module(root, state_dir(), faults=False).read_bytes()
    faults = build_module(root, state_dir(), faults=True).read_bytes()
    for name in (b"early_ack", b"drop_write", b"corrupt_byte"):
        assert name in faults
        assert name not in release
