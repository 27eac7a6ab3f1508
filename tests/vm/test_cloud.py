# SPDX-License-Identifier: Apache-2.0
"""A vendor's cloud image, booted by its own boot loader, becomes a pair of guests by its seed."""

from __future__ import annotations

from pathlib import Path

import pytest
from cloud_image import cloud_image, profile_of
from kmod_guest import Machines

from harness.build.cloud import CloudImage, build_cloud
from harness.build.furnish import ROOT_PASSWORD
from harness.build.profile import DEFAULT_PROFILE, PROFILES, load_profile
from harness.config import state_dir
from harness.deadline import Deadline
from harness.guest.console import Console
from harness.run.pair import Pair, PairBuilder
from harness.run.targets import make_target
from harness.vm.ports import Accelerator

# A general kernel, a general initramfs and cloud-init's Python: minutes under emulation.
_BOOT_TIMEOUT_S = 1200
_LENGTH = 32 << 20


def soon(what: str) -> Deadline:
    return Deadline.after(300, what)


def image_here(folder: Path) -> CloudImage:
    """An image as a vendor's, by way of a profile."""
    state, name = state_dir(), f"{DEFAULT_PROFILE}.toml"
    made = cloud_image(load_profile(DEFAULT_PROFILE), state)
    # Of the same name, so that the root tree is that of the profile itself.
    (folder / name).write_text(profile_of(made, PROFILES / name), encoding="utf-8")
    profile = load_profile(str(folder / name))
    assert profile.cloud is not None
    return build_cloud(profile, profile.cloud, state)


def check(pair: Pair, image: CloudImage) -> None:
    """Whether a person and a target find what they find on other full guests."""
    primary, backup = pair.guests
    assert primary.spec.console_socket is not None
    console = Console.connect(primary.spec.console_socket)
    console.login("root", ROOT_PASSWORD, soon("log in"))
    said = console.run("hostname; findmnt -n -o SOURCE /; ping -c 1 backup", soon("look around"))
    assert said.text.splitlines()[:2] == ["primary", "/dev/vdc1"]
    assert " 0% packet loss" in said.text
    target = make_target("rollbaccine", image)
    target.create(primary.agent, backup.agent, _LENGTH, soon("create the target"))
    target.remove(primary.agent, backup.agent, soon("remove the target"))
    console.close()


@pytest.mark.slow
def test_a_vendors_image_becomes_a_pair(on: Machines, tmp_path: Path) -> None:
    image = image_here(tmp_path)
    builder = PairBuilder(
        on.hypervisor, on.live, image, Accelerator.TCG, tmp_path, boot_timeout_s=_BOOT_TIMEOUT_S
    )
    pair = builder.boot("cloud")
    try:
        check(pair, image)
    finally:
        pair.close()
