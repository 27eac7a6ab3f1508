# SPDX-License-Identifier: Apache-2.0
"""Crash-consistency verification of replicated block devices: everything that runs."""

__version__ = "0.1.0"
