# SPDX-License-Identifier: Apache-2.0
"""The tests of the module's parts that run in the kernel (``SELFTEST=1``), in a guest."""

from __future__ import annotations

import pytest
from kmod_guest import KmodGuest, KmodGuests

from harness.build.kmod import SELFTEST_FILE

_TIMEOUT_S = 900
_DISK = "/dev/ram0"
_PARTS = ("crypto", "session", "tags", "tree")
_MODULES = ("gcm", "ctr", "dm-mod", "brd")
_COMPLAINTS = ("BUG", "WARNING:", "Call Trace", "hung task", "pins left")
_KEYS = {"good": "0123456789abcdef" * 2, "short": "0123456789abcdef"}


def _load(guest: KmodGuest, *parameters: str) -> tuple[bool, str]:
    """Load the module; whether it loaded, and what the kernel said."""
    guest.run("dmesg", "--clear")
    loaded = guest.run("insmod", f"/opt/kmod/{SELFTEST_FILE}", *parameters, timeout_s=_TIMEOUT_S)
    if loaded.ok:
        assert guest.run("rmmod", SELFTEST_FILE.removesuffix(".ko")).ok
    return loaded.ok, guest.run("dmesg").text


@pytest.mark.parametrize("profile", ["debian-12", "debian-12-6.12"])
def test_parts_pass_their_tests_in_the_kernel(kmod_guests: KmodGuests, profile: str) -> None:
    with kmod_guests.use(profile) as guest:
        assert guest.run("modprobe", "-a", *_MODULES).ok
        for name, secret in _KEYS.items():
            assert guest.run("keyctl", "add", "logon", f"rb:{name}", secret, "@u").ok
        ok, log = _load(guest, "key=logon:rb:good", f"disk={_DISK}")
        assert ok, log
        for part in _PARTS:
            assert f"selftest: {part}: ok" in log
        assert not [word for word in _COMPLAINTS if word in log], log
        # It can fail: a key that is too short, and one that is not there.
        for name in ("short", "none"):
            ok, log = _load(guest, "only=none", f"key=logon:rb:{name}")
            assert not ok
            assert f"key logon:rb:{name}: error" in log
