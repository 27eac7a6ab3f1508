# SPDX-License-Identifier: Apache-2.0
"""Which failing cases are worth running again; shared by the workers of a run."""

from __future__ import annotations

import threading
from collections import Counter

from harness.findings import finding_id
from harness.model.case import CaseResult

ENOUGH = 5
"""Confirmed cases in a row after which a finding is believed in. A mistake that fails every case of
a nightly would otherwise make it several times as long, to say the same of each."""


class Confirmations:
    """How often each finding of a run has been confirmed. Any thread may call."""

    def __init__(self, enough: int = ENOUGH) -> None:
        self._enough = enough
        self._in_a_row: Counter[str] = Counter()
        self._lock = threading.Lock()

    def worth(self, failed: CaseResult) -> bool:
        """Whether running ``failed`` again may tell what is not known of its finding yet."""
        finding = finding_id(failed)
        with self._lock:
            return finding is None or self._in_a_row[finding] < self._enough

    def add(self, failed: CaseResult, again: CaseResult) -> None:
        """``again`` is ``failed`` with its reruns. After a flaky one its finding is in doubt."""
        finding = finding_id(failed)
        if finding is None:
            return
        with self._lock:
            if again.flaky:
                self._in_a_row[finding] = 0
            elif again.confirmed:
                self._in_a_row[finding] += 1
