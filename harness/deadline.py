# SPDX-License-Identifier: Apache-2.0
"""One point in time that everything below a call has to respect, and what it is for."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock; pass it down instead of a number of seconds."""

    at_s: float
    """``time.monotonic()`` value after which nothing may be waited for any more."""
    given_s: float
    """How long it was given in the first place, for messages."""
    what: str
    """What it is for: "guest primary to boot"."""

    @classmethod
    def after(cls, seconds: float, what: str = "the operation") -> Deadline:
        """A deadline ``seconds`` from now for ``what``."""
        return cls(time.monotonic() + seconds, seconds, what)

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at_s - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether nothing is left."""
        return time.monotonic() >= self.at_s

    def within(self, seconds: float, what: str) -> Deadline:
        """A deadline for a part of the work: ``seconds`` from now, never later than this one."""
        part = Deadline.after(seconds, what)
        return part if part.at_s <= self.at_s else Deadline(self.at_s, self.given_s, what)

    def __str__(self) -> str:
        return f"{self.what} (given {self.given_s:g} s)"
