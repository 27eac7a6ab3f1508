# SPDX-License-Identifier: GPL-2.0-only
# An error of either disk is never success.
. ./lib.sh
make_disks

under() { # under DISK TARGET...: (re)load what lies below a node
	local disk=$1
	shift
	case $1 in
	linear) set -- "0 $SECTORS linear $disk 0" ;;
	error) set -- "0 $SECTORS error" ;;
	error_writes) set -- "0 $SECTORS flakey $disk 0 0 60 1 error_writes" ;;
	esac
	if dmsetup info rbunder >/dev/null 2>&1; then
		must dmsetup load rbunder --table "$1"
		must dmsetup suspend --nolockfs --noflush rbunder
		must dmsetup resume rbunder
	else
		must dmsetup create rbunder --table "$1"
	fi
}

for kind in error error_writes; do
	# Below the primary.
	under "$A" linear
	PDISK=/dev/mapper/rbunder pair
	must write_blocks "$P" 0 16 conv=fsync
	under "$A" $kind
	must_not write_blocks "$P" 0 16
	must_not write_blocks "$P" 32 1 conv=fsync
	must [ "$(get rbp errors)" -gt 0 ]
	[ $kind = error_writes ] ||
		must_not dd if="$P" of=/dev/null bs=4k count=1 iflag=direct status=none 2>/dev/null
	unpair
	must dmsetup remove rbunder

	# Below the backup: the primary's flush fails, then it knows.
	under "$D" linear
	BDISK=/dev/mapper/rbunder pair
	must write_blocks "$P" 0 16 conv=fsync
	acked=$(get rbp acked)
	under "$D" $kind
	must_not write_blocks "$P" 100 1 conv=fsync
	until_true 10 is rbp state lost
	must [ "$(get rbp acked)" -le "$((acked + 1))" ]
	must [ "$(get rbb errors)" -gt 0 ]
	must [ "$(get rbb applied)" -lt "$(get rbp issued)" ]
	must_not write_blocks "$P" 0 1
	unpair
	must dmsetup remove rbunder
	must dd if="$A" of="$D" bs=1M oflag=direct status=none
done
