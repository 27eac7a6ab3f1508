# SPDX-License-Identifier: Apache-2.0
"""Core ops and persistence ops in words, as listed suites write them.

``creat A/foo``, ``falloc foo FALLOC_FL_KEEP_SIZE append``, ``write foo overlap_extend``,
``link foo A/bar``, ``truncate foo unaligned``; ``fsync A``, ``sync``, ``none``. ``test`` is the
mount point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ace_workloads.bounds import FALLOC_MODES, Cut, Extent
from ace_workloads.names import is_known
from ace_workloads.ops import NO_PERSIST, SELF_PERSISTED, SYNC, CoreOp, OpKind, Persist, Verb

_ROOT = "test"
_PAIRED = frozenset({OpKind.LINK, OpKind.SYMLINK, OpKind.RENAME})
_WITH_EXTENT = frozenset({OpKind.WRITE, OpKind.DWRITE, OpKind.MMAPWRITE})


def describe_op(op: CoreOp) -> str:
    """The words of a core op."""
    return " ".join(word for word in (op.kind, op.path, op.path2, op.flags, op.option) if word)


def describe_persist(persist: Persist) -> str:
    """The words of a persistence op; empty after an op that is its own persistence point."""
    if persist == SELF_PERSISTED:
        return ""
    if persist in (SYNC, NO_PERSIST):
        return persist.verb
    return f"{persist.verb} {persist.path or _ROOT}"


def parse_entry(lines: Sequence[str]) -> tuple[tuple[CoreOp, ...], tuple[Persist, ...]]:
    """A workload from alternating core ops and persistence ops.

    No persistence op follows mmapwrite and core fdatasync. ValueError says which line is wrong.
    """
    ops: list[CoreOp] = []
    persists: list[Persist] = []
    rest = list(lines)
    while rest:
        ops.append(parse_op(rest.pop(0)))
        if ops[-1].kind.persists_itself:
            persists.append(SELF_PERSISTED)
        elif rest:
            persists.append(parse_persist(rest.pop(0)))
        else:
            raise ValueError(f"no persistence op after {describe_op(ops[-1])!r}")
    if not ops or persists[-1] == NO_PERSIST:
        raise ValueError("a workload ends with a persistence op other than none")
    return tuple(ops), tuple(persists)


def parse_op(text: str) -> CoreOp:
    """The core op that ``text`` describes; ValueError if there is none."""
    word, *arguments = text.split()
    try:
        kind = OpKind(word)
    except ValueError:
        raise ValueError(f"no such core op: {text!r}") from None
    checks: list[Callable[[str], bool]] = [is_known]
    if kind in _PAIRED:
        checks.append(is_known)
    elif kind is OpKind.FALLOC:
        checks += [FALLOC_MODES.__contains__, _is_extent]
    elif kind in _WITH_EXTENT:
        checks.append(_is_extent)
    elif kind is OpKind.TRUNCATE:
        checks.append(tuple(Cut).__contains__)
    good = [check(argument) for check, argument in zip(checks, arguments, strict=False)]
    if len(arguments) != len(checks) or not all(good):
        raise ValueError(f"wrong arguments: {text!r}")
    if kind in _PAIRED:
        return CoreOp(kind, *arguments)
    flags = arguments[1] if kind is OpKind.FALLOC else ""
    return CoreOp(kind, arguments[0], option=arguments[-1] if checks[1:] else "", flags=flags)


def _is_extent(text: str) -> bool:
    return text in tuple(Extent)


def parse_persist(text: str) -> Persist:
    """The persistence op that ``text`` describes; ValueError if there is none."""
    match text.split():
        case ["sync"]:
            return SYNC
        case ["none"]:
            return NO_PERSIST
        case [Verb.FSYNC | Verb.FDATASYNC as word, path] if path == _ROOT or is_known(path):
            return Persist(Verb(word), "" if path == _ROOT else path)
    raise ValueError(f"no such persistence op: {text!r}")
