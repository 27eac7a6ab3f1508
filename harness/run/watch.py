# SPDX-License-Identifier: Apache-2.0
"""Signs of life of the guests of a pair, asked for beside whatever they are doing.

A second process in each guest answers them, so that a guest which works is told from one that
hangs: a command may take as long as its case is given, a sign of life may not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from harness.deadline import Deadline
from harness.errors import AgentError, GuestLostError, OverdueError
from harness.guest.agent import Agent
from harness.guest.protocol import ProtocolError
from harness.run.pair import Guest

EVERY_S = 5.0
_JOIN_S = 5.0

OnHung = Callable[[Guest, float], None]
"""Called once for a guest that gave no sign of life, with the seconds since the last one."""


class Pulse:
    """One guest's signs of life."""

    def __init__(
        self,
        guest: Guest,
        agent: Agent,
        silence_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``agent`` is the second one of ``guest``, which may be silent for ``silence_s``."""
        self.guest = guest
        self._agent = agent
        self._silence_s = silence_s
        self._clock = clock
        self._last_s = clock()

    @property
    def silent_s(self) -> float:
        """Seconds since the last sign of life."""
        return self._clock() - self._last_s

    def beats(self) -> bool:
        """Ask once; False when no answer came in time and there is no excuse for that.

        A guest that is paused, or was meanwhile, has one. One that has ended does not hang: its
        channel tells who waits for it.
        """
        machine = self.guest.machine
        if machine.standing:
            return True
        pauses = machine.pauses
        what = f"guest {self.guest.name} to give a sign of life"
        try:
            self._agent.hello(Deadline.after(self._silence_s, what))
        except OverdueError:
            return machine.standing or machine.pauses != pauses or self.guest.ended()
        except (GuestLostError, AgentError, ProtocolError):
            return True
        self._last_s = self._clock()
        return True

    def close(self) -> None:
        self._agent.close()


class Watch:
    """Threads that ask the guests of one pair, until one of them hangs or ``close`` is called."""

    def __init__(self, pulses: Sequence[Pulse], on_hung: OnHung, every_s: float = EVERY_S) -> None:
        self._pulses = pulses
        self._on_hung = on_hung
        self._every_s = every_s
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._listen, args=(pulse,), daemon=True,
                             name=f"pulse-{pulse.guest.spec.name}")
            for pulse in pulses
        ]  # fmt: skip
        for thread in self._threads:
            thread.start()

    def silences(self) -> dict[str, float]:
        """Guest -> seconds since its last sign of life."""
        return {pulse.guest.name: pulse.silent_s for pulse in self._pulses}

    def close(self) -> None:
        """Ask no more; may be called by ``on_hung`` itself, and more than once."""
        self._closed.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(_JOIN_S)
        for pulse in self._pulses:
            pulse.close()

    def _listen(self, pulse: Pulse) -> None:
        while not self._closed.wait(self._every_s):
            if not pulse.beats():
                with self._lock:
                    # The first one is told; the other may be silent for want of it.
                    if self._closed.is_set():
                        return
                    self._closed.set()
                self._on_hung(pulse.guest, pulse.silent_s)
                return
