# SPDX-License-Identifier: Apache-2.0
"""A failing workload as one shell script, for people who do not know the harness.

Each write stores one letter of its own instead of the harness's records: that is easier to read.
Only what a crash must leave is expected; what it may leave is said in a comment.
"""

from __future__ import annotations

import shlex
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ace_workloads.names import is_file
from ace_workloads.ops import Step, Verb
from harness.minimize.shell import HELPERS, MODES, USAGE
from harness.model.tree import FileKind
from harness.oracle.expect import Expectation, Fs
from harness.oracle.history import regions
from harness.oracle.model import XATTR, Model, execute
from harness.oracle.objects import Inode
from harness.oracle.sizes import legal_sizes

_LETTERS = string.ascii_lowercase + string.ascii_uppercase
_ZERO = r"\000"
_WRITES = (Verb.WRITE, Verb.DWRITE, Verb.MMAPWRITE)
_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Reproducer:
    """What a script is made of."""

    name: str
    """Of the script's file."""
    steps: Sequence[Step]
    line: int | None
    """1-based line after which the crash comes; None: all steps run, and devices are compared."""
    fs: str
    mkfs: Sequence[str]
    mount_options: str
    fsck: Sequence[str]
    device_bytes: int
    """Of the device that it was found on."""
    title: str
    """What is wrong, in one line."""
    expected: Sequence[str]
    found: Sequence[str]
    """What was, for people; lines."""
    origin: Sequence[str]
    """Where it was found and how to run it with the harness; lines."""

    def text(self) -> str:
        """The script."""
        upto = len(self.steps) if self.line is None else self.line
        model = execute(self.steps, upto)
        letters = _letters(self.steps[:upto])
        return "".join(
            (
                "#!/bin/sh\n",
                _comment(self._header()),
                "#\n",
                USAGE.replace("NAME", self.name),
                "\nset -eu\n\n",
                f"file_system={self.fs}\n",
                f"mount_options={shlex.quote(self.mount_options)}\n",
                f"compare={'devices' if self.line is None else 'tree'}\n",
                _function("make_file_system", [_command(self.mkfs)]),
                _function("check_file_system", [_command(self.fsck)]),
                "\n# What the primary does, until the crash.\n",
                _function("steps", _step_lines(self.steps[:upto], letters)),
                "\n# What must be there after the crash.\n",
                _function("expected_tree", _tree_lines(model, self.fs, letters)),
                HELPERS,
                MODES,
            )
        )

    def _header(self) -> Iterator[str]:
        yield self.title
        yield ""
        yield "Expected:"
        yield from (f"  {line}" for line in self.expected)
        yield "Found:"
        yield from (f"  {line}" for line in self.found)
        yield ""
        yield from self.origin
        yield f"Found on {self.fs} on a device of {self.device_bytes >> 20} MiB."


def _comment(lines: Iterator[str]) -> str:
    # What guests and tools said goes in here: nothing of it may end the comment.
    safe = ("".join(c if c.isprintable() else "?" for c in line) for line in lines)
    return "".join(f"# {line}".rstrip()[:_WIDTH] + "\n" for line in safe)


def _function(name: str, lines: Iterator[str] | list[str]) -> str:
    body = "".join(f"\t{line}\n" for line in lines)
    return f"{name}() {{\n{body}}}\n"


def _command(words: Sequence[str]) -> str:
    return f'{shlex.join(words)} "$1"'


def _letters(steps: Sequence[Step]) -> dict[int, str]:
    """Line of each write -> the letter it stores."""
    writes = [line for line, step in enumerate(steps, 1) if step.verb in _WRITES]
    return {line: _LETTERS[number % len(_LETTERS)] for number, line in enumerate(writes)}


def _in_dir(path: str) -> str:
    return f'"$dir/{path}"' if path else '"$dir"'


def _step_lines(steps: Sequence[Step], letters: Mapping[int, str]) -> Iterator[str]:
    model = Model()
    points = 0
    for line, step in enumerate(steps, 1):
        if step.verb is Verb.CHECKPOINT:
            points += 1
            yield f"# Persistence point {points}: what was persisted up to here must survive."
        else:
            yield from _step(step, letters.get(line, ""), model)
        model.step(step)
    # Functions that do nothing are no shell; so are those of comments alone.
    yield ":"


def _step(step: Step, letter: str, model: Model) -> Iterator[str]:
    path, other = _in_dir(step.path), _in_dir(step.path2)
    match step.verb:
        case Verb.OPEN:
            if step.path not in model.paths():
                yield f": >{path}"
        case Verb.MKDIR:
            yield f"mkdir {path}"
        case Verb.RMDIR:
            yield f"rmdir {path}"
        case Verb.MKNOD:
            yield f"mknod {path} c 1 3"
        case Verb.UNLINK:
            yield f"rm {path}"
        case Verb.REMOVE:
            yield f"{'rm' if is_file(step.path) else 'rmdir'} {path}"
        case Verb.LINK:
            yield f"ln {path} {other}"
        case Verb.SYMLINK:
            yield f"ln -s {shlex.quote(step.path or '.')} {other}"
        case Verb.RENAME:
            yield from _rename(step, model)
        case Verb.TRUNCATE:
            yield _xfs_io(step.path, f"truncate {step.length}")
        case Verb.FSETXATTR:
            yield f"setfattr -n {XATTR[0]} -v {XATTR[1].decode()} {path}"
        case Verb.REMOVEXATTR:
            yield f"setfattr -x {XATTR[0]} {path}"
        case Verb.FSYNC | Verb.FDATASYNC:
            yield _xfs_io(step.path, str(step.verb), "" if is_file(step.path) else "-r ")
        case Verb.SYNC:
            yield "sync"
        case Verb.FALLOC:
            yield _xfs_io(step.path, f"{_falloc(step.flags)} {step.offset} {step.length}")
        case Verb.WRITE | Verb.DWRITE | Verb.MMAPWRITE:
            yield _write(step, letter)
        case _:
            # Handles come and go with each command here.
            return


def _rename(step: Step, model: Model) -> Iterator[str]:
    names = model.paths()
    if names.get(step.path) == names.get(step.path2, -1):
        yield f"# rename(2) of {step.path} to {step.path2}, names of one file, does nothing"
    else:
        yield f"mv -T {_in_dir(step.path)} {_in_dir(step.path2)}"


def _xfs_io(path: str, command: str, options: str = "") -> str:
    return f"xfs_io {options}-c '{command}' {_in_dir(path)}"


def _falloc(flags: str) -> str:
    keep = " -k" if "KEEP_SIZE" in flags else ""
    if "PUNCH_HOLE" in flags:
        return "fpunch"
    return f"fzero{keep}" if "ZERO_RANGE" in flags else f"falloc{keep}"


def _write(step: Step, letter: str) -> str:
    byte, where = f"0x{ord(letter):02x}", f"{step.offset} {step.length}"
    if step.verb is Verb.MMAPWRITE:
        commands = (
            f"falloc {where}", f"mmap -rw 0 {step.offset + step.length}",
            f"mwrite -S {byte} {where}", f"msync -s {where}",
        )  # fmt: skip
        chained = " ".join(f"-c '{command}'" for command in commands)
        return f"xfs_io {chained} {_in_dir(step.path)} # '{letter}'"
    # In one call, as the workload means it.
    command = f"pwrite -q -b {step.length} -S {byte} {where}"
    options = "-d -s " if step.verb is Verb.DWRITE else ""
    return f"{_xfs_io(step.path, command, options)} # '{letter}'"


def _tree_lines(model: Model, fs: str, letters: Mapping[int, str]) -> Iterator[str]:
    """Checks of what was promised, in the order of the names."""
    expectation = Expectation(model, Fs(fs))
    paths = model.paths()
    bindings = {model.path_of(slot): expectation.binding(slot) for slot in model.slots}
    for path in sorted(bindings):
        binding = bindings[path]
        now = paths.get(path)
        if not binding.promised:
            yield f"# {path}: may be there or not, as it was never persisted"
        elif now is None:
            yield f"is_gone {path}"
        else:
            yield from _object(expectation, path, model.inodes[now], letters)
    yield ":"


def _object(
    expectation: Expectation, path: str, inode: Inode, letters: Mapping[int, str]
) -> Iterator[str]:
    if inode.target is not None:
        yield f"is_link {path} {shlex.quote(inode.target or '.')}"
        return
    if inode.kind is None:
        yield f"is_there {path}"
        return
    yield f"is_dir {path}" if inode.kind is FileKind.DIR else f"is_file {path}"
    if inode.kind is FileKind.FILE:
        spans = expectation.floors.spans(inode.id)
        sizes = legal_sizes(inode, spans).steps
        if len(sizes) == 1:
            yield f"has_size {path} {sizes[0]}"
        for region in regions(inode.changes, spans, inode.size.now()):
            if region.promised:
                byte = letters.get(region.legal[-1], _ZERO)
                yield f"has_bytes {path} {region.start} {region.end} {shlex.quote(byte)}"
    attributes = {value for _, value in inode.xattrs.since(expectation.xattrs_floor(inode))}
    if len(attributes) == 1 and inode.xattrs.since(0) != ((0, ()),):
        (value,) = attributes
        yield f"has_attribute {path} {shlex.quote(value[0][1].decode() if value else '')}"
