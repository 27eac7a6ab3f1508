# SPDX-License-Identifier: GPL-2.0-only
# Discard and write-zeroes reach the backup, in order with the writes around them.
. ./lib.sh
make_disks
pair
must write_blocks "$P" 0 4096
must blkdiscard -o 1M -l 2M "$P"
must blkdiscard -z -o 5M -l 1M "$P"
must write_blocks "$P" 1300 40
must blkdiscard -o 0 -l 4096 "$P"
until_true 20 drained
must same_disks
must cmp -n $((2 << 20)) -i $((1 << 20)):0 "$D" /dev/zero
must cmp -n 4096 "$D" /dev/zero
must_not cmp -s -n 4096 -i 4096:0 "$D" /dev/zero

# The disk of the backup need not be able to discard.
must write_blocks "$P" 0 256
unpair
must dmsetup create rbunder --table "0 $SECTORS snapshot-origin $D" ||
	fail "no snapshot-origin"
dmsetup remove rbunder
must modprobe brd rd_nr=1 rd_size=$((MIB * 1024))
BDISK=/dev/ram0
must dd if="$A" of=/dev/ram0 bs=1M oflag=direct status=none
pair
must blkdiscard -o 0 -l 1M "$P"
until_true 20 drained
must cmp -n $((1 << 20)) /dev/ram0 /dev/zero
unpair
