# SPDX-License-Identifier: Apache-2.0
"""Where on the loopback of the guests' host the private link of a pair runs."""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass

HERE = "127.0.0.1"
# Below what kernels hand out to whoever asks for any port, above what services listen on.
_PORTS = range(20_000, 32_000)


@dataclass(frozen=True, slots=True)
class Cable:
    """Two UDP ports of one address, an end of the link at each."""

    address: str
    ports: tuple[int, int]


def cable_here() -> Cable:
    """Two ports of this host that nobody uses at this moment."""
    with (
        socket.socket(type=socket.SOCK_DGRAM) as one,
        socket.socket(type=socket.SOCK_DGRAM) as other,
    ):
        one.bind((HERE, 0))
        other.bind((HERE, 0))
        return Cable(HERE, (one.getsockname()[1], other.getsockname()[1]))


def cable_there(chance: random.Random | None = None) -> Cable:
    """Two ports of a host that cannot be asked which are free.

    QEMU lets itself in beside another QEMU on the same port, without an error, and frames would go
    to the wrong guest. So the address is drawn as well, out of the 16 million of the loopback: two
    pairs on the same are not to be expected in the life of a host.
    """
    drawn = chance or random.SystemRandom()
    address = f"127.{drawn.randrange(1, 255)}.{drawn.randrange(256)}.{drawn.randrange(1, 255)}"
    near, far = drawn.sample(_PORTS, 2)
    return Cable(address, (near, far))
