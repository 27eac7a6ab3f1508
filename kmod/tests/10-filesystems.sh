# SPDX-License-Identifier: GPL-2.0-only
# Files written and synced on the primary are on the backup's device, which can
# be mounted read-only, and both disks end equal.
. ./lib.sh
MIB=310
make_disks

try_fs() { # try_fs MKFS OPTIONS-FOR-A-READ-ONLY-MOUNT
	local mkfs=$1 options=$2 i
	pair
	must $mkfs "$P" >/dev/null
	must mount "$P" "$WORK/mnt"
	for i in 1 2 3 4 5 6 7 8; do
		must dd if=/dev/urandom of="$WORK/mnt/f$i" bs=64k count=$((i * 3)) \
			conv=fsync status=none
	done
	must mkdir "$WORK/mnt/d"
	must mv "$WORK/mnt/f1" "$WORK/mnt/d/moved"
	must rm "$WORK/mnt/f2"
	sync -f "$WORK/mnt"
	must [ "$(get rbp acked)" -gt 0 ]
	(cd "$WORK/mnt" && sha256sum f? d/*) >"$WORK/sums"
	must umount "$WORK/mnt"
	until_true 20 drained
	must same_disks
	must mount -o "$options" "$B" "$WORK/mnt"
	(cd "$WORK/mnt" && sha256sum --quiet -c "$WORK/sums") || fail "$mkfs: content"
	must umount "$WORK/mnt"
	unpair
}

modprobe xfs
modprobe btrfs
try_fs "mkfs.ext4 -q -F" ro,noload
try_fs "mkfs.xfs -q -f" ro,norecovery
try_fs "mkfs.btrfs -q -f" ro
