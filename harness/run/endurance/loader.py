# SPDX-License-Identifier: Apache-2.0
"""A load that runs in a guest, on an agent of its own, while the harness does other things."""

from __future__ import annotations

import threading
from collections.abc import Callable

from harness.deadline import Deadline
from harness.errors import GuestLostError, InfraError
from harness.guest.agent import Agent, LoadReport
from harness.model.endurance import LoadRun
from harness.model.load import Flush, batch_of

_NO_LIMIT = str((1 << 32) - 2)
_MOST_TEXTS = 32


class Loader:
    """One stream on one device, from ``start`` until it is stopped or its guest is lost.

    The load waits for an answer to each report, so that nothing is issued after a flush before the
    flush is on record here. After an error it waits until somebody waits for its reports.
    """

    def __init__(
        self, agent: Agent, device: str, blocks: int, stream: int, *, may_fail: bool = False
    ) -> None:
        self.stream = stream
        self._agent = agent
        self._line = ("load", device, str(blocks), str(stream), _NO_LIMIT)
        self._blocks = blocks
        self._changed = threading.Condition()
        self._good = 0
        """Reports of nothing but success."""
        self._last = LoadReport(0, 0, "ok", "")
        self._answered = 0
        """The last batch of which the load has been told to go on."""
        self._stopping = False
        self._held = False
        self._may_fail = may_fail
        self._uncertain: list[int] = []
        self._errors: list[str] = []
        self._mismatches: list[str] = []
        self._ended: BaseException | bool = False
        self._thread: threading.Thread | None = None

    def start(self, deadline: Deadline) -> None:
        """Let it run; ``deadline`` is for all of it."""
        self._thread = threading.Thread(
            target=self._serve, args=(deadline,), name=f"load-{self.stream}", daemon=True
        )
        self._thread.start()

    def _serve(self, deadline: Deadline) -> None:
        ended: BaseException | bool = True
        try:
            result = self._agent.run_script([self._line], deadline, on_load=self._on_load)
            self._agent.require(result.results[0])
        except BaseException as error:  # told to whoever waits
            ended = error
        with self._changed:
            self._ended = ended
            self._changed.notify_all()

    def _on_load(self, report: LoadReport) -> bool:
        with self._changed:
            self._good += report.state == "ok"
            self._last = report
            self._note(report)
            self._changed.notify_all()
            while self._held and not self._stopping:
                self._changed.wait()
            if not self._stopping:
                self._answered = report.batch
            return not self._stopping

    def _note(self, report: LoadReport) -> None:
        if report.state == "failed":
            self._uncertain.append(report.batch)
        if report.state == "mismatch":
            self._mismatches.append(f"batch {report.batch}: {report.detail}")
        elif report.state != "ok":
            self._errors.append(f"batch {report.batch} {report.state} {report.detail}")
            # An error is answered at once, and would be again and again.
            self._held = True

    @property
    def acknowledged(self) -> int:
        """All batches up to here are durable."""
        with self._changed:
            return self._last.durable

    def expect_errors(self) -> None:
        """From now on errors are no finding: the circumstances demand them."""
        with self._changed:
            self._may_fail = True

    def wait_reports(self, count: int, deadline: Deadline, *, carry_on: bool = True) -> bool:
        """Wait for ``count`` more good reports; False when they did not come in time.

        After an error the load is told to go on, or with ``carry_on`` False, the wait ends.
        GuestLostError when the guest is lost meanwhile.
        """
        with self._changed:
            target = self._good + count
            while True:
                if self._held and carry_on:
                    self._held = False
                    self._changed.notify_all()
                if not self._wait(lambda: self._good >= target or self._held, deadline):
                    return False
                if self._good >= target or not carry_on:
                    return self._good >= target

    def stop(self, deadline: Deadline) -> bool:
        """End the load at its next report; False when there was none in time."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            return self._wait(lambda: self._ended is not False, deadline)

    def lost(self, deadline: Deadline) -> None:
        """The guest has been ended: take in what it had sent until then.

        InfraError when the connection is not closed by ``deadline``.
        """
        with self._changed:
            self._held = False
            self._changed.notify_all()
            if not self._changed.wait_for(
                lambda: self._ended is not False, max(deadline.remaining, 0.0)
            ):
                raise InfraError("the load of a guest that was ended goes on")

    def _wait(self, condition: Callable[[], bool], deadline: Deadline) -> bool:
        """Wait while holding the lock; raises what ended the load otherwise than by its end."""
        arrived = self._changed.wait_for(
            lambda: condition() or self._ended is not False, max(deadline.remaining, 0.0)
        )
        if isinstance(self._ended, BaseException):
            if isinstance(self._ended, InfraError):
                raise self._ended
            raise GuestLostError(f"the load broke off: {self._ended}") from self._ended
        return arrived and condition()

    def run(self) -> LoadRun:
        """What it has reported so far."""
        with self._changed:
            ended_well = self._ended is True
            issued = self._last.batch
            if not ended_well and self._answered == self._last.batch:
                issued = next_flush(self.stream, self._answered, self._blocks)
            return LoadRun(
                stream=self.stream,
                completed=self._last.batch,
                durable=self._last.durable,
                issued=issued,
                may_fail=self._may_fail,
                uncertain=tuple(self._uncertain),
                errors=tuple(self._errors[:_MOST_TEXTS]),
                mismatches=tuple(self._mismatches[:_MOST_TEXTS]),
            )


def next_flush(stream: int, batch: int, blocks: int) -> int:
    """The first batch after ``batch`` after which the load reports and waits."""
    while True:
        batch += 1
        if batch_of(stream, batch, blocks).flush is not Flush.NONE:
            return batch
