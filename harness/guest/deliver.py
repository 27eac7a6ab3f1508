# SPDX-License-Identifier: Apache-2.0
"""Put files of the host into a guest that is running."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import AgentError, InfraError
from harness.guest.agent import Agent

_PART_BYTES = 8 << 20
"""Half of it as hexadecimal digits fits a frame easily."""


def deliver(agent: Agent, files: Mapping[str, Path], deadline: Deadline) -> None:
    """Write each of ``files`` (path in the guest -> path on the host), over what was there.

    InfraError when one cannot be read here, AgentError when it cannot be written there.
    """
    for there, here in files.items():
        try:
            data = here.read_bytes()
        except OSError as error:
            raise InfraError(f"cannot read {here}: {error.strerror}") from error
        for start in range(0, max(len(data), 1), _PART_BYTES):
            verb = "file-append" if start else "file-put"
            part = data[start : start + _PART_BYTES].hex()
            result = agent.run_script([(verb, there, part)], deadline).results[0]
            if not result.ok:
                # Not as of other commands: this one's words are as long as the file.
                raise AgentError(f"guest {agent.name}: {here.name} cannot be put: {result.text}")
