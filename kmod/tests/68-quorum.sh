# SPDX-License-Identifier: GPL-2.0-only
# Two backups: quorum, acknowledgement levels, and whom a flush waits for.
. ./lib.sh
MIB=16
make_disks
NODES=3
E2=$(make_disk c)
backup2() { node rbc "$E2" backup 3 "$@"; }
clean_third() { dmsetup remove --retry rbc; }

for ack in flush write memory; do
	# Both have to have it.
	must backup peer_timeout_ms 1000 ack $ack
	must backup2 peer_timeout_ms 1000 ack $ack
	must primary peer_timeout_ms 1000 ack $ack
	until_true 30 connected
	must is rbp quorum 2
	must is rbp synced 2
	must write_blocks "$P" 0 64 conv=fsync
	must [ "$(get rbb received)" = "$(get rbp issued)" ]
	must [ "$(get rbc received)" = "$(get rbp issued)" ]
	must clean_third
	must_not write_blocks "$P" 0 1 conv=fsync
	must backup2 peer_timeout_ms 1000 ack $ack
	until_true 30 connected
	must write_blocks "$P" 0 1 conv=fsync
	must clean_third
	unpair
done

# One is enough; the other is brought up to date when it is back.
must backup peer_timeout_ms 1000 quorum 1
must backup2 peer_timeout_ms 1000 quorum 1
must primary peer_timeout_ms 1000 quorum 1
until_true 30 is rbp synced 2
must write_blocks "$P" 0 64 conv=fsync
must clean_third
until_true 10 is rbp synced 1
must write_blocks "$P" 0 16 conv=fsync
must connected
must backup2 peer_timeout_ms 1000 quorum 1
until_true 30 is rbp synced 2
must is rbc missing 0
must cmp "$P" /dev/mapper/rbc

# Held back, a backup with quorum flush does not keep the other's flush waiting.
must dmsetup message rbc 0 hold 0
must write_blocks "$P" 0 16 conv=fsync
must [ "$(get rbc applied)" -lt "$(get rbp issued)" ]

# Fail-over needs N - Q + 1 = 2 promises: one's own is not enough.
must dmsetup message rbc 0 release
caught_up() { [ "$(get rbc applied)" = "$(get rbp issued)" ]; }
until_true 20 caught_up
must dmsetup remove rbp
must dmsetup suspend rbc
must dmsetup resume rbc
must dmsetup message rbb 0 disconnect 3
must_not dmsetup message rbb 0 promote
must dmsetup message rbb 0 connect 3
must dmsetup message rbb 0 promote
until_true 30 is rbb state connected
until_true 30 is rbc state connected
must write_blocks "$B" 0 16 conv=fsync
must cmp "$B" /dev/mapper/rbc
# The other cannot take over with less than the first has written alone.
must clean_third
must dmsetup remove rbb
losetup -d "$E2"
