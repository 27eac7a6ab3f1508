# SPDX-License-Identifier: Apache-2.0
"""``harness`` and ``python -m harness``."""

from __future__ import annotations

import sys

from harness.errors import EXIT_INFRA


def main() -> None:
    """Run the command line and exit."""
    try:
        from harness.cli.main import run_command_line
    except ImportError as error:
        # A library is missing, or one that it needs itself (libvirt's binding: libvirt.so).
        sys.stderr.write(f"harness: cannot start: {error}\n  [run 'make setup']\n")
        sys.exit(EXIT_INFRA)
    sys.exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
