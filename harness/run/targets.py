# SPDX-License-Identifier: Apache-2.0
"""The targets by name."""

from __future__ import annotations

from harness.build.image import MicroImage
from harness.errors import UsageError
from harness.run.pair import BACKUP_ADDRESS
from harness.target.base import Target
from harness.target.linear import LinearTarget
from harness.target.rollbaccine import RollbaccineTarget

TARGET_NAMES = (RollbaccineTarget.name, LinearTarget.name)
CONTROL = LinearTarget.name


def make_target(name: str, image: MicroImage, defect: str | None = None) -> Target:
    """A fresh driver of the target ``name``; UsageError when there is none, or no such defect."""
    if name == LinearTarget.name:
        if defect is not None:
            raise UsageError("target linear has no seeded defects")
        return LinearTarget()
    if name == RollbaccineTarget.name:
        return RollbaccineTarget(image.module, BACKUP_ADDRESS, defect)
    raise UsageError(f"no target {name!r}", hint=f"known targets: {', '.join(TARGET_NAMES)}")
