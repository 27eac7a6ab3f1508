# SPDX-License-Identifier: Apache-2.0
"""Files fetched by address and checksum: what does not match its sum is never used."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from harness.deadline import Deadline
from harness.errors import InfraError

_SILENCE_S = 60
"""A server that sends nothing for so long is given up."""
_TOTAL_S = 2 * 3600
_CHUNK_BYTES = 1 << 20
_FAILURES = (
    *(urllib.error.URLError, http.client.HTTPException, ValueError),
    *(TimeoutError, ConnectionError),
)


def fetch(address: str, sha256: str, target: Path) -> None:
    """Write to ``target`` what is at ``address`` (http, https or file), of SHA-256 ``sha256``.

    Raises InfraError when it cannot be had, or is another file; then ``target`` is not there.
    """
    try:
        with open(target, "wb") as file:
            found = _copy(address, file)
        if found != sha256:
            raise InfraError(
                f"{address} is not the file that was asked for: its SHA-256 is {found}, "
                f"{sha256} was expected",
                hint="a release is replaced now and then: see the SHA256SUMS beside it",
            )
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _copy(address: str, target: IO[bytes]) -> str:
    """Copy what is at ``address`` and return the SHA-256 of it."""
    digest = hashlib.sha256()
    deadline = Deadline.after(_TOTAL_S, f"fetch {address}")
    try:
        with urllib.request.urlopen(address, timeout=_SILENCE_S) as source:
            length = source.headers.get("Content-Length")
            while chunk := source.read(_CHUNK_BYTES):
                if deadline.expired:
                    raise TimeoutError(f"not done after {_TOTAL_S // 3600} hours")
                digest.update(chunk)
                target.write(chunk)
    except _FAILURES as error:
        raise _unreachable(address, error) from error
    if length is not None and target.tell() != int(length):
        raise _unreachable(address, f"it ended after {target.tell()} of {length} bytes")
    return digest.hexdigest()


def _unreachable(address: str, why: object) -> InfraError:
    refused = isinstance(why, urllib.error.HTTPError)
    reason = why if refused else getattr(why, "reason", None) or why
    return InfraError(
        f"{address} cannot be fetched: {reason}",
        hint="name another copy of it as image = in the profile, also file:///...; "
        "behind a proxy: http_proxy=URL",
    )
