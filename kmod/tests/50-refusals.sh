# SPDX-License-Identifier: GPL-2.0-only
# What must not be accepted: table lines, second primaries, strangers, writes to
# the backup.
. ./lib.sh
make_disks

bad_line() { # bad_line ARGUMENTS: the constructor refuses
	must_not dmsetup create rbbad --table "0 $SECTORS rollbaccine $*" \
		2>>"$WORK/dmsetup.log"
}
bad_line
bad_line "$A"
bad_line "$A" primary 1 127.0.0.1
bad_line "$A" leader 1 127.0.0.1 $PORT
bad_line "$A" primary 0 127.0.0.1 $PORT
bad_line "$A" primary -1 127.0.0.1 $PORT
bad_line "$A" primary 1 127.0.0.256 $PORT
bad_line "$A" primary 1 127.0.0.1 0
bad_line "$A" primary 1 127.0.0.1 65536
bad_line "$A" primary 1 127.0.0.1 $PORT 1 peer_timeout_ms
bad_line "$A" primary 1 127.0.0.1 $PORT 2 peer_timeout_ms 99
bad_line "$A" primary 1 127.0.0.1 $PORT 2 peer_timeout_ms 1000 more
bad_line "$A" primary 1 127.0.0.1 $PORT 2 on_peer_loss ignore
bad_line "$A" primary 1 127.0.0.1 $PORT 2 no_such thing
bad_line "$A" primary 1 127.0.0.1 $PORT 4 on_peer_loss error on_peer_loss error
bad_line /dev/no-such-device primary 1 127.0.0.1 $PORT
must_not dmsetup create rbbad 2>/dev/null \
	--table "0 $((SECTORS + 8)) rollbaccine $A primary 1 127.0.0.1 $PORT"
must_not dmsetup create rbbad 2>/dev/null \
	--table "0 $((SECTORS - 1)) rollbaccine $A primary 1 127.0.0.1 $PORT"
[ "$FAULTS" = 1 ] || bad_line "$A" primary 1 127.0.0.1 $PORT 2 fault early_ack

# The port is taken.
must backup
must_not node rbbad "$A" backup 3

# Another size, the same id: refused, and no obstacle for the right one.
LENGTH=$((SECTORS - 8)) must node rbp "$A" primary 1
until_true 10 grep -q "differ in size" <(dmesg)
must dmsetup remove rbp
must node rbp "$A" primary 2
until_true 10 grep -q "zero or its own" <(dmesg)
must dmsetup remove rbp
must primary
until_true 20 connected
must write_blocks "$P" 0 64 conv=fsync

# A second primary, while the first is there and after it has gone.
must node rbp2 "$A" primary 9 peer_timeout_ms 500
until_true 10 grep -q "serves another primary" <(dmesg)
must_not write_blocks /dev/mapper/rbp2 0 1
must is rbp2 state connecting
must connected
must write_blocks "$P" 64 64 conv=fsync
must dmsetup remove rbp
until_true 10 grep -q "history is not ours" <(dmesg)
must is rbp2 state connecting
must dmsetup remove rbp2

# The backup is for reading.
must dd if="$B" of="$WORK/read" bs=4k count=128 iflag=direct status=none
must cmp -n $((128 * 4096)) "$WORK/read" "$A"
must_not write_blocks "$B" 0 1
must_not blkdiscard "$B" 2>/dev/null
must cmp -n $((128 * 4096)) "$D" "$A"
must sync "$B"
must dmsetup remove rbb
must dmsetup create rbb --readonly \
	--table "0 $SECTORS rollbaccine $D backup 2 127.0.0.1 $PORT"
must is rbb state connecting
