# SPDX-License-Identifier: GPL-2.0-only
# Losing the peer at any moment neither hangs nor crashes anybody, no flush that
# the backup does not have succeeds, and the backup is brought up to date again.
. ./lib.sh
MIB=64
make_disks

writer() { # until the first error; exit code of the last dd
	local i
	for ((i = 0; ; i = (i + 64) % 8192)); do
		write_blocks "$P" $i 64 conv=fsync || return 0
	done
}

wrote() { [ "$(get rbp issued)" -ge "$1" ]; }

# Backup removed under load, repeatedly; a new one, with empty memory, joins.
pair peer_timeout_ms 1000
for round in 1 2 3 4 5; do
	writer &
	pid=$!
	until_true 20 wrote $((128 * round))
	must dmsetup remove rbb
	must wait $pid
	must_not connected
	must_not write_blocks "$P" 0 1
	must_not sync "$P"
	must dd if="$P" of=/dev/null bs=4k count=16 iflag=direct status=none
	must backup peer_timeout_ms 1000
	until_true 60 connected
	until_true 20 drained
	must same_disks
	must write_blocks "$P" 0 16 conv=fsync
done
unpair

# A backup that does not get on with it: its device is suspended.
pair peer_timeout_ms 800
must write_blocks "$P" 0 16 conv=fsync
must dmsetup suspend rbb
must_not write_blocks "$P" 0 16 conv=fsync
must is rbp state connecting
must dmsetup resume rbb
until_true 20 connected
until_true 20 drained
must same_disks
unpair

# Policy suspend: the flush waits, and ends well when the backup is back.
pair peer_timeout_ms 500 on_peer_loss suspend
must write_blocks "$P" 0 16 conv=fsync
must dmsetup remove rbb
write_blocks "$P" 0 16 conv=fsync &
pid=$!
until_true 10 is rbp inflight 1
sleep 1.5
must kill -0 $pid
must is rbp inflight 1
must backup peer_timeout_ms 500 on_peer_loss suspend
must wait $pid
until_true 20 drained
must same_disks

# The same, and nobody comes: removal by force still works.
must dmsetup remove rbb
write_blocks "$P" 0 16 conv=fsync &
pid=$!
until_true 10 is rbp inflight 1
# The force makes all I/O fail; the device goes once its last writer has noticed
# and closed it, and is busy until then.
removed() {
	dmsetup remove --force rbp 2>/dev/null ||
		! dmsetup info rbp >/dev/null 2>&1
}
until_true 30 removed
must_not wait $pid
