# SPDX-License-Identifier: Apache-2.0
"""One case on a bench: the crash, what is looked at and when, and what becomes of trouble."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from run_world import DIGEST, IMAGE, STATUS, World

from ace_workloads.registry import load_suite
from harness.deadline import Deadline
from harness.errors import AgentError, GuestLostError, InfraError
from harness.guest.agent import CommandResult, ScriptResult
from harness.guest.fake import Command, GuestHangs, Reply
from harness.guest.protocol import BlockState
from harness.model.evidence import Moment
from harness.oracle import judge_case
from harness.run import observe
from harness.run.bench import Bench
from harness.run.caselog import Observation
from harness.run.exercises import EXERCISES, RAW
from harness.run.filesystems import EXT4, XFS, FileSystem
from harness.run.targets import make_target

STEPS = load_suite("smoke").workload(4).steps
POINTS = sum(step.verb == "checkpoint" for step in STEPS)
FIRST_POINT = next(n for n, step in enumerate(STEPS, 1) if step.verb == "checkpoint")


def bench(world: World, folder: Path, target: str = "rollbaccine", fs: FileSystem = EXT4) -> Bench:
    made = Bench(world.builder(folder).boot("0"), make_target(target, IMAGE), fs)
    made.set_up()
    world.log.clear()
    world.seen.clear()
    return made


def run(made: Bench) -> Observation:
    return made.run(STEPS, Deadline.after(5, "the case to end"))


def verdicts(seen: Observation, fs: str = "ext4") -> set[str]:
    checks = judge_case(STEPS, fs, seen.evidence, True)
    return {f"{check.rule} {check.verdict}" for check in checks if check.verdict != "pass"}


def on(role: str, word: str, reply: Callable[[], Reply | None]) -> Callable[..., Reply | None]:
    """A rule for the commands of ``role`` that begin with ``word``."""
    return lambda who, command: reply() if (who, command[0]) == (role, word) else None


def test_there_is_more_than_one_persistence_point_to_look_at() -> None:
    assert POINTS >= 2


def states_while(world: World) -> dict[str, set[str]]:
    """Command of a role -> the states of the primary while it was answered; filled as it runs."""
    states: dict[str, set[str]] = {}

    def note(role: str, command: Command) -> None:
        word = f"{command[0]} of {role}"
        states.setdefault(word, set()).add(world.machines["primary"].state())

    world.rules.append(note)
    return states


@pytest.mark.parametrize("fs", [EXT4, XFS], ids=lambda fs: fs.name)
def test_the_primary_stands_still_while_the_crash_state_is_taken(
    tmp_path: Path, fs: FileSystem
) -> None:
    world = World(fs.name)
    made = bench(world, tmp_path, fs=fs)
    states = states_while(world)
    seen = run(made)
    taking = ["image-save"] if fs is EXT4 else ["dm-create"]
    # A copy-on-write snapshot shows what arrives: the primary stands still for the whole look.
    looking = [] if fs is EXT4 else ["mount", "tree", "probe", "dm-remove"]
    for word in (*taking, *looking, "dm-status"):
        assert states[f"{word} of backup"] == {"paused"}, word
    assert states["dm-status of primary"] == {"running"}, "asked before the crash, not after"
    assert world.machines["primary"].verbs == ["pause", "resume"] * POINTS
    assert world.machines["backup"].verbs == []
    assert len(seen.evidence.crashes) == POINTS
    assert verdicts(seen) == set()


def test_the_primary_goes_on_while_a_copy_is_looked_at(tmp_path: Path) -> None:
    """The look waits for the primary here: it would wait for ever if it were the other way."""
    world = World()
    made = bench(world, tmp_path)
    gone_on = threading.Event()

    def wait_for_the_primary(role: str, command: Command) -> None:
        line = int(command[1]) if (role, command[0]) == ("primary", "step") else 0
        if line > FIRST_POINT or (role, command[0]) == ("primary", "umount"):
            gone_on.set()
        if (role, command[0]) == ("backup", "probe"):
            assert gone_on.wait(10)

    world.rules.append(wait_for_the_primary)
    seen = run(made)
    assert len(seen.evidence.crashes) == POINTS
    assert verdicts(seen) == set()


def test_the_primary_is_not_stopped_again_before_the_look_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    made = bench(world, tmp_path)
    machine, looks = made.pair.primary.machine, []
    pause = machine.pause

    def noting() -> None:
        looks.append(world.seen["backup", "probe"])
        pause()

    monkeypatch.setattr(machine, "pause", noting)
    run(made)
    assert looks == list(range(POINTS))


@pytest.mark.parametrize("how", ["ends", "hangs", "refuses"])
def test_a_paused_primary_is_resumed_whatever_happens(tmp_path: Path, how: str) -> None:
    world = World()
    made = bench(world, tmp_path)

    def trouble() -> Reply:
        if how == "ends":
            return world.lose("backup")
        if how == "hangs":
            raise GuestHangs
        raise InfraError("libvirt is gone")

    world.rules.append(on("backup", "probe", trouble))
    with pytest.raises(InfraError):
        run(made)
    assert world.machines["primary"].verbs == ["pause", "resume"]


def test_a_primary_that_cannot_be_paused_is_not_looked_behind(tmp_path: Path) -> None:
    world = World()
    made = bench(world, tmp_path)
    world.machines["primary"].failing.add("pause")
    with pytest.raises(InfraError, match="cannot pause"):
        run(made)
    assert world.seen["backup", "tree"] == 0


FIRST = 9
"""What the primary says to have acknowledged: less than this on the backup would be a failure."""


def moving(world: World, still: int) -> None:
    """Let ``received`` of the backup grow with each status until the ``still``-th."""

    def status() -> Reply:
        asked = world.seen["backup", "dm-wait"] + world.seen["backup", "dm-status"]
        number = FIRST + min(asked, still)
        return Reply(f"state connected received {number} applied {number}".encode())

    world.rules += [on("backup", "dm-wait", status), on("backup", "dm-status", status)]


def test_a_copy_during_which_something_arrived_is_made_again(tmp_path: Path) -> None:
    world = World()
    made = bench(world, tmp_path)
    moving(world, still=5)
    seen = run(made)
    assert verdicts(seen) == set()
    assert world.seen["backup", "image-save"] == POINTS + 2
    assert world.seen["backup", "tree"] == POINTS


def test_a_snapshot_during_which_something_arrived_is_dropped(tmp_path: Path) -> None:
    world = World("xfs")
    made = bench(world, tmp_path, fs=XFS)
    # Wait, snapshot, status: the first two rounds end with another number than they began with.
    moving(world, still=5)
    seen = run(made)
    assert verdicts(seen) == set()
    assert world.seen["backup", "dm-create"] == POINTS + 2
    assert world.seen["backup", "dm-remove"] == POINTS + 2, "each snapshot is removed"
    assert world.seen["backup", "tree"] == POINTS


def test_an_inspection_during_which_something_arrived_is_done_again(tmp_path: Path) -> None:
    world = World("xfs")
    made = bench(world, tmp_path, fs=XFS)
    # Wait and status of the snapshot agree, the status after the inspection does not.
    late = iter([STATUS, STATUS, STATUS.replace(" 9", " 10")])

    def status() -> Reply:
        return Reply(next(late, STATUS).encode())

    world.rules += [on("backup", "dm-wait", status), on("backup", "dm-status", status)]
    seen = run(made)
    assert verdicts(seen) == set()
    assert world.seen["backup", "tree"] == POINTS + 1


def test_a_backup_that_goes_on_receiving_is_no_pass(tmp_path: Path) -> None:
    world = World()
    made = bench(world, tmp_path)
    moving(world, still=10**6)
    assert "drain/quiesced unknown" in verdicts(run(made))


def test_a_backup_that_does_not_drain_is_waited_for_once(tmp_path: Path) -> None:
    world = World()
    made = bench(world, tmp_path)
    stuck = Reply(b"state connected received 9 applied 8", ok=False, status=-110)
    world.rules.append(on("backup", "dm-wait", lambda: stuck))
    seen = run(made)
    found = verdicts(seen)
    assert "drain/quiesced unknown" in found
    assert not any(text.endswith("fail") for text in found), "nothing was there to look at"
    # Once for each crash point, and once more before the devices are compared.
    assert world.seen["backup", "dm-wait"] == POINTS + 1
    assert seen.evidence.backup_device is None


def test_a_status_without_numbers_is_no_drain(tmp_path: Path) -> None:
    world = World()
    made = bench(world, tmp_path)
    for word in ("dm-wait", "dm-status"):
        world.rules.append(on("backup", word, lambda: Reply(b"state connected")))
    assert "drain/quiesced unknown" in verdicts(run(made))


def test_what_was_acknowledged_is_asked_before_the_tree_is_read(tmp_path: Path) -> None:
    world = World()
    made = bench(world, tmp_path)
    crash = run(made).evidence.crashes[0]
    primary = [command[0] for role, command in world.log if role == "primary"]
    assert primary.index("dm-status") < primary.index("tree")
    assert crash.drain is not None
    assert (crash.drain.promised, crash.drain.applied) == (9, 9)


def test_devices_that_differ_are_told_with_their_blocks(tmp_path: Path) -> None:
    world = World()
    made = bench(world, tmp_path)
    world.rules += [
        on("backup", "digest", lambda: Reply(DIGEST.replace(b"0", b"1"))),
        on("primary", "blockmap", lambda: Reply(b"3 00112233445566aa\n7 00112233445566bb\n")),
        on("backup", "blockmap", lambda: Reply(b"3 00112233445566aa\n9 00112233445566cc\n")),
    ]
    seen = run(made)
    assert seen.evidence.differing_blocks == (7, 9)
    assert verdicts(seen) == {"device/equal fail"}


def test_a_digest_that_failed_is_no_equality(tmp_path: Path) -> None:
    world = World()
    made = bench(world, tmp_path)
    world.rules.append(on("backup", "digest", lambda: Reply.failure("read: EIO: /dev/vda")))
    seen = run(made)
    assert seen.evidence.backup_device is None
    assert verdicts(seen) == {"device/equal unknown"}


def test_a_guest_lost_while_both_are_digested_is_not_overlooked(tmp_path: Path) -> None:
    world = World()
    made = bench(world, tmp_path)
    world.rules.append(on("backup", "digest", lambda: world.lose("backup")))
    with pytest.raises(GuestLostError, match="guest backup"):
        run(made)


def test_a_step_of_the_workload_that_fails_is_evidence(tmp_path: Path) -> None:
    world = World()
    made = bench(world, tmp_path)
    world.rules.append(on("primary", "step", lambda: Reply.failure("openat: EIO: foo")))
    seen = run(made)
    assert seen.evidence.step_errors == ((1, "openat: EIO"),)
    assert seen.evidence.crashes == ()
    assert "steps/errno fail" in verdicts(seen)
    assert world.seen["primary", "umount"] == 1


def test_a_step_of_the_harness_that_fails_is_not(tmp_path: Path) -> None:
    world = World()
    made = bench(world, tmp_path)
    world.rules.append(on("primary", "mount", lambda: Reply.failure("mount: EINVAL: /dev/x")))
    with pytest.raises(AgentError, match="guest primary: `mount"):
        run(made)


def test_devices_are_not_compared_after_an_exercise_that_was_killed(tmp_path: Path) -> None:
    world = World()
    made = bench(world, tmp_path)
    exercise = EXERCISES[0]
    whole = made.exercise(exercise, Deadline.after(60, "test")).evidence
    assert whole.primary_device is not None
    assert not whole.step_errors
    world.rules.append(on("primary", "exec", lambda: Reply.failure("", status=-errno.ETIMEDOUT)))
    killed = made.exercise(exercise, Deadline.after(60, "test")).evidence
    assert killed.step_errors
    assert (killed.primary_device, killed.backup_device) == (None, None)
    found = {check.rule: check.verdict for check in judge_case((), RAW, killed, True)}
    assert found["device/equal"] == found["steps/errno"] == "unknown"


def test_the_control_arm_neither_drains_nor_compares(tmp_path: Path) -> None:
    world = World()
    made = bench(world, tmp_path, "linear")
    seen = run(made)
    assert {word for _, word in world.seen} & {"dm-wait", "digest", "dm-status"} == set()
    assert judge_case(STEPS, "ext4", seen.evidence, False)
    assert {check.verdict for check in judge_case(STEPS, "ext4", seen.evidence, False)} == {"pass"}
    assert world.machines["primary"].verbs == ["pause", "resume"] * POINTS


def test_every_second_is_put_down_to_a_phase(tmp_path: Path) -> None:
    seen = run(bench(World(), tmp_path))
    # The fake says 1 ms for each command that ran.
    phases = {name: round(1000 * seconds) for name, seconds in seen.phases_s.items()}
    assert {"pause", "resume", "compare"} < phases.keys()
    assert phases["fsck"] == phases["read"] == phases["probe"] == POINTS
    assert phases["recover"] >= POINTS
    assert phases["snapshot"] == 2 * POINTS
    assert phases["ops"] == len(STEPS) + 2


@pytest.mark.parametrize("fs", [EXT4, XFS], ids=lambda fs: fs.name)
def test_what_both_guests_did_is_told_with_its_time(tmp_path: Path, fs: FileSystem) -> None:
    world = World(fs.name)
    moments = run(bench(world, tmp_path, fs=fs)).evidence.moments
    pauses = [m for m in moments if m.what == "paused"]
    assert [m.guest for m in pauses] == ["primary"] * POINTS
    assert all(one.end_s <= other.start_s for one, other in pairwise(pauses))
    assert {(m.guest, m.what) for m in moments} == {
        ("primary", "restore"), ("primary", "mount"), ("primary", "ops"), ("primary", "paused"),
        ("primary", "umount"), ("backup", "drain"), ("backup", "snapshot"), ("backup", "recover"),
        ("backup", "read"), ("backup", "umount"), ("backup", "fsck"), ("backup", "probe"),
        ("primary", "compare"), ("backup", "compare"),
    }  # fmt: skip


def command(elapsed_us: int, *words: str, state: BlockState = BlockState.OK) -> CommandResult:
    return CommandResult(0, words, state, 0, elapsed_us, b"")


def test_the_primary_does_nothing_while_it_is_paused() -> None:
    """A checkpoint is where it stops; its own clock stands still then."""
    result = ScriptResult((
        command(2_000_000, "mount", "/dev/x", "/mnt", "ext4", "noatime"),
        command(500_000, "begin", "/mnt"),
        command(500_000, "step", "1", "creat", "foo"),
        command(0, "step", "2", "checkpoint", "1"),
        command(250_000, "step", "3", "close", "foo"),
        command(9_000_000, "step", "4", "none", state=BlockState.SKIPPED),
        command(1_000_000, "always", "umount", "/mnt"),
    ))  # fmt: skip
    assert observe.primary_moments(result, 10.0, [(13.5, 20.0)]) == [
        Moment("primary", "mount", 10.0, 12.0),
        Moment("primary", "ops", 12.0, 13.0, (1, 1)),
        Moment("primary", "ops", 20.0, 20.25, (3, 3)),
        Moment("primary", "umount", 20.25, 21.25),
    ]


def test_the_backup_does_one_command_after_the_other() -> None:
    result = ScriptResult((
        command(250_000, "dm-wait", "replicated"),
        command(500_000, "image-save", "crash", "/dev/x", "1"),
        command(500_000, "image-restore", "crash", "/dev/ram0"),
        command(250_000, "always", "dm-status", "replicated"),
        command(1_000_000, "mount", "/dev/ram0", "/mnt", "ext4", "noatime"),
    ))  # fmt: skip
    assert observe.backup_moments(result, 1.0) == [
        Moment("backup", "drain", 1.0, 1.25),
        Moment("backup", "snapshot", 1.25, 2.25),
        Moment("backup", "recover", 2.5, 3.5),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("fio: io_u error on file /dev/x: Input/output error", "exec: EIO"),
        ("zero: EIO: /dev/x", "exec: EIO"),
        ("fio: bad option", "exec: status 1"),
    ],
)
def test_failing_exercise_is_evidence_with_its_reason(text: str, reason: str) -> None:
    """An I/O error of the target is a finding, not trouble of the harness."""
    words = ("exec", "1000", "/usr/bin/fio")
    good = CommandResult(0, words, BlockState.OK, 0, 10, b"")
    bad = CommandResult(1, words, BlockState.ERR, 1, 10, text.encode())
    assert observe.exercise_errors(ScriptResult((good, bad))) == ((2, reason),)
