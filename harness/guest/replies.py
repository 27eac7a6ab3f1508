# SPDX-License-Identifier: Apache-2.0
"""Payloads of the agent's commands as the model's types. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from harness.guest.protocol import ProtocolError, decode_bytes, decode_word
from harness.model.content import encode, restate_filled
from harness.model.device import DeviceDigest
from harness.model.evidence import ToolResult
from harness.model.load import Contents, Damaged, Held, Version
from harness.model.tree import Entry, FileKind, Tree

_TREE_WORDS = 18
_DIGEST_BYTES = 16
_NONE = "-"
_LIST = "peers"


@dataclass(frozen=True, slots=True)
class Failure:
    """The text of a failed command, ``CALL: ERRNO: OBJECT`` and what the kernel logged."""

    call: str
    errno: str
    """Symbolic name, ``EIO``."""
    object: str
    kernel: tuple[str, ...] = ()


def parse_failure(payload: bytes) -> Failure:
    """The parts of a failure text; a text of another form is all ``object``."""
    first, *rest = payload.decode("utf-8", "backslashreplace").split("\n")
    kernel = tuple(line.removeprefix("kernel: ") for line in rest if line)
    parts = first.split(": ", 2)
    if len(parts) != 3:
        return Failure("", "", first, kernel)
    return Failure(parts[0], parts[1], parts[2], kernel)


def parse_digest(payload: bytes) -> DeviceDigest:
    """Reply of ``digest``; ``ProtocolError`` when malformed."""
    digest, _, blocks = payload.decode("ascii", "replace").partition(" ")
    if len(digest) != 2 * _DIGEST_BYTES or not blocks.isdigit():
        raise ProtocolError(f"malformed digest {payload[:80]!r}")
    return DeviceDigest(digest, int(blocks))


def parse_blockmap(payload: bytes) -> Mapping[int, str]:
    """Reply of ``blockmap``: number of each non-zero 4 KiB block -> 64-bit hash in hex."""
    blocks: dict[int, str] = {}
    for line in payload.decode("ascii", "replace").splitlines():
        number, _, digest = line.partition(" ")
        if not number.isdigit() or len(digest) != 16:
            raise ProtocolError(f"malformed block map line {line[:80]!r}")
        blocks[int(number)] = digest
    return blocks


def parse_scan(payload: bytes) -> Contents:
    """Reply of ``load-scan``; ``ProtocolError`` when malformed."""
    contents: dict[int, Held] = {}
    for line in payload.decode("ascii", "replace").splitlines():
        number, *words = line.split(" ")
        try:
            contents[int(number)] = _held(words)
        except ValueError as error:
            raise ProtocolError(f"malformed scan line {line[:80]!r}") from error
    return contents


def _held(words: Sequence[str]) -> Held:
    if words and words[0] in ("bad", "unreadable"):
        (what,) = words[1:]
        return Damaged(f"unreadable: {decode_word(what)}" if words[0] == "unreadable" else what)
    stream, batch, op = map(int, words)
    return Version(stream, batch, op)


def differing_blocks(one: Mapping[int, str], other: Mapping[int, str]) -> tuple[int, ...]:
    """Numbers of the blocks in which two devices differ, ascending."""
    return tuple(sorted(n for n in one.keys() | other.keys() if one.get(n) != other.get(n)))


def parse_status(text: str) -> dict[str, str]:
    """``key value`` pairs of a target's status; ``ProtocolError`` for a key without a value.

    ``peers`` is a count, and so many words follow it: they become one, with commas.
    """
    words = text.split()
    pairs: dict[str, str] = {}
    while words:
        if len(words) < 2:
            raise ProtocolError(f"status is not made of pairs: {text[:200]!r}")
        key, value = words[:2]
        del words[:2]
        if key == _LIST and value.isdigit():
            count = int(value)
            value = ",".join(words[:count])
            del words[:count]
        pairs[key] = value
    return pairs


def tool_result(ok: bool, status: int, payload: bytes) -> ToolResult:
    """A command's outcome as evidence."""
    return ToolResult(ok, status, payload.decode("utf-8", "backslashreplace"))


def parse_tree(payload: bytes, lines: Sequence[int], filling: Sequence[int] = ()) -> Tree:
    """Reply of ``tree``, content told apart by the workload ``lines`` that write.

    Those of them that are ``filling`` have stored bytes as a test of xfstests does.

    A name that readdir yielded twice is kept under a second key that says so, with an error.
    ``ProtocolError`` when malformed.
    """
    entries: dict[str, Entry] = {}
    at = 0
    while at < len(payload):
        end = payload.find(b"\n", at)
        words = payload[at:end].decode("ascii", "replace").split(" ")
        if end < 0 or len(words) != _TREE_WORDS or words[0] != "E":
            raise ProtocolError(f"malformed tree entry {payload[at : at + 80]!r}")
        at = end + 1
        raw: bytes | None = None
        if words[16] != _NONE:
            length = _number(words[16])
            raw = payload[at : at + length]
            # An empty content has no line of its own.
            at += length + 1 if length else 0
            if at > len(payload):
                raise ProtocolError(f"content of {words[1]} is cut short")
        _add(entries, _with_content(_entry(words), raw, lines, filling))
    return Tree(entries)


def _add(entries: dict[str, Entry], entry: Entry) -> None:
    path, copy = entry.path, 1
    while path in entries:
        copy += 1
        path = f"{entry.path} (listed again, {copy})"
    if copy > 1:
        entry = replace(entry, path=path, error=entry.error or "readdir: listed more than once")
    entries[path] = entry


def _with_content(
    entry: Entry, raw: bytes | None, lines: Sequence[int], filling: Sequence[int]
) -> Entry:
    """The agent sends the content or its digest; who has the content has the digest as well."""
    if raw is None:
        return entry
    raw = restate_filled(raw, filling)
    digest = blake2b(raw, digest_size=_DIGEST_BYTES).hexdigest()
    return replace(entry, content=encode(raw, lines), digest=digest)


def _entry(words: Sequence[str]) -> Entry:
    try:
        kind = FileKind(words[2])
        mode = int(words[3], 8)
    except ValueError as error:
        raise ProtocolError(f"malformed tree entry {' '.join(words[:4])!r}") from error
    uid, gid, nlink, size, blocks, ino, mtime_ns, ctime_ns, rdev = map(_number, words[4:13])
    return Entry(
        path=decode_word(words[1]),
        kind=kind,
        mode=mode,
        uid=uid,
        gid=gid,
        nlink=nlink,
        size=size,
        blocks=blocks,
        ino=ino,
        mtime_ns=mtime_ns,
        ctime_ns=ctime_ns,
        rdev=rdev,
        xattrs=_xattrs(words[13]),
        link=None if words[14] == _NONE else decode_word(words[14].removeprefix("=")),
        digest=None if words[15] == _NONE else words[15],
        error=None if words[17] == _NONE else decode_word(words[17]),
    )


def _number(word: str) -> int:
    try:
        return int(word)
    except ValueError as error:
        raise ProtocolError(f"malformed number {word!r} in a tree entry") from error


def _xattrs(word: str) -> tuple[tuple[str, bytes], ...]:
    if word == _NONE:
        return ()
    pairs = []
    for item in word.split(","):
        name, equals, value = item.partition("=")
        try:
            pairs.append(
                (decode_bytes(name).decode("utf-8", "surrogateescape"), bytes.fromhex(value))
            )
        except ValueError as error:
            raise ProtocolError(f"malformed extended attribute {item[:80]!r}") from error
        if not equals:
            raise ProtocolError(f"malformed extended attribute {item[:80]!r}")
    return tuple(sorted(pairs))
