# SPDX-License-Identifier: Apache-2.0
"""The targets by name."""

from __future__ import annotations

from harness.build.image import MicroImage
from harness.errors import UsageError
from harness.run.options import Encryption, RunOptions
from harness.run.pair import BACKUP_ADDRESS, PRIMARY_ADDRESS
from harness.target.base import Target
from harness.target.linear import LinearTarget
from harness.target.rollbaccine import RollbaccineTarget, check_defect

TARGET_NAMES = (RollbaccineTarget.name, LinearTarget.name)
CONTROL = LinearTarget.name


def check_target(options: RunOptions) -> None:
    """UsageError for a target, or something asked of it, that does not exist.

    To be called before anything is built: what would have no effect must not look tested.
    """
    if options.target not in TARGET_NAMES:
        raise _unknown(options.target)
    check_defect(options.defect)
    asked = {
        "defect": options.defect,
        "impostor": options.impostor,
        "encryption": "off" if options.encryption is Encryption.OFF else None,
    }
    for name, value in asked.items():
        if value is not None and options.target == CONTROL:
            raise UsageError(
                f"--{name} {value} has no effect on target {CONTROL}", hint="it has no backup"
            )


def make_target(
    name: str, image: MicroImage, defect: str | None = None, *, encryption: bool = True
) -> Target:
    """A fresh driver of the target ``name``; UsageError when there is none, or no such defect.

    ``defect`` and ``encryption`` are not for the control arm.
    """
    if name == LinearTarget.name:
        return LinearTarget()
    if name == RollbaccineTarget.name:
        addresses = (PRIMARY_ADDRESS, BACKUP_ADDRESS)
        return RollbaccineTarget(image.module, addresses, defect, encryption=encryption)
    raise _unknown(name)


def _unknown(name: str) -> UsageError:
    return UsageError(f"no target {name!r}", hint=f"known targets: {', '.join(TARGET_NAMES)}")
