# SPDX-License-Identifier: GPL-2.0-only
# A flush of the primary flushes both disks; a plain write flushes neither.
. ./lib.sh
make_disks

flushes() { awk '{print $16}' "/sys/block/${1#/dev/}/stat"; }

pair
for i in 1 2 3 4 5; do
	a=$(flushes "$A")
	d=$(flushes "$D")
	must write_blocks "$P" $((i * 8)) 8
	until_true 20 drained
	must [ "$(flushes "$A")" = "$a" ]
	must [ "$(flushes "$D")" = "$d" ]
	must write_blocks "$P" $((i * 8)) 1 conv=fsync
	must [ "$(flushes "$A")" -gt "$a" ]
	must [ "$(flushes "$D")" -gt "$d" ]
	must is rbp acked "$(get rbp issued)"
	# FUA alone as well.
	a=$(flushes "$A")
	d=$(flushes "$D")
	must write_blocks "$P" $((i * 8)) 1 oflag=direct,dsync
	must [ "$(flushes "$A")" -gt "$a" ]
	must [ "$(flushes "$D")" -gt "$d" ]
done
unpair
