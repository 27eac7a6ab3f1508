#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# seed-defect.sh LIST NAME PART FROM TO: copy FROM to TO, with the defect NAME
# if it is one of this PART.  A defect that changes nothing is an error.
set -eu
line=$(grep "^$2|$3|" "$1" || true)
if [ -z "$line" ]; then
	[ "$2" = none ] || grep -q "^$2|" "$1" || {
		echo "no defect $2" >&2
		exit 1
	}
	cp "$4" "$5"
	exit
fi
sed "${line#*|*|}" "$4" >"$5.new"
if cmp -s "$4" "$5.new"; then
	echo "defect $2 no longer fits $4" >&2
	exit 1
fi
mv "$5.new" "$5"
