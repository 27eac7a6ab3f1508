# SPDX-License-Identifier: Apache-2.0
"""Results and runs for the tests of the reports."""

from __future__ import annotations

from typing import Any

from harness.model.case import CaseId, CaseResult, RunInfo
from harness.model.evidence import CaseEvidence, CrashEvidence
from harness.model.verdict import Check, Verdict

STARTED = 1_800_000_000.0
"""2027-01-15 08:00:00 UTC."""

JLANG = "mkdir A 0777\nopen Afoo O_RDWR|O_CREAT 0777\nfsync Afoo\ncheckpoint 1\n"


def result(number: int = 1, verdict: Verdict | None = Verdict.PASS, **fields: Any) -> CaseResult:
    """Case ``number`` of ace-seq1 on ext4, with a check that goes with its verdict."""
    message = "" if verdict is Verdict.PASS else "size differs"
    plain: dict[str, Any] = {
        "case_id": CaseId(f"ace-seq1/{number:06d}", "ext4", "rollbaccine"),
        "workload_hash": "ab" * 8,
        "skeleton": "creat",
        "jlang": JLANG,
        "verdict": verdict,
        "started_unix_s": STARTED,
        "elapsed_s": 0.25,
        "phases_s": {"ops": 0.05, "fsck": 0.2},
        "evidence": CaseEvidence((CrashEvidence(1, 3, None),)),
    }
    if verdict is None:
        plain["infra_error"] = "backup: no answer within 30 s"
    else:
        plain["checks"] = (Check("size/persisted", verdict, "A/foo", "4096", "0", message),)
    return CaseResult(**(plain | fields))


def info(planned: int = 1, **fields: Any) -> RunInfo:
    """Facts of a run of ``planned`` cases."""
    plain: dict[str, Any] = {
        "run_id": "20270115T080000Z-abc123",
        "suite": "ace-seq1",
        "started_unix_s": STARTED,
        "planned": planned,
        "kernels": {"primary": "6.1.0-56-cloud-amd64"},
        "versions": {"profile": "debian-12"},
        "seed": 7,
    }
    return RunInfo(**(plain | fields))
