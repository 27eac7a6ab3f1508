# SPDX-License-Identifier: Apache-2.0
"""Vendors' images: fetched and checked before use, and the seed that makes guests of them."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.build import cloud
from harness.build.download import fetch
from harness.build.profile import CloudSource, load_profile
from harness.build.seed import Identity, make_seed, seed_files
from harness.config import StateDir
from harness.errors import InfraError, UsageError

DATA = bytes(range(256)) * 5000
SUM = hashlib.sha256(DATA).hexdigest()
CLOUD = f"""\
suite = "noble"
archive = "http://archive.example/ubuntu"
security = "http://archive.example/security"
keyring = "/usr/share/keyrings/k.gpg"
kernel_packages = ["linux-image-virtual"]
source = "cloud-image"
image = "https://images.example/noble/guest.img"
sha256 = "{SUM}"
"""


class _Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(DATA)))
        self.end_headers()
        self.wfile.write(DATA if self.path == "/whole" else DATA[:70000])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def test_what_has_the_right_sum_is_taken(server: str, tmp_path: Path) -> None:
    fetch(f"{server}/whole", SUM, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == DATA
    fetch(f"file://{tmp_path}/got", SUM, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == DATA


def test_what_has_another_sum_is_not_kept(server: str, tmp_path: Path) -> None:
    other = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(InfraError) as caught:
        fetch(f"{server}/whole", other, tmp_path / "got")
    for named in (SUM, other, f"{server}/whole"):
        assert named in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "said"),
    [("/missing", "404"), ("/part", "ended after 70000 of 1280000 bytes")],
)
def test_what_cannot_be_had(server: str, tmp_path: Path, path: str, said: str) -> None:
    with pytest.raises(InfraError, match=f"{path} cannot be fetched: .*{said}") as caught:
        fetch(server + path, SUM, tmp_path / "got")
    assert "image = in the profile" in str(caught.value.hint)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/x", "file:///no/such/file", "x:/y"])
def test_where_nobody_is(tmp_path: Path, address: str) -> None:
    with pytest.raises(InfraError, match=f"{address} cannot be fetched"):
        fetch(address, SUM, tmp_path / "got")


def qemu_img(*words: object) -> None:
    subprocess.run(["qemu-img", *map(str, words)], check=True, capture_output=True)


def test_an_image_is_kept_as_a_raw_file(tmp_path: Path) -> None:
    raw, packed = tmp_path / "raw", tmp_path / "packed"
    raw.write_bytes(DATA)
    qemu_img("convert", "-f", "raw", "-O", "qcow2", "-c", raw, packed)
    source = CloudSource(f"file://{packed}", hashlib.sha256(packed.read_bytes()).hexdigest())
    state = StateDir(tmp_path / "state")
    disk = cloud._build_disk(source, state)
    assert disk.read_bytes().rstrip(b"\0") == DATA.rstrip(b"\0")
    assert [path.name for path in disk.parent.iterdir()] == [disk.name], "space for one, not two"
    packed.unlink()
    assert cloud._build_disk(source, state) == disk, "fetched once"


def test_an_image_that_is_a_layer_above_a_file_of_the_host_is_refused(tmp_path: Path) -> None:
    base, layer = tmp_path / "secret", tmp_path / "layer"
    base.write_bytes(DATA)
    qemu_img("create", "-f", "qcow2", "-F", "raw", "-b", base, layer)
    with pytest.raises(InfraError, match=r"the image is only a layer above .*secret"):
        cloud.format_of(layer, "the image")
    outside = tmp_path / "outside"
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={tmp_path / 'data'}", outside, "1M")
    with pytest.raises(InfraError, match=r"only a layer above .*data"):
        cloud.format_of(outside, "the image")
    other = tmp_path / "other"
    qemu_img("create", "-f", "vmdk", other, "1M")
    with pytest.raises(InfraError, match="is vmdk, not qcow2 or raw"):
        cloud.format_of(other, "the image")


def profile_text(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="ascii")
    return str(path)


def test_a_profile_with_a_vendors_image(tmp_path: Path) -> None:
    profile = load_profile(profile_text(tmp_path, CLOUD))
    assert profile.cloud == CloudSource("https://images.example/noble/guest.img", SUM)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("cloud-image", "disc"), "source = 'disc' must be 'cloud-image'"),
        ((SUM, SUM[1:]), "sha256 = .* must be 64 hexadecimal digits"),
        ((f'sha256 = "{SUM}"\n', ""), "key 'sha256' is missing"),
        (('source = "cloud-image"\n', ""), "'image' needs source = 'cloud-image'"),
        (("https://images.example/", "/"), "image = .* must be an address"),
    ],
)
def test_a_profile_that_is_wrong_about_its_image(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    assert change[0] in CLOUD
    with pytest.raises(UsageError, match=said):
        load_profile(profile_text(tmp_path, CLOUD.replace(*change)))


def test_where_the_sum_is_to_be_found_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_profile(profile_text(tmp_path, CLOUD.replace(SUM, "?")))
    assert "https://images.example/noble/SHA256SUMS" in str(caught.value.hint)


def test_a_seed_holds_what_cloud_init_reads_and_what_it_is_to_install(tmp_path: Path) -> None:
    payload = tmp_path / "payload"
    (payload / "src").mkdir(parents=True)
    (payload / "harness-agent").write_bytes(DATA)
    long = "dm-rollbaccine-with-a-name-longer-than-old-discs-allow.c"
    (payload / "src" / long).write_text("x", encoding="ascii")
    seed, out = tmp_path / "seed.iso", tmp_path / "out"
    backup = Identity("backup", "52:54:00:ac:e0:02", "10.77.0.2/24")
    make_seed(seed, payload, backup, tmp_path / "work")
    subprocess.run(
        ["xorriso", "-osirrox", "on", "-indev", seed, "-extract", "/", out],
        check=True, capture_output=True,
    )  # fmt: skip
    assert seed.read_bytes()[16 * 2048 + 40 : 16 * 2048 + 72].strip() == b"cidata"
    assert (out / "payload/harness-agent").read_bytes() == DATA
    assert (out / "payload/src" / long).is_file()
    assert (out / "setup.sh").read_text("ascii").startswith("#!/bin/sh\n")
    for name, text in seed_files(backup).items():
        assert (out / name).read_text("ascii") == text


def test_a_seed_says_who_the_guest_is() -> None:
    one, two = (
        seed_files(Identity(role, mac, address))
        for role, mac, address in (("primary", "aa:01", "10.0.0.1/8"), ("backup", "aa:02", "-"))
    )
    assert "local-hostname: primary\n" in one["meta-data"]
    assert one["meta-data"] != two["meta-data"]
    assert 'macaddress: "aa:02"' in two["network-config"]
    assert "addresses: [10.0.0.1/8]" in one["network-config"]
    # Without this first line cloud-init takes it for something else.
    assert one["user-data"].startswith("#cloud-config\n")
