# SPDX-License-Identifier: GPL-2.0-only
# Whoever comes first waits for the other; a write without a peer fails in time
# and leaves the pair able to start.
. ./lib.sh
make_disks

must primary peer_timeout_ms 1000
must is rbp state connecting
must_not write_blocks "$P" 0 1
must is rbp issued 0
must cmp -n 4096 "$A" /dev/zero
must dd if="$P" of=/dev/null bs=4k count=1 iflag=direct status=none
must backup
until_true 20 connected
must write_blocks "$P" 0 64 conv=fsync
must is rbp acked "$(get rbp issued)"
unpair

# A write that comes shortly before the backup simply waits for it.
must primary peer_timeout_ms 20000
write_blocks "$P" 0 16 conv=fsync &
writer=$!
until_true 10 is rbp inflight 1
must backup
must wait "$writer"
until_true 20 drained
must same_disks
unpair
