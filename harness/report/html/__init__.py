# SPDX-License-Identifier: Apache-2.0
"""Static pages from the run store, within what Jenkins allows: no script, no inline style."""
