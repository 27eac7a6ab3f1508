# SPDX-License-Identifier: Apache-2.0
"""One pair playing rounds; only what went wrong costs it its guests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from harness.deadline import Deadline
from harness.events import Event
from harness.model.verdict import Verdict
from harness.run.caselog import Observation
from harness.run.confirm import Confirmations
from harness.run.endurance.arena import Arena
from harness.run.endurance.schedule import Round
from harness.run.options import Encryption, RunOptions
from harness.run.pair import PairBuilder
from harness.run.plan import Case
from harness.run.targets import make_cluster
from harness.run.worker import Worker

_ROUND_TIMEOUTS = 10
"""A round boots guests and copies devices: it has so many times the time-out of a case."""
_SET_UP_S = 300.0


class RoundWorker(Worker):
    """A worker whose cases are rounds; guests outlive a round only if it passed."""

    ends_guests = True

    def __init__(
        self,
        number: int,
        builder: PairBuilder,
        options: RunOptions,
        publish: Callable[[Event], None],
        in_a_hurry: Callable[[], bool] = lambda: False,
        confirmations: Confirmations | None = None,
    ) -> None:
        builder = replace(builder, side_channels=True)
        super().__init__(number, builder, options, publish, in_a_hurry, confirmations)
        self._arena: Arena | None = None

    def _prepare(self, case: Case) -> Callable[[], Observation]:
        played = case.workload
        if not isinstance(played, Round):
            raise TypeError(f"{case.case_id} is no round")
        if self._arena is not None and self._arena.spent:
            self._end_pair()
        if self._arena is None:
            pair = self._ensure_pair()
            options = self._options
            target = make_cluster(
                case.case_id.target, self._builder.image, options.defect,
                encryption=options.encryption is Encryption.ON,
            )  # fmt: skip
            arena = Arena(self._builder, pair, target)
            arena.set_up(Deadline.after(_SET_UP_S, "a cluster to be made"))
            self._arena = arena
            self._ready = True
        arena = self._arena
        timeout_s = _ROUND_TIMEOUTS * self._options.timeout_s
        return lambda: arena.play(played, Deadline.after(timeout_s, f"{case.case_id} to end"))

    def _control(self, case: Case) -> Verdict | None:
        # Nothing on the control arm could be killed and go on.
        del case
        return None

    def _drop_bench(self, target_name: str) -> None:
        del target_name
        self._end_pair()

    def _end_pair(self) -> None:
        arena, self._arena = self._arena, None
        if arena is not None:
            arena.close()
        super()._end_pair()
