# SPDX-License-Identifier: GPL-2.0-only
# A node that was away is brought up to date: with what differs and no more; a
# restart with empty memory finds an old image block by block.
. ./lib.sh
MIB=16
make_disks

blocks=1024
pair peer_timeout_ms 1000
must dd if=/dev/urandom of="$P" bs=256k count=$((blocks / 64)) oflag=direct conv=fsync status=none
until_true 60 drained

# A cut line: nothing was missed, nothing is fetched.
must dmsetup message rbp 0 disconnect 2
until_true 10 is rbp state connecting
must dmsetup message rbp 0 connect 2
until_true 20 connected
until_true 20 drained
must is rbb resynced 0
must is rbb missing 0

# Restart of the backup, its disk as it was: nothing is fetched.
must dmsetup remove rbb
must backup peer_timeout_ms 1000
until_true 60 connected
must is rbb resynced 0
must is rbb missing 0
must same_disks

# Restart with a stale image: of 1024 blocks 10 were written since.
must dmsetup suspend rbb
must dd if="$D" of="$WORK/image" bs=1M iflag=direct conv=sparse status=none
must dmsetup resume rbb
until_true 20 connected
for ((i = 0; i < 10; i++)); do must write_blocks "$P" $((i * 100)) 1; done
must write_blocks "$P" 2000 8 conv=fsync
until_true 20 drained
must dmsetup remove rbb
must dd if="$WORK/image" of="$D" bs=1M oflag=direct conv=notrunc status=none
must backup peer_timeout_ms 1000
until_true 60 connected
must is rbb resynced 18
must is rbb corrupt 0
must same_disks

# Restart with a disk of garbage: all of it.
must dmsetup remove rbb
must dd if=/dev/urandom of="$D" bs=1M count=12 oflag=direct conv=notrunc status=none
must backup peer_timeout_ms 1000
until_true 120 connected
must is rbb resynced $((blocks + 8))
must same_disks

# Writes go on meanwhile.
must dmsetup remove rbb
must dd if=/dev/urandom of="$D" bs=1M count=12 oflag=direct conv=notrunc status=none
while :; do write_blocks "$P" $((RANDOM % 1000)) 8; done &
pid=$!
must backup peer_timeout_ms 1000
until_true 120 connected
issued=$(get rbp issued)
went_on() { [ "$(get rbp issued)" -gt $((issued + 10)) ]; }
until_true 30 went_on
kill $pid
wait $pid 2>/dev/null
until_true 60 drained
must same_disks
unpair
