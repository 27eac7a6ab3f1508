# SPDX-License-Identifier: Apache-2.0
"""The disk from which cloud-init makes a guest of the harness out of a vendor's image.

Data source NoCloud: a file system with the label ``cidata``. It says who the guest is; a script on
it, run by cloud-init's ``bootcmd`` early in each boot, does the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness import proc
from harness.build import furnish

_LABEL = "cidata"
_TIMEOUT_S = 120
_SETUP = furnish.OVERLAY.parent / "cloud" / "setup.sh"


@dataclass(frozen=True, slots=True)
class Identity:
    """Which guest a seed is for."""

    role: str
    mac: str
    """Of its end of the link, which it is to call eth0."""
    address: str
    """Of the same, with the length of the prefix."""


def make_seed(seed: Path, payload: Path, identity: Identity, work: Path) -> None:
    """Write ``seed``, an ISO image with ``payload`` and what ``identity`` is to become.

    ``work`` is a new folder for what is in it only. ToolError when the image cannot be made.
    """
    work.mkdir()
    for name, text in seed_files(identity).items():
        (work / name).write_text(text, encoding="ascii")
    seed.unlink(missing_ok=True)
    proc.run(
        ["xorriso", "-as", "mkisofs", "-quiet", "-volid", _LABEL, "-joliet", "-rational-rock",
         "-graft-points", "-output", seed, f"/={work}", f"/setup.sh={_SETUP}",
         f"/payload={payload}"],
        what=f"making the seed of guest {identity.role}",
        timeout_s=_TIMEOUT_S,
    )  # fmt: skip


def seed_files(identity: Identity) -> dict[str, str]:
    """Name -> text of the files that cloud-init reads."""
    return {
        "meta-data": f"instance-id: harness-{identity.role}\nlocal-hostname: {identity.role}\n",
        "user-data": _USER_DATA.format(label=_LABEL),
        # With an address of its own the link is at once what services wait for as a network.
        "network-config": _NETWORK.format(mac=identity.mac, address=identity.address),
    }


_USER_DATA = """\
#cloud-config
preserve_hostname: false
ssh_deletekeys: false
package_update: false
package_upgrade: false
bootcmd:
  - |
    mkdir -p /run/harness-seed
    mount -o ro LABEL={label} /run/harness-seed
    sh /run/harness-seed/setup.sh /run/harness-seed
"""
_NETWORK = """\
version: 2
ethernets:
  link:
    match:
      macaddress: "{mac}"
    set-name: eth0
    dhcp4: false
    dhcp6: false
    addresses: [{address}]
"""
