# SPDX-License-Identifier: Apache-2.0
"""The engine that has workloads run by ``check`` of an xfstests tree, in place of the agent."""
