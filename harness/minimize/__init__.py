# SPDX-License-Identifier: Apache-2.0
"""From a failing case to the smallest one that fails the same way. Pure: who runs it is told."""
