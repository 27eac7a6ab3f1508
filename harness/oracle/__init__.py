# SPDX-License-Identifier: Apache-2.0
"""Judge what was seen at a crash point against what had been promised. Pure code."""

from harness.oracle.checks import judge_case, judge_crash

__all__ = ["judge_case", "judge_crash"]
