# SPDX-License-Identifier: Apache-2.0
"""The one error this package raises on purpose."""

from __future__ import annotations


class SuiteError(ValueError):
    """A suite, a workload id or a bounds file that does not exist or does not make sense.

    The message names the thing and the value; for bounds files also the key.
    """
