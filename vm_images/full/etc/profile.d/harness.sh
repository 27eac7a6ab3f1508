# SPDX-License-Identifier: Apache-2.0
# Administrators' programs for everybody: this guest is for nothing else.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
