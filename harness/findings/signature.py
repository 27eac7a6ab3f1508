# SPDX-License-Identifier: Apache-2.0
"""The signature of a bad case: skeleton, persistence op, kind of violation, class of object."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from urllib.parse import quote, unquote

from ace_workloads.jlang import JlangError, parse_run_section
from ace_workloads.ops import Step, Verb
from harness.errors import UsageError
from harness.findings.root import Root, bad_crash, root_of
from harness.findings.violation import Violation
from harness.model.case import CaseResult, Outcome
from harness.model.verdict import Verdict

_SAFE = "/+"
"""Besides letters, digits and ``._-~``: stays as it is in a signature's text."""
_ERRORS = "surrogatepass"
# Bytes of a path that are no UTF-8 are lone surrogates in all texts.
NO_PERSISTENCE = "none"
"""In place of the persistence op where a case has no crash point."""
_SLUG_CHARS = 60


@dataclass(frozen=True, slots=True, order=True)
class Signature:
    """Written ``creat-rename:fsync:lost:data``: no space, no quote, whatever the parts hold."""

    skeleton: str
    persistence: str
    """sync, fsync, fdatasync; dwrite, mmapwrite (which persist themselves); none."""
    violation: str
    """A ``Violation``."""
    object: str
    """An ``ObjectClass``; for kernel reports, infra and unknown what exactly was said."""

    def __str__(self) -> str:
        return ":".join(quote(part, _SAFE, errors=_ERRORS) for part in self._parts())

    def _parts(self) -> Iterator[str]:
        return (str(getattr(self, field.name)) for field in fields(self))

    @classmethod
    def parse(cls, text: str) -> Signature:
        """The signature written as ``text``; UsageError when it is none."""
        parts = text.split(":")
        if len(parts) != len(fields(cls)) or not all(parts):
            raise UsageError(
                f"not a signature: {text!r}",
                hint="it is written SKELETON:PERSISTENCE:VIOLATION:OBJECT, as `harness findings`"
                " prints it: creat-rename:fsync:lost:data",
            )
        return cls(*(unquote(part, errors=_ERRORS) for part in parts))


def signature(result: CaseResult) -> Signature | None:
    """What kind of trouble ``result`` is; None for a case that passed or was skipped."""
    if result.outcome in (Outcome.PASS, Outcome.SKIPPED):
        return None
    skeleton = result.skeleton or "(none)"
    if result.verdict is None:
        said = slug(result.infra_error or "no text")
        return Signature(skeleton, NO_PERSISTENCE, Violation.INFRA, said)
    if result.verdict is not Verdict.FAIL:
        rules = [check.rule for check in result.checks if check.verdict is Verdict.UNKNOWN]
        said = rules[0] if rules else "(no check)"
        return Signature(skeleton, persistence_op(result), Violation.UNKNOWN, said)
    root = root_of(result)
    return Signature(skeleton, persistence_op(result), root.violation, _object(root))


def _object(root: Root) -> str:
    return f"{root.object}/{slug(root.said)}" if root.said else str(root.object)


def slug(text: str) -> str:
    """``text`` in a form that is the same each time the same is said: numbers are ``N``."""
    plain = re.sub(r"\b(0x)?(?=[0-9a-f]*\d)[0-9a-f]{5,}\b", "HEX", text)
    plain = re.sub(r"\d+", "N", plain)
    words = re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-")
    return words[:_SLUG_CHARS].rstrip("-") or "no-text"


def persistence_op(result: CaseResult) -> str:
    """The persistence op after which the first bad crash point came, else the workload's last."""
    try:
        steps = parse_run_section(result.jlang)
    except JlangError:
        return NO_PERSISTENCE
    crash = bad_crash(result)
    line = len(steps) if crash is None else min(crash.line, len(steps))
    return _persisted_by(steps, line)


def _persisted_by(steps: tuple[Step, ...], line: int) -> str:
    """The op before the last checkpoint up to ``line``, or on ``line`` if none follows it."""
    marks = [at for at, step in enumerate(steps[:line]) if step.verb is Verb.CHECKPOINT]
    at = marks[-1] - 1 if marks else line - 1
    if line <= len(steps) and line > 0 and steps[line - 1].verb in _PERSISTING:
        at = line - 1
    return str(steps[at].verb) if 0 <= at < len(steps) else NO_PERSISTENCE


_PERSISTING = frozenset((Verb.SYNC, Verb.FSYNC, Verb.FDATASYNC, Verb.DWRITE, Verb.MMAPWRITE))
