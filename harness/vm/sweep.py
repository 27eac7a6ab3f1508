# SPDX-License-Identifier: Apache-2.0
"""``python -m harness.vm.sweep ROOT``: end our guests of one embedded libvirt root."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.vm.libvirt import LibvirtHypervisor, embedded_uri


def main(root: Path) -> int:
    """Print how many guests were ended."""
    hypervisor = LibvirtHypervisor(embedded_uri(root))
    try:
        sys.stdout.write(f"ended {hypervisor.destroy_owned()}\n")
    finally:
        hypervisor.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
