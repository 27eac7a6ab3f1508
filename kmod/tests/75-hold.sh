# SPDX-License-Identifier: GPL-2.0-only
# hold, step, release: the backup stands at any state it passes through.
. ./lib.sh
MIB=16
make_disks
must primary peer_timeout_ms 60000
must backup peer_timeout_ms 60000
until_true 20 connected
applied() { is rbb applied "$1"; }
received() { is rbb received "$1"; }

must is rbb hold -
must dmsetup message rbb 0 hold 2
must is rbb hold 2
for i in 1 2 3 4 5 6; do
	perl -e 'print chr(96 + '$i') x 4096' >"$WORK/$i"
	must dd if="$WORK/$i" of="$P" bs=4k oflag=direct status=none
done
until_true 10 received 6
until_true 10 applied 2
must cmp -n 4096 "$B" "$WORK/2"
must is rbb inflight 4
must dmsetup message rbb 0 step
until_true 10 applied 3
blockdev --flushbufs "$B"
must cmp -n 4096 "$B" "$WORK/3"
must dmsetup message rbb 0 step 2
until_true 10 applied 5
blockdev --flushbufs "$B"
must cmp -n 4096 "$B" "$WORK/5"
# A flush waits for what is held.
sync "$P" &
pid=$!
until_true 10 received 7
must kill -0 $pid
must applied 5
must dmsetup message rbb 0 release
must wait $pid
until_true 10 applied 7
must same_disks
unpair
