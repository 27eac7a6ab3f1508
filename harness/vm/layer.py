# SPDX-License-Identifier: Apache-2.0
"""Copy-on-write layers: a disk that begins as another one and never changes it."""

from __future__ import annotations

from pathlib import Path

from harness import proc

_TIMEOUT_S = 60


def make_layer(base: Path, layer: Path) -> None:
    """Make ``layer``, a qcow2 file above the raw image ``base``. ToolError when that fails."""
    layer.unlink(missing_ok=True)
    proc.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, layer],
        what=f"making a disk above {base}",
        timeout_s=_TIMEOUT_S,
    )
