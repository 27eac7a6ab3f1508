# SPDX-License-Identifier: Apache-2.0
"""Rounds one after the other until the time is up."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Callable

from harness.errors import UsageError
from harness.model.case import CaseId
from harness.run.endurance.schedule import SUITE, Act, Round, make_round
from harness.run.filesystems import RAW
from harness.run.options import RunOptions
from harness.run.plan import Case
from harness.run.targets import CLUSTER_NAMES

DEFAULT_DURATION_S = 1800.0
_ID = re.compile(rf"(?:{SUITE}/)?([0-9]{{1,18}})\.([0-9]{{1,9}})")
_SEED_BITS = 31


class EndurancePlan:
    """The rounds of suite ``kmod-endurance``; their number is known only when the time is up."""

    name = SUITE

    def __init__(
        self,
        options: RunOptions,
        acts: tuple[Act, ...] = tuple(Act),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """UsageError for options that make no sense here, and for what is no round's id."""
        if options.target not in CLUSTER_NAMES or options.impostor is not None:
            raise UsageError(
                f"suite {SUITE} kills nodes and promotes others",
                hint=f"targets that it can do so with: {', '.join(CLUSTER_NAMES)}; no --impostor",
            )
        if options.sample is not None or options.shard != (1, 1):
            raise UsageError(
                f"suite {SUITE} has as many rounds as there is time for",
                hint="use --duration, --limit or --only",
            )
        self._acts = acts
        self._clock = clock
        self._seed = secrets.randbits(_SEED_BITS) if options.seed is None else options.seed
        if self._seed < 0:
            raise UsageError("the seed of an endurance run is not negative")
        self._only = [self._named(text) for text in options.only]
        self._most = len(self._only) if self._only else options.limit
        if self._most is not None and options.limit is not None:
            self._most = min(self._most, options.limit)
        self._duration_s = options.duration_s or DEFAULT_DURATION_S
        self._target = options.target
        self._ends: float | None = None
        self._taken = 0
        self._lock = threading.Lock()

    @property
    def planned(self) -> int:
        """Rounds taken so far; all of them where they are named or counted."""
        return self._taken if self._most is None else self._most

    def take(self) -> Case | None:
        """The next round, or None when the time is up. The clock starts with the first."""
        with self._lock:
            if self._over():
                return None
            self._taken += 1
            number = self._taken
            made = self._only[number - 1] if self._only else self._make(self._seed, number)
        return Case(CaseId(made.id, RAW.name, self._target), made)

    def _over(self) -> bool:
        now = self._clock()
        if self._ends is None:
            self._ends = now + self._duration_s
        if self._most is not None:
            return self._taken == self._most
        return now >= self._ends

    def _make(self, seed: int, number: int) -> Round:
        return make_round(seed, number, self._acts)

    def _named(self, text: str) -> Round:
        match = _ID.fullmatch(text.partition("@")[0])
        if match is None or int(match[2]) == 0:
            raise UsageError(
                f"{text!r} names no round of suite {SUITE}", hint=f"ids look like {SUITE}/42.0007"
            )
        return self._make(int(match[1]), int(match[2]))
