# SPDX-License-Identifier: Apache-2.0
"""Order-free digest of a suite, comparable between generators."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SuiteDigest:
    """What a stream of canonical texts amounts to."""

    workloads: int
    canonical_bytes: int
    sum_digest: str
    """Sum of the texts' sha256, read as big-endian numbers, modulo 2^256; 64 hex digits."""
    distinct: int | None
    """Number of different texts, if asked for."""


def digest_texts(texts: Iterable[str], *, distinct: bool = False) -> SuiteDigest:
    """Digest of ``texts``, duplicates included.

    Memory is constant unless ``distinct`` is asked for: that keeps 16 bytes of every digest.
    """
    workloads = canonical_bytes = total = 0
    seen: set[bytes] = set()
    for text in texts:
        data = text.encode()
        digest = hashlib.sha256(data).digest()
        workloads += 1
        canonical_bytes += len(data)
        total += int.from_bytes(digest, "big")
        if distinct:
            seen.add(digest[:16])
    return SuiteDigest(
        workloads=workloads,
        canonical_bytes=canonical_bytes,
        sum_digest=f"{total % 2**256:064x}",
        distinct=len(seen) if distinct else None,
    )
