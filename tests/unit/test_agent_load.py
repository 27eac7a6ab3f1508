# SPDX-License-Identifier: Apache-2.0
"""Load streams: the agent runs what the model says, and finds what was done to a device since."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_process import BLOCK, disk_directory, run, running_agent, soon

from harness.guest.agent import Agent, LoadReport
from harness.guest.replies import parse_scan
from harness.model.load import Damaged, Flush, Held, Kind, Version, batch_of, outcomes

BLOCKS = 700
STREAM = (1 << 63) + 12345


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    with running_agent() as client:
        yield client


@pytest.fixture
def device() -> Iterator[Path]:
    with disk_directory() as path:
        (path / "device").write_bytes(bytes(BLOCKS * BLOCK))
        yield path / "device"


def scan(agent: Agent, device: Path, blocks: int = BLOCKS) -> dict[int, Held]:
    done = run(agent, f"load-scan {device} {blocks}")
    assert done.ok, done.results[0].text
    return dict(parse_scan(done.results[0].payload))


def load(
    agent: Agent, device: Path, most: int, stop_at: int | None = None
) -> tuple[list[LoadReport], str]:
    reports: list[LoadReport] = []

    def on_load(report: LoadReport) -> bool:
        reports.append(report)
        return report.batch != stop_at

    line = ("load", str(device), str(BLOCKS), str(STREAM), str(most))
    done = agent.run_script([line], soon(), on_load=on_load)
    assert done.ok, done.results[0].text
    return reports, done.results[0].text


def test_the_device_holds_what_the_model_says(agent: Agent, device: Path) -> None:
    load(agent, device, 400)
    expected: dict[int, set[Version | None]] = {}
    kinds = set()
    for number in range(1, 401):
        batch = batch_of(STREAM, number, BLOCKS)
        kinds.add(batch.kind)
        expected.update(outcomes(STREAM, batch))
    assert kinds == set(Kind)
    found = scan(agent, device)
    assert len(found) > 300
    for block in range(BLOCKS):
        assert found.get(block) in expected.get(block, {None}), block


def test_reports_come_after_each_flush_and_say_what_is_durable(agent: Agent, device: Path) -> None:
    reports, last = load(agent, device, 300)
    wanted = []
    durable = 0
    for number in range(1, 301):
        flush = batch_of(STREAM, number, BLOCKS).flush
        if flush in (Flush.AFTER, Flush.EACH):
            durable = number
        elif flush is Flush.AMONG:
            durable = max(durable, number - 1)
        if flush is not Flush.NONE:
            wanted.append(LoadReport(number, durable, "ok", ""))
    assert reports == wanted
    assert {batch_of(STREAM, n, BLOCKS).flush for n in range(1, 301)} == set(Flush)
    assert last == f"300 {durable}"


def test_the_host_ends_a_load_at_a_report(agent: Agent, device: Path) -> None:
    first = next(n for n in range(1, 99) if batch_of(STREAM, n, BLOCKS).flush is not Flush.NONE)
    reports, last = load(agent, device, 1000, stop_at=first)
    assert len(reports) == 1
    assert last.startswith(f"{first} ")


def test_a_block_that_changes_under_the_load_is_noticed(agent: Agent, device: Path) -> None:
    """Everything is overwritten behind the load's back; what it reads back is not what it wrote."""
    seen: list[LoadReport] = []

    def on_load(report: LoadReport) -> bool:
        seen.append(report)
        if report.state == "ok":
            device.write_bytes(b"x" * BLOCKS * BLOCK)
        return report.state == "ok"

    line = ("load", str(device), str(BLOCKS), str(STREAM), "2000")
    done = agent.run_script([line], soon(), on_load=on_load)
    assert done.ok
    assert seen[-1].state == "mismatch"
    assert "reads as ?7878787878787878" in seen[-1].detail


def test_a_damaged_block_is_told_from_a_whole_one(agent: Agent, device: Path) -> None:
    load(agent, device, 200)
    before = scan(agent, device)
    one, other, third = [block for block, held in before.items() if isinstance(held, Version)][:3]
    raw = bytearray(device.read_bytes())
    # Torn between two versions, misplaced, and with one bit flipped.
    raw[one * BLOCK : one * BLOCK + 512] = bytes(512)
    moved = raw[third * BLOCK : (third + 1) * BLOCK]
    raw[other * BLOCK : (other + 1) * BLOCK] = moved
    raw[third * BLOCK + 3000] ^= 4
    device.write_bytes(raw)
    after = scan(agent, device)
    changed = {block: after[block] for block in after if after[block] != before.get(block)}
    assert changed.keys() == {one, other, third}
    assert all(isinstance(held, Damaged) for held in changed.values())
    assert str(changed[one]).count("zero") == 1
    assert f":{third}.0" in str(changed[other])
    assert str(changed[third]).count("?") == 1


def test_a_device_that_is_too_short_is_told_block_by_block(agent: Agent, device: Path) -> None:
    load(agent, device, 50)
    found = scan(agent, device, BLOCKS + 2)
    assert all("ENODATA" in str(found[block]) for block in (BLOCKS, BLOCKS + 1))
    assert found.keys() - {BLOCKS, BLOCKS + 1} == scan(agent, device).keys()


@pytest.mark.parametrize("words", ["0 1 1", "x 1 1", "9 x 1", "9 1 -1"])
def test_bad_arguments_are_refused(agent: Agent, device: Path, words: str) -> None:
    done = run(agent, f"load {device} {words}")
    assert not done.ok
    assert "EINVAL" in done.results[0].text
