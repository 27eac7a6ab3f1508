# SPDX-License-Identifier: Apache-2.0
"""One guest of a pair that stays up: on, off, or ended by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from enum import StrEnum

from harness.deadline import Deadline
from harness.errors import InfraError, UsageError
from harness.guest.agent import Agent
from harness.run import observe
from harness.run.pair import Guest, PairBuilder

RUN_LOCK_S = 2.0
_MOST_REPORTS = 50


class Power(StrEnum):
    """What a guest is doing."""

    ON = "on"
    OFF = "off"
    """It was killed."""
    ENDED = "ended"
    """By itself: its kernel panicked, or it was shut down."""


class Seat:
    """A guest by its place, with two agents: one for the pair's keeper, one for commands."""

    def __init__(self, place: int, guest: Guest, builder: PairBuilder) -> None:
        self.place = place
        self.name = guest.name
        self.guest = guest
        self.power = Power.ON
        self.since_unix_s = time.time()
        self.boots = 1
        self._builder = builder
        self._side: Agent | None = None
        self._busy = threading.Lock()
        self._state = threading.Lock()
        self._reports: list[str] = []

    def side(self, deadline: Deadline) -> Agent:
        """The agent that answers while a command is under way. UsageError if the guest is off."""
        self.require_on()
        if self._side is None:
            self._side = self._builder.side_agent(self.guest, deadline)
            # Errors are told of a guest, not of one of its agents.
            self._side.name = self.name
        return self._side

    def require_on(self) -> None:
        """UsageError unless the guest runs."""
        self.notice()
        if self.power is not Power.ON:
            what = "is off" if self.power is Power.OFF else "has ended"
            raise UsageError(f"guest {self.name} {what}", hint=f"harness pair start {self.name}")

    def notice(self) -> bool:
        """See whether it has ended by itself; True when that is news."""
        with self._state:
            if self.power is not Power.ON or not self.guest.ended():
                return False
            self.power, self.since_unix_s = Power.ENDED, time.time()
        return True

    def kill(self) -> None:
        """Take its power away."""
        with self._state:
            self.power, self.since_unix_s = Power.OFF, time.time()
        self.guest.machine.destroy()
        self._close()

    def start(self) -> None:
        """Boot it again on its own disk, with empty memory."""
        # One that panicked may not be gone yet.
        self.guest.machine.destroy()
        self._close()
        self.reports()
        self.guest = self._builder.reboot(self.guest)
        with self._state:
            self.power, self.since_unix_s = Power.ON, time.time()
        self.boots += 1

    def run(self, words: Sequence[str], timeout_s: float) -> tuple[int, str]:
        """Exit status and output of a command. InfraError when it cannot run or does not end."""
        self.require_on()
        if not self._busy.acquire(timeout=RUN_LOCK_S):
            raise UsageError(f"guest {self.name} is at work on {self.guest.agent.doing}")
        try:
            command = ("exec", str(int(timeout_s * 1000)), *words)
            deadline = Deadline.after(timeout_s + 30, f"{words[0]} in guest {self.name} to end")
            result = self.guest.agent.run_script([command], deadline).results[0]
        finally:
            self._busy.release()
        if result.status < 0:
            said = result.text.strip() or f"no end within {timeout_s:.0f} s"
            raise InfraError(
                f"guest {self.name}: {words[0]} cannot be run, or does not end: {said}"
            )
        return result.status, result.text

    @property
    def doing(self) -> str:
        """The command under way in it, for people."""
        return self.guest.agent.doing if self._busy.locked() else ""

    def reports(self) -> list[str]:
        """All that its kernel reported, of all boots."""
        with self._state:
            self._reports += observe.report_texts(self.guest.kernel_reports())
            del self._reports[:-_MOST_REPORTS]
            return list(self._reports)

    def _close(self) -> None:
        self.guest.agent.close()
        if self._side is not None:
            self._side.close()
            self._side = None

    def close(self) -> None:
        """End it for good."""
        self.kill()
