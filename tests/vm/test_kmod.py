# SPDX-License-Identifier: Apache-2.0
"""The module's own tests (``kmod/tests``) in a guest, with the release and the FAULTS=1 build."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kmod_guest import Machines, kmod_guest, machines

from harness.build.kmod import KMOD_SOURCE, build_module
from harness.build.profile import load_profile
from harness.build.rootfs import build_root
from harness.config import state_dir

TESTS = sorted(path.name for path in (KMOD_SOURCE / "tests").glob("[0-9]*.sh"))
_TIMEOUT_S = 3000
_FAULTS_TESTS = ("95-faults.sh",)


@pytest.fixture(scope="module")
def on() -> Iterator[Machines]:
    with machines() as opened:
        yield opened


@pytest.mark.parametrize("profile", ["debian-12", "debian-12-6.12"])
def test_release_build_passes_its_tests(on: Machines, profile: str, tmp_path: Path) -> None:
    with kmod_guest(on, profile, tmp_path, faults=False) as guest:
        done = guest.run_tests(*(set(TESTS) - set(_FAULTS_TESTS)), timeout_s=_TIMEOUT_S)
        assert done.ok, f"{done.text}\n{guest.console.read_text(errors='replace')[-4000:]}"
        assert done.text.count("ok     ") == len(TESTS) - len(_FAULTS_TESTS)


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
