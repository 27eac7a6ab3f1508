# SPDX-License-Identifier: Apache-2.0
"""What is written down of one case while it runs: times, and what the kernels say."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from harness.guest.oops import KernelReport
from harness.model.evidence import CaseEvidence, Moment
from harness.run import observe
from harness.run.pair import Guest

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Observation:
    """What one case showed, and where its time went."""

    evidence: CaseEvidence
    phases_s: Mapping[str, float]


@dataclass(slots=True)
class CaseLog:
    """Of one case, from the moment it is made; written by the threads of both guests."""

    phases_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    moments: list[Moment] = field(default_factory=list)
    """In seconds since the case began."""
    _heard: list[tuple[Guest, tuple[KernelReport, ...]]] = field(default_factory=list)
    _forgotten: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _began_s: float = field(default_factory=time.perf_counter)

    def now(self) -> float:
        """Seconds since the case began."""
        return time.perf_counter() - self._began_s

    def timed(self, phase: str, function: Callable[[], _T]) -> _T:
        """What ``function`` returns; its time is put down to ``phase``."""
        started = time.perf_counter()
        try:
            return function()
        finally:
            self.phases_s[phase] += time.perf_counter() - started

    def hear(self, guests: Iterable[Guest]) -> None:
        """What the kernels of ``guests`` reported since somebody listened. Errors as of theirs."""
        for guest in guests:
            with self._lock:
                self._heard.append((guest, guest.kernel_reports()))
        if self._forgotten:
            self.forget()

    def forget(self) -> None:
        """The case comes to no observation: what was heard, also by a look that is still under
        way, is for whoever listens next.
        """
        with self._lock:
            self._forgotten = True
            while self._heard:
                guest, reports = self._heard.pop()
                guest.put_back(reports)

    def observation(self, evidence: CaseEvidence) -> Observation:
        """``evidence`` with what is in the log."""
        console: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
        for guest, reports in self._heard:
            console[guest.name] += observe.report_texts(reports)
        moments = tuple(sorted(self.moments, key=lambda moment: moment.start_s))
        evidence = replace(evidence, moments=moments, console=dict(console))
        return Observation(evidence, dict(self.phases_s))
