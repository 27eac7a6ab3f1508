# SPDX-License-Identifier: Apache-2.0
"""The module's message parsers, in user space, under damaged messages and sanitizers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.config import CHECKOUT

pytestmark = pytest.mark.whole

_FUZZ = CHECKOUT / "kmod" / "fuzz"
_RUNS = 60_000
_TIMEOUT_S = 300


def make(target: str, build: Path, runs: int = _RUNS) -> subprocess.CompletedProcess[str]:
    words = ["make", "-s", "-C", str(_FUZZ), f"BUILD={build}", f"RUNS={runs}", "SEED=1", target]
    return subprocess.run(words, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)


def test_parsers_survive(tmp_path: Path) -> None:
    result = make("run", tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"ok: {_RUNS} runs" in result.stdout


@pytest.mark.parametrize("defect", ["op-range", "session-sequence"])
def test_fuzzer_finds_defect(defect: str, tmp_path: Path) -> None:
    result = make(f"defect-{defect}", tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"defect {defect} found" in result.stdout
    # With no runs at all nothing is found, and that is an error.
    result = make(f"defect-{defect}", tmp_path, runs=0)
    assert result.returncode != 0
    assert "was not found" in result.stderr
