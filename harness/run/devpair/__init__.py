# SPDX-License-Identifier: Apache-2.0
"""A pair that stays up while its module is worked on: ``harness pair``."""
