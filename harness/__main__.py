# SPDX-License-Identifier: Apache-2.0
"""``harness`` and ``python -m harness``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit."""
    from harness.cli.main import run_command_line

    sys.exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
