# SPDX-License-Identifier: Apache-2.0
"""What a person would call one bug: signatures of bad cases, and findings, which group them.

Pure: results in, findings out; ``docs/findings.md`` says how cases are put together and why.
"""

from harness.findings.finding import Finding, FindingCollector, finding_id, findings
from harness.findings.rate import Rate, failure_rate
from harness.findings.signature import Signature, signature
from harness.findings.violation import ObjectClass, Violation

__all__ = [
    "Finding",
    "FindingCollector",
    "ObjectClass",
    "Rate",
    "Signature",
    "Violation",
    "failure_rate",
    "finding_id",
    "findings",
    "signature",
]
