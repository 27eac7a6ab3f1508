# SPDX-License-Identifier: GPL-2.0-only
# Losing the peer at any moment neither hangs nor crashes anybody, and no flush
# that the backup does not have succeeds.
. ./lib.sh
make_disks

writer() { # until the first error; exit code of the last dd
	local i
	for ((i = 0; ; i = (i + 64) % 16384)); do
		write_blocks "$P" $i 64 conv=fsync || return 0
	done
}

wrote() { [ "$(get rbp issued)" -ge "$1" ]; }

# Backup removed under load, repeatedly.
for round in 1 2 3 4 5; do
	pair peer_timeout_ms 1000
	writer &
	pid=$!
	until_true 20 wrote 128
	must dmsetup remove rbb
	must wait $pid
	must_not connected
	must_not write_blocks "$P" 0 1
	must_not sync "$P"
	must dd if="$P" of=/dev/null bs=4k count=16 iflag=direct status=none
	must dmsetup remove rbp
	must dd if="$A" of="$D" bs=1M oflag=direct status=none
done

# The same pair again: a backup without its history is no use any more.
pair peer_timeout_ms 1000
must write_blocks "$P" 0 16 conv=fsync
must dmsetup remove rbb
must backup
until_true 10 is rbp state lost
unpair

# Nothing ever written: the backup may come and go.
pair peer_timeout_ms 1000
must dmsetup remove rbb
until_true 10 is rbp state connecting
must backup
until_true 10 connected
must write_blocks "$P" 0 16 conv=fsync
unpair

# A backup that does not get on with it: its device is suspended.
pair peer_timeout_ms 800
must write_blocks "$P" 0 16 conv=fsync
must dmsetup suspend rbb
must_not write_blocks "$P" 0 16 conv=fsync
until_true 10 is rbp state lost
must dmsetup remove rbb
must dmsetup remove rbp
must dd if="$A" of="$D" bs=1M oflag=direct status=none

# Policy suspend: the flush waits; removal by force still works.
pair peer_timeout_ms 500 on_peer_loss suspend
must write_blocks "$P" 0 16 conv=fsync
must dmsetup remove rbb
write_blocks "$P" 0 16 conv=fsync &
pid=$!
until_true 10 is rbp inflight 1
sleep 1.5
must kill -0 $pid
must is rbp inflight 1
must dmsetup remove --force rbp
must_not wait $pid
gone() { ! dmsetup info rbp >/dev/null 2>&1 || dmsetup remove rbp 2>/dev/null; }
until_true 10 gone
