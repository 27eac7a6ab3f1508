# SPDX-License-Identifier: Apache-2.0
"""What turns core ops into steps: the port both generators' models implement."""

from __future__ import annotations

from typing import Protocol, Self

from ace_workloads.ops import CoreOp, Persist, Step


class Model(Protocol):
    """State of the file system and of the handles, as far as a generator tracks it.

    A model emits the steps that an op needs before it, and the op's own. ``emitted`` holds what
    was emitted since the model was made or forked.
    """

    emitted: list[Step]

    def fork(self) -> Self:
        """A copy that can go its own way and has emitted nothing yet."""
        ...

    def apply(self, op: CoreOp, *, last: bool) -> None:
        """Carry out a core op; ``last`` says whether it is in the workload's last position."""
        ...

    def persist(self, persist: Persist, *, last: bool) -> None:
        """Carry out the persistence op that follows a core op."""
        ...

    def finish(self) -> None:
        """Close what is still open."""
        ...
