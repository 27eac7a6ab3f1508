# SPDX-License-Identifier: Apache-2.0
"""Case results and run facts as JSON and back, without loss (``reports/README.md`` has the fields).

What makes it small: fields that hold their default are left out, an entry is a row instead of an
object, and the trees of a case share one table of entries, as most of them differ in little.
Strings may hold the lone surrogates U+DC80..U+DCFF that stand for undecodable bytes of a path.
Decoding raises ``ValueError`` on anything that is not what the encoder writes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from harness.errors import UsageError
from harness.model.case import CaseId, CaseResult, OptionValue, Outcome, Rerun, RunInfo
from harness.model.content import Content, Segment
from harness.model.device import DeviceDigest
from harness.model.endurance_codec import round_in, round_out
from harness.model.evidence import (
    Aftermath,
    BlockNote,
    CaseEvidence,
    CrashEvidence,
    Drain,
    Moment,
    ToolResult,
)
from harness.model.tree import Entry, FileKind, Tree
from harness.model.verdict import Check, Verdict

SCHEMA = 1
"""Version of every JSON object written here; a reader refuses any other."""

_Json = dict[str, Any]
_T = TypeVar("_T")


def encode_case(result: CaseResult) -> str:
    """``result`` as one line of ASCII JSON."""
    return _dumps(_case_out(result))


def decode_case(text: str, *, whole: bool = True) -> CaseResult:
    """The result written as ``text``; ``ValueError`` when it is not one.

    If not ``whole``, it comes without evidence and consoles, and without the checks of a case that
    passed: they are most of a run's bytes, and of no use to who only counts.
    """
    decode = _case_in if whole else _case_in_brief
    return _guarded(decode, text, "case result")


def encode_run(info: RunInfo) -> str:
    """``info`` as indented ASCII JSON: this file is read by people."""
    return json.dumps(_run_out(info), indent=2, allow_nan=False) + "\n"


def decode_run(text: str) -> RunInfo:
    """The run facts written as ``text``; ``ValueError`` when they are not."""
    return _guarded(_run_in, text, "run")


def _dumps(value: _Json) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _guarded(decode: Callable[[_Json], _T], text: str, what: str) -> _T:
    try:
        value = json.loads(text)
        if value.get("schema") != SCHEMA:
            raise ValueError(f"schema {value.get('schema')!r}, this version reads {SCHEMA}")
        return decode(value)
    except (AttributeError, IndexError, KeyError, TypeError, UsageError) as err:
        raise ValueError(f"not a {what}: {type(err).__name__}: {err}") from err


def _present(**fields: Any) -> _Json:
    """The fields that are not None: where an empty value says something else than none at all."""
    return {key: value for key, value in fields.items() if value is not None}


def _filled(**fields: Any) -> _Json:
    """The fields that are not empty: where empty is the default (0 and False are not empty)."""
    return {key: value for key, value in fields.items() if value not in ("", [], {})}


def _case_out(result: CaseResult) -> _Json:
    return (
        {
            "schema": SCHEMA,
            "id": str(result.case_id),
            "verdict": result.verdict and result.verdict.value,
            "started_unix_s": result.started_unix_s,
            "elapsed_s": result.elapsed_s,
        }
        | _present(
            infra_error=result.infra_error,
            control=result.control and result.control.value,
            evidence=_optional(_evidence_out, result.evidence),
        )
        | _filled(
            workload_hash=result.workload_hash,
            skeleton=result.skeleton,
            jlang=result.jlang,
            phases_s=dict(result.phases_s),
            checks=[_check_out(check) for check in result.checks],
            attempts=list(result.attempts),
            reruns=[_rerun_out(rerun) for rerun in result.reruns],
            console=_lines_out(result.console),
        )
    )


def _case_in(value: _Json) -> CaseResult:
    return CaseResult(
        case_id=CaseId.parse(value["id"]),
        workload_hash=value.get("workload_hash", ""),
        skeleton=value.get("skeleton", ""),
        jlang=value.get("jlang", ""),
        verdict=_optional(Verdict, value["verdict"]),
        checks=tuple(_check_in(check) for check in value.get("checks", ())),
        evidence=_optional(_evidence_in, value.get("evidence")),
        infra_error=value.get("infra_error"),
        control=_optional(Verdict, value.get("control")),
        attempts=tuple(value.get("attempts", ())),
        reruns=tuple(_rerun_in(rerun) for rerun in value.get("reruns", ())),
        started_unix_s=float(value["started_unix_s"]),
        elapsed_s=float(value["elapsed_s"]),
        phases_s={name: float(spent) for name, spent in value.get("phases_s", {}).items()},
        console=_lines_in(value.get("console", {})),
    )


def _rerun_out(rerun: Rerun) -> _Json:
    return {
        "verdict": rerun.verdict and rerun.verdict.value,
        "started_unix_s": rerun.started_unix_s,
        "elapsed_s": rerun.elapsed_s,
        "fresh_pair": rerun.fresh_pair,
        "checks": [_check_out(check) for check in rerun.checks],
    } | _present(infra_error=rerun.infra_error)


def _rerun_in(value: _Json) -> Rerun:
    return Rerun(
        verdict=_optional(Verdict, value["verdict"]),
        checks=tuple(_check_in(check) for check in value["checks"]),
        infra_error=value.get("infra_error"),
        fresh_pair=value["fresh_pair"],
        started_unix_s=float(value["started_unix_s"]),
        elapsed_s=float(value["elapsed_s"]),
    )


_BULK = ("evidence", "checks", "console")


def _case_in_brief(value: _Json) -> CaseResult:
    bulk = ["evidence", "console"] + ["checks"] * (value["verdict"] == Verdict.PASS)
    return _case_in({key: held for key, held in value.items() if key not in bulk})


def _optional(decode: Callable[[Any], _T], value: Any) -> _T | None:
    return None if value is None else decode(value)


def _lines_out(lines: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    return {name: list(texts) for name, texts in lines.items()}


def _lines_in(value: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(texts) for name, texts in value.items()}


def _check_out(check: Check) -> _Json:
    return {"rule": check.rule, "verdict": check.verdict.value} | _filled(
        path=check.path, expected=check.expected, found=check.found, message=check.message
    )


def _check_in(value: _Json) -> Check:
    return Check(**(value | {"verdict": Verdict(value["verdict"])}))


class _EntryTable:
    """The distinct entries of a case's trees, numbered in order of first appearance."""

    def __init__(self) -> None:
        self._rows: dict[Entry, int] = {}

    def numbers(self, tree: Tree) -> list[int]:
        """``tree`` as row numbers. The path of an entry is its key, so the rows are enough."""
        for path, entry in tree.entries.items():
            if path != entry.path:
                raise ValueError(f"tree lists {entry.path!r} under the name {path!r}")
        return [self._rows.setdefault(e, len(self._rows)) for e in tree.entries.values()]

    def rows(self) -> list[list[Any]]:
        return [_entry_out(entry) for entry in self._rows]


def _evidence_out(evidence: CaseEvidence) -> _Json:
    table = _EntryTable()
    return (
        {"crashes": [_crash_out(crash, table) for crash in evidence.crashes]}
        | _filled(
            entries=table.rows(),
            step_errors=[list(error) for error in evidence.step_errors],
            moments=[_moment_out(moment) for moment in evidence.moments],
            block_notes=[[n.block, n.holds, n.difference] for n in evidence.block_notes],
            console=_lines_out(evidence.console),
            complaints=list(evidence.complaints),
            said_together=list(evidence.said_together),
        )
        | _present(
            primary_device=_optional(_device_out, evidence.primary_device),
            backup_device=_optional(_device_out, evidence.backup_device),
            differing_blocks=_optional(list, evidence.differing_blocks),
            round=_optional(round_out, evidence.round),
            not_run=evidence.not_run,
            aftermath=_optional(_aftermath_out, evidence.aftermath),
        )
    )


def _evidence_in(value: _Json) -> CaseEvidence:
    entries = [_entry_in(row) for row in value.get("entries", ())]
    return CaseEvidence(
        crashes=tuple(_crash_in(crash, entries) for crash in value["crashes"]),
        step_errors=tuple((line, text) for line, text in value.get("step_errors", ())),
        primary_device=_optional(_device_in, value.get("primary_device")),
        backup_device=_optional(_device_in, value.get("backup_device")),
        differing_blocks=_optional(tuple, value.get("differing_blocks")),
        moments=tuple(_moment_in(moment) for moment in value.get("moments", ())),
        block_notes=tuple(BlockNote(*note) for note in value.get("block_notes", ())),
        console=_lines_in(value.get("console", {})),
        round=_optional(round_in, value.get("round")),
        complaints=tuple(value.get("complaints", ())),
        not_run=value.get("not_run"),
        aftermath=_optional(_aftermath_in, value.get("aftermath")),
        said_together=tuple(value.get("said_together", ())),
    )


def _aftermath_out(aftermath: Aftermath) -> _Json:
    return {"primary": _tool_out(aftermath.primary), "backup": _tool_out(aftermath.backup)}


def _aftermath_in(value: _Json) -> Aftermath:
    return Aftermath(_tool_in(value["primary"]), _tool_in(value["backup"]))


def _moment_out(moment: Moment) -> list[Any]:
    return [moment.guest, moment.what, moment.start_s, moment.end_s, *(moment.lines or ())]


def _moment_in(value: list[Any]) -> Moment:
    guest, what, start_s, end_s, *lines = value
    return Moment(guest, what, start_s, end_s, (lines[0], lines[1]) if lines else None)


def _device_out(device: DeviceDigest) -> list[Any]:
    return [device.digest, device.blocks]


def _device_in(value: list[Any]) -> DeviceDigest:
    digest, blocks = value
    return DeviceDigest(digest, blocks)


def _crash_out(crash: CrashEvidence, table: _EntryTable) -> _Json:
    return {"checkpoint": crash.checkpoint, "line": crash.line} | _present(
        live=_optional(table.numbers, crash.live),
        recovered=_optional(table.numbers, crash.recovered),
        drain=_optional(_drain_out, crash.drain),
        mount=_optional(_tool_out, crash.mount),
        fsck=_optional(_tool_out, crash.fsck),
        probe=_optional(_tool_out, crash.probe),
    )


def _crash_in(value: _Json, entries: list[Entry]) -> CrashEvidence:
    def tree(rows: list[int]) -> Tree:
        return Tree({entries[row].path: entries[row] for row in rows})

    return CrashEvidence(
        checkpoint=value["checkpoint"],
        line=value["line"],
        live=_optional(tree, value.get("live")),
        drain=_optional(_drain_in, value.get("drain")),
        mount=_optional(_tool_in, value.get("mount")),
        recovered=_optional(tree, value.get("recovered")),
        fsck=_optional(_tool_in, value.get("fsck")),
        probe=_optional(_tool_in, value.get("probe")),
    )


def _drain_out(drain: Drain) -> list[Any]:
    return [drain.quiesced, drain.promised, drain.applied, drain.status]


def _drain_in(value: list[Any]) -> Drain:
    quiesced, promised, applied, status = value
    return Drain(quiesced, promised, applied, status)


def _tool_out(tool: ToolResult) -> list[Any]:
    return [tool.ok, tool.status, tool.output]


def _tool_in(value: list[Any]) -> ToolResult:
    ok, status, output = value
    return ToolResult(ok, status, output)


def _entry_out(entry: Entry) -> list[Any]:
    # fmt: off
    row: list[Any] = [
        entry.path, entry.kind.value, entry.mode, entry.uid, entry.gid, entry.nlink, entry.size,
        entry.blocks, entry.ino, entry.mtime_ns, entry.ctime_ns,
    ]
    # fmt: on
    rest = _present(
        link=entry.link,
        digest=entry.digest,
        error=entry.error,
        content=_optional(_content_out, entry.content),
    )
    if entry.rdev:
        rest["rdev"] = entry.rdev
    if entry.xattrs:
        rest["xattrs"] = [[name, _bytes_out(value)] for name, value in entry.xattrs]
    return [*row, rest] if rest else row


def _entry_in(row: list[Any]) -> Entry:
    path, kind, *numbers = row
    rest = dict(numbers.pop()) if isinstance(numbers[-1], dict) else {}
    if "xattrs" in rest:
        rest["xattrs"] = tuple((name, _bytes_in(value)) for name, value in rest["xattrs"])
    if "content" in rest:
        rest["content"] = tuple(_segment_in(segment) for segment in rest["content"])
    return Entry(path, FileKind(kind), *numbers, **rest)


def _content_out(content: Content) -> list[list[Any]]:
    return [_segment_out(segment) for segment in content]


def _segment_out(segment: Segment) -> list[Any]:
    plain = [segment.length, segment.line]
    return [*plain, _bytes_out(segment.raw)] if segment.raw else plain


def _segment_in(value: list[Any]) -> Segment:
    length, line, *raw = value
    return Segment(length, line, *(_bytes_in(text) for text in raw))


def _bytes_out(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _bytes_in(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _run_out(info: RunInfo) -> _Json:
    return {
        "schema": SCHEMA,
        "run_id": info.run_id,
        "suite": info.suite,
        "started_unix_s": info.started_unix_s,
        "ended_unix_s": info.ended_unix_s,
        "exit_code": info.exit_code,
        "planned": info.planned,
        "left": info.left,
        "counts": {outcome.value: number for outcome, number in info.counts.items()},
        "seed": info.seed,
        "options": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in info.options.items()
        },
        "kernels": dict(info.kernels),
        "versions": dict(info.versions),
        "host": dict(info.host),
        "warnings": list(info.warnings),
    }


def _run_in(value: _Json) -> RunInfo:
    return RunInfo(
        run_id=value["run_id"],
        suite=value["suite"],
        started_unix_s=float(value["started_unix_s"]),
        planned=value["planned"],
        left=value.get("left", 0),
        options={name: _option_in(option) for name, option in value["options"].items()},
        host=dict(value["host"]),
        kernels=dict(value["kernels"]),
        versions=dict(value["versions"]),
        seed=value["seed"],
        ended_unix_s=value["ended_unix_s"],
        counts={Outcome(name): number for name, number in value["counts"].items()},
        exit_code=value["exit_code"],
        warnings=tuple(value["warnings"]),
    )


def _option_in(value: Any) -> OptionValue:
    return tuple(value) if isinstance(value, list) else value
