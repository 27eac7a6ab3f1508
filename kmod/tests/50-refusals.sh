# SPDX-License-Identifier: GPL-2.0-only
# What must not be accepted: table lines, keys, second primaries, writes to the
# backup.
. ./lib.sh
make_disks

bad_line() { # bad_line ARGUMENTS: the constructor refuses
	must_not dmsetup create rbbad --table "0 $SECTORS rollbaccine $*" \
		2>>"$WORK/dmsetup.log"
}
L=127.0.0.1:7401
PEER="1 2 127.0.0.1:7402"
bad_line
bad_line "$A"
bad_line "$A primary 1 - $L"
bad_line "$A primary 1 - $L 1 2"
bad_line "$A primary 1 - $L 2 2 127.0.0.1:7402"
bad_line "$A leader 1 - $L $PEER"
bad_line "$A primary 0 - $L $PEER"
bad_line "$A primary -1 - $L $PEER"
bad_line "$A primary 1 - 127.0.0.256:7401 $PEER"
bad_line "$A primary 1 - 127.0.0.1 $PEER"
bad_line "$A primary 1 - 127.0.0.1:0 $PEER"
bad_line "$A primary 1 - 127.0.0.1:65536 $PEER"
bad_line "$A primary 1 - $L 1 1 127.0.0.1:7402"
bad_line "$A primary 1 - $L 0"
bad_line "$A primary 1 - $L 2 2 127.0.0.1:7402 2 127.0.0.1:7403"
bad_line "$A primary 1 - $L $PEER 1 peer_timeout_ms"
bad_line "$A primary 1 - $L $PEER 2 peer_timeout_ms 99"
bad_line "$A primary 1 - $L $PEER 2 peer_timeout_ms 1000 more"
bad_line "$A primary 1 - $L $PEER 2 on_peer_loss ignore"
bad_line "$A primary 1 - $L $PEER 2 no_such thing"
bad_line "$A primary 1 - $L $PEER 4 on_peer_loss error on_peer_loss error"
bad_line "$A primary 1 - $L $PEER 2 quorum 0"
bad_line "$A primary 1 - $L $PEER 2 quorum 2"
bad_line "$A primary 1 - $L $PEER 2 ack never"
bad_line "$A primary 1 - $L $PEER 2 window_kib 1023"
bad_line "$A primary 1 - $L $PEER 2 create create"
bad_line "$A primary 1 - $L $PEER 2 tree_pages 100000"
bad_line "$A backup 1 - $L $PEER 1 create"
bad_line "/dev/no-such-device primary 1 - $L $PEER"
must_not dmsetup create rbbad 2>/dev/null \
	--table "0 $((SECTORS + 8)) rollbaccine $A primary 1 - $L $PEER"
must_not dmsetup create rbbad 2>/dev/null \
	--table "0 $((SECTORS - 1)) rollbaccine $A primary 1 - $L $PEER"
[ "$FAULTS" = 1 ] || bad_line "$A primary 1 - $L $PEER 2 fault early_ack"

# Keys: none of that name, too short, another kind, a word that is none.
bad_line "$A primary 1 logon:rollbaccine:nobody $L $PEER"
add_key short 31
bad_line "$A primary 1 logon:rollbaccine:short $L $PEER"
bad_line "$A primary 1 user:rollbaccine:test $L $PEER"
bad_line "$A primary 1 0123456789abcdef0123456789abcdef $L $PEER"

# The port is taken.
must backup
must_not node rbbad "$A" backup 2

said() { dmesg | tail -n +$((mark + 1)) | grep -q "$1"; }
mark_log() { mark=$(dmesg | wc -l); }

# Another size, no key, another key: refused, and no obstacle for the right one.
mark_log
LENGTH=$((SECTORS - 8)) must node rbp "$A" primary 1 create
until_true 10 said "differ in size"
must dmsetup remove rbp
mark_log
KEY=- must node rbp "$A" primary 1 create
until_true 10 said "refuses"
must dmsetup remove rbp
add_key other
mark_log
KEY=logon:rollbaccine:other must node rbp "$A" primary 1 create
until_true 10 said "key"
must_not connected
must is rbb state recovering
must dmsetup remove rbp
# An id the backup has not been told of.
mark_log
NODES=9 must node rbp "$A" primary 9 create
until_true 20 said "2 refuses"
must dmsetup remove rbp

# A node without memory reads nothing.
must_not dd if="$B" of=/dev/null bs=4k count=1 iflag=direct status=none 2>/dev/null
must primary
until_true 20 connected
must write_blocks "$P" 0 64 conv=fsync

# A second history: refused, while the first primary is there and afterwards.
must dmsetup remove rbp
mark_log
must node rbp "$A" primary 1 create
until_true 10 said "history"
must is rbp state connecting
must_not write_blocks "$P" 0 1
must dmsetup remove rbp

# The backup is for reading.
must dd if="$B" of=/dev/null bs=4k count=128 iflag=direct status=none
must_not write_blocks "$B" 0 1
must_not blkdiscard "$B" 2>/dev/null
must sync "$B"
must dmsetup remove rbb
must dmsetup create rbb --readonly \
	--table "0 $SECTORS rollbaccine $D backup 2 $KEY 127.0.0.1:7402 1 1 127.0.0.1:7401"
must is rbb state recovering
