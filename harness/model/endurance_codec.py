# SPDX-License-Identifier: Apache-2.0
"""Evidence of endurance rounds as JSON and back, without loss.

Contents of devices are lines ``block stream batch op`` or ``block ! what``, compressed and in
base64: there are thousands of blocks, and little to be seen in any of them.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any
from urllib.parse import quote, unquote

from harness.model.device import DeviceDigest
from harness.model.endurance import (
    Comparison,
    Leg,
    LoadRun,
    MemorySample,
    Rejoin,
    RoundEvidence,
)
from harness.model.load import Contents, Damaged, Held, Version

_Json = dict[str, Any]


def round_out(evidence: RoundEvidence) -> _Json:
    """``evidence`` as plain values."""
    return {
        "blocks": evidence.blocks,
        "base": contents_out(evidence.base),
        "legs": [_leg_out(leg) for leg in evidence.legs],
        "rejoins": [[r.node, r.disk, r.in_sync_s, r.status] for r in evidence.rejoins],
        "comparisons": [_comparison_out(seen) for seen in evidence.comparisons],
        "refusals": list(evidence.refusals),
        "after_deposition": evidence.after_deposition,
        "memory": [
            [s.node, s.boot, s.round, s.module_bytes, s.slab_kib, s.available_kib]
            for s in evidence.memory
        ],
        "log": list(evidence.log),
    }


def round_in(value: _Json) -> RoundEvidence:
    """Inverse of ``round_out``; ValueError, KeyError or TypeError when it is something else."""
    return RoundEvidence(
        blocks=value["blocks"],
        base=contents_in(value["base"]),
        legs=tuple(_leg_in(leg) for leg in value["legs"]),
        rejoins=tuple(Rejoin(*row) for row in value["rejoins"]),
        comparisons=tuple(_comparison_in(row) for row in value["comparisons"]),
        refusals=tuple(value["refusals"]),
        after_deposition=value["after_deposition"],
        memory=tuple(MemorySample(*row) for row in value["memory"]),
        log=tuple(value["log"]),
    )


def contents_out(contents: Contents) -> str:
    """What a device holds as one text."""
    lines = "".join(f"{block} {_held_out(held)}\n" for block, held in sorted(contents.items()))
    return base64.b64encode(zlib.compress(lines.encode("ascii"), 6)).decode("ascii")


def contents_in(text: str) -> Contents:
    """Inverse of ``contents_out``; ValueError when it is something else."""
    try:
        lines = zlib.decompress(base64.b64decode(text, validate=True)).decode("ascii")
    except zlib.error as error:
        raise ValueError(f"damaged contents: {error}") from error
    contents: dict[int, Held] = {}
    for line in lines.splitlines():
        block, *words = line.split(" ")
        contents[int(block)] = _held_in(words)
    return contents


def _held_out(held: Held) -> str:
    if isinstance(held, Damaged):
        return f"! {quote(held.what, safe='', errors='surrogateescape')}"
    return f"{held.stream} {held.batch} {held.op}"


def _held_in(words: list[str]) -> Held:
    if words[0] == "!":
        return Damaged(unquote(words[1], errors="surrogateescape"))
    stream, batch, op = map(int, words)
    return Version(stream, batch, op)


def _leg_out(leg: Leg) -> _Json:
    run = leg.run
    return {
        "stream": run.stream,
        "completed": run.completed,
        "durable": run.durable,
        "issued": run.issued,
        "may_fail": run.may_fail,
        "uncertain": list(run.uncertain),
        "errors": list(run.errors),
        "mismatches": list(run.mismatches),
        "crashed": leg.crashed,
        "node": leg.node,
        "found": None if leg.found is None else contents_out(leg.found),
    }


def _leg_in(value: _Json) -> Leg:
    run = LoadRun(
        stream=value["stream"],
        completed=value["completed"],
        durable=value["durable"],
        issued=value["issued"],
        may_fail=value["may_fail"],
        uncertain=tuple(value["uncertain"]),
        errors=tuple(value["errors"]),
        mismatches=tuple(value["mismatches"]),
    )
    found = None if value["found"] is None else contents_in(value["found"])
    return Leg(run, value["crashed"], value["node"], found)


def _device_out(device: DeviceDigest | None) -> list[Any] | None:
    return None if device is None else [device.digest, device.blocks]


def _device_in(value: list[Any] | None) -> DeviceDigest | None:
    return None if value is None else DeviceDigest(*value)


def _comparison_out(seen: Comparison) -> list[Any]:
    differing = None if seen.differing is None else list(seen.differing)
    return [seen.after, _device_out(seen.primary), _device_out(seen.backup), differing]


def _comparison_in(value: list[Any]) -> Comparison:
    after, primary, backup, differing = value
    return Comparison(
        after,
        _device_in(primary),
        _device_in(backup),
        None if differing is None else tuple(differing),
    )
