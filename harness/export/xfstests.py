# SPDX-License-Identifier: Apache-2.0
"""Workloads as tests of xfstests: what is in the files. Pure, and the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ace_workloads.listing import describe_op, describe_persist
from ace_workloads.ops import Step, Verb
from ace_workloads.workload import Workload
from harness.export.table import crash_lines, table_lines
from harness.oracle.model import execute

MOST_STEPS = 99
"""The salt of the data goes above the step's number."""

_MODE = 0o777
_QUICK_CRASHES = 8
"""A test of more crashes is not in group quick, which is for half a minute at most."""

_GUARDS: dict[str, str] = {
    "link": "_require_hardlinks",
    "symlink": "_require_symlinks",
    "mknod": "_require_mknod",
    "dwrite": "_require_odirect 4096",
    "mmapwrite": '_require_xfs_io_command "falloc"',
    "fsetxattr": "_require_attrs user",
    "removexattr": "_require_attrs user",
    "falloc 0": '_require_xfs_io_command "falloc"',
    "falloc FALLOC_FL_KEEP_SIZE": '_require_xfs_io_command "falloc" "-k"',
    "falloc FALLOC_FL_ZERO_RANGE": '_require_xfs_io_command "fzero"',
    "falloc FALLOC_FL_ZERO_RANGE|FALLOC_FL_KEEP_SIZE": '_require_xfs_io_command "fzero"',
    "falloc FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE": '_require_xfs_io_command "fpunch"',
}
"""What a step needs -> the guard to ask for it."""

_GROUPS: dict[str, str] = {
    "fsetxattr": "attr",
    "link": "hardlink",
    "mmapwrite": "mmap",
    "falloc 0": "prealloc",
    "falloc FALLOC_FL_KEEP_SIZE": "prealloc",
    "falloc FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE": "punch",
    "rename": "rename",
    "symlink": "symlink",
    "falloc FALLOC_FL_ZERO_RANGE": "zero",
    "falloc FALLOC_FL_ZERO_RANGE|FALLOC_FL_KEEP_SIZE": "zero",
}

_SCRIPT = """\
#! /bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# FS QA Test {name}
#
{about}
#
# shellcheck disable=SC2154	# tmp is the preamble's
# shellcheck source=/dev/null
. ./common/preamble
_begin_fstest {groups}

# Override the default cleanup function.
_cleanup()
{{
	_ace_cleanup
	cd /
	rm -r -f "$tmp".*
}}

# Import common functions.
{imports}

_require_scratch
_ace_require
{guards}
_ace_begin

{runs}_exit 0
"""

MAKEFILE = """\
# SPDX-License-Identifier: Apache-2.0
# The group list comes with these tests: nothing to build.

TOPDIR = ../..
include $(TOPDIR)/include/builddefs

HERE = {group}
TARGET = $(PKG_LIB_DIR)/$(TESTS_DIR)/$(HERE)

default:

include $(BUILDRULES)

install: default
	$(INSTALL) -m 755 -d $(TARGET)
	for test in *.out; do $(INSTALL) -m 755 $${{test%.out}} $(TARGET) || exit; done
	for file in *.out group.list; do $(INSTALL) -m 644 $$file $(TARGET) || exit; done

install-dev install-lib:
"""

GROUP_LIST_HEAD = "# Which groups each test is in, as its own first lines say.\n\n"


@dataclass(frozen=True, slots=True)
class Test:
    """One numbered test."""

    name: str
    groups: tuple[str, ...]
    script: str
    golden: str
    """What it prints when all is well."""


def obstacle(workload: Workload) -> str | None:
    """Why a workload cannot be a test, None where it can."""
    steps = workload.steps
    if len(steps) > MOST_STEPS:
        return f"{len(steps)} steps, more than {MOST_STEPS}"
    if not crash_lines(steps):
        return "it has no persistence point"
    if errors := execute(steps).errors:
        line = min(errors)
        return f"step {line} ({steps[line - 1].verb}) can only fail with {errors[line]}"
    for line, step in enumerate(steps, 1):
        if _with_arguments(step) not in _GUARDS and step.verb is Verb.FALLOC:
            return f"step {line}: no program does falloc {step.flags}"
        if step.mode not in (0, _MODE):
            return f"step {line}: its mode is not {_MODE:04o}"
    return None


def build_test(name: str, workloads: Sequence[Workload]) -> Test:
    """The test ``name`` with these workloads, none of which has an obstacle."""
    steps = [step for workload in workloads for step in workload.steps]
    groups = _groups(steps)
    files = ["attr", "ace"] if "attr" in groups else ["ace"]
    script = _SCRIPT.format(
        name=name,
        about="\n".join(f"# {line}".rstrip() for line in _about(workloads)),
        groups=" ".join(groups),
        imports="\n".join(f"# shellcheck source=/dev/null\n. ./common/{file}" for file in files),
        guards="".join(f"{guard}\n" for guard in _guards(steps)),
        runs="".join(f"{_run(workload)}\n" for workload in workloads),
    )
    golden = f"QA output created by {name}\n" + "".join(_passed(w) for w in workloads)
    return Test(name, groups, script, golden)


def _passed(workload: Workload) -> str:
    points = len(crash_lines(workload.steps))
    return f"{workload.id}: {points} of {points} crash points as promised\n"


def _about(workloads: Sequence[Workload]) -> Iterator[str]:
    first = workloads[0]
    if len(workloads) > 1:
        last = workloads[-1].id
        yield f"{len(workloads)} crash-consistency workloads, from {first.id} to {last}."
        return
    words = (
        word
        for op, persist in zip(first.core, first.persist, strict=True)
        for word in (describe_op(op), describe_persist(persist))
        if word
    )
    yield f"Crash-consistency workload {first.id}:"
    yield "; ".join(words)


def _groups(steps: Sequence[Step]) -> tuple[str, ...]:
    crashes = len(crash_lines(steps))
    special = {_GROUPS[word] for word in map(_with_arguments, steps) if word in _GROUPS}
    quick = ("quick",) if crashes <= _QUICK_CRASHES else ()
    return ("auto", *quick, "log", "metadata", *sorted(special))


def _guards(steps: Sequence[Step]) -> list[str]:
    needed = set(map(_with_arguments, steps))
    return list(dict.fromkeys(guard for word, guard in _GUARDS.items() if word in needed))


def _with_arguments(step: Step) -> str:
    return f"{step.verb} {step.flags}" if step.verb is Verb.FALLOC else str(step.verb)


def _run(workload: Workload) -> str:
    lines = [*map(step_line, workload.steps), *table_lines(workload.steps)]
    text = "".join(f"{line}\n" for line in lines)
    return f"_ace_run {workload.id} << 'END'\n{text}END\n"


def step_line(step: Step) -> str:
    """The step as ``common/ace`` reads it: J-lang with paths, ``.`` for the mount point."""
    verb = Verb.UNLINK if step.verb is Verb.REMOVE else step.verb
    words = ["do", str(verb)]
    if step.verb in (Verb.CHECKPOINT, Verb.SYNC, Verb.NONE):
        return " ".join(words)
    words.append(step.path or ".")
    if step.verb in (Verb.LINK, Verb.SYMLINK, Verb.RENAME):
        words.append(step.path2 or ".")
    elif step.verb is Verb.FALLOC:
        words += [step.flags, str(step.offset), str(step.length)]
    elif step.verb in (Verb.WRITE, Verb.DWRITE, Verb.MMAPWRITE):
        words += [str(step.offset), str(step.length)]
    elif step.verb is Verb.TRUNCATE:
        words.append(str(step.length))
    return " ".join(words)
