# SPDX-License-Identifier: Apache-2.0
"""Target files: what is in them is taken as it is meant, or refused by file and key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_process import run, running_agent
from run_world import IMAGE, World

from harness.cli.main import run_command_line
from harness.config import CHECKOUT
from harness.deadline import Deadline
from harness.errors import AgentError, UsageError
from harness.guest.agent import Agent
from harness.guest.fake import Command, Reply
from harness.run.targets import make_target
from harness.target.conditions import holds, well_formed
from harness.target.file import PLACEHOLDERS, Place, TargetFile
from harness.target.outside import Outside, OutsideNodes

GOOD = """\
name = "mine"
modules = ["dm-other.ko", "dm-mine.ko"]
needs = ["dm-bufio"]

[device]
name = "copied"
primary = "0 {sectors} mine {disk} {role} {id} {listen} {peer_id} {peer_address} {peer_port} new"
backup = "0 {sectors} mine {disk} {role} {id} {address}:{port} {peer_id} {peer_listen} ({{x}})"

[status]
connected = ["peers>=1"]
drained = ["got==done"]
acked = "said"
received = "got"
applied = "done"

[messages]
promote = "lead now"
"""
MIB = 1 << 20
ADDRESSES = ("10.0.0.1", "10.0.0.2")


def written(folder: Path, text: str = GOOD) -> Path:
    """A folder of a module with this target file."""
    folder.mkdir(exist_ok=True)
    (folder / "Kbuild").touch()
    (folder / "target.toml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Outside:
    file = TargetFile.load(written(tmp_path / "mine"))
    paths = [tmp_path / name for name in ("dm-bufio.ko", "dm-other.ko", "dm-mine.ko")]
    for path in paths:
        path.write_bytes(path.name.encode())
    return Outside(file, tuple(paths))


def test_what_a_file_says(tmp_path: Path) -> None:
    file = TargetFile.load(written(tmp_path))
    assert (file.name, file.device, file.modules) == (
        "mine", "copied", ("dm-other.ko", "dm-mine.ko"),
    )  # fmt: skip
    assert file.mount_device == file.inspect_device == "/dev/mapper/copied"
    assert file.tables["returning"] == file.tables["backup"]
    assert file.counters == {"acked": "said", "received": "got", "applied": "done"}
    assert file.messages == {"promote": "lead now"}
    assert file.source == tmp_path


def test_the_example_in_the_tree_is_good() -> None:
    assert TargetFile.load(CHECKOUT / "kmod" / "tests" / "outside").name == "plain"


def test_placeholders_are_filled_in() -> None:
    place = Place("backup", 3, 2, *reversed(ADDRESSES), 7001, 7002, "/dev/vda")
    template = " ".join(f"{name}={{{name}}}" for name in PLACEHOLDERS)
    assert place.fill(template, MIB + 100).split() == [
        "sectors=2048", "bytes=1048576", "disk=/dev/vda", "role=backup", "id=3", "peer_id=2",
        "address=10.0.0.2", "port=7001", "listen=10.0.0.2:7001", "peer_address=10.0.0.1",
        "peer_port=7002", "peer_listen=10.0.0.1:7002",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "mine"\n', "", "key 'name' is missing"),
        ('name = "mine"', 'name = "My Target"', "name = 'My Target'"),
        ('name = "mine"', "name = 7", "name = 7"),
        ('modules = ["dm-other.ko", "dm-mine.ko"]', "modules = []", "modules = []"),
        ('"dm-mine.ko"', '"../dm-mine.ko"', "'../dm-mine.ko'"),
        ('"dm-mine.ko"', '"dm-mine"', "file names"),
        ('needs = ["dm-bufio"]', 'needs = "dm-bufio"', "needs = 'dm-bufio' must be a list"),
        ('needs = ["dm-bufio"]', 'need = ["dm-bufio"]', "unknown key 'need'"),
        ("[messages]", "[message]", "unknown key 'message'"),
        ('promote = "lead now"', 'promte = "x"', "unknown key 'messages.promte'"),
        ('promote = "lead now"', "promote = 1", "messages.promote = 1"),
        ("{disk} {role} {id} {listen}", "{disc}", "device.primary has an unknown placeholder"),
        ("{disk} {role} {id} {listen}", "{}", "device.primary"),
        ("{disk} {role} {id} {listen}", "{disk", "device.primary"),
        ("{disk} {role} {id} {listen}", "{disk.real}", "disk.real"),
        ('"0 {sectors} mine {disk} {role} {id} {listen}', '"mine {sectors} {disk}', "table line"),
        ("({{x}})", "\\n", "device.backup"),
        ('drained = ["got==done"]', "drained = []", "status.drained = []"),
        ('drained = ["got==done"]\n', "", "key 'status.drained' is missing"),
        ('drained = ["got==done"]', 'drained = ["got=done"]', "not 'got=done'"),
        ('connected = ["peers>=1"]', 'connected = ["peers > 1"]', "status.connected"),
        ("[status]", "[status", "cannot be read"),
        ("[device]", "device = 1\n[status2]", "status2"),
    ],
)
def test_a_bad_file_is_refused_by_name_and_key(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert GOOD.count(old) == 1
    folder = written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(UsageError) as caught:
        TargetFile.load(folder)
    assert said in str(caught.value)
    assert str(folder / "target.toml") in str(caught.value)


def test_a_table_that_is_none(tmp_path: Path) -> None:
    folder = written(tmp_path, 'name = "a"\nmodules = ["a.ko"]\ndevice = 1\n')
    with pytest.raises(UsageError, match="device = 1 must be a table"):
        TargetFile.load(folder)


def test_a_folder_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, said in ((tmp_path / "none", "not a folder"), (tmp_path, "target.toml")):
        assert run_command_line(["run", "--suite", "smoke", "--kmod", str(folder)]) == 64
        assert said in capsys.readouterr().err
    (tmp_path / "target.toml").write_text(GOOD)
    assert run_command_line(["run", "--suite", "smoke", "--kmod", str(tmp_path)]) == 64
    assert "neither Kbuild nor Makefile" in capsys.readouterr().err
    (tmp_path / "target.toml").write_bytes(b'name = "\xff"')
    assert run_command_line(["run", "--suite", "smoke", "--kmod", str(tmp_path)]) == 64
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--target", "linear"], "which is mine"),
        (["--defect", "drop_write"], "only rollbaccine"),
        (["--encryption", "off"], "only rollbaccine"),
    ],
)
def test_options_that_do_not_go_with_a_module_of_ones_own(
    tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(tmp_path)
    assert run_command_line(["run", "--suite", "smoke", "--kmod", str(folder), *words]) == 64
    assert said in capsys.readouterr().err


def test_a_name_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(tmp_path, GOOD.replace('"mine"', '"linear"'))
    assert run_command_line(["run", "--suite", "smoke", "--kmod", str(folder)]) == 64
    assert "the name linear is taken" in capsys.readouterr().err


def test_a_case_of_another_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(tmp_path)
    case = "smoke/000000001@ext4@rollbaccine"
    assert run_command_line(["replay", case, "--kmod", str(folder)]) == 64
    assert "target rollbaccine is not the one" in capsys.readouterr().err


STATUSES = ("a 5 b 5 word yes big 10", "a 7", "a x b 3")


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    with running_agent() as client:
        yield client


@pytest.mark.parametrize(
    "condition",
    ["a==5", "a==b", "a>=b", "a<=b", "a>=4", "a<=4", "word==yes", "word>=yes", "big>=9",
     "none==1", "a==none", "b<=a"],
)  # fmt: skip
def test_conditions_hold_when_the_agent_says_so(
    agent: Agent, tmp_path: Path, condition: str
) -> None:
    assert well_formed(condition)
    for status in STATUSES:
        words = status.split()
        pairs = dict(zip(words[::2], words[1::2], strict=True))
        path = tmp_path / "status"
        path.write_text("".join(f"{key}: {value}\n" for key, value in pairs.items()))
        said = run(agent, ["file-wait", str(path), "0", condition]).results[0].ok
        assert holds(condition, pairs) is said, (condition, status)


@pytest.mark.parametrize("text", ["", "a", "a=b", "a=>b", "==b", "a==", "a b==c", "a!=b"])
def test_what_is_no_condition(text: str) -> None:
    assert not well_formed(text)
    with pytest.raises(ValueError, match="no condition"):
        holds(text, {})


def soon() -> Deadline:
    return Deadline.after(5, "a test")


def unloaded(role: str, command: Command) -> Reply | None:
    """In a guest that has just booted no module is loaded."""
    del role
    absent = command[0] == "file-read" and command[1].startswith("/sys/module/")
    return Reply.failure(f"open: ENOENT: {command[1]}") if absent else None


def test_it_is_set_up_as_the_file_says(tmp_path: Path, outside: Outside) -> None:
    world = World(rules=[unloaded])
    pair = world.builder(tmp_path).boot("0")
    target = make_target("mine", IMAGE, outside=outside)
    target.create(pair.primary.agent, pair.backup.agent, MIB, soon())
    puts = [(role, c[1], bytes.fromhex(c[2])) for role, c in world.log if c[0] == "file-put"]
    names = ("dm-bufio.ko", "dm-other.ko", "dm-mine.ko")
    assert puts == [
        (role, f"/run/{name}", name.encode()) for role in ("backup", "primary") for name in names
    ]
    loads = [(role, c[1]) for role, c in world.log if c[0] == "insmod"]
    assert loads == [(role, path) for role, path, _ in puts]
    assert world.seen["primary", "zero"] == world.seen["backup", "zero"] == 1
    tables = {role: c for role, c in world.log if c[0] == "dm-create"}
    assert tables["primary"][1] == "copied"
    words = tables["primary"][-1].split()
    assert words[:6] == ["0", "2048", "mine", "/dev/vda", "primary", words[5]]
    assert words[-1] == "new"
    other = tables["backup"][-1].split()
    # Each is told where the other listens, and under which number.
    assert words[6] == other[8]
    assert f"{words[8]}:{words[9]}" == other[6]
    assert (words[5], words[7]) == (other[7], other[5])
    assert other[-1] == "({x})"
    waits = [(role, c[3:]) for role, c in world.log if c[0] == "dm-wait"]
    assert waits == [("backup", ("peers>=1",)), ("primary", ("peers>=1",))]


def test_what_is_loaded_is_not_put_again(tmp_path: Path, outside: Outside) -> None:
    world = World()
    pair = world.builder(tmp_path).boot("0")
    make_target("mine", IMAGE, outside=outside).create(
        pair.primary.agent, pair.backup.agent, MIB, soon()
    )
    assert world.seen["primary", "file-put"] == 0


def test_one_that_does_not_connect_is_told_by_its_status(tmp_path: Path, outside: Outside) -> None:
    def never(role: str, command: Command) -> Reply | None:
        if (role, command[0]) == ("primary", "dm-wait"):
            return Reply(b"peers 0 sad yes", ok=False, status=-110)
        return None

    world = World(rules=[never])
    pair = world.builder(tmp_path).boot("0")
    target = make_target("mine", IMAGE, outside=outside)
    with pytest.raises(AgentError, match=r"guest primary: .* 'peers 0 sad yes'.*peers>=1"):
        target.create(pair.primary.agent, pair.backup.agent, MIB, soon())


def test_drain_and_standing_go_by_the_files_keys(outside: Outside) -> None:
    target = make_target("mine", IMAGE, outside=outside)
    assert target.drain_lines(9) == [("dm-wait", "copied", "9", "got==done")]
    assert target.drain_lines(9, 4) == [("dm-wait", "copied", "9", "got>=4", "got==done")]
    done = target.standing({"said": "4", "got": "3", "done": "3"})
    assert (done.acked, done.applied, done.settled, done.mark) == (4, 3, True, "3")
    under_way = target.standing({"got": "3", "done": "2"})
    assert (under_way.acked, under_way.applied, under_way.settled) == (None, 2, False)
    assert target.standing({}).settled is False


def test_a_new_set_up_has_nothing_in_common_with_the_one_before(outside: Outside) -> None:
    nodes = OutsideNodes(outside, ADDRESSES)
    first = nodes.start_lines(0, MIB, create=True)[-1][-1].split()
    nodes.renew()
    second = nodes.start_lines(0, MIB, create=True)[-1][-1].split()
    assert {first[5], first[7]}.isdisjoint({second[5], second[7]})
    assert first[6] != second[6]
    returning = nodes.start_lines(0, MIB, create=False)[-1][-1]
    assert " backup " in returning
    assert all(line[0] != "zero" for line in nodes.start_lines(0, MIB, create=False))
    assert returning.endswith("({x})")
