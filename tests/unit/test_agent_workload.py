# SPDX-License-Identifier: Apache-2.0
"""Steps of a workload as lines for the agent; every verb has one, and the agent accepts it."""

from __future__ import annotations

import os

import pytest
from agent_process import disk_directory, is_root, run, running_agent

from ace_workloads.ops import Step, Verb
from harness.guest.workload import workload_lines, writing_lines

STEPS = [
    Step(Verb.MKDIR, "A", mode=0o777),
    Step(Verb.OPENDIR, "", mode=0o777),
    Step(Verb.OPEN, "A/foo", flags="O_RDWR|O_CREAT", mode=0o777),
    Step(Verb.WRITE, "A/foo", offset=0, length=32768),
    Step(Verb.FALLOC, "A/foo", flags="FALLOC_FL_KEEP_SIZE", offset=30768, length=5000),
    Step(Verb.MMAPWRITE, "A/foo", offset=0, length=8192),
    Step(Verb.CHECKPOINT),
    Step(Verb.FSETXATTR, "A/foo"),
    Step(Verb.REMOVEXATTR, "A/foo"),
    Step(Verb.DWRITE, "A/foo", offset=0, length=8192),
    Step(Verb.OPEN, "A/foo", flags="O_RDWR", mode=0o777),
    Step(Verb.LINK, "A/foo", "bar"),
    Step(Verb.RENAME, "bar", "baz"),
    Step(Verb.SYMLINK, "A/foo", "soft"),
    Step(Verb.TRUNCATE, "A/foo", length=2500),
    Step(Verb.FSYNC, "A/foo"),
    Step(Verb.FDATASYNC, "A/foo"),
    Step(Verb.FSYNC, ""),
    Step(Verb.SYNC),
    Step(Verb.CHECKPOINT, last=True),
    Step(Verb.NONE),
    Step(Verb.CLOSE, "A/foo"),
    Step(Verb.UNLINK, "A/foo"),
    Step(Verb.RMDIR, "A"),
    Step(Verb.REMOVE, "baz"),
]


def test_lines_and_checkpoints_are_numbered() -> None:
    lines = workload_lines(STEPS)
    assert [line[:2] for line in lines] == [["step", str(n)] for n in range(1, len(STEPS) + 1)]
    assert lines[0] == ["step", "1", "mkdir", "A", "0777"]
    assert lines[1] == ["step", "2", "opendir", ".", "0777"]
    assert lines[2] == ["step", "3", "open", "A/foo", "O_RDWR|O_CREAT", "0777"]
    assert [line for line in lines if line[2] == "checkpoint"] == [
        ["step", "7", "checkpoint", "1"],
        ["step", "20", "checkpoint", "2"],
    ]
    assert writing_lines(STEPS) == (4, 6, 10)


@pytest.mark.parametrize("verb", [verb for verb in Verb if verb is not Verb.CHECKPOINT])
def test_every_verb_has_a_line(verb: Verb) -> None:
    ((step, number, name, *_),) = workload_lines([Step(verb, "A", "B", flags="0")])
    assert (step, number, name) == ("step", "1", verb)


def test_the_agent_runs_every_line() -> None:
    steps = [*STEPS, Step(Verb.MKNOD, "node", mode=0o644)] if is_root() else STEPS
    assert {step.verb for step in steps} >= set(Verb) - {Verb.MKNOD}
    numbers: list[int] = []

    with disk_directory() as root, running_agent() as agent:
        script = [["begin", str(root)], *workload_lines(steps), ["end"]]
        result = run(agent, *script, on_event=lambda e: numbers.append(e.checkpoint) or True)
        assert result.failures == ()
        assert result.ok
        assert numbers == [1, 2]
        assert sorted(set(os.listdir(root)) - {"node"}) == ["soft"]
