# SPDX-License-Identifier: Apache-2.0
"""What ``harness pair up`` was asked for, also as text for the process that keeps the pair."""

from __future__ import annotations

import json
from dataclasses import dataclass

from harness.errors import InfraError
from harness.run.options import RunOptions
from harness.run.resume import restored

DEFAULT_NAME = "dev"
DEFAULT_BYTES = 256 << 20
SUITE = "pair"
"""Stands in ``RunOptions`` where a run has its suite."""


@dataclass(frozen=True, slots=True)
class PairOptions:
    """A pair with a name."""

    run: RunOptions
    """Guests and target, as of a run."""
    name: str = DEFAULT_NAME
    device_bytes: int = DEFAULT_BYTES

    def dump(self) -> str:
        """As one line."""
        return json.dumps(
            {"name": self.name, "bytes": self.device_bytes, "run": self.run.recorded()}
        )

    @classmethod
    def load(cls, text: str) -> PairOptions:
        """What ``dump`` wrote. InfraError for anything else."""
        try:
            data = json.loads(text)
            return cls(restored(data["run"]), data["name"], data["bytes"])
        except (ValueError, KeyError, TypeError) as error:
            raise InfraError(f"the options of a pair cannot be read: {error}") from error
