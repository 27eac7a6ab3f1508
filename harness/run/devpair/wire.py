# SPDX-License-Identifier: Apache-2.0
"""What a pair's keeper and its clients say to each other: JSON, one message a line.

A client sends one request, ``{"verb": ..., ARGUMENT: ...}``. The keeper answers with any number of
``{"note": text}`` and one ``{"result": ...}`` or ``{"error": text, "hint": ..., "code": ...}``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import EXIT_USAGE, HarnessError, InfraError, UsageError
from harness.vm.live import LiveDir

Json = dict[str, Any]
MOST_BYTES = 64 << 10
"""Of a request. What is longer comes from nobody who means well."""
_SOCKET = "keeper.sock"
LOG_NAME = "keeper.log"


def socket_path(live: LiveDir) -> Path:
    """Where the keeper whose folder is ``live`` listens."""
    return live.path / _SOCKET


def log_path(live: LiveDir) -> Path:
    """What it writes down."""
    return live.path / LOG_NAME


def encode(message: Json) -> bytes:
    """One line."""
    return json.dumps(message).encode() + b"\n"


def decode(line: bytes) -> Json:
    """The message in ``line``. ``ValueError`` when it is none."""
    try:
        message = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(message, dict):
        raise ValueError("not an object")
    return message


def failure(error: HarnessError) -> Json:
    """``error`` as a message."""
    return {"error": str(error), "hint": error.hint, "code": error.exit_code}


def raise_failure(message: Json) -> None:
    """Raise what ``failure`` was made of, if ``message`` is one."""
    if "error" not in message:
        return
    kind = UsageError if message.get("code") == EXIT_USAGE else InfraError
    raise kind(str(message["error"]), hint=message.get("hint"))


def lines(parts: Iterator[bytes], most_bytes: int) -> Iterator[bytes]:
    """Whole lines of a stream of bytes. ``ValueError`` for one that is too long or has no end."""
    rest = b""
    for part in parts:
        *whole, rest = (rest + part).split(b"\n")
        yield from whole
        if len(rest) > most_bytes:
            raise ValueError(f"a line of more than {most_bytes} bytes")
    if rest:
        raise ValueError("the last line has no end")
