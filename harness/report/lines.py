# SPDX-License-Identifier: Apache-2.0
"""One sealed line of ``results.jsonl``: JSON that carries a checksum over the case in it."""

from __future__ import annotations

import hashlib

_HEAD = b'{"blake2b":"'
_MIDDLE = b'","case":'
_TAIL = b"}\n"
_DIGEST_BYTES = 8
_START = len(_HEAD) + 2 * _DIGEST_BYTES


class DamagedLineError(ValueError):
    """A line is not what was written; the text says in which way."""


def seal(case: str) -> bytes:
    """The line for ``case``, the JSON text of a case result, with its newline."""
    body = case.encode("ascii")
    return _HEAD + _digest(body) + _MIDDLE + body + _TAIL


def unseal(line: bytes) -> str:
    """The text that ``seal`` was given; DamagedLineError when a byte of it is not the same."""
    start = _START + len(_MIDDLE)
    framed = line.startswith(_HEAD) and line[_START:start] == _MIDDLE and line.endswith(_TAIL)
    if not framed:
        raise DamagedLineError("not framed as a result line")
    body = line[start : -len(_TAIL)]
    if line[len(_HEAD) : _START] != _digest(body):
        raise DamagedLineError("checksum does not match")
    return body.decode("ascii")


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).hexdigest().encode("ascii")
