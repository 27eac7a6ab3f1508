# SPDX-License-Identifier: Apache-2.0
"""Reading the list of known issues that ``--known`` names."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import click

from harness.errors import UsageError
from harness.findings import NOTHING_KNOWN, KnownIssues, parse_known


def today() -> date:
    """The day by which entries expire: UTC, like all times of a run."""
    return datetime.now(UTC).date()


def read_known(path: Path | None) -> KnownIssues:
    """The list in the file ``path``; says on standard error what will soon expire.

    UsageError when it cannot be read, is malformed or has an entry that expired.
    """
    if path is None:
        return NOTHING_KNOWN
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"list of known issues {path} cannot be read: {why}") from error
    known = parse_known(text, str(path), today())
    for line in known.expiring(today()):
        click.echo(f"harness: warning: {line}", err=True)
    return known
