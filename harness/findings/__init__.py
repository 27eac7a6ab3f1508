# SPDX-License-Identifier: Apache-2.0
"""What a person would call one bug: signatures of bad cases, and findings, which group them.

Pure: results in, findings out; ``docs/findings.md`` says how cases are put together and why.
"""

from harness.findings.finding import Finding, FindingCollector, finding_id, findings
from harness.findings.known import NOTHING_KNOWN, KnownIssue, KnownIssues, parse_known
from harness.findings.rate import Rate, failure_rate
from harness.findings.signature import Signature, signature
from harness.findings.violation import ObjectClass, Violation

__all__ = [
    "NOTHING_KNOWN",
    "Finding",
    "FindingCollector",
    "KnownIssue",
    "KnownIssues",
    "ObjectClass",
    "Rate",
    "Signature",
    "Violation",
    "failure_rate",
    "finding_id",
    "findings",
    "parse_known",
    "signature",
]
