# SPDX-License-Identifier: Apache-2.0
"""Where things live: the checkout (read only) and the state directory (everything made)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError

CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class StateDir:
    """Folders below the state directory; nothing is created until it is needed."""

    path: Path

    @property
    def cache(self) -> Path:
        """Built artefacts by content: root trees, modules, initramfs images.

        Without symbolic links: those inside a root tree are followed relative to it.
        """
        return (self.path / "cache").resolve()

    @property
    def live(self) -> Path:
        """One folder per running harness process: libvirt root, disks, consoles."""
        return self.path / "live"


def state_dir(override: str | os.PathLike[str] | None = None) -> StateDir:
    """``override``, else ``$HARNESS_STATE_DIR``, else ``$XDG_STATE_HOME/harness``.

    Raises UsageError when it cannot be created or written.
    """
    chosen = override or os.environ.get("HARNESS_STATE_DIR")
    if not chosen:
        base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        chosen = Path(base) / "harness"
    try:
        path = Path(chosen).expanduser().resolve()
    except RuntimeError as error:
        raise UsageError(f"state directory {chosen}: {error}") from error
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"state directory {path} cannot be created: {error.strerror}",
            hint="name another one with --state-dir DIR",
        ) from error
    if not os.access(path, os.W_OK):
        raise UsageError(
            f"state directory {path} is not writable",
            hint="name another one with --state-dir DIR",
        )
    return StateDir(path)


def reports_dir(override: str | os.PathLike[str] | None = None) -> Path:
    """Folder of the run store: ``override``, else ``reports/`` of the checkout."""
    return Path(override).expanduser().resolve() if override else CHECKOUT / "reports"
