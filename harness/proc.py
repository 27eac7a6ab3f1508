# SPDX-License-Identifier: Apache-2.0
"""The only wrapper around subprocesses: list argv, closed stdin, failures that can be re-run."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import InfraError

NO_SPACE_HINT = "free some space, or choose another disk with --state-dir DIR"
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
    feed: bytes = b"",
    tail_lines: int = _TAIL_LINES,
) -> str:
    """Run ``argv`` with ``feed`` as its whole input and return its combined output.

    ``what`` names the purpose for the error text. Raises ToolError when the program cannot be
    started, exits non-zero (with the last ``tail_lines`` of what it said), or has not ended after
    ``timeout_s`` seconds.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            input=feed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            cwd=cwd,
            env=dict(env) if env is not None else None,
            check=False,
        )
    except OSError as error:
        raise _not_started(error, what, words[0], cwd, hint) from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{what}: no end after {timeout_s:.0f} s: {shlex.join(words)}") from error
    output = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        tail = "\n".join(output.splitlines()[-tail_lines:])
        if os.strerror(errno.ENOSPC) in output:
            hint = NO_SPACE_HINT
        raise ToolError(
            f"{what} failed ({_describe(done.returncode)}): {shlex.join(words)}\n{tail}", hint=hint
        )
    return output


def start_detached(argv: Sequence[str | Path], *, what: str, keep: int) -> Detached:
    """Start ``argv`` in a session of its own, with no input and the descriptor ``keep``.

    Raises ToolError when it cannot be started.
    """
    words = [str(word) for word in argv]
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, pass_fds=(keep,), start_new_session=True
        )
    except OSError as error:
        raise _not_started(error, what, words[0], None, None) from error
    return Detached(process)


class Detached:
    """A process that outlives this one unless it is told to end."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended(self, timeout_s: float) -> bool:
        """Whether it ends within ``timeout_s``."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True


def _not_started(
    error: OSError, what: str, program: str, cwd: Path | None, hint: str | None
) -> ToolError:
    # A missing folder to start in is reported by the same errno as a missing program.
    if isinstance(error, FileNotFoundError) and (cwd is None or cwd.is_dir()):
        return ToolError(f"{what}: program {program} is not installed", hint="run 'make setup'")
    return ToolError(f"{what}: cannot start {program}: {error}", hint=hint)


def _describe(status: int) -> str:
    if status < 0:
        # Real-time signals but the first and the last have no name.
        names = {signal_.value: signal_.name for signal_ in signal.Signals}
        return f"killed by {names.get(-status, f'signal {-status}')}"
    if status == _NOT_FOUND:
        return "status 127, a program it needs was not found"
    return f"status {status}"
