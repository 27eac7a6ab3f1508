# SPDX-License-Identifier: GPL-2.0-only
# Removal and suspension, idle and under load, from either side.
. ./lib.sh
MIB=48
make_disks

# Suspending the primary leaves the pair drained; both resume.
pair
must write_blocks "$P" 0 4096
must dmsetup suspend rbp
must drained
must dmsetup resume rbp
must same_disks
must dmsetup suspend rbb
must dmsetup resume rbb
must write_blocks "$P" 0 64 conv=fsync
must drained

# What was written but never flushed arrives when the primary is removed.
must write_blocks "$P" 4096 1024
issued=$(get rbp issued)
must dd if="$P" of="$WORK/written" bs=4k skip=4096 count=1024 iflag=direct status=none
must dmsetup remove rbp
must is rbb applied "$issued"
must cmp -n $((4 << 20)) -i 0:$((16 << 20)) "$WORK/written" "$B"
must dmsetup remove rbb

wrote() { [ "$(get rbp issued)" -ge "$1" ]; }
gone() { ! dmsetup info rbp >/dev/null 2>&1 || dmsetup remove rbp 2>/dev/null; }

# By force under load: everybody lets go.
for round in 1 2 3; do
	pair
	while write_blocks "$P" 0 256; do :; done &
	pid=$!
	until_true 10 wrote 100
	dmsetup remove --force rbp 2>/dev/null
	must wait $pid
	until_true 10 gone
	must dmsetup remove rbb
done
