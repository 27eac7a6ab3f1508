# SPDX-License-Identifier: Apache-2.0
"""What one invocation of ``harness run`` was asked to do."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path

from harness.build.profile import DEFAULT_PROFILE
from harness.model.case import OptionValue

DEFAULT_TIMEOUT_S = 120.0
DEFAULT_BOOT_TIMEOUT_S = 120.0
DEFAULT_HEARTBEAT_S = 30.0
"""Every few seconds a process in the guest answers. An emulated guest on a busy host was never seen
to need longer than a few of them."""
DEFAULT_CONFIRM = 2
"""Costs two more runs of each failing case and nothing of any other; what fails in half of its runs
is still told from what fails always in three cases out of four."""


class AcceleratorChoice(StrEnum):
    """``auto`` boots a probe guest to find out whether KVM really works."""

    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"


class Impostor(StrEnum):
    """A file system put in the backup's place, to see the harness reject it."""

    EMPTY = "empty"
    """Freshly made, as if nothing had ever been replicated."""
    STALE = "stale"
    """Same names with yesterday's content, as if replication had stopped long ago."""
    FOREIGN = "foreign"
    """Somebody else's files."""


class Guests(StrEnum):
    """What a pair is made of."""

    MICRO = "micro"
    """A kernel, the agent, and the tools it needs; up in seconds."""
    FULL = "full"
    """The distribution with its own init, for what needs more, or a person who logs in."""


class Engine(StrEnum):
    """Who carries out the steps of a workload."""

    NATIVE = "native"
    """The guest's agent, by system calls."""
    XFSTESTS = "xfstests"
    """``check`` of an xfstests tree, and the programs that its tests use."""


DEFAULT_BUNDLE = 25
"""Starting ``check``, and each test of it, takes several seconds in an emulated guest; a workload
less than one. What a test leaves undone when one of its workloads fails is begun again."""


class Encryption(StrEnum):
    """Whether the target encrypts and authenticates what it stores and sends."""

    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """All options of a run, resolved; recorded in ``run.json`` as they are."""

    suite: str
    fs: tuple[str, ...] = ("ext4",)
    target: str = "rollbaccine"
    profile: str = DEFAULT_PROFILE
    guests: Guests = Guests.MICRO
    accel: AcceleratorChoice = AcceleratorChoice.AUTO
    connect: str | None = None
    pairs: int = 1
    shard: tuple[int, int] = (1, 1)
    """(i, n): the i-th of n slices, counted from 1."""
    sample: int | None = None
    seed: int | None = None
    """Order of the cases, and which are sampled; None keeps the suite's own order."""
    limit: int | None = None
    duration_s: float | None = None
    """How long a suite without a fixed number of cases goes on; None for its own default."""
    only: tuple[str, ...] = ()
    workload: Path | None = None
    """File with the one workload to run, instead of a suite."""
    fail_fast: bool = False
    time_budget_s: float | None = None
    """No case is begun later than so many seconds after the run; the others are left."""
    max_findings: int | None = None
    """No case is begun once so many different findings are there."""
    confirm: int = 0
    """How often a case that failed is run again, to see whether it fails each time."""
    known: Path | None = None
    """List of known issues: failures on it are no reason for exit code 1."""
    keep_pair: bool = False
    timeout_s: float = DEFAULT_TIMEOUT_S
    boot_timeout_s: float = DEFAULT_BOOT_TIMEOUT_S
    heartbeat_s: float = 0.0
    """A guest that gives no sign of life for so long is hung; 0: none are asked for."""
    time_limit_s: float | None = None
    """The run ends so long after its start, whatever is under way; that is left as well."""
    engine: Engine = Engine.NATIVE
    xfstests: Path | None = None
    """The tree, for that engine."""
    group: str | None = None
    """Tests of it to run, in place of a suite: ``generic/quick``."""
    bundle: int = DEFAULT_BUNDLE
    """How many workloads are one test of it."""
    encryption: Encryption = Encryption.ON
    defect: str | None = None
    impostor: Impostor | None = None
    kmod: Path | None = None
    """Folder of a module that does not come with the harness, and of its target file."""
    link_delay_ms: int = 0
    """What the primary sends stays in it for so long, and is lost with it."""
    out: Path | None = None
    state_dir: Path | None = None

    def recorded(self) -> dict[str, OptionValue]:
        """The options as plain values for the run record."""
        values: dict[str, OptionValue] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "shard":
                value = f"{value[0]}/{value[1]}"
            values[field.name] = str(value) if isinstance(value, (Path, StrEnum)) else value
        return values
