# SPDX-License-Identifier: Apache-2.0
"""The evidence of a round as it grows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harness.deadline import Deadline
from harness.guest.protocol import ProtocolError
from harness.guest.replies import parse_status
from harness.model.endurance import Comparison, Leg, MemorySample, Rejoin, RoundEvidence
from harness.model.evidence import CaseEvidence
from harness.model.load import Contents
from harness.run.caselog import Observation
from harness.run.endurance.site import Site
from harness.target.base import Line
from harness.target.cluster import ClusterTarget


@dataclass
class Record:
    """What was seen so far; fields as of ``RoundEvidence``."""

    blocks: int
    base: Contents
    legs: list[Leg] = field(default_factory=list)
    rejoins: list[Rejoin] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    after_deposition: int | None = None
    log: list[str] = field(default_factory=list)

    def observation(
        self,
        sites: Iterable[Site],
        memory: tuple[MemorySample, ...],
        phases_s: Mapping[str, float],
    ) -> Observation:
        """All of it, with what the consoles of ``sites`` have to say."""
        evidence = RoundEvidence(
            blocks=self.blocks,
            base=self.base,
            legs=tuple(self.legs),
            rejoins=tuple(self.rejoins),
            comparisons=tuple(self.comparisons),
            refusals=tuple(self.refusals),
            after_deposition=self.after_deposition,
            memory=memory,
            log=tuple(self.log),
        )
        console = {site.name: site.take_reports() for site in sites}
        return Observation(
            CaseEvidence(crashes=(), console=console, round=evidence), dict(phases_s)
        )


def memory_sample(
    site: Site, target: ClusterTarget, number: int, deadline: Deadline
) -> MemorySample | None:
    """Figures of a quiet node in round ``number``; None when it does not tell them."""
    lines: list[Line] = [*target.status_lines(), ("file-status", "/proc/meminfo")]
    result = site.run(lines, deadline)
    if not result.ok:
        return None
    try:
        status = parse_status(result.one("dm-status").text)
        figures = parse_status(result.one("file-status").text)
        memory = status.get("memory", "")
        return MemorySample(
            site.name, site.boot, number, int(memory) if memory.isdigit() else None,
            int(figures["SUnreclaim"]), int(figures["MemAvailable"]),
        )  # fmt: skip
    except (KeyError, ProtocolError):
        return None
