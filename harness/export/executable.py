# SPDX-License-Identifier: Apache-2.0
"""Whether steps can be carried out at all, as far as the oracle's model knows."""

from __future__ import annotations

from collections.abc import Sequence

from ace_workloads.ops import Step, Verb
from harness.oracle.model import execute

_SECTOR = 512
_MOST_BYTES = 64 << 20
"""File systems under test are small."""

_MOST_STEPS = 9999
"""The bytes of a step say which one it is, in four digits."""


def first_obstacle(steps: Sequence[Step]) -> tuple[int, str] | None:
    """(step, why) of the first step that can only fail, step 0 for the workload as a whole."""
    if not any(step.verb is Verb.CHECKPOINT for step in steps):
        return 0, "no persistence point"
    if len(steps) > _MOST_STEPS:
        return 0, f"{len(steps)} steps, more than {_MOST_STEPS}"
    for number, step in enumerate(steps, 1):
        if max(step.offset, 0) + step.length > _MOST_BYTES:
            return number, f"{step.verb} reaches beyond {_MOST_BYTES} bytes"
        if step.verb is Verb.DWRITE and (step.offset % _SECTOR or step.length % _SECTOR):
            return number, "dwrite of parts of sectors can only fail with EINVAL"
    errors = execute(steps).errors
    if not errors:
        return None
    number = min(errors)
    return number, f"{steps[number - 1].verb} can only fail with {errors[number]}"
