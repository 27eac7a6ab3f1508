# SPDX-License-Identifier: GPL-2.0-only
# Tags in a hash tree on the disk: the same behaviour, bounded memory, and a page
# of the tree that was tampered with is noticed.
. ./lib.sh
MIB=32
make_disks
SECTORS=$(((MIB - 1) * 2048))
pages=200
pair tree_pages $pages tree_cache_pages 16
must dd if=/dev/urandom of="$P" bs=1M count=30 oflag=direct conv=fsync status=none
must write_blocks "$P" 0 64 conv=fsync
must blkdiscard -o $((8 << 20)) -l $((4 << 20)) "$P"
until_true 60 drained
must same_disks
must fio --name=tree --filename="$P" --direct=1 --ioengine=libaio --rw=randwrite \
	--bs=4k --size=24M --io_size=1M --iodepth=8 --minimal --verify=crc32c \
	--verify_fatal=1 >"$WORK/fio.log"
until_true 60 drained
must same_disks
must is rbp corrupt 0
# Restart of the backup: its tree is worth nothing, its data is.
must dmsetup remove rbb
must backup tree_pages $pages tree_cache_pages 16
until_true 60 connected
must is rbb resynced 0
must same_disks
echo "    memory $(get rbp memory) bytes"

# Tampering with the tree: a peer has what is lost, and alone no read returns
# wrong data.
tamper() {
	must dmsetup suspend rbp
	must dmsetup resume rbp
	until_true 60 connected
	[ $# -eq 0 ] || must dmsetup remove "$1"
	must dd if=/dev/urandom of="$A" bs=4k count=$pages oflag=direct \
		conv=notrunc status=none
	blockdev --flushbufs "$P"
}

sum=$(sha256sum <"$P")
tamper
must [ "$(sha256sum <"$P")" = "$sum" ]
must write_blocks "$P" 0 64 conv=fsync
sum=$(sha256sum <"$P")
tamper rbb
if again=$(set -o pipefail; dd if="$P" bs=1M iflag=direct status=none 2>/dev/null | sha256sum); then
	must [ "$again" = "$sum" ]
	fail "the tampering was not noticed"
fi
must dmsetup remove --retry rbp
