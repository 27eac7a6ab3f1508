# SPDX-License-Identifier: GPL-2.0-only
# Discard and write-zeroes reach the backup, in order with the writes around them.
. ./lib.sh
MIB=24
make_disks
pair
must write_blocks "$P" 0 4096
must blkdiscard -o 1M -l 2M "$P"
must blkdiscard -z -o 5M -l 1M "$P"
must write_blocks "$P" 1300 40
must blkdiscard -o 0 -l 4096 "$P"
until_true 20 drained
must same_disks
must cmp -n $((2 << 20)) -i $((1 << 20)):0 "$B" /dev/zero
must cmp -n 4096 "$B" /dev/zero
must_not cmp -s -n 4096 -i 4096:0 "$B" /dev/zero

# Neither disk need be able to discard: what counts is what is read.
unpair
must modprobe brd rd_nr=1 rd_size=$((MIB * 1024))
BDISK=/dev/ram0
must dd if=/dev/urandom of=$BDISK bs=1M count=16 oflag=direct status=none
pair
must cmp -n $((16 << 20)) "$B" /dev/zero
must write_blocks "$P" 0 4096
for round in 1 2 3; do
	must perl -e '
		sysopen(my $d, $ARGV[0], 0x101002) or die;	# O_RDWR | O_SYNC
		my $range = pack("QQ", 0, 16 << 20);
		ioctl($d, 0x1277, $range) or die;	# BLKDISCARD
		sysseek($d, (16 << 20) - 4096, 0) or die;
		syswrite($d, "x" x 4096) == 4096 or die' "$P"
	until_true 20 drained
	blockdev --flushbufs "$P"
	blockdev --flushbufs "$B"
	must cmp -n $((16 << 20)) "$P" "$B"
	must cmp -n $(((16 << 20) - 4096)) "$B" /dev/zero
	must [ "$(tail -c +$(((16 << 20) - 4095)) "$B" | head -c 4)" = xxxx ]
	must write_blocks "$P" 0 64
done
unpair
rmmod brd
