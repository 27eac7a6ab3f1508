# SPDX-License-Identifier: Apache-2.0
"""Frozen data shared by every part: file trees, evidence, verdicts. No I/O, no outside library."""
