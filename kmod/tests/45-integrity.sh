# SPDX-License-Identifier: GPL-2.0-only
# Whatever happens to the content of a disk, reads return what was written, or
# an error: bits flipped, blocks swapped, old content put back, below either
# node, while it is in use.
. ./lib.sh
MIB=16
make_disks

block() { dd if="$1" of="$2" bs=4k skip="$3" count="${4:-1}" iflag=direct status=none; }
put() { # put FILE DISK BLOCK: behind the target's back
	dd if="$1" of="$2" bs=4k seek="$3" oflag=direct conv=notrunc status=none
}
flip() { # flip DISK BLOCK
	block "$1" "$WORK/x" "$2"
	perl -e 'open($f, "+<", $ARGV[0]); read($f, $x, 4096); seek($f, 0, 0);
		print $f $x ^ ("\0" x 1000 . "\x10" . "\0" x 3095)' "$WORK/x"
	put "$WORK/x" "$1" "$2"
}
good() { # good DEVICE BLOCK: reads as written
	block "$1" "$WORK/y" "$2" && cmp -s "$WORK/y" "$WORK/good.$2"
}

pair
must write_blocks "$P" 0 64 conv=fsync
until_true 20 drained
block "$A" "$WORK/old.a" 5
block "$D" "$WORK/old.b" 5
must write_blocks "$P" 0 64 conv=fsync
until_true 20 drained
for i in 3 4 5 6 7; do block "$P" "$WORK/good.$i" $i; done
# The control: with the peer cut off, a good block is read and counted nowhere.
must good "$P" 3
must is rbp corrupt 0

damage() { # damage DISK OLD
	flip "$1" 3
	block "$1" "$WORK/a" 6; block "$1" "$WORK/b" 7
	put "$WORK/a" "$1" 7; put "$WORK/b" "$1" 6
	put "$2" "$1" 5
	dd if=/dev/urandom of="$1" bs=4k seek=4 count=1 oflag=direct conv=notrunc status=none
}

# With the peer there: repaired, on the disk too, and not found a second time.
for node in "rbp $A a" "rbb $D b"; do
	set -- $node
	damage "$2" "$WORK/old.$3"
	for i in 3 4 5 6 7; do must good /dev/mapper/$1 $i; done
	must is $1 corrupt 5
	must is $1 repaired 5
	for i in 3 4 5 6 7; do must good /dev/mapper/$1 $i; done
	must is $1 corrupt 5
done
until_true 20 drained
must same_disks

# A block never written, and one discarded, read as zeros whatever is there.
dd if=/dev/urandom of="$A" bs=4k seek=2000 count=2 oflag=direct conv=notrunc status=none
must write_blocks "$P" 2001 1
must blkdiscard -o $((2001 * 4096)) -l 4096 "$P"
dd if=/dev/urandom of="$A" bs=4k seek=2000 count=2 oflag=direct conv=notrunc status=none
must cmp -n 8192 -i $((2000 * 4096)):0 "$P" /dev/zero
must is rbp corrupt 5

# A scrub finds and repairs what nobody reads.
verified() { dmesg | grep -q "verify is done"; }
flip "$A" 40
flip "$D" 41
must dmsetup message rbp 0 verify
until_true 20 is rbp repaired 6
until_true 20 verified
must dmsetup message rbb 0 verify
until_true 20 is rbb repaired 6

# With nobody to ask: an error, and never the wrong data.
must dmsetup message rbp 0 disconnect 2
until_true 10 is rbp state connecting
for node in "rbp $A a" "rbb $D b"; do
	set -- $node
	damage "$2" "$WORK/old.$3"
	for i in 3 4 5 6 7; do
		must_not block /dev/mapper/$1 "$WORK/y" $i 2>/dev/null
	done
	must is $1 corrupt 11
	must is $1 repaired 6
done
must dmsetup message rbp 0 connect 2
unpair
