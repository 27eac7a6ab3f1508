# SPDX-License-Identifier: Apache-2.0
"""The client when the other side is slow, gone or wrong; and deadlines."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque

import pytest
from agent_process import running_agent, soon

from harness.deadline import Deadline
from harness.errors import AgentError, GuestLostError
from harness.guest import ports
from harness.guest.agent import Agent
from harness.guest.ports import ByteChannel, CompanionEndedError, SocketChannel
from harness.guest.protocol import Frame, FrameReader, FrameType, encode_frame

GREETING = b"agent 1.0\nprotocol 1\nkernel 6.1.0\nmachine x86_64\nboot abc\n"


class ScriptedChannel:
    """Answers from a list: a frame (its id taken from the request), bytes, or an exception."""

    def __init__(self, *answers: Frame | bytes | Exception) -> None:
        self.answers = deque(answers)
        self.sent: list[Frame] = []
        self.closed = False
        self._reader = FrameReader()

    def send(self, data: bytes) -> None:
        if self.closed:
            raise BrokenPipeError(32, "Broken pipe")
        self.sent += self._reader.feed(data)

    def recv(self, deadline: Deadline) -> bytes:
        if not self.answers:
            raise TimeoutError
        answer = self.answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, bytes):
            return answer
        return encode_frame(Frame(answer.type, self.sent[-1].request_id, answer.payload))

    def ended(self) -> bool:
        return self.closed

    def accompany(self, other: ByteChannel) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.closed = True


def client(*answers: Frame | bytes | Exception) -> tuple[Agent, ScriptedChannel]:
    channel = ScriptedChannel(*answers)
    return Agent(channel, "backup"), channel


def test_a_real_agent_greets() -> None:
    with running_agent() as agent:
        hello = agent.hello(soon())
    assert (hello.protocol, hello.machine) == (1, hello.machine)
    assert len(hello.boot_id) == 36
    assert hello.kernel


def test_a_greeting_is_repeated_until_it_is_heard() -> None:
    agent, channel = client(TimeoutError(), TimeoutError(), Frame(FrameType.HELLO, 0, GREETING))
    assert agent.hello(soon()).kernel == "6.1.0"
    assert [frame.type for frame in channel.sent] == [FrameType.HELLO] * 3


def test_greetings_that_fill_the_stream_of_a_booting_guest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ports, "_SEND_TIMEOUT_S", 0.01)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                ours.send(encode_frame(Frame(FrameType.HELLO, 7)))
        agent = Agent(SocketChannel(ours), "backup")
        with pytest.raises(GuestLostError, match="no answer in time: boot"):
            agent.hello(Deadline.after(0.05, "boot"))
        with pytest.raises(GuestLostError, match="cannot send"):
            agent.run(["sync"], soon())
        theirs.close()
        with pytest.raises(GuestLostError, match="cannot send"):
            agent.hello(soon())


def test_a_greeting_that_is_never_heard_is_a_lost_guest() -> None:
    agent, _ = client()
    with pytest.raises(GuestLostError, match="guest backup: no answer in time: boot"):
        agent.hello(Deadline.after(0, "boot"))


def test_another_protocol_is_refused() -> None:
    greeting = GREETING.replace(b"protocol 1", b"protocol 2")
    agent, _ = client(Frame(FrameType.HELLO, 0, greeting))
    with pytest.raises(AgentError, match="speaks protocol 2, not 1"):
        agent.hello(soon())


def test_a_greeting_without_a_kernel_is_refused() -> None:
    agent, _ = client(Frame(FrameType.HELLO, 0, b"agent 1.0\nprotocol 1\n"))
    with pytest.raises(AgentError, match="without boot, kernel, machine"):
        agent.hello(soon())


def test_frames_of_an_earlier_session_are_dropped() -> None:
    stale = encode_frame(Frame(FrameType.RESPONSE, 1, b"R 0 ok 0 1 5\nstale\n"))
    fresh = Frame(FrameType.RESPONSE, 0, b"R 0 ok 0 1 5\nfresh\n")
    agent, _ = client(stale[10:] + stale, fresh)
    assert agent.run(["dm-status", "x"], soon()).text == "fresh"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "channel closed, while waiting for tree of backup"),
        (ConnectionResetError(104, "reset"), "channel broke, while waiting for tree of backup"),
        (TimeoutError(), r"no answer in time: tree of backup \(given 3 s\)"),
    ],
)
def test_a_lost_guest_is_named_with_what_was_awaited(answer: bytes | Exception, why: str) -> None:
    agent, _ = client(answer)
    with pytest.raises(GuestLostError, match=f"agent of guest backup: {why}") as caught:
        agent.run_script([["tree", "/mnt", "full"]], Deadline.after(3, "tree of backup"))
    assert caught.value.hint == "see the console log of guest backup"


def test_a_closed_channel_is_a_lost_guest() -> None:
    agent, _ = client()
    agent.close()
    with pytest.raises(GuestLostError, match="cannot send"):
        agent.run(["sync"], soon())


@pytest.mark.parametrize(
    "frame",
    [
        Frame(FrameType.ERROR, 0, b"payload does not match its CRC-32"),
        Frame(FrameType.RESPONSE, 0, b"R 0 ok 0 1 9\nshort\n"),
        Frame(FrameType.RESPONSE, 0, b""),
        Frame(FrameType.RESPONSE, 0, b"R 1 ok 0 1 0\n\n"),
        Frame(FrameType.RESPONSE, 0, b"R 0 ok 0 1 0\n\nR 1 ok 0 1 0\n\n"),
        Frame(FrameType.EVENT, 0, b"checkpoint\n"),
        Frame(FrameType.EVENT, 0, b"checkpoint 1 2\nR 0 ok 0 1 0\n\n"),
    ],
)
def test_an_answer_that_does_not_fit_is_an_error(frame: Frame) -> None:
    agent, _ = client(frame)
    with pytest.raises(AgentError):
        agent.run_script([["sync"]], soon())


@pytest.mark.parametrize(("go", "word"), [(True, b"go"), (False, b"stop")])
def test_the_hosts_word_at_a_checkpoint(go: bool, word: bytes) -> None:
    event = Frame(FrameType.EVENT, 0, b"checkpoint 1 2\n")
    agent, channel = client(event, Frame(FrameType.RESPONSE, 0, b"R 0 ok 0 1 0\n\n"))
    agent.run_script([["sync"]], soon(), lambda _: go)
    assert (channel.sent[-1].type, channel.sent[-1].payload) == (FrameType.CONTINUE, word)
    assert channel.sent[-1].request_id == channel.sent[0].request_id


def test_results_are_found_by_command_whatever_its_prefix() -> None:
    blocks = b"R 0 ok 0 1 1\na\nR 1 err -16 2 1\nb\nR 2 skipped 0 0 0\n\n"
    agent, _ = client(Frame(FrameType.RESPONSE, 0, blocks))
    script = [["tree", "/a"], ["always", "try", "tree", "/b"], ["umount", "/b"]]
    result = agent.run_script(script, soon())
    assert result.one("tree", "/b").status == -16
    assert result.one("umount").skipped
    assert not result.ok
    assert [failure.index for failure in result.failures] == [1]
    with pytest.raises(KeyError):
        result.one("mount")


def test_a_socket_that_stays_silent_times_out() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        channel = SocketChannel(ours)
        theirs.sendall(b"x")
        assert channel.recv(Deadline.after(0)) == b"x", "what is there is read even if it is late"
        with pytest.raises(TimeoutError):
            channel.recv(Deadline.after(0))
        channel.close()
        channel.close()


def test_a_socket_hears_of_the_end_of_another_guest() -> None:
    ours, theirs = socket.socketpair()
    other, far = socket.socketpair()
    channel, companion = SocketChannel(ours), SocketChannel(other)
    channel.accompany(companion)
    with theirs:
        far.sendall(b"not read by anybody, and no end")
        theirs.sendall(b"x")
        assert channel.recv(soon()) == b"x"
        with pytest.raises(TimeoutError):
            channel.recv(Deadline.after(0))
        assert (channel.ended(), companion.ended()) == (False, False)
        ending = threading.Timer(0.05, far.close)
        ending.start()
        with pytest.raises(CompanionEndedError):
            channel.recv(soon())
        ending.join()
        assert (channel.ended(), companion.ended()) == (False, True)
        theirs.sendall(b"y")
        assert channel.recv(soon()) == b"y", "what has arrived is read all the same"
        companion.close()
        with pytest.raises(CompanionEndedError):
            channel.recv(soon())
    assert channel.recv(soon()) == b"", "an end of its own comes first"
    assert channel.ended()
    channel.close()
    assert channel.ended()
    with pytest.raises(OSError, match="Bad file descriptor"):
        channel.recv(soon())


def test_a_deadline_counts_down_and_says_what_it_is_for() -> None:
    past, future = Deadline.after(0, "boot"), Deadline.after(1000, "run")
    assert (past.remaining, past.expired) == (0.0, True)
    assert 0 < future.remaining <= 1000
    assert not future.expired
    assert str(future) == "run (given 1000 s)"


def test_a_part_never_outlives_the_whole() -> None:
    whole = Deadline.after(10, "whole")
    assert whole.within(1000, "part").at_s == whole.at_s
    assert str(whole.within(1000, "part")) == "part (given 10 s)"
    assert whole.within(1, "part").at_s < whole.at_s
