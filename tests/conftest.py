# SPDX-License-Identifier: Apache-2.0
"""What holds for all tests, and what those processes share that run them side by side."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is, nothing else.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# A shell starts what it runs in the background with Ctrl-C ignored, and children inherit that:
# tests that press it would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

_BUILD = "HARNESS_TESTS_BUILD"
_IN_A_WORKER = "PYTEST_XDIST_WORKER"


def pytest_configure() -> None:
    """Make a folder for what is compiled once per session, see ``unit/agent_process.py``."""
    if _IN_A_WORKER in os.environ:
        return
    folder = Path(tempfile.mkdtemp(prefix="harness-tests-"))
    # Some tests run the agent as another user.
    folder.chmod(0o755)
    os.environ[_BUILD] = str(folder)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Remove that folder; workers have ended by now."""
    if _IN_A_WORKER not in os.environ and _BUILD in os.environ:
        shutil.rmtree(os.environ.pop(_BUILD), ignore_errors=True)
