# SPDX-License-Identifier: Apache-2.0
"""The keeper's desk: clients that ask nonsense, say nothing, go away, or come two at a time."""

from __future__ import annotations

import contextlib
import json
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.config import CHECKOUT
from harness.errors import InfraError, UsageError
from harness.run.devpair import client
from harness.run.devpair.client import ask
from harness.run.devpair.desk import Desk, Say
from harness.run.devpair.wire import MOST_BYTES, Json, lines, socket_path
from harness.vm.live import LiveDir

WAIT_S = 60


@dataclass
class Office:
    """A desk whose clerk does as the request says."""

    live: LiveDir
    asked: list[Json] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    waiting: threading.Event = field(default_factory=threading.Event)

    def answer(self, request: Json, say: Say) -> object:
        self.asked.append(request)
        match request["verb"]:
            case "wait":
                say("waiting")
                self.waiting.set()
                assert self.gate.wait(WAIT_S)
                say("x" * 1000)
            case "refuse":
                raise UsageError("no", hint="do that")
            case "break":
                raise InfraError("broken")
            case "slip":
                raise ZeroDivisionError
        return request.get("back", "done")


@contextlib.contextmanager
def open_office(folder: Path, request_s: float) -> Iterator[Office]:
    made = Office(LiveDir(folder, "0ddba11"))
    desk = Desk(socket_path(made.live), made.answer, request_s)
    yield made
    made.gate.set()
    desk.close()


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with open_office(tmp_path, WAIT_S) as made:
        yield made


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Office]:
    """For clients that are not to say anything in time."""
    with open_office(tmp_path, 0.05) as made:
        yield made


@contextlib.contextmanager
def caller(office: Office) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connected:
        connected.connect(str(socket_path(office.live)))
        connected.settimeout(WAIT_S)
        yield connected


def reply(connected: socket.socket) -> Json:
    """The only message that comes."""
    data = b""
    while part := connected.recv(1 << 16):
        data += part
    return dict(json.loads(data))


def quiet(text: str) -> None:
    raise AssertionError(text)


def test_only_its_owner_may_ask(office: Office) -> None:
    assert stat.S_IMODE(socket_path(office.live).stat().st_mode) == 0o600


def test_what_comes_back(office: Office) -> None:
    back = {"text": "\n\u2603", "list": [1, None, True]}
    assert ask(office.live, "echo", quiet, back=back) == back
    assert office.asked == [{"verb": "echo", "back": back}]


@pytest.mark.parametrize(
    ("verb", "kind", "hint"), [("refuse", UsageError, "do that"), ("break", InfraError, None)]
)
def test_errors_come_back_as_what_they_were(
    office: Office, verb: str, kind: type[Exception], hint: str | None
) -> None:
    with pytest.raises(kind) as caught:
        ask(office.live, verb, quiet)
    assert getattr(caught.value, "hint", "") == hint


def test_a_mistake_of_the_keeper_is_told_and_it_goes_on(
    office: Office, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InfraError, match="internal error of the keeper: ZeroDivisionError"):
        ask(office.live, "slip", quiet)
    assert "raise ZeroDivisionError" in capfd.readouterr().err
    assert ask(office.live, "echo", quiet) == "done"


@pytest.mark.parametrize(
    "data",
    [b"\n", b"hello\n", b"[1]\n", b"{}\n", b'{"verb": 7}\n', b"\xff\xfe\n", b'{"verb": "echo"',
     b"x" * (MOST_BYTES + 2), b"[" * 5000 + b"\n"],
)  # fmt: skip
def test_what_is_no_request_is_refused_and_harms_nobody(office: Office, data: bytes) -> None:
    with caller(office) as connected:
        connected.sendall(data)
        connected.shutdown(socket.SHUT_WR)
        said = reply(connected)
    assert said["code"] == 64
    assert "request" in said["error"]
    assert office.asked == []
    assert ask(office.live, "echo", quiet) == "done"


def test_a_request_without_an_end_is_not_kept(office: Office) -> None:
    with caller(office) as connected:
        connected.sendall(b"x" * (MOST_BYTES + 1))
        assert "more than" in reply(connected)["error"]


def test_a_client_that_says_nothing_is_not_waited_for(impatient: Office) -> None:
    with caller(impatient) as silent, caller(impatient) as slow:
        slow.sendall(b'{"verb":')
        for connected in (silent, slow):
            assert "no request within" in reply(connected)["error"]


def test_silent_clients_do_not_keep_others_waiting(office: Office) -> None:
    with caller(office), caller(office) as slow:
        slow.sendall(b'{"verb":')
        assert ask(office.live, "echo", quiet) == "done"


def test_many_silent_clients_make_room_again(impatient: Office) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(80):
            last = stack.enter_context(caller(impatient))
        assert "no request within" in reply(last)["error"]


def test_a_client_that_goes_away_does_not_stop_what_it_asked_for(office: Office) -> None:
    with caller(office) as connected:
        connected.sendall(b'{"verb": "wait"}\n')
        assert office.waiting.wait(WAIT_S)
    office.gate.set()
    assert ask(office.live, "echo", quiet) == "done"


def test_one_that_connects_and_goes_is_nothing(office: Office) -> None:
    with caller(office):
        pass
    assert ask(office.live, "echo", quiet) == "done"
    assert len(office.asked) == 1


def test_two_clients_do_not_wait_for_each_other(office: Office) -> None:
    said: list[str] = []
    results: list[object] = []
    first = threading.Thread(target=lambda: results.append(ask(office.live, "wait", said.append)))
    first.start()
    assert office.waiting.wait(WAIT_S)
    assert ask(office.live, "echo", quiet, back="second") == "second"
    assert results == []
    office.gate.set()
    first.join(WAIT_S)
    assert results == ["done"]
    assert said == ["waiting", "x" * 1000]


def test_no_keeper_there(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="has gone") as caught:
        ask(LiveDir(tmp_path, "0ddba11"), "status", quiet)
    assert "harness clean" in str(caught.value.hint)


@pytest.mark.parametrize("said", [b"", b'{"note": "x"}\n', b'{"resu', b"junk\n", b"[]\n"])
def test_a_keeper_that_dies_while_it_answers(tmp_path: Path, said: bytes) -> None:
    live = LiveDir(tmp_path, "0ddba11")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(socket_path(live)))
        listening.listen(1)

        def serve() -> None:
            connected, _ = listening.accept()
            with connected:
                connected.recv(1 << 16)
                connected.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(InfraError, match="has gone"):
            ask(live, "status", lambda text: None)
        thread.join()


def test_a_path_that_cannot_be_listened_at(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="cannot listen"):
        Desk(tmp_path / "none" / "keeper.sock", lambda request, say: None)


def test_lines_cut_anywhere() -> None:
    data = b"one\ntwo\n\nthree\n"
    for size in range(1, len(data) + 1):
        parts = [data[at : at + size] for at in range(0, len(data), size)]
        assert list(lines(iter(parts), 10)) == [b"one", b"two", b"", b"three"]


def test_a_keeper_that_does_not_end_is_named(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    monkeypatch.setattr(client, "_END_S", 0.05)
    real = ask

    def pid_first(live: LiveDir, verb: str, say: Say, **arguments: object) -> object:
        return real(live, "echo", say, back=os.getpid() if verb == "pid" else "ending")

    monkeypatch.setattr(client, "ask", pid_first)
    with pytest.raises(InfraError, match=f"process {os.getpid()}, does not end") as caught:
        client.end(office.live, quiet)
    assert f"kill -9 {os.getpid()}" in str(caught.value.hint)


def test_a_keeper_that_says_it_cannot_end_is_not_waited_for(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    real = ask

    def refuses(live: LiveDir, verb: str, say: Say, **arguments: object) -> object:
        return real(live, "echo" if verb == "pid" else "break", say, back=os.getpid())

    monkeypatch.setattr(client, "ask", refuses)
    # This process, which is the keeper here, does not end at all: the default limit is long.
    with pytest.raises(InfraError, match=r"^broken$"):
        client.end(office.live, quiet)


HASTY = """
import os, sys, threading
from pathlib import Path
from harness.run.devpair.desk import Desk
def answer(request, say):
    if request["verb"] == "down":
        os._exit(0)
    return os.getpid()
desk = Desk(Path(sys.argv[1]), answer)
print("listens", flush=True)
threading.Event().wait()
"""


def test_a_keeper_that_ends_before_its_answer_is_out_has_ended(tmp_path: Path) -> None:
    live = LiveDir(tmp_path, "0ddba11")
    command = [sys.executable, "-c", HASTY, str(socket_path(live))]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as keeper:
        assert keeper.stdout is not None
        assert keeper.stdout.readline() == "listens\n"
        client.end(live, quiet)
        assert keeper.wait(WAIT_S) == 0
