# SPDX-License-Identifier: GPL-2.0-only
# Fail-over: a backup takes over, the deposed primary completes nothing any more,
# and comes back as a backup.
. ./lib.sh
MIB=16
make_disks

message() { dmsetup message "$1" 0 "${@:2}" 2>>"$WORK/dmsetup.log"; }

# Not from nothing, not twice, not by a primary, nothing unknown.
must backup peer_timeout_ms 1000
must_not message rbb promote
must_not message rbb no-such-thing
must_not message rbb hold
must_not message rbb step
must_not message rbb hold x
must primary peer_timeout_ms 1000
until_true 20 connected
must_not message rbp promote
must_not message rbp hold 1
must_not message rbb demote
must is rbp epoch 1

# Fail-over after the primary's death; its last flush is there.
must dd if=/dev/urandom of="$P" bs=256k count=4 oflag=direct conv=fsync status=none
must dd if="$P" of="$WORK/was" bs=4k count=256 iflag=direct status=none
must dmsetup remove rbp
must is rbb state connecting
must message rbb promote
must is rbb role primary
must is rbb epoch 2
must cmp -n $((1 << 20)) "$WORK/was" "$B"
must grep -q " primary 2 " <(dmsetup table rbb)
# Alone it is below its quorum.
must_not write_blocks "$B" 0 1

# The old one comes back, without memory, as a backup of the new one.
must node rbp "$A" backup 1 peer_timeout_ms 1000
connected2() { is rbp state connected && is rbb state connected; }
until_true 30 connected2
must is rbp role backup
must write_blocks "$B" 100 64 conv=fsync
drained2() { is rbp applied "$(get rbb issued)"; }
until_true 20 drained2
must same_disks

# And forth: with the primary alive, which is fenced by it.
# Some of what it has issued is always on its way.
for first in 300 900 1500 2100; do
	write_blocks "$B" $first 512 conv=fsync &
done
under_way() { [ "$(get rbb issued)" -ge 400 ]; }
until_true 20 under_way
must message rbp promote
wait
must is rbp role primary
# An attempt that a write under way has overtaken costs an epoch of its own.
epoch=$(get rbp epoch)
must [ "$epoch" -ge 3 ]
until_true 20 is rbb state fenced
must_not write_blocks "$B" 0 1
must_not sync "$B"
must_not dd if="$B" of=/dev/null bs=4k count=1 iflag=direct status=none 2>/dev/null
must message rbb demote
until_true 30 connected
must is rbb epoch "$epoch"
must write_blocks "$P" 0 64 conv=fsync
until_true 20 drained
must same_disks

# A backup that is being resynced cannot take over.
must message rbb hold 0
must write_blocks "$P" 10 1
must_not message rbb promote
must message rbb release
until_true 20 drained
unpair
