# SPDX-License-Identifier: Apache-2.0
"""What a laboratory needs for a run, and refuses to begin without."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_world import IMAGE, options, state

from harness.build.profile import load_profile
from harness.errors import UsageError
from harness.run.laboratory import _layers


def test_xfstests_is_refused_on_a_kernel_that_cannot_have_its_layers(tmp_path: Path) -> None:
    wanted = options(tmp_path, xfstests=tmp_path / "xfstests")
    with pytest.raises(UsageError, match="no overlay file system") as caught:
        _layers(wanted, load_profile("debian-12"), IMAGE, state(tmp_path))
    assert "--engine native" in str(caught.value.hint)


def test_other_runs_need_no_layers(tmp_path: Path) -> None:
    profile = load_profile("debian-12")
    assert _layers(options(tmp_path), profile, IMAGE, state(tmp_path)) == ((), "")
