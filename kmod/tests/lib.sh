# SPDX-License-Identifier: GPL-2.0-only
# Sourced by every test.  A pair inside one machine: primary `rbp` on disk A,
# backup `rbb` on disk B, connected over 127.0.0.1.
#
# Environment: DISK_A, DISK_B (block devices of equal size, destroyed), else
# loop devices on files in $WORK, which should be a tmpfs.

set -u
export DM_DISABLE_UDEV=1
WORK=${WORK:-/tmp/rollbaccine-test}
MIB=${MIB:-96}
PORT=${PORT:-7400}
P=/dev/mapper/rbp
B=/dev/mapper/rbb

fail() {
	echo "    $*" >&2
	dmsetup status >&2
	exit 1
}

must() { "$@" || fail "failed: $*"; }
must_not() { "$@" && fail "succeeded: $*"; return 0; }

# A kernel that looks at every access to memory takes several times as long.
if [ -e /sys/kernel/debug/kmemleak ]; then PATIENCE=${PATIENCE:-6}; fi
PATIENCE=${PATIENCE:-1}

# until_true SECONDS COMMAND...: wait for a condition, fail at the deadline.
until_true() {
	local deadline=$((SECONDS + $1 * PATIENCE))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$deadline" ] || fail "never came true: $*"
		sleep 0.02
	done
}

make_disk() { # make_disk NAME: prints a loop device
	mkdir -p "$WORK"
	truncate -s "${MIB}M" "$WORK/$1.img"
	losetup -f --show "$WORK/$1.img"
}

make_disks() {
	local disk
	A=${DISK_A:-$(make_disk a)}
	D=${DISK_B:-$(make_disk b)}
	for disk in ${DISK_A:-} ${DISK_B:-}; do
		must dd if=/dev/zero of="$disk" bs=1M oflag=direct status=none \
			count="$MIB"
	done
	SECTORS=$((MIB * 2048))
}

free_disks() {
	[ -n "${DISK_A:-}" ] || losetup -d "$A"
	[ -n "${DISK_B:-}" ] || losetup -d "$D"
	rm -f "$WORK"/*.img
}

# primary [FEATURES...], backup [FEATURES...]: on $PDISK and $BDISK if set.
primary() { node rbp "${PDISK:-$A}" primary 1 "$@" create; }
backup() { node rbb "${BDISK:-$D}" backup 2 "$@"; }

# A key as keyctl would put it there for an administrator.
add_key() { # add_key NAME [BYTES]
	head -c "${2:-32}" /dev/urandom | keyctl padd logon "rollbaccine:$1" @u >/dev/null
}

KEY=${KEY:-logon:rollbaccine:test}
keyctl link @u @s || exit 70
keyctl search @u logon rollbaccine:test >/dev/null 2>&1 || add_key test || exit 70

patient() { # patient FEATURES...: the same, with as much more time for peers
	local word before=
	for word in "$@"; do
		[ "$before" != peer_timeout_ms ] || word=$((word * PATIENCE))
		echo "$word"
		before=$word
	done
}

node() { # node NAME DISK ROLE ID [FEATURES...]: ids are 1, 2, 3, ...
	local name=$1 line id peers=
	for ((id = 1; id <= ${NODES:-2}; id++)); do
		[ $id = "$4" ] || peers="$peers $id 127.0.0.1:$((PORT + id))"
	done
	line="0 ${LENGTH:-$SECTORS} rollbaccine $2 $3 $4 $KEY 127.0.0.1:$((PORT + $4))"
	line="$line $((${NODES:-2} - 1))$peers"
	shift 4
	# shellcheck disable=SC2046
	set -- $(patient "$@")
	[ $# -eq 0 ] || line="$line $# $*"
	dmsetup create "$name" --table "$line" 2>>"$WORK/dmsetup.log"
}

get() { # get DEVICE KEY: a value of the status line
	dmsetup status "$1" | awk -v key="$2" \
		'{for (i = 4; i < NF; i++) if ($i == key) print $(i + 1)}'
}

is() { [ "$(get "$1" "$2")" = "$3" ]; }

connected() { is rbp state connected && is rbb state connected; }

drained() {
	[ "$(get rbb received)" = "$(get rbp issued)" ] &&
		[ "$(get rbb applied)" = "$(get rbp issued)" ]
}

pair() { # both nodes, connected
	must backup "$@"
	must primary "$@"
	until_true 20 connected
}

unpair() {
	must dmsetup remove --retry rbp
	must dmsetup remove --retry rbb
}

# Both nodes return the same data, and so do their disks where it was written.
same_disks() {
	blockdev --flushbufs "$P"
	blockdev --flushbufs "$B"
	cmp "$P" "$B"
}

write_blocks() { # write_blocks DEVICE FIRST COUNT [dd options]: random 4 KiB
	local device=$1 first=$2 count=$3
	shift 3
	dd if=/dev/urandom of="$device" bs=4k seek="$first" count="$count" \
		oflag=direct status=none "$@" 2>/dev/null
}

# Everything a test may have left, whatever state it died in.
clean_up() {
	local name pid
	for pid in $(jobs -p); do kill -9 "$pid" 2>/dev/null; done
	wait 2>/dev/null
	mountpoint -q "$WORK/mnt" && umount "$WORK/mnt"
	for name in rbsnap rbp rbb rbc rbbad rbunder; do
		dmsetup info "$name" >/dev/null 2>&1 || continue
		dmsetup remove --retry "$name" ||
			dmsetup remove --force --retry "$name"
	done
	[ -z "${A:-}" ] || free_disks
}
mkdir -p "$WORK/mnt"
trap clean_up EXIT
