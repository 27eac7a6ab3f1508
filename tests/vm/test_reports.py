# SPDX-License-Identifier: Apache-2.0
"""What the kernels' own checks report is recognised: each mistake is made, each must be seen."""

from __future__ import annotations

import pytest
from bad_guest import insert_bad
from kmod_guest import KmodGuests

SLUB = [
    ("out_of_bounds", "slab-corruption", "BUG kmalloc-64"),
    ("double_free", "slab-corruption", "BUG kmalloc-64"),
    ("leave_objects_in_cache", "leak", "BUG harness_bad"),
]
# The check that follows the module's own tests, in the shell: clean before, not clean after.
LOG = """
    . /opt/kmod/tests/reports.sh
    reports_begin && log_is_clean || exit 2
    echo out_of_bounds >/sys/module/harness_bad/parameters/commit
    ! log_is_clean
"""
KFENCE = ("sampled_use_after_free", "kfence", "BUG: KFENCE: use-after-free read in")


@pytest.mark.parametrize(
    ("profile", "mistakes"),
    [("debian-12", SLUB), ("debian-12-6.12", [*SLUB, KFENCE])],
    ids=["6.1", "6.12"],
)
def test_distribution_kernels_find_misuse_of_memory(
    kmod_guests: KmodGuests, profile: str, mistakes: list[tuple[str, str, str]]
) -> None:
    with kmod_guests.use(profile, last=True) as guest:
        # The tests before this one made errors that the kernel reports, and rightly so.
        bad = insert_bad(guest, guest.console.stat().st_size)
        done = bad.guest.run("bash", "-c", LOG)
        assert done.ok, done.text
        assert "not ok kernel log" in done.text
        bad.reports()
        for name, kind, title in mistakes:
            bad.commit(name)
            found = bad.reports_until(kind, title)
            assert (kind, title) in [(r.kind, r.title[: len(title)]) for r in found], name
