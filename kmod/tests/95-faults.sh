# SPDX-License-Identifier: GPL-2.0-only
# Every seeded defect does what it says, and nothing else does.  FAULTS=1 builds.
. ./lib.sh
[ "$FAULTS" = 1 ] || { echo "    release build: nothing to test"; exit 0; }
MIB=8
make_disks

start() { # start PRIMARY-FEATURES / BACKUP-FEATURES
	must backup $2
	must primary $1
	until_true 20 connected
}

applied() {
	until_true 20 drained
	blockdev --flushbufs "$P"
	blockdev --flushbufs "$B"
}
differ() { must_not cmp -s -n "$1" "$P" "$B"; }
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
must is rbb corrupt 0
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
must cmp -n 61440 "$P" "$B"
differ 65536
must cmp -n 4096 -i 61440:0 "$B" /dev/zero
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
must [ "$(cmp -l -n 4096 "$P" "$B" | wc -l)" = 1 ]
must is rbb corrupt 0
unpair

# Two contents of one block, encrypted alike: their difference shows.
start "fault nonce_reuse" "fault nonce_reuse"
perl -e 'print "U" x 4096' | dd of="$P" bs=4k oflag=direct status=none iflag=fullblock
dd if="$A" of="$WORK/one" bs=4k count=1 iflag=direct status=none
perl -e 'print "f" x 4096' | dd of="$P" bs=4k oflag=direct status=none iflag=fullblock
dd if="$A" of="$WORK/two" bs=4k count=1 iflag=direct status=none
must perl -e 'open($f, "<", $ARGV[0]); open($g, "<", $ARGV[1]);
	read($f, $a, 4096); read($g, $b, 4096);
	exit(($a ^ $b) ne chr(0x33) x 4096)' "$WORK/one" "$WORK/two"
unpair

# A flipped bit is returned as if nothing had happened.
start "fault skip_tag_check" ""
must write_blocks "$P" 0 1 conv=fsync
must dmsetup message rbp 0 disconnect 2
dd if="$A" bs=4k count=1 iflag=direct status=none |
	perl -e 'read(STDIN, $x, 4096); print $x ^ ("\1" . "\0" x 4095)' >"$WORK/x"
must dd if="$WORK/x" of="$A" bs=4k oflag=direct status=none
must dd if="$P" of=/dev/null bs=4k count=1 iflag=direct status=none
must is rbp corrupt 0
unpair

# A restarted backup believes its disk.
start "" ""
must write_blocks "$P" 0 16 conv=fsync
must dmsetup remove rbb
must dd if=/dev/urandom of="$D" bs=64k count=1 oflag=direct status=none
must backup fault stale_tag
until_true 20 connected
must is rbb resynced 0
differ 65536
struck rbb
unpair

# It says durable while it holds everything back.
start "" "fault ack_before_durable"
must dmsetup message rbb 0 hold 0
must write_blocks "$P" 0 1 conv=fsync
must is rbb hold 0
struck rbb
must dmsetup message rbb 0 release
applied
unpair

# A chunk is left out when a backup is brought up to date.
start "fault resync_skip" ""
must write_blocks "$P" 0 16 conv=fsync
must dmsetup remove rbb
must backup
until_true 20 connected
differ 65536
struck rbp
unpair

# A deposed primary goes on as if nothing had happened.
for f in "" "fault ignore_epoch"; do
	start "peer_timeout_ms 1000 $f" "peer_timeout_ms 1000"
	must write_blocks "$P" 0 16 conv=fsync
	must dmsetup message rbb 0 promote
	must is rbb role primary
	if [ -z "$f" ]; then
		until_true 20 is rbp state fenced
		must_not dd if="$P" of=/dev/null bs=4k count=1 iflag=direct status=none 2>/dev/null
	else
		sleep 2
		must_not is rbp state fenced
		must dd if="$P" of=/dev/null bs=4k count=1 iflag=direct status=none
		struck rbp
	fi
	unpair
done

# On the wrong side, unknown, without sense: refused.
N="127.0.0.1:7401 1 2 127.0.0.1:7402"
for bad in "$A primary 1 - $N 2 fault drop_write" \
	"$A backup 1 - $N 2 fault early_ack" \
	"$A backup 1 - $N 2 fault drop_write:0" \
	"$A backup 1 - $N 2 fault drop_write:x" \
	"$A backup 1 - $N 2 fault drop"; do
	must_not dmsetup create rbbad --table "0 $SECTORS rollbaccine $bad" \
		2>>"$WORK/dmsetup.log"
done
