# SPDX-License-Identifier: Apache-2.0
"""What workloads exist: ops, bounds, generator, J-lang, suites. Imports only the stdlib."""
