# SPDX-License-Identifier: Apache-2.0
"""libvirt's domain description of a machine: pure data in, XML text out."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

from harness.vm.ports import Accelerator, DiskSpec, LinkSpec, MachineSpec

AGENT_PORT = "org.harness.agent.0"
SIDE_PORT = "org.harness.agent.1"
METADATA_URI = "urn:harness:domain:1"
# Under emulation every feature costs: a kernel that sees fast string operations, SMAP or AVX uses
# what is slowest to emulate (a mount takes a third longer on the largest model). It sees the first
# of these in AMD's model too, not in this one. What is added here is what the kernel's ciphers and
# checksums gain from even so.
_TCG_MODEL = "kvm64"
_TCG_FEATURES = ("aes", "pclmuldq", "ssse3", "sse4.1", "sse4.2", "rdrand")


def domain_xml(spec: MachineSpec, *, place: str = "", streams: bool = False) -> str:
    """The domain XML of ``spec``; ``place`` says, beside its owner, from where it is run.

    With ``streams`` console and agent are reached over the connection to libvirt instead of files
    of this host; the paths of the spec are not used then.
    """
    domain = ET.Element("domain", type=spec.accelerator.value)
    _text(domain, "name", spec.name)
    _text(domain, "memory", str(spec.memory_mib), unit="MiB")
    _text(domain, "vcpu", "1")
    ET.register_namespace("harness", METADATA_URI)
    metadata = ET.SubElement(domain, "metadata")
    ET.SubElement(metadata, f"{{{METADATA_URI}}}run", owner=spec.owner, place=place)
    boot = ET.SubElement(domain, "os")
    _text(boot, "type", "hvm", arch="x86_64", machine="q35")
    if spec.kernel is not None:
        _text(boot, "kernel", str(spec.kernel))
        _text(boot, "initrd", str(spec.initrd))
        _text(boot, "cmdline", spec.command_line)
    features = ET.SubElement(domain, "features")
    ET.SubElement(features, "acpi")
    _cpu(domain, spec.accelerator)
    # A guest that ends by itself has crashed: it stays gone, never reboots.
    for event in ("on_poweroff", "on_reboot", "on_crash"):
        _text(domain, event, "destroy")
    devices = ET.SubElement(domain, "devices")
    for index, disk in enumerate(spec.disks):
        _disk(devices, disk, f"vd{chr(ord('a') + index)}")
    if spec.link is not None:
        _link(devices, spec.link)
    _console(devices, spec, streams)
    _channel(devices, spec, streams)
    ET.SubElement(devices, "memballoon", model="none")
    rng = ET.SubElement(devices, "rng", model="virtio")
    _text(rng, "backend", "/dev/urandom", model="random")
    return ET.tostring(domain, encoding="unicode")


def _cpu(domain: ET.Element, accelerator: Accelerator) -> None:
    if accelerator is Accelerator.KVM:
        ET.SubElement(domain, "cpu", mode="host-passthrough")
        return
    cpu = ET.SubElement(domain, "cpu", mode="custom", match="exact", check="none")
    _text(cpu, "model", _TCG_MODEL, fallback="forbid")
    for name in _TCG_FEATURES:
        ET.SubElement(cpu, "feature", policy="require", name=name)


def _disk(devices: ET.Element, disk: DiskSpec, target: str) -> None:
    element = ET.SubElement(devices, "disk", type="file", device="disk")
    # The host does not lose power: a flush of the guest needs no flush of the host's disk.
    ET.SubElement(
        element,
        "driver",
        name="qemu",
        type=disk.format,
        cache="unsafe",
        discard="unmap",
        io="threads",
    )
    ET.SubElement(element, "source", file=str(disk.path))
    ET.SubElement(element, "target", dev=target, bus="virtio")
    if disk.boot:
        ET.SubElement(element, "boot", order="1")
    if disk.read_only:
        ET.SubElement(element, "readonly")
    if disk.shareable:
        ET.SubElement(element, "shareable")


def _link(devices: ET.Element, link: LinkSpec) -> None:
    # Datagrams, not a stream between the QEMU processes: there the host's Nagle algorithm holds a
    # small frame back until the frames before it are acknowledged, 40 ms later (measured).
    element = ET.SubElement(devices, "interface", type="udp")
    ET.SubElement(element, "mac", address=link.mac)
    source = ET.SubElement(element, "source", address=link.address, port=str(link.peer_port))
    ET.SubElement(source, "local", address=link.address, port=str(link.port))
    ET.SubElement(element, "model", type="virtio")
    ET.SubElement(element, "rom", enabled="no")


def link_xml(link: LinkSpec, up: bool) -> str:
    """The description of a running machine's end of the link with its cable in, or pulled."""
    devices = ET.Element("devices")
    _link(devices, link)
    element = devices[0]
    ET.SubElement(element, "link", state="up" if up else "down")
    return ET.tostring(element, encoding="unicode")


def _console(devices: ET.Element, spec: MachineSpec, streams: bool) -> None:
    if streams:
        # The only kind of serial line that libvirt opens a stream to.
        serial = ET.SubElement(devices, "serial", type="pty")
    elif spec.console_socket is None:
        serial = ET.SubElement(devices, "serial", type="file")
        ET.SubElement(serial, "source", path=str(spec.console), append="on")
    else:
        serial = ET.SubElement(devices, "serial", type="unix")
        ET.SubElement(serial, "source", mode="bind", path=str(spec.console_socket))
        ET.SubElement(serial, "log", file=str(spec.console), append="on")
    ET.SubElement(serial, "target", port="0")


def _channel(devices: ET.Element, spec: MachineSpec, streams: bool) -> None:
    ET.SubElement(devices, "controller", type="virtio-serial", index="0")
    for path, name in ((spec.channel, AGENT_PORT), (spec.side_channel, SIDE_PORT)):
        if path is not None:
            channel = ET.SubElement(devices, "channel", type="unix")
            if not streams:
                ET.SubElement(channel, "source", mode="bind", path=str(path))
            ET.SubElement(channel, "target", type="virtio", name=name)


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, tag, attributes).text = text


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a domain or a volume is."""

    place: str
    """Host and state directory the run was started with; empty where there is but one."""
    run: str


def owner_of(metadata_xml: str) -> Owner | None:
    """The run named in a domain's metadata element, or None when the domain is not ours."""
    try:
        element = ET.fromstring(metadata_xml)
    except ET.ParseError:
        return None
    run = element.get("owner")
    return None if run is None else Owner(element.get("place", ""), run)
