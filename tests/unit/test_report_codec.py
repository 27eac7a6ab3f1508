# SPDX-License-Identifier: Apache-2.0
"""Whatever was recorded comes back equal, and damage is never taken for a record."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.model.case import CaseId, CaseResult, Outcome, Rerun, RunInfo
from harness.model.codec import decode_case, decode_run, encode_case, encode_run
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
from harness.model.evidence import (
    Aftermath,
    BlockNote,
    CaseEvidence,
    CrashEvidence,
    Drain,
    Moment,
    ToolResult,
)
from harness.model.load import Damaged, Version
from harness.model.tree import Entry, FileKind, Tree
from harness.model.verdict import Check, Verdict

# Any text plus the surrogates by which Python stands in for undecodable bytes of a path.
TEXT = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("\udc80\udcff\0\n")),
    max_size=12,
)
NAME = st.from_regex(r"[a-z][a-z0-9-]{0,6}", fullmatch=True)
NUMBER = st.integers(0, 2**64 - 1)
TIME = st.floats(0, 1e10, allow_nan=False)


def maybe(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | strategy


def texts() -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(TEXT, max_size=3).map(tuple)


SEGMENTS = st.one_of(
    st.builds(Segment, NUMBER, st.integers(0, 99)),
    st.binary(min_size=1, max_size=9).map(lambda raw: Segment(len(raw), -1, raw)),
)
ENTRIES = st.builds(
    Entry,
    path=TEXT,
    kind=st.sampled_from(FileKind),
    mode=st.integers(0, 0o7777),
    uid=NUMBER,
    gid=NUMBER,
    nlink=NUMBER,
    size=NUMBER,
    blocks=NUMBER,
    ino=NUMBER,
    mtime_ns=st.integers(-(2**63), 2**63),
    ctime_ns=NUMBER,
    rdev=NUMBER,
    xattrs=st.lists(st.tuples(TEXT, st.binary(max_size=9)), max_size=2).map(tuple),
    link=maybe(TEXT),
    digest=maybe(TEXT),
    content=maybe(st.lists(SEGMENTS, max_size=3).map(tuple)),
    error=maybe(TEXT),
)
TREES = st.lists(ENTRIES, max_size=4).map(lambda rows: Tree({row.path: row for row in rows}))
TOOLS = st.builds(ToolResult, st.booleans(), st.integers(-200, 255), TEXT)
CRASHES = st.builds(
    CrashEvidence,
    checkpoint=st.integers(1, 9),
    line=st.integers(1, 99),
    live=maybe(TREES),
    drain=maybe(st.builds(Drain, st.booleans(), maybe(NUMBER), maybe(NUMBER), TEXT)),
    mount=maybe(TOOLS),
    recovered=maybe(TREES),
    fsck=maybe(TOOLS),
    probe=maybe(TOOLS),
)
DEVICES = st.builds(DeviceDigest, TEXT, NUMBER)
HELD = st.one_of(st.builds(Version, NUMBER, NUMBER, st.integers(0, 7)), st.builds(Damaged, TEXT))
CONTENTS = st.dictionaries(NUMBER, HELD, max_size=3)
COUNTS = st.lists(NUMBER, max_size=2).map(tuple)
LEGS = st.builds(
    Leg,
    run=st.builds(LoadRun, NUMBER, NUMBER, NUMBER, NUMBER, st.booleans(), COUNTS, texts(), texts()),
    crashed=st.booleans(),
    node=TEXT,
    found=maybe(CONTENTS),
)
ROUNDS = st.builds(
    RoundEvidence,
    blocks=NUMBER,
    base=CONTENTS,
    legs=st.lists(LEGS, max_size=2).map(tuple),
    rejoins=st.lists(st.builds(Rejoin, TEXT, TEXT, maybe(TIME), TEXT), max_size=2).map(tuple),
    comparisons=st.lists(
        st.builds(Comparison, TEXT, maybe(DEVICES), maybe(DEVICES), maybe(COUNTS)), max_size=2
    ).map(tuple),
    refusals=texts(),
    after_deposition=maybe(NUMBER),
    memory=st.lists(
        st.builds(MemorySample, TEXT, NUMBER, NUMBER, maybe(NUMBER), NUMBER, NUMBER), max_size=2
    ).map(tuple),
    log=texts(),
)
EVIDENCE = st.builds(
    CaseEvidence,
    crashes=st.lists(CRASHES, max_size=2).map(tuple),
    step_errors=st.lists(st.tuples(st.integers(1, 99), TEXT), max_size=2).map(tuple),
    primary_device=maybe(DEVICES),
    backup_device=maybe(DEVICES),
    differing_blocks=maybe(st.lists(NUMBER, max_size=2).map(tuple)),
    console=st.dictionaries(TEXT, texts(), max_size=2),
    round=maybe(ROUNDS),
    moments=st.lists(
        st.builds(Moment, TEXT, TEXT, TIME, TIME, maybe(st.tuples(NUMBER, NUMBER))),
        max_size=2,
    ).map(tuple),
    block_notes=st.lists(st.builds(BlockNote, NUMBER, TEXT, TEXT), max_size=2).map(tuple),
    complaints=texts(),
    not_run=maybe(TEXT),
    aftermath=maybe(st.builds(Aftermath, TOOLS, TOOLS)),
    said_together=texts(),
)
CHECKS = st.lists(
    st.builds(Check, TEXT, st.sampled_from(Verdict), TEXT, TEXT, TEXT, TEXT), max_size=2
).map(tuple)
RERUNS = st.builds(
    Rerun,
    verdict=maybe(st.sampled_from(Verdict)),
    checks=CHECKS,
    infra_error=maybe(TEXT),
    fresh_pair=st.booleans(),
    started_unix_s=TIME,
    elapsed_s=TIME,
)
RESULTS = st.builds(
    CaseResult,
    case_id=st.builds(CaseId, st.builds("{}/{}".format, NAME, NAME), NAME, NAME),
    workload_hash=TEXT,
    skeleton=TEXT,
    jlang=TEXT,
    verdict=maybe(st.sampled_from(Verdict)),
    checks=CHECKS,
    evidence=maybe(EVIDENCE),
    infra_error=maybe(TEXT),
    control=maybe(st.sampled_from(Verdict)),
    attempts=texts(),
    reruns=st.lists(RERUNS, max_size=2).map(tuple),
    started_unix_s=TIME,
    elapsed_s=TIME,
    phases_s=st.dictionaries(TEXT, TIME, max_size=2),
    console=st.dictionaries(TEXT, texts(), max_size=2),
)
STRINGS = st.dictionaries(TEXT, TEXT, max_size=2)
RUNS = st.builds(
    RunInfo,
    run_id=TEXT,
    suite=TEXT,
    started_unix_s=TIME,
    planned=NUMBER,
    options=st.dictionaries(TEXT, st.one_of(TEXT, NUMBER, st.booleans(), texts()), max_size=3),
    host=STRINGS,
    kernels=STRINGS,
    versions=STRINGS,
    seed=maybe(NUMBER),
    ended_unix_s=maybe(TIME),
    counts=st.dictionaries(st.sampled_from(Outcome), NUMBER),
    exit_code=maybe(st.integers(0, 255)),
    warnings=texts(),
)

LAX = settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)


@LAX
@given(RESULTS)
def test_a_case_result_survives(result: CaseResult) -> None:
    line = encode_case(result)
    assert "\n" not in line
    assert line.isascii()
    assert decode_case(line) == result


@LAX
@given(RUNS)
def test_run_facts_survive(info: RunInfo) -> None:
    assert decode_run(encode_run(info)) == info


def entry(path: str, mtime_ns: int = 0) -> Entry:
    return Entry(path, FileKind.DIR, 0o755, 0, 0, 2, 4096, 8, 2, mtime_ns, 0)


def case_with(*crashes: CrashEvidence) -> CaseResult:
    return CaseResult(
        CaseId.parse("s/1@ext4@linear"), "h", "creat", "", Verdict.PASS, (), CaseEvidence(crashes)
    )


def test_equal_trees_are_stored_once() -> None:
    tree = Tree({path: entry(path) for path in ("", "A", "A/C")})
    later = Tree(dict(tree.entries) | {"B": entry("B")})
    case = case_with(CrashEvidence(1, 3, tree, recovered=tree), CrashEvidence(2, 5, later))
    assert len(json.loads(encode_case(case))["evidence"]["entries"]) == 4
    assert decode_case(encode_case(case)) == case


def test_an_entry_differing_in_one_field_is_kept_apart() -> None:
    live, recovered = Tree({"": entry("", 1)}), Tree({"": entry("", 2)})
    case = case_with(CrashEvidence(1, 3, live, recovered=recovered))
    assert decode_case(encode_case(case)) == case


def test_absence_is_not_emptiness() -> None:
    empty = case_with(CrashEvidence(1, 3, Tree({}), recovered=Tree({})))
    absent = case_with(CrashEvidence(1, 3, None))
    assert decode_case(encode_case(empty)) == empty
    assert decode_case(encode_case(absent)) == absent
    none = dataclasses.replace(absent, evidence=None)
    assert decode_case(encode_case(none)).evidence is None


def test_a_tree_that_lists_an_entry_under_another_name_is_refused() -> None:
    with pytest.raises(ValueError, match="under the name 'B'"):
        encode_case(case_with(CrashEvidence(1, 3, Tree({"B": entry("A")}))))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"schema":2,"id":"s/1@ext4@linear","verdict":"pass"}',
        '{"schema":1,"id":"s/1@ext4@linear"}',
        '{"schema":1,"id":"s/1","verdict":"pass"}',
        '{"schema":1,"id":"s/1@ext4@linear","verdict":"green","started_unix_s":1,"elapsed_s":1}',
        '{"schema":1,"id":"s/1@ext4@linear","verdict":"pass","started_unix_s":1,"elapsed_s":1,"checks":[{"rule":"x"}]}',
        '{"schema":1,"id":"s/1@ext4@linear","verdict":"pass","started_unix_s":1,"elapsed_s":1,"evidence":{"crashes":'
        '[{"checkpoint":1,"line":1,"live":[7]}]}}',
    ],
)
def test_what_is_no_case_result_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"schema|not a case result|Expecting|not a valid Verdict"):
        decode_case(text)
