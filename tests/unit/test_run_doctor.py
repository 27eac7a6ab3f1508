# SPDX-License-Identifier: Apache-2.0
"""What `harness doctor` makes of a host: limits, ways out, exit status."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from harness.build.container import Where
from harness.build.full import FULL_MEMORY_MIB
from harness.build.profile import CloudSource, Profile, load_profile
from harness.cli.main import run_command_line
from harness.config import StateDir
from harness.run import doctor
from harness.run.doctor import Checkup, Health
from harness.vm.ports import Accelerator, MachineSpec

GOOD, NOTE, BAD = Health.GOOD, Health.NOTE, Health.BAD


@pytest.mark.parametrize(
    ("version", "health"), [((3, 10, 14), BAD), ((3, 11, 0), GOOD), ((3, 13, 1), GOOD)]
)
def test_python(version: tuple[int, ...], health: Health) -> None:
    assert doctor.python_version(version).health is health


def test_a_program_that_is_missing_has_a_way_out() -> None:
    assert doctor.program_there("mmdebstrap", "/usr/bin/mmdebstrap").health is GOOD
    assert doctor.program_there("mmdebstrap", None) == Checkup(
        "mmdebstrap", BAD, "is not installed", "make setup"
    )


def test_each_pair_needs_memory() -> None:
    """Two guests of 512 MiB a pair are the least."""
    assert MachineSpec.__dataclass_fields__["memory_mib"].default == 512
    assert doctor.memory(1023, 1, 512).health is BAD
    assert doctor.memory(2048, 1, 512).health is GOOD
    assert doctor.memory(2048, 3, 512).health is BAD
    assert "--pairs" in doctor.memory(2048, 3, 512).way_out
    assert "--pairs" not in doctor.memory(100, 1, 512).way_out
    assert doctor.memory(2048, 1, FULL_MEMORY_MIB).health is BAD, "two full guests of 1 GiB"


def test_what_is_built_and_the_suite_need_disk() -> None:
    assert doctor.disk(1000, True, 300).health is GOOD
    assert doctor.disk(1000, False, 300).health is BAD
    assert doctor.disk(1000, True, 200_000).health is BAD, "over 1 GiB of records"
    assert doctor.disk(10_000, False, 200_000).health is GOOD
    assert doctor.disk(1000, True, 300, full_mib=1024).health is BAD


def test_what_full_guests_need_beyond_that(tmp_path: Path) -> None:
    def seen(profile: Profile, missing: str = "", status: int | str = 200) -> dict[str, Health]:
        checks = doctor.full_guests(
            profile,
            StateDir(tmp_path),
            lambda program: None if program == missing else f"/usr/bin/{program}",
            lambda address: status,
        )
        return {checkup.name: checkup.health for checkup in checks}

    own = load_profile("debian-12")
    assert seen(own) == {"mke2fs": GOOD, "qemu-img": GOOD}
    assert seen(own, "mke2fs")["mke2fs"] is BAD
    vendors = replace(own, cloud=CloudSource("https://images.example/x.img", "0" * 64))
    assert seen(vendors) == {"qemu-img": GOOD, "xorriso": GOOD, "cloud image": GOOD}
    assert seen(vendors, status="Name or service not known")["cloud image"] is BAD
    (tmp_path / "cache" / f"cloud-{'0' * 16}").mkdir(parents=True)
    assert "cloud image" not in seen(vendors, status=404), "it is there already"


@pytest.mark.parametrize("status", [404, "Name or service not known"])
def test_an_archive_that_cannot_be_reached(status: int | str) -> None:
    profile = load_profile("debian-12")
    asked: list[str] = []

    def answer(address: str) -> int | str:
        asked.append(address)
        return status

    checkup = doctor.archive(profile, answer)
    assert checkup.health is BAD
    assert str(status) in checkup.found
    assert "HARNESS_MIRROR" in checkup.way_out
    assert asked == [f"{profile.archive.rstrip('/')}/dists/{profile.suite}/InRelease"]
    assert doctor.archive(profile, lambda address: 200).health is GOOD


def test_an_address_that_leads_nowhere_is_a_reason_not_a_traceback(tmp_path: Path) -> None:
    for address in ("http://127.0.0.1:1/dists", "no address", f"file://{tmp_path}/none"):
        assert isinstance(doctor._status_of(address), str)


def test_left_over_guests_are_named_with_the_command() -> None:
    assert doctor.left_over(0).health is GOOD
    assert doctor.left_over(2) == Checkup(
        "left-over guests", NOTE, "2 killed run(s) left files or guests behind", "harness clean"
    )


def test_a_kvm_that_never_boots_a_guest_is_called_so(tmp_path: Path) -> None:
    device = tmp_path / "kvm"
    assert doctor.kvm(device, None).found == f"there is no {device}"
    device.touch()
    assert doctor.kvm(device, Accelerator.KVM).health is GOOD
    trap = doctor.kvm(device, Accelerator.TCG)
    assert trap.health is NOTE, "everything works with TCG"
    assert "never boots a guest" in trap.found
    assert "TCG" in trap.way_out
    assert "not tried" in doctor.kvm(device, None, "not tried").found


def test_a_kvm_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "kvm"
    device.touch()
    # As for a user who is not in its group; root may open everything.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "usermod" in doctor.kvm(device, None).way_out


def test_a_daemon_that_probes_qemu_at_every_start_is_called_so() -> None:
    assert doctor.probing((12.0, 0.1)).health is GOOD, "the first time it has to"
    trap = doctor.probing((4.0, 3.9))
    assert trap.health is NOTE
    assert "/dev/kvm" in trap.found
    assert "usermod -aG kvm" in trap.way_out


def test_where_the_module_is_built() -> None:
    def found(wanted: Where, version: str | None) -> tuple[Health, str]:
        checkup = doctor.module_build(wanted, version)
        return checkup.health, checkup.found

    assert found(Where.AUTO, "docker 20") == (GOOD, "in a container, by docker 20")
    assert found(Where.CONTAINER, "docker 20") == (GOOD, "in a container, by docker 20")
    assert found(Where.LOCAL, "docker 20") == (
        GOOD,
        "in the local build root: as HARNESS_BUILD says",
    )
    assert found(Where.AUTO, None)[0] is GOOD
    assert found(Where.CONTAINER, None) == (BAD, "no container engine answers")
    assert "DOCKER_HOST" in doctor.module_build(Where.CONTAINER, None).way_out


def test_the_pool_there_needs_room() -> None:
    assert doctor.pool("/pool", 10_000).health is GOOD
    full = doctor.pool("/pool", 10)
    assert full.health is BAD
    assert "/pool" in full.found


def test_kvm_of_another_host_is_what_a_guest_was_seen_to_do() -> None:
    assert doctor.kvm_there(Accelerator.KVM).health is GOOD
    assert "no guest boots" in doctor.kvm_there(Accelerator.TCG).found
    assert "none is offered" in doctor.kvm_there(None, "none is offered").found


def test_a_tree_of_xfstests_is_optional_but_must_be_one(tmp_path: Path) -> None:
    assert doctor.xfstests(None).health is NOTE
    assert doctor.xfstests(str(tmp_path)).health is BAD
    assert "check" in doctor.xfstests(str(tmp_path)).found
    (tmp_path / "common").mkdir()
    for name in ("check", "common/rc", "common/preamble"):
        (tmp_path / name).touch()
    assert doctor.xfstests(str(tmp_path)).health is GOOD


def test_json_says_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Checkup("memory", BAD, "none", "buy some")
    monkeypatch.setattr("harness.cli.doctor.examine", lambda patient: iter([bad]))
    assert run_command_line(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "ready": False,
        "checks": [{"name": "memory", "health": "bad", "found": "none", "way_out": "buy some"}],
    }
    assert run_command_line(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "buy some" in shown
    assert "not ready" in shown
    note = Checkup("KVM", NOTE, "slow")
    monkeypatch.setattr("harness.cli.doctor.examine", lambda patient: iter([note]))
    assert run_command_line(["doctor"]) == 0


def test_a_state_directory_that_cannot_be_is_bad_and_ends_what_needs_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    seen = list(doctor.examine(doctor.Patient("debian-12", 10, state_dir=tmp_path / "file" / "x")))
    assert seen[-1].name == "state directory"
    assert seen[-1].health is BAD
    assert "--state-dir" in seen[-1].way_out


def test_an_unknown_profile_is_said_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Checkup("libvirt", GOOD, "7")
    monkeypatch.setattr(doctor, "_libvirt", lambda patient, state, found: driver)
    patient = doctor.Patient("nowhere", 10, state_dir=tmp_path)
    seen = {checkup.name: checkup.health for checkup in doctor.examine(patient)}
    assert seen["profile"] is BAD
    assert seen["libvirt"] is GOOD
    assert "archive" not in seen
    assert "KVM" not in seen


def test_a_driver_that_is_not_there_is_no_traceback(tmp_path: Path) -> None:
    patient = doctor.Patient("debian-12", 10, state_dir=tmp_path, connect="nowhere:///x")
    found = {checkup.name: checkup for checkup in doctor.examine(patient)}
    assert found["libvirt"].health is BAD
    assert "qemu:///system" in found["libvirt"].way_out


@pytest.mark.parametrize("suite", ["ace-seq9", "nowhere.toml"])
def test_an_unknown_suite_is_wrong_usage(suite: str) -> None:
    assert run_command_line(["doctor", "--suite", suite]) == 64
