# SPDX-License-Identifier: Apache-2.0
"""Whole runs in the run store's own format: with defects, with rounds, large, and hostile."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from oracle_trees import crash_at
from report_cases import info

from ace_workloads.jlang import parse_run_section
from ace_workloads.ops import Step, Verb
from ace_workloads.registry import SuiteError, load_workload
from harness.model.case import CaseId, CaseResult, RunInfo
from harness.model.codec import encode_case
from harness.model.content import Segment
from harness.model.device import DeviceDigest
from harness.model.endurance import (
    Comparison,
    Leg,
    LoadRun,
    MemorySample,
    Rejoin,
    RoundEvidence,
)
from harness.model.evidence import BlockNote, CaseEvidence, CrashEvidence, Drain, ToolResult
from harness.model.load import Damaged, Version
from harness.model.tree import Tree
from harness.model.verdict import Check, Verdict, merge
from harness.oracle import judge_case
from harness.report.lines import seal
from harness.report.store import RESULTS, RunStore

STARTED = 1_800_000_000.0
PHASES = {
    "restore": 0.02, "mount": 0.03, "ops": 0.06, "pause": 0.002, "drain": 0.01, "snapshot": 0.02,
    "recover": 0.03, "read": 0.02, "umount": 0.04, "fsck": 0.07, "probe": 0.01, "resume": 0.002,
    "compare": 0.05, "judge": 0.01,
}  # fmt: skip
DIGEST = DeviceDigest("3f" * 16, 1294)
OPTIONS: dict[str, Any] = {
    "suite": "ace-seq2", "fs": ("ext4",), "target": "rollbaccine", "profile": "debian-12",
    "accel": "auto", "shard": "1/1", "sample": 300, "seed": 7, "encryption": "on",
    "defect": None, "impostor": None, "link_delay_ms": 0, "only": (), "fail_fast": False,
}  # fmt: skip

Defect = Callable[[CaseEvidence], CaseEvidence]
"""What a defect of the target makes of faultless evidence."""


def faultless(steps: Sequence[Step], fs: str = "ext4") -> CaseEvidence:
    """Evidence of a case in which nothing was lost."""
    points = sum(step.verb is Verb.CHECKPOINT for step in steps)
    crashes = [crash_at(steps, fs, number) for number in range(1, points + 1)]
    crashes = [
        replace(crash, drain=Drain(True, 40 + 9 * crash.checkpoint, 40 + 9 * crash.checkpoint,
                                   "backup received 49 applied 49"))
        for crash in crashes
    ]  # fmt: skip
    return CaseEvidence(tuple(crashes), (), DIGEST, DIGEST, None, {"primary": (), "backup": ()})


def lost_page(seen: CaseEvidence) -> CaseEvidence:
    """The last page of each file of several pages reads as zeros."""

    def change(tree: Tree) -> Tree:
        entries = dict(tree.entries)
        for path, entry in tree.entries.items():
            if entry.content and entry.size > 4096:
                kept, spent = [], 0
                for segment in entry.content:
                    room = entry.size - 4096 - spent
                    if room > 0:
                        kept.append(replace(segment, length=min(segment.length, room)))
                        spent += kept[-1].length
                entries[path] = replace(entry, content=(*kept, Segment(4096, 0)))
        return Tree(entries)

    return _recovered(seen, change)


def lost_name(seen: CaseEvidence) -> CaseEvidence:
    """The last name of each tree is missing."""

    def change(tree: Tree) -> Tree:
        last = max(tree.entries)
        return Tree({path: entry for path, entry in tree.entries.items() if path != last})

    return _recovered(seen, change)


def unmountable(seen: CaseEvidence) -> CaseEvidence:
    """The last snapshot cannot be mounted."""
    *before, last = seen.crashes
    said = "mount: EUCLEAN\nEXT4-fs (dm-3): ext4_check_descriptors: Checksum for group 0 failed"
    broken = replace(last, mount=ToolResult(False, -117, said), recovered=None, fsck=None,
                     probe=None)  # fmt: skip
    return replace(seen, crashes=(*before, broken))


def unequal(seen: CaseEvidence) -> CaseEvidence:
    """The devices differ afterwards."""
    other = DeviceDigest("c0" * 16, 1293)
    notes = (
        BlockNote(12, "inode table of group 0", "2 of 4096 bytes, from 256 to 3071"),
        BlockNote(1031, "data of /A/foo (inode 14)", "all zeros on the backup"),
    )
    blocks = (12, 1031, 1032, 1033)
    return replace(seen, backup_device=other, differing_blocks=blocks, block_notes=notes)


def _recovered(seen: CaseEvidence, change: Callable[[Tree], Tree]) -> CaseEvidence:
    crashes = [
        crash if crash.recovered is None else replace(crash, recovered=change(crash.recovered))
        for crash in seen.crashes
    ]
    return replace(seen, crashes=tuple(crashes))


DEFECTS: tuple[Defect, ...] = (lost_page, lost_name, unmountable, unequal)


def case(index: int, defect: Defect | None = None, **fields: Any) -> CaseResult:
    """Case ``index`` of ace-seq2 as the harness would have recorded it."""
    workload = load_workload(f"ace-seq2/{index:09d}")
    steps = parse_run_section(workload.canonical_text)
    evidence = faultless(steps)
    if defect is not None:
        evidence = defect(evidence)
    checks = judge_case(steps, "ext4", evidence, True)
    verdict = merge(check.verdict for check in checks)
    took = 0.2 + zlib.crc32(str(index).encode()) % 300 / 1000
    plain: dict[str, Any] = {
        "case_id": CaseId(workload.id, "ext4", "rollbaccine"),
        "workload_hash": workload.content_hash,
        "skeleton": workload.skeleton.replace(",", "-"),
        "jlang": workload.canonical_text,
        "verdict": verdict,
        "checks": checks,
        "evidence": evidence,
        "started_unix_s": STARTED + index / 1000,
        "elapsed_s": took,
        "phases_s": {name: spent * took * 3 for name, spent in PHASES.items()},
    }
    if verdict is not Verdict.PASS:
        plain["console"] = {
            "primary": ("[   12.5] EXT4-fs (dm-1): mounted filesystem with ordered data mode",),
            "backup": ("[   12.6] EXT4-fs (dm-3): recovery complete", "[   12.7] done"),
        }
        plain["control"] = Verdict.PASS
    return CaseResult(**(plain | fields))


def indices(count: int, step: int) -> list[int]:
    """Every ``step``-th workload of ace-seq2 from the first on; gaps in its numbers are passed."""
    found: list[int] = []
    index = 1
    while len(found) < count:
        try:
            load_workload(f"ace-seq2/{index:09d}")
        except SuiteError:
            index += 1
            continue
        found.append(index)
        index += step
    return found


def infra(index: int) -> CaseResult:
    """A case that the harness's own trouble left without a verdict."""
    error = "backup: no answer within 30 s"
    return case(index, verdict=None, infra_error=error, evidence=None, checks=(),
                attempts=(f"{error}\nits console ended at 3.1 s",))  # fmt: skip


def unknown(index: int) -> CaseResult:
    """A case without enough evidence."""
    check = Check("drain/quiesced", Verdict.UNKNOWN, message="the backup went on receiving")
    return case(index, verdict=Verdict.UNKNOWN, checks=(check,))


def seeded(indices: Sequence[int], bad_every: int) -> Iterator[CaseResult]:
    """Cases of ``indices``; every ``bad_every``-th shows one of the defects in turn."""
    for number, index in enumerate(indices):
        defect = None
        if bad_every and number % bad_every == 0:
            defect = DEFECTS[number // bad_every % len(DEFECTS)]
        yield case(index, defect)


def store(
    reports: Path, results: Iterator[CaseResult] | Sequence[CaseResult], **facts: Any
) -> Path:
    """A stored run of ``results``; its folder."""
    results = list(results)
    about: dict[str, Any] = {
        "planned": len(results), "suite": "ace-seq2", "options": OPTIONS, "exit_code": 1,
        "ended_unix_s": STARTED + 90, "host": {"cpus": "2", "accelerator": "tcg"},
        "kernels": {"host": "6.18.44", "guests": "6.1.0-56-cloud-amd64"},
    }  # fmt: skip
    with RunStore.create(reports, info(**(about | facts))) as made:
        (made.path / RESULTS).write_bytes(b"".join(seal(encode_case(one)) for one in results))
    return made.path


def large(reports: Path, cases: int, about: RunInfo | None = None, *, whole: bool = False) -> Path:
    """A run of ``cases`` cases whose evidence is that of a few, written line by line.

    If not ``whole``, those that passed have the first bit of their evidence only: what is read is
    the same, and a temporary folder holds it.
    """
    facts = about or info(
        planned=cases, suite="ace-seq2", options=OPTIONS, exit_code=1, run_id="20270116T080000Z-1a",
        ended_unix_s=STARTED + 9e4, started_unix_s=STARTED + 86400,
        kernels={"guests": "6.1.0-56-cloud-amd64"},
    )  # fmt: skip
    models = [
        case(index, DEFECTS[n // 8 % 4] if n % 8 == 7 else None)
        for n, index in enumerate(indices(40, 4_700))
    ]
    if not whole:
        models = [_lean(one) for one in models]
    texts = [(str(one.case_id), encode_case(one)) for one in models]
    with RunStore.create(reports, facts) as made, open(made.path / RESULTS, "wb") as file:
        for number in range(cases):
            name, text = texts[number % len(texts)]
            mine = f"ace-seq2/{number:09d}@ext4@rollbaccine"
            file.write(seal(text.replace(json.dumps(name), json.dumps(mine), 1)))
    return made.path


def _lean(result: CaseResult) -> CaseResult:
    if result.verdict is not Verdict.PASS:
        return result
    return replace(result, checks=result.checks[:2], evidence=CaseEvidence(()))


def round_case(number: int = 7, verdict: Verdict | None = None) -> CaseResult:
    """A round of an endurance run in which blocks were lost."""
    load = LoadRun(11, 812, 790, 815, uncertain=(801,), errors=("batch 813 EIO",),
                   mismatches=("block 17: 11/3/0 instead of 11/9/1",))  # fmt: skip
    found = {block: Version(11, block % 700, 0) for block in range(600)}
    seen = RoundEvidence(
        blocks=8192,
        base={block: Version(10, block, 0) for block in range(400)},
        legs=(
            Leg(load, True, "node2", {**found, 9: Damaged("torn: 11/3/0 and 11/4/1")}),
            Leg(replace(load, stream=12, errors=(), mismatches=()), False, "node1", None),
        ),
        rejoins=(Rejoin("node1", "old", 3.2, "synced"), Rejoin("node2", "kept", None, "syncing")),
        comparisons=(Comparison("the round", DIGEST, DeviceDigest("11" * 16, 5), (3, 4, 5, 77)),),
        refusals=("promote on node2: EBUSY",),
        after_deposition=2,
        memory=tuple(MemorySample("node1", 1, n, 1 << 20, 9000 + n, 300_000) for n in range(3)),
        log=(
            "0.02 the load starts on node1", "2.50 kill_primary after 14 flushes",
            "2.61 node1 is killed", "3.05 node2 is promoted",
            "4.00 node2 read; batch 790 was acknowledged, 812 had ended", "7.20 node1 is back",
            "10.40 node1 is in sync after 3.2 s", "11.00 cut for 1.5 s", "14.5 stuck: no progress",
        ),
    )  # fmt: skip
    evidence = CaseEvidence((), round=seen, console={"node1": (), "node2": ()})
    checks = judge_case((), "raw", evidence, True)
    return CaseResult(
        CaseId(f"kmod-endurance/42.{number:04d}", "raw", "rollbaccine"),
        workload_hash="",
        skeleton="kill_primary-cut",
        jlang="",
        verdict=verdict or merge(check.verdict for check in checks),
        checks=checks,
        evidence=evidence,
        started_unix_s=STARTED,
        elapsed_s=15.2,
        phases_s={"hold": 6.0, "look": 3.0, "rejoin": 3.2},
    )


def hostile(text: str) -> CaseResult:
    """A case with ``text`` in every field that takes any."""
    base = case(110_361, lost_page)
    assert base.evidence is not None
    crash = base.evidence.crashes[-1]
    assert crash.recovered is not None
    entries = dict(crash.recovered.entries)
    first = max(path for path in entries if path)
    entries[f"{first}{text}"] = replace(
        entries.pop(first), path=f"{first}{text}", link=text, error=text,
        xattrs=((text, text.encode("utf-8", "surrogatepass")),),
    )  # fmt: skip
    said = ToolResult(False, 4, text)
    bad = replace(crash, recovered=Tree(entries), mount=said, fsck=said, probe=said,
                  drain=Drain(False, 1, 0, text))  # fmt: skip
    evidence = replace(
        base.evidence,
        crashes=(*base.evidence.crashes[:-1], bad),
        step_errors=((2, text),),
        primary_device=DeviceDigest(text, 1),
        console={f"primary{text}": (text, text)},
    )
    check = Check("content/persisted", Verdict.FAIL, text, text, text, text)
    return replace(
        base,
        verdict=Verdict.FAIL,
        skeleton=text,
        checks=(check, check),
        evidence=evidence,
        attempts=(text, text),
        console={f"backup{text}": (text, text)},
        phases_s={text: 1.0},
    )


def with_crashes(result: CaseResult, crashes: tuple[CrashEvidence, ...]) -> CaseResult:
    """``result`` with other evidence of its crash points."""
    assert result.evidence is not None
    return replace(result, evidence=replace(result.evidence, crashes=crashes))
