# SPDX-License-Identifier: Apache-2.0
"""Machines as libvirt is told of them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from harness.vm.domain_xml import (
    AGENT_PORT,
    METADATA_URI,
    SIDE_PORT,
    Owner,
    domain_xml,
    link_xml,
    owner_of,
)
from harness.vm.ports import Accelerator, DiskSpec, LinkSpec, MachineSpec

SPEC = MachineSpec(
    name="harness-0ddba11-0-1-primary",
    kernel=Path("/boot/vmlinuz"),
    initrd=Path("/boot/initrd"),
    command_line="console=ttyS0 panic=-1",
    accelerator=Accelerator.TCG,
    console=Path("/live/primary.log"),
    channel=Path("/live/primary.sock"),
    owner="0ddba11",
    memory_mib=768,
)
ODD = Path("/a \"b\" 'c' <d> & é/e;f")


def parsed(**changes: object) -> ET.Element:
    return ET.fromstring(domain_xml(replace(SPEC, **changes)))  # type: ignore[arg-type]


def only(root: ET.Element, path: str) -> ET.Element:
    found = root.findall(path)
    assert len(found) == 1, path
    return found[0]


@pytest.mark.parametrize(
    ("accelerator", "kind", "cpu"),
    [(Accelerator.KVM, "kvm", "host-passthrough"), (Accelerator.TCG, "qemu", "custom")],
)
def test_accelerators(accelerator: Accelerator, kind: str, cpu: str) -> None:
    root = parsed(accelerator=accelerator)
    assert (root.get("type"), only(root, "cpu").get("mode")) == (kind, cpu)


def test_emulated_processor_has_what_ciphers_use_and_no_fast_string_operations() -> None:
    root = parsed(accelerator=Accelerator.TCG)
    features = {feature.get("name") for feature in root.findall("cpu/feature")}
    assert {"aes", "pclmuldq"} <= features
    assert not {"erms", "fsrm", "smap", "avx"} & features


def test_boot_and_memory() -> None:
    root = parsed()
    assert only(root, "name").text == SPEC.name
    assert (only(root, "memory").text, only(root, "memory").get("unit")) == ("768", "MiB")
    assert only(root, "os/kernel").text == "/boot/vmlinuz"
    assert only(root, "os/initrd").text == "/boot/initrd"
    assert only(root, "os/cmdline").text == "console=ttyS0 panic=-1"


def test_a_guest_that_ends_stays_gone() -> None:
    root = parsed()
    assert {only(root, f"on_{event}").text for event in ("poweroff", "reboot", "crash")} == {
        "destroy"
    }


def test_disks_in_their_order() -> None:
    disks = (
        DiskSpec(Path("/d/own.img")),
        DiskSpec(Path("/d/control.img"), shareable=True),
        DiskSpec(Path("/d/seen.img"), read_only=True, shareable=True),
    )
    found = [
        (
            only(disk, "source").get("file"),
            only(disk, "target").get("dev"),
            disk.find("readonly") is not None,
            disk.find("shareable") is not None,
        )
        for disk in parsed(disks=disks).findall("devices/disk")
    ]
    assert found == [
        ("/d/own.img", "vda", False, False),
        ("/d/control.img", "vdb", False, True),
        ("/d/seen.img", "vdc", True, True),
    ]


def test_both_ends_of_the_link_fit() -> None:
    near, far = (
        only(parsed(link=link), "devices/interface")
        for link in (
            LinkSpec(1001, 1002, "52:54:00:00:00:01"),
            LinkSpec(1002, 1001, "52:54:00:00:00:02"),
        )
    )
    for one, other in ((near, far), (far, near)):
        assert one.get("type") == "udp"
        assert only(one, "source").get("port") == only(other, "source/local").get("port")
        assert {only(one, "source").get("address"), only(one, "source/local").get("address")} == {
            "127.0.0.1"
        }
    assert only(near, "mac").get("address") != only(far, "mac").get("address")


def test_no_link_no_network() -> None:
    assert parsed().findall("devices/interface") == []


def test_console_and_channel() -> None:
    root = parsed()
    serial = only(root, "devices/serial")
    assert (serial.get("type"), only(serial, "source").get("path")) == ("file", "/live/primary.log")
    channel = only(root, "devices/channel")
    assert only(channel, "source").get("path") == "/live/primary.sock"
    assert only(channel, "target").get("name") == AGENT_PORT


def test_a_console_for_people_is_logged_all_the_same() -> None:
    serial = only(parsed(console_socket=Path("/live/primary-console.sock")), "devices/serial")
    source, log = only(serial, "source"), only(serial, "log")
    assert serial.get("type") == "unix"
    assert (source.get("mode"), source.get("path")) == ("bind", "/live/primary-console.sock")
    assert (log.get("file"), log.get("append")) == ("/live/primary.log", "on")


def test_a_disk_says_its_format() -> None:
    disks = (DiskSpec(Path("/d/own.img")), DiskSpec(Path("/d/root.qcow2"), format="qcow2"))
    drivers = parsed(disks=disks).findall("devices/disk/driver")
    # A format that libvirt has to guess is one that a guest may have written there.
    assert [driver.get("type") for driver in drivers] == ["raw", "qcow2"]


def test_a_guest_that_boots_by_itself() -> None:
    disks = (DiskSpec(Path("/d/own.img")), DiskSpec(Path("/d/root.qcow2"), boot=True))
    root = parsed(kernel=None, initrd=None, disks=disks)
    assert [child.tag for child in only(root, "os")] == ["type"]
    # The disks of the target come first, and there is nothing on them to boot.
    assert [disk.find("boot") is not None for disk in root.findall("devices/disk")] == [False, True]


def test_a_side_channel_is_a_second_port() -> None:
    channels = parsed(side_channel=Path("/live/primary-1.sock")).findall("devices/channel")
    assert [
        (only(channel, "source").get("path"), only(channel, "target").get("name"))
        for channel in channels
    ] == [("/live/primary.sock", AGENT_PORT), ("/live/primary-1.sock", SIDE_PORT)]


def test_over_streams_no_path_of_this_host_is_named() -> None:
    spec = replace(SPEC, side_channel=Path("/live/primary-1.sock"))
    root = ET.fromstring(domain_xml(spec, streams=True))
    assert only(root, "devices/serial").get("type") == "pty"
    assert "/live" not in ET.tostring(root, encoding="unicode")
    channels = root.findall("devices/channel")
    assert [only(channel, "target").get("name") for channel in channels] == [AGENT_PORT, SIDE_PORT]
    assert {channel.get("type") for channel in channels} == {"unix"}


def test_a_link_may_have_an_address_of_its_own() -> None:
    link = LinkSpec(1001, 1002, "52:54:00:00:00:01", "127.8.9.10")
    for interface in (
        only(parsed(link=link), "devices/interface"),
        ET.fromstring(link_xml(link, True)),
    ):
        ends = {
            only(interface, "source").get("address"),
            only(interface, "source/local").get("address"),
        }
        assert ends == {"127.8.9.10"}


def test_a_pulled_cable_changes_nothing_else() -> None:
    link = LinkSpec(1001, 1002, "52:54:00:00:00:01")
    running = only(parsed(link=link), "devices/interface")
    for up, state in ((True, "up"), (False, "down")):
        changed = ET.fromstring(link_xml(link, up))
        element = only(changed, "link")
        assert element.get("state") == state
        changed.remove(element)
        assert ET.tostring(changed) == ET.tostring(running)


def test_odd_paths_arrive_as_they_are() -> None:
    root = parsed(
        kernel=ODD / "k", console=ODD / "c", channel=ODD / "s", disks=(DiskSpec(ODD / "d"),)
    )
    assert only(root, "os/kernel").text == str(ODD / "k")
    assert only(root, "devices/serial/source").get("path") == str(ODD / "c")
    assert only(root, "devices/channel/source").get("path") == str(ODD / "s")
    assert only(root, "devices/disk/source").get("file") == str(ODD / "d")


def test_the_owner_is_found_again() -> None:
    element = only(parsed(owner="a&b"), f"metadata/{{{METADATA_URI}}}run")
    assert owner_of(ET.tostring(element, encoding="unicode")) == Owner("", "a&b")
    there = ET.fromstring(domain_xml(SPEC, place="01234567"))
    element = only(there, f"metadata/{{{METADATA_URI}}}run")
    assert owner_of(ET.tostring(element, encoding="unicode")) == Owner("01234567", SPEC.owner)


@pytest.mark.parametrize("foreign", ["<other/>", "", "no xml", "<a:b xmlns:a='urn:x' name='y'/>"])
def test_what_is_not_ours_has_no_owner(foreign: str) -> None:
    assert owner_of(foreign) is None
