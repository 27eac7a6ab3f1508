# SPDX-License-Identifier: Apache-2.0
"""Every error the harness raises on purpose, with the exit code it ends a command with.

Raise in the library, exit only in ``harness/cli/main.py``. ``hint`` is the way out, one line.
"""

from __future__ import annotations

EXIT_PASS = 0
EXIT_FINDINGS = 1
EXIT_UNKNOWN = 2
EXIT_INFRA = 3
EXIT_USAGE = 64
EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
"""As a program ends that does not look at what became of its output."""


class HarnessError(Exception):
    """Base of all errors reported without a traceback."""

    exit_code = EXIT_INTERNAL

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(HarnessError):
    """The user asked for something that does not exist or does not fit."""

    exit_code = EXIT_USAGE


class InfraError(HarnessError):
    """Host, hypervisor, guest boot or build failed: not a verdict about the target."""

    exit_code = EXIT_INFRA


class GuestLostError(InfraError):
    """A guest stopped answering or its domain ended while it was needed."""


class OverdueError(GuestLostError):
    """A guest had not answered when the time for it was up; it may still be at work."""


class HostLostError(InfraError):
    """The connection to the host of the guests is gone: nothing can be started there any more."""


class AgentError(InfraError):
    """The agent answered, but refused or failed a command that must not fail."""
