# SPDX-License-Identifier: Apache-2.0
"""Workloads as tests for other frameworks. Pure but for ``tree``, which writes the files."""
