# SPDX-License-Identifier: GPL-2.0-only
# An error of either disk is never success.
. ./lib.sh
MIB=32
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
	# Below the primary: writes fail, reads are served by the backup.
	under "$A" linear
	PDISK=/dev/mapper/rbunder pair
	must write_blocks "$P" 0 16 conv=fsync
	must dd if="$P" of="$WORK/before" bs=4k skip=8 count=8 iflag=direct status=none
	under "$A" $kind
	must_not write_blocks "$P" 0 8
	must_not write_blocks "$P" 32 1 conv=fsync
	must [ "$(get rbp errors)" -gt 0 ]
	must dd if="$P" of="$WORK/after" bs=4k skip=8 count=8 iflag=direct status=none
	must cmp "$WORK/before" "$WORK/after"
	unpair
	must dmsetup remove rbunder

	# Below the backup: the primary's flush fails, then it knows.
	under "$D" linear
	BDISK=/dev/mapper/rbunder pair peer_timeout_ms 1000
	must write_blocks "$P" 0 16 conv=fsync
	acked=$(get rbp acked)
	under "$D" $kind
	must_not write_blocks "$P" 100 1 conv=fsync
	until_true 10 is rbp state connecting
	must is rbb state failed
	must [ "$(get rbp acked)" -le "$((acked + 1))" ]
	must [ "$(get rbb errors)" -gt 0 ]
	must [ "$(get rbb applied)" -lt "$(get rbp issued)" ]
	must_not write_blocks "$P" 0 1
	unpair
	must dmsetup remove rbunder
done
