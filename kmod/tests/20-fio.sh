# SPDX-License-Identifier: GPL-2.0-only
# What fio wrote is what it reads, and the backup holds the same: all sizes,
# large direct I/O, and several jobs overwriting each other's blocks.
. ./lib.sh
MIB=40
make_disks
pair

verify() {
	echo "fio $1" >/dev/kmsg
	must fio --name="$1" --filename="$P" --direct=1 --ioengine=libaio \
		--verify=crc32c --verify_fatal=1 --minimal "${@:2}" >"$WORK/fio.log"
	until_true 60 drained
	must same_disks
}

verify small --rw=randwrite --bs=4k --size=8M --iodepth=32
verify mixed --rw=randrw --bsrange=4k-1M --blockalign=4k --size=16M --iodepth=16
verify large --rw=write --bs=8M --size=32M --iodepth=4
verify synced --rw=randwrite --bs=4k --size=1M --fsync=4 --iodepth=4
verify fua --rw=randwrite --bs=4k --size=512k --sync=1 --iodepth=4

# No verification possible here: the last writer is anybody's guess, but it has
# to be the same one on both disks.
must fio --name=clash --filename="$P" --direct=1 --ioengine=libaio --rw=randwrite \
	--bsrange=4k-256k --blockalign=4k --size=2M --io_size=8M --iodepth=32 \
	--numjobs=3 --norandommap --minimal >"$WORK/fio.log"
until_true 60 drained
must same_disks

# The submitter changes its buffers while they are being written.
must truncate -s 8M "$WORK/buffers"
fio --name=scribble --filename="$P" --direct=1 --ioengine=libaio --rw=randwrite \
	--bs=64k --iodepth=16 --size=8M --io_size=16M --norandommap --minimal \
	--mem=mmapshared:"$WORK/buffers" >"$WORK/fio.log" &
pid=$!
while kill -0 $pid 2>/dev/null; do
	must dd if=/dev/urandom of="$WORK/buffers" bs=256k count=8 conv=notrunc status=none
done
must wait $pid
until_true 60 drained
must same_disks

must [ "$(get rbp errors)" = 0 ]
must [ "$(get rbb errors)" = 0 ]
unpair
