# SPDX-License-Identifier: Apache-2.0
"""Original mode gives the published generator's multiset; figures measured from that generator."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ace_workloads.digest import digest_texts
from ace_workloads.ops import Mode
from ace_workloads.registry import load_suite
from ace_workloads.suite import Suite

pytestmark = pytest.mark.whole

SEQ1 = ("ace-seq1", 435, 54_188, "cde3d6e25f94821d5d4625269b22a06895a9d2672cd1a8b8d5b20736057b6e9a")
SEQ1_NESTED = (
    "ace-seq1-nested",
    587,
    77_969,
    "a7741f675c06732945e908b76867033bf0b076e7eaf654372c8af2cd87415ada",
)
SEQ2 = (
    "ace-seq2",
    466_382,
    109_071_395,
    "310dd76a8383b5f8491e2546efaf60a2ee6ed2d24e29c0ef03778bfb025af284",
)
SEQ2_NESTED = (
    "ace-seq2-nested",
    909_362,
    227_179_259,
    "5768209087fd8b7128b31c1c71e08b86b5a7c6667e6e836b85f4aaef6c728f65",
)
SEQ3 = (
    "ace-seq3",
    18_654_174,
    5_376_003_045,
    "508ea126b491c11573439fac99d3853105b8db1b4f21fde321702bd6c96bca8d",
)
SEQ3_NESTED = (
    "ace-seq3-nested",
    40_857_390,
    12_384_480_074,
    "d5dd2706b85a2f612a1b9a9acc9b46fa143a929114722f98ff006a1c232a8979",
)


def original(name: str) -> Suite:
    return load_suite(name, mode=Mode.ORIGINAL)


@pytest.mark.parametrize(
    ("name", "workloads", "canonical_bytes", "sum_digest"),
    [
        SEQ1,
        SEQ1_NESTED,
        SEQ2,
        pytest.param(*SEQ2_NESTED, marks=pytest.mark.slow),
        pytest.param(*SEQ3, marks=pytest.mark.slow),
        pytest.param(*SEQ3_NESTED, marks=pytest.mark.slow),
    ],
)
def test_suite_has_the_reference_digest(
    name: str, workloads: int, canonical_bytes: int, sum_digest: str
) -> None:
    digest = digest_texts(original(name).texts())
    assert digest.workloads == workloads
    assert digest.canonical_bytes == canonical_bytes
    assert digest.sum_digest == sum_digest


def list_digest(suite: Suite, *, distinct: bool) -> str:
    """sha256 of the sorted list of the texts' sha256, one a line."""
    digests = [hashlib.sha256(text.encode()).hexdigest() for text in suite.texts()]
    chosen = sorted(set(digests) if distinct else digests)
    return hashlib.sha256("".join(f"{digest}\n" for digest in chosen).encode()).hexdigest()


@pytest.mark.parametrize(
    ("name", "distinct", "expected"),
    [
        ("ace-seq1", False, "7780accad94564f3050670624f6e84c361901d3c6530a7cd80bee5b93cbd359d"),
        ("ace-seq1", True, "9997f7a705d186ca1b0bd8eefde0e981494f350d452d784ffadffb6e55389ea7"),
        (
            "ace-seq1-nested",
            False,
            "94c1f048012dab19aa07c0d4682ecf1833811e2ae7f2552a31a6d4e75a1aa122",
        ),
        (
            "ace-seq1-nested",
            True,
            "36abee4cdc969238e25abf0bce7b7f35a2c874825d1905b6cd7127b3162381e1",
        ),
    ],
)
def test_suite_has_the_reference_list(name: str, distinct: bool, expected: str) -> None:
    assert list_digest(original(name), distinct=distinct) == expected


@pytest.mark.parametrize(
    ("name", "distinct"), [("ace-seq1", 423), ("ace-seq1-nested", 569)], ids=str
)
def test_distinct_texts_are_counted_on_request(name: str, distinct: int) -> None:
    assert digest_texts(original(name).texts(), distinct=True).distinct == distinct
    assert digest_texts(original(name).texts()).distinct is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "distinct"), [("ace-seq2", 436_978), ("ace-seq2-nested", 843_922)], ids=str
)
def test_distinct_texts_of_large_suites(name: str, distinct: int) -> None:
    assert digest_texts(original(name).texts(), distinct=True).distinct == distinct


DEMO = """
name = "demo"
length = {length}
ops = ["link", "falloc"]
first_files = {first}
second_files = ["A/bar", "A/C/bar"]
second_dirs = ["B", "A/C"]
falloc_modes = ["FALLOC_FL_ZERO_RANGE|FALLOC_FL_KEEP_SIZE"]
reach = "used"
reuse = {reuse}
"""


@pytest.mark.parametrize(
    ("length", "first", "workloads", "expected"),
    [
        (1, '["foo"]', 18, "148e53c202f38f1b0cf766a21534ecc76e6b84988468f92e1e8024a6f6de9530"),
        (2, '["foo"]', 710, "e8521252f04a18c11d0383ed5ca5b17196db45454585eefe0c4bc865ccac8276"),
        (
            2,
            '["foo", "A/C/foo"]',
            2268,
            "5aca1f115efb0dacfd0a7edab2a650d152098ff9c0c0678beae1a78fe0ca7ef0",
        ),
        (
            3,
            '["foo"]',
            16_422,
            "055d8fbffcd5860cde341103aff532ee4eb9a6f61a6d3017a3cab0c6881189c8",
        ),
    ],
)
def test_the_demo_bounds_as_a_file_have_the_reference_list(
    length: int, first: str, workloads: int, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "demo.toml"
    path.write_text(DEMO.format(length=length, first=first, reuse=str(length == 3).lower()))
    suite = load_suite(path, mode=Mode.ORIGINAL)
    assert suite.count() == workloads
    assert list_digest(suite, distinct=False) == expected


@pytest.mark.parametrize(
    ("index", "skeleton", "text"),
    [
        (
            49,
            "falloc",
            "open foo O_RDWR|O_CREAT 0777\nwrite foo 0 32768\n"
            "falloc foo FALLOC_FL_ZERO_RANGE|FALLOC_FL_KEEP_SIZE 30768 5000\n"
            "opendir test 0777\nfsync test\ncheckpoint 1\nclose foo\nclose test\n",
        ),
        (
            173,
            "mmapwrite",
            "open foo O_RDWR|O_CREAT 0777\nwrite foo 0 32768\n"
            "mmapwrite foo 32768 32768\ncheckpoint 1\nclose foo\n",
        ),
    ],
)
def test_texts_spelt_out(index: int, skeleton: str, text: str) -> None:
    suite = original("ace-seq1")
    assert suite.workload(index).skeleton == skeleton
    found = {workload.canonical_text for workload in suite if workload.skeleton == skeleton}
    assert text in found


@pytest.mark.parametrize(
    ("op", "first", "last"),
    [
        ("creat", 1, 8),
        ("mkdir", 9, 12),
        ("falloc", 13, 132),
        ("write", 133, 156),
        ("link", 189, 266),
        ("rename", 307, 403),
        ("truncate", 420, 435),
    ],
)
def test_ops_keep_the_numbers_of_the_original(op: str, first: int, last: int) -> None:
    suite = original("ace-seq1")
    assert [suite.workload(index).skeleton for index in (first, last)] == [op, op]
    numbers = [workload.index for workload in suite if workload.skeleton == op]
    assert numbers == list(range(first, last + 1))
