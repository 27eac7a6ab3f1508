# SPDX-License-Identifier: GPL-2.0-only
# A copy-on-write snapshot of the backup's device can be mounted read-write, with
# journal recovery, and leaves the backup as it was.
. ./lib.sh
make_disks
modprobe dm-snapshot
pair
must mkfs.ext4 -q -F "$P"
must mount "$P" "$WORK/mnt"
must dd if=/dev/urandom of="$WORK/mnt/file" bs=64k count=8 conv=fsync status=none
sum=$(sha256sum <"$WORK/mnt/file")
until_true 20 drained
truncate -s 32M "$WORK/cow.img"
cow=$(losetup -f --show "$WORK/cow.img")
before=$(sha256sum <"$B")
must dmsetup create rbsnap --table "0 $SECTORS snapshot $B $cow N 8"
mkdir -p "$WORK/snap"
must mount /dev/mapper/rbsnap "$WORK/snap"
[ "$(sha256sum <"$WORK/snap/file")" = "$sum" ] || fail "content of the snapshot"
must touch "$WORK/snap/new"
must umount "$WORK/snap"
must dmsetup remove rbsnap
losetup -d "$cow"
blockdev --flushbufs "$B"
[ "$(sha256sum <"$B")" = "$before" ] || fail "the snapshot changed the backup"
must touch "$WORK/mnt/more"
must umount "$WORK/mnt"
until_true 20 drained
must same_disks
unpair
