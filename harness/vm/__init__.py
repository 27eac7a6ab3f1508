# SPDX-License-Identifier: Apache-2.0
"""Machines. Whatever file imports libvirt's binding first, this comes before it."""

import os

# The embedded driver logs to the terminal otherwise (errors reach us as exceptions), and the
# binding reads this when it is imported.
os.environ.setdefault("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null")
