# SPDX-License-Identifier: Apache-2.0
"""Which disturbances come in which round: pure, from a seed and the round's number."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from enum import StrEnum

from ace_workloads.ops import Step

SUITE = "kmod-endurance"
COVERS = "a load on the primary while nodes are killed, cut off, paused, promoted and rejoined"
_STREAM_BITS = 48
_CALM_ROUNDS = 8


class Act(StrEnum):
    """One thing done to the pair while the load runs."""

    KILL_PRIMARY = "kill_primary"
    """The primary's guest is destroyed, the backup promoted; the dead guest rejoins as backup."""
    KILL_BACKUP = "kill_backup"
    CUT = "cut"
    """The link is cut and healed."""
    PAUSE_PRIMARY = "pause_primary"
    PAUSE_BACKUP = "pause_backup"
    SUSPEND_PRIMARY = "suspend_primary"
    """The device is suspended and resumed."""
    SUSPEND_BACKUP = "suspend_backup"
    SWITCHOVER = "switchover"
    """Planned: the load ends, the primary is demoted, the backup promoted."""
    DEPOSE = "depose"
    """The link is cut and the backup promoted while the old primary is alive; then it is healed."""


class Disk(StrEnum):
    """What the disk of a killed guest holds when it is started again."""

    OWN = "own"
    OLD = "old"
    BLANK = "blank"


@dataclass(frozen=True, slots=True)
class Disturbance:
    """One act and its circumstances."""

    act: Act
    after: int
    """So many reports of the load come first: flushes that were acknowledged."""
    hold_s: float = 0.0
    """How long the state lasts, where the act has one that lasts."""
    disk: Disk = Disk.OWN
    suspends: bool = True
    """Policy of the node that is started again, should it ever lead: wait, or else fail."""
    in_resync: bool = False
    """Whether it comes as soon as the node disturbed before it has rejoined, not when in sync."""

    def __str__(self) -> str:
        words = [self.act.value, f"after {self.after}"]
        if self.hold_s:
            words.append(f"for {self.hold_s:.1f} s")
        if self.act in (Act.KILL_PRIMARY, Act.KILL_BACKUP):
            words.append(f"disk {self.disk}")
            words.append("suspends" if self.suspends else "fails")
        if self.in_resync:
            words.append("during resync")
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Round:
    """One case: a load, one or more disturbances, and a look at both nodes."""

    seed: int
    number: int
    disturbances: tuple[Disturbance, ...]

    steps: tuple[Step, ...] = ()
    canonical_text: str = ""

    @property
    def id(self) -> str:
        """Has all that is needed to make the round again."""
        return f"{SUITE}/{self.seed}.{self.number:04}"

    @property
    def skeleton(self) -> str:
        """The acts, joined by commas."""
        return ",".join(each.act.value for each in self.disturbances)

    @property
    def content_hash(self) -> str:
        """sha256 of what the round does."""
        return hashlib.sha256(repr((self.id, self.disturbances)).encode()).hexdigest()

    def stream(self, leg: int) -> int:
        """Number of the stream that the round's load runs in its ``leg``-th leg, from 0."""
        return random.Random(f"{self.id}/{leg}").getrandbits(_STREAM_BITS) << 8 | leg


_HELD = (Act.CUT, Act.PAUSE_PRIMARY, Act.PAUSE_BACKUP, Act.SUSPEND_PRIMARY, Act.SUSPEND_BACKUP,
         Act.DEPOSE)  # fmt: skip
_KILLS = {Act.KILL_PRIMARY: 5, Act.KILL_BACKUP: 4}
_REST = {Act.CUT: 3, Act.PAUSE_PRIMARY: 1, Act.PAUSE_BACKUP: 2, Act.SUSPEND_PRIMARY: 1,
         Act.SUSPEND_BACKUP: 1, Act.SWITCHOVER: 2, Act.DEPOSE: 2}  # fmt: skip
_IN_RESYNC = (Act.CUT, Act.KILL_BACKUP, Act.PAUSE_BACKUP, Act.PAUSE_PRIMARY)
"""Acts that a pair has to survive while its backup is not in sync: one node may be lost, and the
one that is not in sync can be."""


def make_round(seed: int, number: int, acts: tuple[Act, ...] = tuple(Act)) -> Round:
    """Round ``number``, from 1, of the run with ``seed``, out of the acts that the target can do.

    Every other group of rounds kills no guest, so that there are guests that live long enough for
    their memory to tell something.
    """
    chance = random.Random(f"{SUITE}/{seed}/{number}")
    calm = (number - 1) // _CALM_ROUNDS % 2 == 1
    weights = _REST if calm else _KILLS | _REST
    possible = {act: weight for act, weight in weights.items() if act in acts} or dict.fromkeys(
        acts, 1
    )
    disturbances = []
    for place in range(chance.choice((1, 1, 1, 2, 2, 3))):
        in_resync = place > 0 and chance.random() < 0.4
        among = {a: w for a, w in possible.items() if not in_resync or a in _IN_RESYNC} or possible
        act = chance.choices(list(among), list(among.values()))[0]
        disturbances.append(
            Disturbance(
                act,
                after=chance.randint(1, 40),
                hold_s=_hold_s(chance) if act in _HELD else 0.0,
                disk=chance.choices(list(Disk), (5, 3, 2))[0],
                suspends=chance.random() < 0.7,
                in_resync=in_resync and act in _IN_RESYNC,
            )
        )
    return Round(seed, number, tuple(disturbances))


def _hold_s(chance: random.Random) -> float:
    """Mostly shorter than a peer's time-out, sometimes longer."""
    return round(chance.choice((0.1, 0.5, 1.5, 4.0)) * (0.5 + chance.random()), 2)
