# SPDX-License-Identifier: Apache-2.0
"""What happens during a run, as facts; who presents or records them subscribes to the bus."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from harness.model.case import CaseId, CaseResult, Rerun, RunInfo

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PhaseNote:
    """Something outside any case began: guests boot, a module is built, a pair is reset."""

    text: str
    pair: int | None = None
    """0-based number of the pair it concerns; None for the whole run."""


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The plan is made and the run's folder exists."""

    info: RunInfo
    folder: Path


@dataclass(frozen=True, slots=True)
class CaseKnown:
    """``result`` is in the record of a run that is resumed; comes before the first case begins."""

    result: CaseResult


@dataclass(frozen=True, slots=True)
class CaseStarted:
    """``pair`` took up ``case_id``."""

    case_id: CaseId
    pair: int = 0


@dataclass(frozen=True, slots=True)
class CaseRetried:
    """An attempt at a case came to nothing, for a reason that the rules allow to try again."""

    case_id: CaseId
    reason: str
    pair: int = 0


@dataclass(frozen=True, slots=True)
class CaseRerun:
    """A case that failed was run once more to confirm it; ``rerun`` says what came of that."""

    case_id: CaseId
    rerun: Rerun
    pair: int = 0


@dataclass(frozen=True, slots=True)
class CaseEnded:
    """``result`` is final and already in the run store."""

    result: CaseResult
    pair: int = 0
    folder: Path | None = None
    """Where the evidence of a case that did not pass was laid out."""


@dataclass(frozen=True, slots=True)
class PairLost:
    """A guest of the pair is gone; the pair is replaced or the run ends, as later events say."""

    pair: int
    reason: str


class Watched(StrEnum):
    """What took too long."""

    GUEST = "guest"
    """It gives no sign of life."""
    CASE = "case"
    """Its time is up, though its guests may be well."""
    RUN = "run"


@dataclass(frozen=True, slots=True)
class WatchdogFired:
    """Something took too long; what follows, such as a pair that is replaced, is told as ever."""

    what: Watched
    text: str
    """Names guest or case, what it was at, and for how long."""
    pair: int | None = None
    console: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Guest -> its last console lines, at that moment."""


@dataclass(frozen=True, slots=True)
class Warned:
    """The run goes on, but the reader of its result has to know this."""

    text: str


@dataclass(frozen=True, slots=True)
class RunEnded:
    """Nothing more will come; ``info`` is as stored."""

    info: RunInfo
    folder: Path


Event = (
    PhaseNote
    | RunStarted
    | CaseKnown
    | CaseStarted
    | CaseRetried
    | CaseRerun
    | CaseEnded
    | PairLost
    | WatchdogFired
    | Warned
    | RunEnded
)
Subscriber = Callable[[Event], None]


class EventBus:
    """Hands every event to every subscriber, in order, one at a time, from any thread.

    A subscriber that raises costs a warning in the log, never the run. What must not be lost (the
    run store) is therefore called directly by the runner and is no subscriber.
    """

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []
        # Re-entrant: a subscriber may publish in turn.
        self._lock = threading.RLock()

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call ``subscriber`` with every event published from now on."""
        with self._lock:
            self._subscribers.append(subscriber)

    def publish(self, event: Event) -> None:
        """Tell all subscribers of ``event``."""
        with self._lock:
            for subscriber in tuple(self._subscribers):
                try:
                    subscriber(event)
                except Exception:
                    _log.warning("%r failed on %s", subscriber, type(event).__name__, exc_info=True)
