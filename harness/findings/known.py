# SPDX-License-Identifier: Apache-2.0
"""The list of known issues: failures that somebody has looked at, each with an expiry date.

A TOML file of ``[[known]]`` tables; ``docs/findings.md`` describes the keys.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from harness.errors import UsageError
from harness.findings.finding import finding_id
from harness.findings.signature import Signature, signature
from harness.model.case import CaseResult

_TABLE = "known"
_KEYS = ("finding", "signature", "target", "reason", "link", "expires")
_SOON = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class KnownIssue:
    """One entry: exactly one of ``finding`` and ``signature`` says what it is about."""

    number: int
    """Which entry of its file, from 1."""
    reason: str
    link: str
    expires: date
    """The last day on which it counts, UTC."""
    finding: str | None = None
    """Id of a finding."""
    signature: str | None = None
    """Text of a signature, with ``*`` and ``?`` in the skeleton, or ``*`` as persistence op."""
    target: str | None = None
    """Only cases of this target."""

    @property
    def what(self) -> str:
        """What it is about, as written in the list."""
        return self.finding or self.signature or ""

    def matches(self, result: CaseResult) -> bool:
        """Whether ``result`` is a failure that this entry is about."""
        if not result.outcome.is_finding:
            return False
        if self.target is not None and result.case_id.target != self.target:
            return False
        if self.finding is not None:
            return finding_id(result) == self.finding
        mark = signature(result)
        return mark is not None and _pattern(self.signature or "").fullmatch(str(mark)) is not None


@dataclass(frozen=True, slots=True)
class KnownIssues:
    """The entries of one file that count today."""

    source: str = ""
    """The file, for messages; empty for no list."""
    issues: tuple[KnownIssue, ...] = ()

    def match(self, result: CaseResult) -> KnownIssue | None:
        """The first entry about ``result``; None where there is none, or it is no failure."""
        return next((issue for issue in self.issues if issue.matches(result)), None)

    def expiring(self, today: date) -> list[str]:
        """A line for each entry that will soon be an error."""
        return [
            f"{self.source}: known issue {issue.number} ({issue.what}) expires on {issue.expires}"
            for issue in self.issues
            if issue.expires - today < _SOON
        ]


NOTHING_KNOWN = KnownIssues()


def parse_known(text: str, source: str, today: date) -> KnownIssues:
    """The list in ``text``, read from the file ``source``.

    UsageError, naming entry, key and value, when it is malformed or an entry expired before
    ``today`` (UTC).
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{source}: not a TOML file: {error}") from error
    for key in table:
        if key != _TABLE:
            raise UsageError(
                f"{source}: key {key!r} is not known here", hint=f"entries begin with [[{_TABLE}]]"
            )
    entries = table.get(_TABLE, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError(f"{source}: {_TABLE} = {entries!r}", hint=f"entries begin [[{_TABLE}]]")
    issues = tuple(_issue(source, number, entry) for number, entry in enumerate(entries, 1))
    _refuse_expired(source, issues, today)
    return KnownIssues(source, issues)


def _refuse_expired(source: str, issues: Sequence[KnownIssue], today: date) -> None:
    expired = [issue for issue in issues if issue.expires < today]
    if not expired:
        return
    listed = "; ".join(f"{i.number} ({i.what}, expired on {i.expires})" for i in expired)
    raise UsageError(
        f"{source}: known issues that expired: {listed}",
        hint="look at each again: take it off the list, or give it another date and say why",
    )


def _issue(source: str, number: int, entry: Mapping[str, Any]) -> KnownIssue:
    where = f"{source}: known issue {number}"
    for key, value in entry.items():
        if key not in _KEYS:
            raise UsageError(f"{where}: no key {key!r}", hint=f"keys are {', '.join(_KEYS)}")
        if key != "expires" and not (isinstance(value, str) and value.strip()):
            raise UsageError(f"{where}: {key} = {value!r}", hint="a text that is not empty")
    for key in ("reason", "link", "expires"):
        if key not in entry:
            raise UsageError(f"{where}: {key} is missing", hint="each entry has a reason, a link"
                             " and an expiry date")  # fmt: skip
    if ("finding" in entry) == ("signature" in entry):
        raise UsageError(f"{where}: needs either finding or signature, not both and not neither")
    _check_values(where, entry)
    return KnownIssue(number, **{key: entry[key] for key in _KEYS if key in entry})


def _check_values(where: str, entry: Mapping[str, Any]) -> None:
    expires = entry["expires"]
    if not isinstance(expires, date) or isinstance(expires, datetime):
        raise UsageError(
            f"{where}: expires = {str(expires)!r}", hint="a date without quotes, as in 2027-03-31"
        )
    if not re.fullmatch(r"https?://\S+", entry["link"]):
        raise UsageError(f"{where}: link = {entry['link']!r}", hint="as in https://...")
    if "finding" in entry and not re.fullmatch(r"f[0-9a-f]{9}", entry["finding"]):
        raise UsageError(
            f"{where}: finding = {entry['finding']!r}", hint="an id that `harness findings` prints"
        )
    if "signature" in entry:
        _check_signature(where, entry["signature"])


def _check_signature(where: str, text: str) -> None:
    try:
        Signature.parse(text)
    except UsageError as error:
        raise UsageError(f"{where}: signature = {text!r}", hint=error.hint) from error
    _, persistence, *exact = text.split(":")
    if any(set("*?[") & set(part) for part in exact) or (
        persistence != "*" and set("*?[") & set(persistence)
    ):
        raise UsageError(
            f"{where}: signature = {text!r}",
            hint="* and ? are for the skeleton; a persistence op may be *, the rest is exact",
        )


def _pattern(text: str) -> re.Pattern[str]:
    """Skeleton and persistence op of ``text`` with their wildcards, the rest as it stands."""
    translated = (
        {"*": "[^:]*", "?": "[^:]"}.get(character, re.escape(character)) for character in text
    )
    return re.compile("".join(translated))
