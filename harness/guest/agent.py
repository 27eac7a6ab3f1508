# SPDX-License-Identifier: Apache-2.0
"""Client of the guest agent: one script in, one result per command out."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.deadline import Deadline
from harness.errors import AgentError, GuestLostError, OverdueError
from harness.guest.ports import ByteChannel, CompanionEndedError
from harness.guest.protocol import (
    PROTOCOL_VERSION,
    Block,
    BlockState,
    Frame,
    FrameReader,
    FrameType,
    ProtocolError,
    encode_frame,
    encode_script,
    parse_blocks,
    parse_event,
    parse_load_event,
    parse_rendezvous,
)
from harness.guest.replies import parse_digest, parse_status, parse_tree
from harness.guest.workload import workload_lines

__all__ = [
    "Agent",
    "CheckpointEvent",
    "CommandResult",
    "Hello",
    "LoadReport",
    "OnEvent",
    "OnLoad",
    "OnRendezvous",
    "Rendezvous",
    "ScriptResult",
    "Words",
    "parse_digest",
    "parse_status",
    "parse_tree",
    "workload_lines",
]

Words = Sequence[str]
"""One command: its name and arguments, each any text without NUL."""

_SHOWN_CHARS = 80
HELLO_INTERVAL_S = 0.5
"""A greeting sent before the guest has opened its port may be lost: send it again."""


@dataclass(frozen=True, slots=True)
class Hello:
    """What an agent says about itself and its kernel."""

    agent: str
    protocol: int
    kernel: str
    machine: str
    boot_id: str


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What one command came to."""

    index: int
    words: tuple[str, ...]
    state: BlockState
    status: int
    """0, a negative errno, or the exit status of a program (128+n when killed by signal n)."""
    elapsed_us: int
    payload: bytes

    @property
    def command(self) -> tuple[str, ...]:
        """The words without the prefixes ``always`` and ``try``."""
        start = 0
        while start < len(self.words) and self.words[start] in ("always", "try"):
            start += 1
        return self.words[start:]

    @property
    def ok(self) -> bool:
        """Whether it ran and succeeded."""
        return self.state is BlockState.OK

    @property
    def skipped(self) -> bool:
        """Whether it was left out because of an earlier failure or a stop at a checkpoint."""
        return self.state is BlockState.SKIPPED

    @property
    def text(self) -> str:
        """The payload as text, undecodable bytes escaped."""
        return self.payload.decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class CheckpointEvent:
    """The agent stands at a checkpoint and waits."""

    checkpoint: int
    """1-based number within the workload."""
    line: int
    """1-based line of the workload's run section."""
    results: tuple[CommandResult, ...]
    """Of the ``at-checkpoint`` commands, in the order they were registered."""


@dataclass(frozen=True, slots=True)
class ScriptResult:
    """All results of a script, one per line."""

    results: tuple[CommandResult, ...]

    @property
    def failures(self) -> tuple[CommandResult, ...]:
        """The commands that ran and failed."""
        return tuple(r for r in self.results if r.state is BlockState.ERR)

    @property
    def ok(self) -> bool:
        """Whether every command ran and succeeded."""
        return all(r.ok for r in self.results)

    def one(self, *prefix: str) -> CommandResult:
        """The first result whose command begins with ``prefix``; ``KeyError`` if there is none."""
        for result in self.results:
            if result.command[: len(prefix)] == prefix:
                return result
        raise KeyError(" ".join(prefix))


@dataclass(frozen=True, slots=True)
class LoadReport:
    """A load has flushed, or something went wrong in it; it goes on when told to."""

    batch: int
    """The batch that has just ended."""
    durable: int
    """All batches up to here are durable."""
    state: str
    """``ok``, ``failed`` (a write of the batch), ``unflushed`` or ``mismatch`` (read back)."""
    detail: str
    """Errno, or what was read."""


@dataclass(frozen=True, slots=True)
class Rendezvous:
    """A program of a job wants to meet the host, and waits."""

    words: tuple[str, ...]
    """What it says."""
    results: tuple[CommandResult, ...]
    """Of the ``at-rendezvous`` commands for its first word, in the order they were registered."""


OnEvent = Callable[[CheckpointEvent], bool]
"""Called at each checkpoint; True lets the workload go on, False skips to the clean-up lines."""
OnLoad = Callable[[LoadReport], bool]
"""Called at each report of a load; True lets it go on, False ends it."""
OnRendezvous = Callable[[Rendezvous], bool]
"""Called at each rendezvous; True lets the job go on, False ends it and all its processes."""


class Agent:
    """A guest's agent at the other end of a byte channel. One request at a time."""

    def __init__(self, channel: ByteChannel, name: str) -> None:
        self.name = name
        """Of the guest, for messages."""
        self._channel = channel
        self._reader = FrameReader()
        self._frames: deque[Frame] = deque()
        # Frames left over from another client's session must not look like answers to this one.
        self._last_id = secrets.randbits(32)
        self._asked = ""
        self._asked_s = 0.0

    @property
    def doing(self) -> str:
        """What it was asked to do and has not answered yet, for people; empty if nothing."""
        if not self._asked:
            return ""
        return f"{self._asked}, asked {time.monotonic() - self._asked_s:.0f} s ago"

    def hello(self, deadline: Deadline) -> Hello:
        """Greet until the agent answers, dropping whatever an earlier host left in the stream.

        ``GuestLostError`` when it does not by ``deadline``, ``AgentError`` when it speaks another
        version of the protocol.
        """
        request_id = self._next_id()
        while True:
            self._greet(Frame(FrameType.HELLO, request_id), deadline)
            attempt = deadline.within(HELLO_INTERVAL_S, deadline.what)
            try:
                frame = self._await(request_id, attempt)
            except TimeoutError:
                if deadline.expired:
                    raise OverdueError(
                        f"agent of guest {self.name}: no answer in time: {deadline}",
                        hint=self._hint,
                    ) from None
                continue
            if frame.type == FrameType.HELLO:
                return _parse_hello(self.name, frame.payload)

    def run_script(
        self,
        lines: Sequence[Words],
        deadline: Deadline,
        on_event: OnEvent | None = None,
        on_load: OnLoad | None = None,
        on_rendezvous: OnRendezvous | None = None,
    ) -> ScriptResult:
        """Run ``lines`` in order and return one result per line; a failed line is not an error.

        Without ``on_event`` the workload goes on at every checkpoint, a load without ``on_load``,
        a job without ``on_rendezvous``.
        ``GuestLostError`` when the channel breaks, a guest that is needed ends or ``deadline``
        passes, ``AgentError`` when the agent refuses the request.
        """
        request_id = self._next_id()
        self._asked, self._asked_s = _shown(lines), time.monotonic()
        self._send(Frame(FrameType.REQUEST, request_id, encode_script(lines)), deadline)
        while True:
            frame = self._await_or_lost(request_id, deadline)
            if frame.type == FrameType.ERROR:
                raise AgentError(f"agent of guest {self.name}: {_text(frame.payload)}")
            try:
                if frame.type == FrameType.RESPONSE:
                    self._asked = ""
                    return ScriptResult(_results(parse_blocks(frame.payload), lines))
                if frame.type != FrameType.EVENT:
                    continue
                report = parse_load_event(frame.payload)
                meeting = None if report else _rendezvous(frame.payload, lines)
                event = None if report or meeting else _event(frame.payload, lines)
            except ProtocolError as error:
                raise AgentError(f"agent of guest {self.name}: {error}") from error
            # An exception of on_event leaves the agent waiting: the next request ends the wait.
            go = True
            if report is not None and on_load is not None:
                go = on_load(LoadReport(*report))
            elif meeting is not None and on_rendezvous is not None:
                self._asked = f"{_shown(lines)}, past {' '.join(meeting.words)!r}"
                go = on_rendezvous(meeting)
            elif event is not None and on_event is not None:
                go = on_event(event)
                self._asked = f"{_shown(lines)}, past line {event.line} of its workload"
            self._send(Frame(FrameType.CONTINUE, request_id, b"go" if go else b"stop"), deadline)

    def run(self, words: Words, deadline: Deadline) -> CommandResult:
        """Run one command that must not fail; ``AgentError`` names it when it does."""
        result = self.run_script([words], deadline).results[0]
        self.require(result)
        return result

    def run_all(self, lines: Sequence[Words], deadline: Deadline) -> ScriptResult:
        """Run commands none of which may fail; ``AgentError`` names the first that does."""
        done = self.run_script(lines, deadline)
        for failed in done.failures:
            self.require(failed)
        return done

    def require(self, result: CommandResult) -> None:
        """``AgentError`` unless ``result`` is a success."""
        if not result.ok:
            command = " ".join(result.words[:8])
            raise AgentError(
                f"guest {self.name}: `{command}` {result.state} with status {result.status}:"
                f" {result.text.strip() or 'no output'}"
            )

    def needs(self, other: Agent) -> None:
        """From now on the end of the other's guest is the end of every request here.

        Otherwise what waits for that guest would be waited for as long as it takes in this one.
        """
        self._channel.accompany(other._channel)

    def ended(self) -> bool:
        """Whether the guest has ended or the channel was closed; asks nobody."""
        return self._channel.ended()

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def _next_id(self) -> int:
        self._last_id = self._last_id % 0xFFFFFFFF + 1
        return self._last_id

    def _lost(self, why: str) -> GuestLostError:
        return GuestLostError(f"agent of guest {self.name}: {why}", hint=self._hint)

    @property
    def _hint(self) -> str:
        return f"see the console log of guest {self.name}"

    def _send(self, frame: Frame, deadline: Deadline) -> None:
        try:
            self._channel.send(encode_frame(frame))
        except OSError as error:
            raise self._lost(f"cannot send, while waiting for {deadline}: {error}") from error

    def _greet(self, frame: Frame, deadline: Deadline) -> None:
        try:
            self._send(frame, deadline)
        except GuestLostError as error:
            # Nobody reads before the guest has booted: if that takes long, greetings fill the
            # stream. Those that are in it will be answered.
            if not isinstance(error.__cause__, TimeoutError):
                raise

    def _await_or_lost(self, request_id: int, deadline: Deadline) -> Frame:
        try:
            return self._await(request_id, deadline)
        except TimeoutError as error:
            raise OverdueError(
                f"agent of guest {self.name}: no answer in time: {deadline}; at work on"
                f" {self.doing}",
                hint=self._hint,
            ) from error

    def _await(self, request_id: int, deadline: Deadline) -> Frame:
        """The next frame of ``request_id``; frames of earlier requests are dropped.

        An ERROR with id 0 is the agent's reaction to stale bytes, not to a request.
        """
        while True:
            while self._frames:
                frame = self._frames.popleft()
                if frame.request_id == request_id:
                    return frame
            try:
                data = self._channel.recv(deadline)
            except TimeoutError:
                raise
            except CompanionEndedError as error:
                raise self._lost(f"the other guest ended, while waiting for {deadline}") from error
            except OSError as error:
                raise self._lost(f"channel broke, while waiting for {deadline}: {error}") from error
            if not data:
                raise self._lost(f"channel closed, while waiting for {deadline}")
            self._frames.extend(self._reader.feed(data))


def _shown(lines: Sequence[Words]) -> str:
    """A script in a few words: its first command, and how many follow."""
    first = " ".join(lines[0])[:_SHOWN_CHARS] if lines else ""
    return f"`{first}`" + (f" and {len(lines) - 1} more commands" if len(lines) > 1 else "")


def _text(payload: bytes) -> str:
    return payload.decode("utf-8", "backslashreplace")


def _parse_hello(name: str, payload: bytes) -> Hello:
    facts = dict(line.split(" ", 1) for line in _text(payload).splitlines() if " " in line)
    missing = {"agent", "protocol", "kernel", "machine", "boot"} - facts.keys()
    if missing or not facts["protocol"].isdigit():
        raise AgentError(f"agent of guest {name} greets without {', '.join(sorted(missing))}")
    if int(facts["protocol"]) != PROTOCOL_VERSION:
        raise AgentError(
            f"agent of guest {name} speaks protocol {facts['protocol']}, not {PROTOCOL_VERSION}",
            hint="rebuild the guest image",
        )
    return Hello(
        facts["agent"], int(facts["protocol"]), facts["kernel"], facts["machine"], facts["boot"]
    )


def _results(blocks: Sequence[Block], lines: Sequence[Words]) -> tuple[CommandResult, ...]:
    if [b.index for b in blocks] != list(range(len(lines))):
        raise ProtocolError(f"{len(blocks)} blocks answer {len(lines)} lines")
    return tuple(_result(block, lines[block.index]) for block in blocks)


def _result(block: Block, words: Words) -> CommandResult:
    return CommandResult(
        block.index, tuple(words), block.state, block.status, block.elapsed_us, block.payload
    )


_KEPT = {"at-checkpoint": 1, "at-rendezvous": 2}
"""Prefix of a command that is run later -> how many words precede the command."""


def _kept(lines: Sequence[Words]) -> list[Words]:
    """The commands of a script that are run when the host is met, in their order."""
    return [words[_KEPT[words[0]] :] for words in lines if words and words[0] in _KEPT]


def _later(blocks: Sequence[Block], lines: Sequence[Words]) -> tuple[CommandResult, ...]:
    kept = _kept(lines)
    if any(block.index >= len(kept) for block in blocks):
        raise ProtocolError(f"a block of an event is of none of its {len(kept)} commands")
    return tuple(_result(block, kept[block.index]) for block in blocks)


def _event(payload: bytes, lines: Sequence[Words]) -> CheckpointEvent:
    checkpoint, line, blocks = parse_event(payload)
    return CheckpointEvent(checkpoint, line, _later(blocks, lines))


def _rendezvous(payload: bytes, lines: Sequence[Words]) -> Rendezvous | None:
    met = parse_rendezvous(payload)
    return None if met is None else Rendezvous(met[0], _later(met[1], lines))
