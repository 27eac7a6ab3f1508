# SPDX-License-Identifier: Apache-2.0
"""What was recorded stays recorded: through kills, full disks and flipped bits."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest
from report_cases import info, result

from harness.errors import InfraError, UsageError
from harness.model.case import CaseId, Outcome
from harness.model.verdict import Verdict
from harness.report.load import DAMAGED_RULE, load_run
from harness.report.store import RESULTS, CaseTexts, RunStore, new_run_id


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore.create(tmp_path, info(planned=3))


def test_a_run_reads_back_as_it_was_written(store: RunStore) -> None:
    results = [result(1), result(2, Verdict.FAIL), result(3, None)]
    for each in results:
        store.append(each)
    run = load_run(store.path)
    assert list(run.results()) == results
    assert run.info == info(planned=3)
    assert run.torn_bytes == 0


def test_a_result_is_in_the_file_before_the_next_case_starts(store: RunStore) -> None:
    for number in (1, 2):
        store.append(result(number))
        assert len(list(load_run(store.path).results())) == number


def test_latest_points_at_the_newest_run(tmp_path: Path) -> None:
    for run_id in ("20270115T080000Z-a", "20270115T080001Z-b"):
        RunStore.create(tmp_path, info(run_id=run_id)).close()
    assert load_run(tmp_path / "ace-seq1" / "latest").info.run_id == "20270115T080001Z-b"


def test_run_ids_sort_by_time() -> None:
    assert new_run_id(0.9, "x") == "19700101T000000Z-x"
    assert new_run_id(1e9, "z") < new_run_id(1e9 + 1, "a")


def test_two_runs_of_one_id_do_not_share_a_folder(tmp_path: Path) -> None:
    RunStore.create(tmp_path, info()).append(result(1))
    with pytest.raises(InfraError, match="20270115T080000Z-abc123"):
        RunStore.create(tmp_path, info())
    assert len(list(load_run(tmp_path / "ace-seq1" / "latest").results())) == 1


def test_run_facts_are_replaced_whole(store: RunStore) -> None:
    store.write_info(info(planned=3, exit_code=1, counts={Outcome.FAIL: 1}))
    assert load_run(store.path).info.exit_code == 1
    assert [path.name for path in store.path.iterdir() if path.name.startswith(".")] == []


def test_a_torn_last_line_is_reported_and_costs_only_itself(store: RunStore) -> None:
    for number in (1, 2, 3):
        store.append(result(number))
    path = store.path / RESULTS
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in (last + 1, len(whole) - 1):
        path.write_bytes(whole[:end])
        run = load_run(store.path)
        assert run.torn_bytes == end - last
        assert [each.verdict for each in run.results()] == [Verdict.PASS, Verdict.PASS]


def test_every_flipped_bit_of_a_line_makes_its_case_unknown(store: RunStore) -> None:
    for number in (1, 2, 3):
        store.append(result(number))
    path = store.path / RESULTS
    whole = path.read_bytes()
    start, end = whole.index(b"\n") + 1, whole.index(b"\n", whole.index(b"\n") + 1)
    for position in range(start, end):
        damaged = bytearray(whole)
        damaged[position] ^= 0x01
        path.write_bytes(damaged)
        first, *middle, last = load_run(store.path).results()
        assert (first, last) == (result(1), result(3))
        # One line, or two where the flip made a newline: never none, never a pass.
        assert middle
        assert {each.verdict for each in middle} == {Verdict.UNKNOWN}
        assert {check.rule for each in middle for check in each.checks} == {DAMAGED_RULE}


def test_a_full_disk_is_named_and_loses_nothing(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append(result(1))
    before = (store.path / RESULTS).read_bytes()
    real_write = os.write

    def nearly_full(descriptor: int, data: bytes) -> int:
        if len(data) > 100:
            return real_write(descriptor, data[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", nearly_full)
    with pytest.raises(InfraError, match=f"{RESULTS}: No space left") as caught:
        store.append(result(2))
    assert "--out" in (caught.value.hint or "")
    with pytest.raises(InfraError, match=r"run\.json: No space left"):
        store.write_info(info(exit_code=0))
    monkeypatch.undo()

    assert (store.path / RESULTS).read_bytes() == before
    assert {path.name for path in store.path.iterdir()} == {RESULTS, "run.json"}
    assert load_run(store.path).info == info(planned=3)
    store.append(result(3))
    assert list(load_run(store.path).results()) == [result(1), result(3)]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InfraError, match=r"cannot write .*file") as caught:
        RunStore.create(tmp_path / "file", info())
    assert "--out" in (caught.value.hint or "")


def test_a_case_is_laid_out_for_people(store: RunStore) -> None:
    case = result(12, Verdict.FAIL)
    texts = CaseTexts("want\n", "got\n", "-want\n+got\n", {"backup": "Oops: \udcff\n"})
    folder = store.write_case(case, texts)
    assert folder == store.path / "cases/ace-seq1/000012/ext4@rollbaccine"
    assert {path.name for path in folder.iterdir()} == {
        "workload.jlang",
        "expected.txt",
        "recovered.txt",
        "diff.txt",
        "console-backup.log",
        "verdict.json",
    }
    assert (folder / "workload.jlang").read_text() == case.jlang
    assert (folder / "diff.txt").read_text() == "-want\n+got\n"
    assert (folder / "console-backup.log").read_text() == "Oops: \\udcff\n"


def test_the_last_result_of_a_case_counts(store: RunStore) -> None:
    for each in (result(1, None), result(2), result(1, Verdict.FAIL)):
        store.append(each)
    run = load_run(store.path)
    assert run.find(result(1).case_id).verdict is Verdict.FAIL
    with pytest.raises(UsageError, match="no result of case ace-seq1/000009@xfs@linear"):
        run.find(CaseId.parse("ace-seq1/000009@xfs@linear"))


def test_what_is_no_run_is_refused_with_the_reason(tmp_path: Path, store: RunStore) -> None:
    with pytest.raises(UsageError, match=r"no run\.json in it"):
        load_run(tmp_path)
    (store.path / "run.json").write_text('{"schema": 99}')
    with pytest.raises(UsageError, match="schema 99"):
        load_run(store.path)


@pytest.mark.parametrize(
    "text", ["", "a", "a@b", "a@b@c@d", "../x@a@b", "a/..@b@c", "a@..@c", "/a@b@c", "a b@c@d"]
)
def test_a_case_id_cannot_leave_the_run_folder(text: str) -> None:
    with pytest.raises(UsageError, match="not a case id"):
        CaseId.parse(text)


def test_an_outline_has_no_evidence_and_leads_to_all_of_it(store: RunStore) -> None:
    results = [result(1), result(2, Verdict.FAIL), result(3)]
    for each in results:
        store.append(each)
    run = load_run(store.path)
    outlines = list(run.outlines())
    passed = outlines[0][1]
    assert (passed.evidence, passed.checks, passed.case_id) == (None, (), results[0].case_id)
    assert outlines[1][1] == replace(results[1], evidence=None)
    assert [run.at(place) for place, _ in outlines] == results


def test_an_outline_of_a_damaged_line_is_unknown(store: RunStore) -> None:
    store.append(result(1))
    store.append(result(2))
    path = store.path / RESULTS
    path.write_bytes(path.read_bytes().replace(b"000001", b"000009", 1))
    run = load_run(store.path)
    damaged, whole = run.outlines()
    assert damaged[1].checks[0].rule == DAMAGED_RULE
    assert run.at(damaged[0]).case_id == damaged[1].case_id
    assert whole[1].outcome is Outcome.PASS
