# SPDX-License-Identifier: Apache-2.0
"""The agent's frames, scripts and response blocks. Pure; see vm_images/agent/README.md."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from urllib.parse import quote_from_bytes, unquote_to_bytes

PROTOCOL_VERSION = 1
MAGIC = b"HAG1"
PAYLOAD_MAX_BYTES = 64 << 20
_HEADER = struct.Struct("<4sHHIII")
_EMPTY_WORD = "%"
"""An empty word must not vanish between two spaces; a lone ``%`` encodes nothing else."""


class FrameType(IntEnum):
    """What a frame carries."""

    HELLO = 1
    REQUEST = 2
    RESPONSE = 3
    EVENT = 4
    CONTINUE = 5
    ERROR = 6


class ProtocolError(Exception):
    """Bytes from the agent that do not parse; the session turns it into a lost guest."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message in either direction."""

    type: int
    """A ``FrameType``, or a number of a newer agent."""
    request_id: int
    payload: bytes = b""


def encode_frame(frame: Frame) -> bytes:
    """The bytes of ``frame``; ``ValueError`` when its payload is too long for one."""
    if len(frame.payload) > PAYLOAD_MAX_BYTES:
        raise ValueError(f"payload of {len(frame.payload)} bytes does not fit a frame")
    header = _HEADER.pack(
        MAGIC,
        PROTOCOL_VERSION,
        frame.type,
        frame.request_id,
        len(frame.payload),
        zlib.crc32(frame.payload),
    )
    return header + frame.payload


class FrameReader:
    """Cuts a byte stream into frames; bytes that belong to none are skipped and counted."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self.skipped_bytes = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Take ``data`` in and return every frame that is complete now."""
        self._pending += data
        frames: list[Frame] = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        while True:
            self._skip_to_magic()
            if len(self._pending) < _HEADER.size:
                return None
            _, version, kind, request_id, length, crc = _HEADER.unpack_from(self._pending)
            if version == PROTOCOL_VERSION and length <= PAYLOAD_MAX_BYTES:
                end = _HEADER.size + length
                if len(self._pending) < end:
                    return None
                payload = bytes(self._pending[_HEADER.size : end])
                if zlib.crc32(payload) == crc:
                    del self._pending[:end]
                    return Frame(kind, request_id, payload)
            # Not a frame after all, and its length is as doubtful as the rest of it.
            self._skip(1)

    def _skip_to_magic(self) -> None:
        at = self._pending.find(MAGIC)
        if at < 0:
            # The start of a magic may be at the very end.
            keep = next((n for n in (3, 2, 1) if self._pending.endswith(MAGIC[:n])), 0)
            at = len(self._pending) - keep
        self._skip(at)

    def _skip(self, count: int) -> None:
        del self._pending[:count]
        self.skipped_bytes += count


def encode_word(word: str) -> str:
    """One word of a script; names that are no UTF-8 arrive as surrogate escapes and leave as bytes.

    ``ValueError`` for a NUL, which no C string can hold.
    """
    if "\0" in word:
        raise ValueError(f"a word of a script cannot hold a NUL: {word!r}")
    return quote_from_bytes(word.encode("utf-8", "surrogateescape"), safe="/=") or _EMPTY_WORD


def decode_bytes(word: str) -> bytes:
    """Inverse of ``encode_word`` as bytes."""
    return b"" if word == _EMPTY_WORD else unquote_to_bytes(word)


def decode_word(word: str) -> str:
    """Inverse of ``encode_word``."""
    return decode_bytes(word).decode("utf-8", "surrogateescape")


def encode_script(lines: Iterable[Sequence[str]]) -> bytes:
    """The payload of a request: one line per command; ``ValueError`` for a command of no words."""
    encoded = [" ".join(encode_word(word) for word in line) for line in lines]
    if not all(encoded):
        raise ValueError("a script line needs at least the name of a command")
    return "".join(f"{line}\n" for line in encoded).encode("ascii")


class BlockState(StrEnum):
    """How a command ended."""

    OK = "ok"
    ERR = "err"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Block:
    """What one command of a script came to."""

    index: int
    """0-based position of its line in the script."""
    state: BlockState
    status: int
    """0, a negative errno, or the exit status of a program (128+n when killed by signal n)."""
    elapsed_us: int
    payload: bytes


def parse_blocks(payload: bytes, start: int = 0) -> list[Block]:
    """The blocks from byte ``start`` on; ``ProtocolError`` at the first that is malformed."""
    blocks: list[Block] = []
    at = start
    while at < len(payload):
        end = payload.find(b"\n", at)
        words = payload[at : end if end >= 0 else len(payload)].split(b" ")
        if end < 0 or len(words) != 6 or words[0] != b"R":
            raise ProtocolError(f"malformed block header {payload[at : at + 80]!r}")
        try:
            index, status, elapsed_us, length = (int(words[n]) for n in (1, 3, 4, 5))
            state = BlockState(words[2].decode("ascii"))
        except ValueError as error:
            raise ProtocolError(f"malformed block header {payload[at:end]!r}") from error
        body = payload[end + 1 : end + 1 + length]
        at = end + 1 + length + 1
        if length < 0 or at > len(payload) or payload[at - 1 : at] != b"\n":
            raise ProtocolError(f"block {index} is cut short")
        blocks.append(Block(index, state, status, elapsed_us, body))
    return blocks


def parse_event(payload: bytes) -> tuple[int, int, list[Block]]:
    """Checkpoint number, line and the blocks of the ``at-checkpoint`` commands."""
    head, newline, _ = payload.partition(b"\n")
    words = head.split(b" ")
    if not newline or len(words) != 3 or words[0] != b"checkpoint":
        raise ProtocolError(f"malformed event {head[:80]!r}")
    try:
        number, line = int(words[1]), int(words[2])
    except ValueError as error:
        raise ProtocolError(f"malformed event {head[:80]!r}") from error
    return number, line, parse_blocks(payload, len(head) + 1)


def parse_rendezvous(payload: bytes) -> tuple[tuple[str, ...], list[Block]] | None:
    """What was said at a rendezvous and the blocks of its commands; None for any other event."""
    head, newline, _ = payload.partition(b"\n")
    words = head.decode("ascii", "replace").split(" ")
    if words[0] != "rendezvous":
        return None
    if not newline or len(words) != 2:
        raise ProtocolError(f"malformed event {head[:80]!r}")
    said = tuple(decode_word(words[1]).split(" "))
    return said, parse_blocks(payload, len(head) + 1)


def parse_load_event(payload: bytes) -> tuple[int, int, str, str] | None:
    """Batch, durable batch, state and detail of a load's report; None for any other event."""
    words = payload.decode("ascii", "replace").rstrip("\n").split(" ")
    if words[0] != "load":
        return None
    try:
        _, batch, durable, state, detail = words
        return int(batch), int(durable), state, decode_word(detail)
    except ValueError as error:
        raise ProtocolError(f"malformed load event {payload[:80]!r}") from error
