# SPDX-License-Identifier: Apache-2.0
"""The only wrapper around subprocesses: list argv, closed stdin, failures that can be re-run."""

from __future__ import annotations

import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import InfraError

_TAIL_LINES = 15
_NOT_FOUND = 127


class ToolError(InfraError):
    """An external program is missing, failed, or ran out of time."""


def run(
    argv: Sequence[str | Path],
    *,
    what: str,
    timeout_s: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    hint: str | None = None,
) -> str:
    """Run ``argv`` and return its combined output.

    ``what`` names the purpose for the error text. Raises ToolError when the program cannot be
    started, exits non-zero, or has not ended after ``timeout_s`` seconds.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            cwd=cwd,
            env=dict(env) if env is not None else None,
            check=False,
        )
    except FileNotFoundError as error:
        raise ToolError(
            f"{what}: program {words[0]} is not installed", hint=hint or "run 'make setup'"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{what}: no end after {timeout_s:.0f} s: {shlex.join(words)}") from error
    output = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        tail = "\n".join(output.splitlines()[-_TAIL_LINES:])
        raise ToolError(
            f"{what} failed ({_describe(done.returncode)}): {shlex.join(words)}\n{tail}", hint=hint
        )
    return output


def _describe(status: int) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    if status == _NOT_FOUND:
        return "status 127, a program it needs was not found"
    return f"status {status}"
