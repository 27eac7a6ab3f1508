# SPDX-License-Identifier: Apache-2.0
"""The targets by name."""

from __future__ import annotations

from pathlib import Path

from harness.build.image import MicroImage
from harness.errors import UsageError
from harness.run.options import Encryption, RunOptions
from harness.run.pair import BACKUP_ADDRESS, PRIMARY_ADDRESS
from harness.target.base import Target
from harness.target.cluster import ClusterTarget
from harness.target.drbd import PROTOCOLS, DrbdTarget
from harness.target.file import TargetFile
from harness.target.linear import LinearTarget
from harness.target.outside import Outside, OutsideTarget
from harness.target.rollbaccine import RollbaccineTarget, check_defect
from harness.target.rollbaccine_cluster import RollbaccineCluster

TARGET_NAMES = (RollbaccineTarget.name, LinearTarget.name, *PROTOCOLS)
CONTROL = LinearTarget.name
CLUSTER_NAMES = (RollbaccineCluster.name,)
"""Targets whose nodes can be started, promoted and taken back one by one."""


def check_target(options: RunOptions) -> None:
    """UsageError for a target, or something asked of it, that does not exist.

    To be called before anything is built: what would have no effect must not look tested.
    """
    if options.kmod is not None:
        _check_outside(options.kmod, options.target)
    elif options.target not in TARGET_NAMES:
        raise _unknown(options.target)
    check_defect(options.defect)
    if options.defect is not None and options.target != RollbaccineTarget.name:
        raise _no_effect("defect", options, f"only {RollbaccineTarget.name} has seeded defects")
    if options.encryption is Encryption.OFF and options.target != RollbaccineTarget.name:
        raise _no_effect("encryption", options, f"only {RollbaccineTarget.name} encrypts")
    if options.target == CONTROL:
        for name in ("impostor", "link_delay_ms"):
            if getattr(options, name):
                raise _no_effect(name.replace("_", "-"), options, "it has no backup")


def _check_outside(kmod: Path, target: str) -> None:
    named = TargetFile.load(kmod)
    if named.name in TARGET_NAMES:
        raise UsageError(
            f"target file {named.path}: the name {named.name} is taken",
            hint=f"taken are {', '.join(TARGET_NAMES)}",
        )
    if named.name != target:
        raise UsageError(f"target {target} is not the one in {kmod}, which is {named.name}")


def make_target(
    name: str,
    image: MicroImage,
    defect: str | None = None,
    *,
    encryption: bool = True,
    outside: Outside | None = None,
) -> Target:
    """A fresh driver of the target ``name``; UsageError when there is none, or no such defect.

    ``defect`` and ``encryption`` are for the module's own target only, ``outside`` is a target that
    does not come with the harness.
    """
    if outside is not None and name == outside.file.name:
        return OutsideTarget(outside, (PRIMARY_ADDRESS, BACKUP_ADDRESS))
    if name == LinearTarget.name:
        return LinearTarget()
    if name == RollbaccineTarget.name:
        addresses = (PRIMARY_ADDRESS, BACKUP_ADDRESS)
        return RollbaccineTarget(image.module, addresses, defect, encryption=encryption)
    if name in PROTOCOLS:
        if "drbd" not in image.on_demand:
            raise UsageError(
                f"kernel {image.release} has no DRBD", hint="choose another --profile or --target"
            )
        addresses = PRIMARY_ADDRESS, BACKUP_ADDRESS
        return DrbdTarget(name, image.on_demand["drbd"], addresses)
    raise _unknown(name)


def make_cluster(
    name: str, image: MicroImage, defect: str | None = None, *, encryption: bool = True
) -> ClusterTarget:
    """A driver of the nodes of target ``name`` one by one; errors as of ``make_target``."""
    if name == RollbaccineCluster.name:
        addresses = (PRIMARY_ADDRESS, BACKUP_ADDRESS)
        return RollbaccineCluster(image.module, addresses, defect, encryption=encryption)
    raise _unknown(name)


def _no_effect(option: str, options: RunOptions, why: str) -> UsageError:
    return UsageError(f"--{option} has no effect on target {options.target}", hint=why)


def _unknown(name: str) -> UsageError:
    return UsageError(f"no target {name!r}", hint=f"known targets: {', '.join(TARGET_NAMES)}")
