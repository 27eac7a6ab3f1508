# SPDX-License-Identifier: Apache-2.0
"""An agent in memory: a byte channel whose other end answers each line of a script.

It keeps the rules of scripts (order, prefixes, checkpoints) as ``vm_images/agent/README.md`` has
them; what a command comes to is up to whoever makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass

from harness.deadline import Deadline
from harness.guest.ports import ByteChannel, CompanionEndedError
from harness.guest.protocol import (
    BlockState,
    Frame,
    FrameReader,
    FrameType,
    decode_word,
    encode_frame,
)

GREETING = b"agent fake\nprotocol 1\nkernel 6.1.0-fake\nmachine x86_64\nboot fake\n"
_EIO = 5


class GuestEnds(Exception):
    """Raised while a command is answered: the guest ends there, and with it the stream."""


class GuestHangs(Exception):
    """Raised while a command is answered: nothing comes back, ever."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a command comes to."""

    payload: bytes = b""
    ok: bool = True
    status: int = 0
    events: Iterable[bytes] = ()
    """Reported one by one before it ends, as a load does; the host's word is waited for."""

    @classmethod
    def failure(cls, text: str, status: int = -_EIO) -> Reply:
        """A failed command, with its ``CALL: ERRNO: OBJECT``."""
        return cls(text.encode(), False, status)


Command = tuple[str, ...]
"""One command as words, prefixes left out."""
Answer = Callable[[Command], Reply]
_Script = Generator[Frame, bytes]


class FakeChannel:
    """A ``ByteChannel`` to an agent that asks ``answer`` about each command it comes to.

    ``on_script`` is shown each script before its first command.
    """

    def __init__(
        self, answer: Answer, on_script: Callable[[Sequence[Command]], None] = lambda lines: None
    ) -> None:
        self.closed = False
        self._answer = answer
        self._on_script = on_script
        self._reader = FrameReader()
        self._pending = b""
        self._ended = False
        self._companions: list[ByteChannel] = []
        self._script: _Script | None = None

    def end(self) -> None:
        """The guest is gone."""
        self._ended = True

    def send(self, data: bytes) -> None:
        if self._ended or self.closed:
            raise BrokenPipeError(32, "Broken pipe")
        for frame in self._reader.feed(data):
            try:
                self._take(frame)
            except GuestEnds:
                self.end()
            except GuestHangs:
                self._script = None

    def recv(self, deadline: Deadline) -> bytes:
        if self._pending:
            data, self._pending = self._pending, b""
            return data
        if self._ended or self.closed:
            return b""
        if any(other.ended() for other in self._companions):
            raise CompanionEndedError
        raise TimeoutError

    def ended(self) -> bool:
        return self._ended or self.closed

    def accompany(self, other: ByteChannel) -> None:
        self._companions.append(other)

    def close(self) -> None:
        self.closed = True

    def _take(self, frame: Frame) -> None:
        if frame.type == FrameType.HELLO:
            self._answer(("hello",))
            self._pending += encode_frame(Frame(FrameType.HELLO, frame.request_id, GREETING))
        elif frame.type == FrameType.REQUEST:
            self._script = self._run(frame)
            self._pending += encode_frame(next(self._script))
        elif frame.type == FrameType.CONTINUE and self._script is not None:
            self._pending += encode_frame(self._script.send(frame.payload))

    def _run(self, request: Frame) -> _Script:
        """Yields events, is sent what the host says to each, yields the response at last."""
        lines = [
            tuple(map(decode_word, line.split())) for line in request.payload.decode().splitlines()
        ]
        self._on_script(lines)
        registered: list[Command] = []
        blocks: list[bytes] = []
        skipping = False
        for index, line in enumerate(lines):
            prefixes, command = _split(line)
            if skipping and "always" not in prefixes:
                blocks.append(_block(index, None))
                continue
            if command[0] in ("at-checkpoint", "at-rendezvous"):
                registered.append(command[1:])
                blocks.append(_block(index, Reply()))
                continue
            reply = self._answer(command)
            for event in reply.events:
                said = yield Frame(FrameType.EVENT, request.request_id, event)
                if said != b"go":
                    break
            blocks.append(_block(index, reply))
            skipping |= not reply.ok and "try" not in prefixes
            if command[0] == "step" and command[2] == "checkpoint":
                seen = [_block(n, self._answer(each)) for n, each in enumerate(registered)]
                event = f"checkpoint {command[3]} {command[1]}\n".encode() + b"".join(seen)
                said = yield Frame(FrameType.EVENT, request.request_id, event)
                skipping |= said != b"go"
        yield Frame(FrameType.RESPONSE, request.request_id, b"".join(blocks))


def _split(line: Command) -> tuple[Command, Command]:
    """Prefixes, and the command without them."""
    count = next(n for n, word in enumerate(line) if word not in ("always", "try"))
    return line[:count], line[count:]


def _block(index: int, reply: Reply | None) -> bytes:
    if reply is None:
        return f"R {index} {BlockState.SKIPPED} 0 0 0\n\n".encode()
    state = BlockState.OK if reply.ok else BlockState.ERR
    head = f"R {index} {state} {reply.status} 1000 {len(reply.payload)}\n"
    return head.encode() + reply.payload + b"\n"
