# SPDX-License-Identifier: GPL-2.0-only
# Every seeded defect does what it says, and nothing else does.  FAULTS=1 builds.
. ./lib.sh
[ "$FAULTS" = 1 ] || { echo "    release build: nothing to test"; exit 0; }
make_disks

start() { # start PRIMARY-FEATURES / BACKUP-FEATURES, from equal disks
	must dd if=/dev/zero of="$A" bs=1M count=8 oflag=direct status=none
	must dd if=/dev/zero of="$D" bs=1M count=8 oflag=direct status=none
	must backup $2
	must primary $1
	until_true 20 connected
}

applied() { until_true 20 drained; }
differ() { must_not cmp -s -n "$1" "$A" "$D"; }
struck() { must [ "$(get "$1" injected)" -gt 0 ]; }

# The control: the same module without a fault selected.
start "" ""
must write_blocks "$P" 0 64 conv=fsync
applied
must same_disks
must is rbp injected 0
must is rbb injected 0
unpair

start "fault early_ack:3000" ""
must write_blocks "$P" 0 16 conv=fsync
must [ "$(get rbb received)" -lt "$(get rbp issued)" ]
struck rbp
applied
must same_disks
unpair

start "" "fault drop_write:4"
must write_blocks "$P" 0 16 conv=fsync
applied
differ 65536
must is rbb injected 4
unpair

# Two overlapping writes with no flush between them.
start "" "fault reorder_overlap:2000"
must write_blocks "$P" 0 1
must write_blocks "$P" 0 1
applied
differ 4096
struck rbb
unpair

start "" "fault skip_last_page"
must dd if=/dev/urandom of="$P" bs=64k count=1 oflag=direct conv=fsync status=none
applied
must cmp -n 61440 "$A" "$D"
differ 65536
must cmp -n 4096 -i 61440:0 "$D" /dev/zero
struck rbb
unpair

start "" "fault ignore_discard"
must write_blocks "$P" 0 64
must blkdiscard -z -l 65536 "$P"
must blkdiscard -o 131072 -l 65536 "$P"
applied
differ 65536
must is rbb injected 2
unpair

start "" "fault corrupt_byte:1"
must write_blocks "$P" 0 1
applied
must [ "$(cmp -l -n 4096 "$A" "$D" | wc -l)" = 1 ]
unpair

# On the wrong side, unknown, without sense: refused.
for bad in "$A primary 1 127.0.0.1 $PORT 2 fault drop_write" \
	"$A backup 1 127.0.0.1 $PORT 2 fault early_ack" \
	"$A backup 1 127.0.0.1 $PORT 2 fault drop_write:0" \
	"$A backup 1 127.0.0.1 $PORT 2 fault drop_write:x" \
	"$A backup 1 127.0.0.1 $PORT 2 fault drop"; do
	must_not dmsetup create rbbad --table "0 $SECTORS rollbaccine $bad" \
		2>>"$WORK/dmsetup.log"
done
