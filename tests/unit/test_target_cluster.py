# SPDX-License-Identifier: Apache-2.0
"""Table lines and conditions of the nodes of a cluster that come and go."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.target.base import Line
from harness.target.rollbaccine import DEFECTS
from harness.target.rollbaccine_cluster import RollbaccineCluster

ADDRESSES = ("10.77.0.1", "10.77.0.2")
MIB = 1 << 20


def made(**changes: object) -> RollbaccineCluster:
    return RollbaccineCluster("/m.ko", ADDRESSES, **changes)  # type: ignore[arg-type]


def start(
    cluster: RollbaccineCluster, place: int, create: bool, suspend: bool = True
) -> list[Line]:
    return cluster.start_lines(place, length=MIB, create=create, suspend=suspend)


def table(lines: list[Line]) -> list[str]:
    return lines[-1][-1].split()


def test_the_nodes_fit_together() -> None:
    cluster = made()
    first, second = table(start(cluster, 0, True)), table(start(cluster, 1, False))
    assert first[:5] == ["0", str(MIB // 512), "rollbaccine", "/dev/vda", "primary"]
    assert second[4] == "backup"
    assert (first[5], first[7]) == (second[9], second[10])
    assert (second[5], second[7]) == (first[9], first[10])
    assert first[7].startswith("10.77.0.1:")
    assert second[7].startswith("10.77.0.2:")
    for words in (first, second):
        assert words[8] == "1"
        assert len(words) == 12 + int(words[11])
    assert "create" in first
    assert "create" not in second, "a node that comes back trusts nothing"
    assert table(start(cluster, 0, False))[5] == first[5]
    assert table(start(made(), 0, True))[5] != first[5]


def test_policy_and_key() -> None:
    suspends, fails = (table(start(made(), 0, True, suspend)) for suspend in (True, False))
    assert "on_peer_loss suspend" in " ".join(suspends)
    assert "on_peer_loss error" in " ".join(fails)
    encrypted, plain = (start(made(encryption=on), 1, False) for on in (True, False))
    key = next(line for line in encrypted if line[0] == "key-add")
    assert table(encrypted)[6] == f"logon:{key[2]}"
    assert [line[0] for line in plain] == ["insmod", "dm-create"]
    assert table(plain)[6] == "-"


@pytest.mark.parametrize("defect", sorted(DEFECTS))
def test_a_defect_is_for_the_roles_that_can_have_it(defect: str) -> None:
    cluster = made(defect=defect)
    given = {
        role
        for create, role in ((True, "primary"), (False, "backup"))
        if start(cluster, 0, create)[-1][-1].endswith(f"fault {defect}")
    }
    assert DEFECTS[defect] in given
    if defect in ("early_ack", "drop_write", "corrupt_byte"):
        assert len(given) == 1, "the module refuses these in the other role"
    if defect in ("ignore_epoch", "stale_tag"):
        assert len(given) == 2, "roles move"


def test_an_unknown_defect_is_refused() -> None:
    with pytest.raises(UsageError):
        made(defect="nonsense")


def test_who_may_be_promoted() -> None:
    cluster = made()
    assert cluster.promotable({"state": "lost", "missing": "0"})
    assert not cluster.promotable({"state": "syncing", "missing": "0"})
    assert not cluster.promotable({"state": "connected", "missing": "3"})


def test_quiet_with_all_that_was_issued() -> None:
    (line,) = made().quiet_lines(5000, {"issued": "17"})
    assert line[2:] == ("5000", "received>=17", "received==applied")
    (line,) = made().quiet_lines(5000, None)
    assert line[2:] == ("5000", "received==applied")
