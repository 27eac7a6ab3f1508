# SPDX-License-Identifier: Apache-2.0
"""The parts of a reproducer that are the same in each: modes, and how a tree is looked at."""

from __future__ import annotations

USAGE = """\
# Usage, as root (whatever is on the devices is lost):
#
#   NAME replica PRIMARY
#       on a replicated device. PRIMARY is the block device that is written; the variable
#       CRASH_COPY holds a command that puts a copy of the backup's device, as it is at that
#       moment, into the file "$COPY", without the primary being unmounted or told. What the
#       primary has sent by then has to be applied first, if that takes a while:
#           CRASH_COPY='ssh backup cat /dev/mapper/replica >"$COPY"' NAME replica /dev/mapper/mine
#   NAME flakey DEVICE
#       the same steps on one plain device behind dm-flakey, which drops every write from the crash
#       on: what fails there too is not the fault of the replication. Needs dmsetup.
#   NAME dir DIRECTORY
#       only the steps, in a directory that is empty, to see that they do what they are to do.
#
# Needs xfs_io (package xfsprogs); for extended attributes setfattr and getfattr (package attr).
# Exit status: 0 as expected, 1 not as expected, 2 it could not be run.
"""

HELPERS = r"""
usage() {
	sed -n '/^# Usage/,/^# Exit status/s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

give_up() {
	echo "cannot run: $*" >&2
	exit 2
}

bad() {
	echo "NOT AS EXPECTED: $*"
	failed=1
}

# PATH: there is a directory, a file, a symbolic link to TEXT, anything, nothing.
is_dir() { [ -d "$dir/$1" ] || bad "$1: the directory is gone"; }
is_file() { [ -f "$dir/$1" ] || bad "$1: the file is gone"; }
is_link() {
	[ "$(readlink "$dir/$1")" = "$2" ] || bad "$1: the symbolic link to $2 is gone"
}
is_there() { [ -e "$dir/$1" ] || bad "$1: it is gone"; }
is_gone() {
	if [ -e "$dir/$1" ] || [ -h "$dir/$1" ]; then
		bad "$1: it is there again"
	fi
}

# PATH BYTES
has_size() {
	size=$(stat -c %s "$dir/$1" 2>/dev/null) || return 0
	[ "$size" -eq "$2" ] || bad "$1: $size bytes, not $2"
}

# PATH START END BYTE: each byte from START to before END is BYTE.
has_bytes() {
	[ -f "$dir/$1" ] || return 0
	head -c $(($3 - $2)) /dev/zero | tr '\000' "$4" >"$work/expected"
	tail -c +$(($2 + 1)) "$dir/$1" | head -c $(($3 - $2)) >"$work/found"
	if ! cmp "$work/expected" "$work/found" >"$work/cmp" 2>&1; then
		bad "$1: bytes $2 to $3 are not all $4 (counted from $2: $(cat "$work/cmp"))"
	fi
}

# PATH VALUE: of the attribute user.xattr1, nothing if there is none.
has_attribute() {
	value=$(getfattr --only-values -n user.xattr1 "$dir/$1" 2>/dev/null) || value=
	[ "$value" = "$2" ] || bad "$1: user.xattr1 is '$value', not '$2'"
}
"""

MODES = r"""
# Make the file system of the device $1 and mount it.
make_and_mount() {
	make_file_system "$1" || give_up "no file system can be made on $1"
	mount -t "$file_system" -o "$mount_options" "$1" "$dir" || give_up "$1 cannot be mounted"
	mounted=1
}

leave() {
	[ -z "$mounted" ] || umount "$dir"
	mounted=
}

# Recover what is on $1 by mounting it, look at the tree, check the file system.
look() {
	if ! mount -t "$file_system" -o "$mount_options$2" "$1" "$dir"; then
		bad "the file system cannot be mounted after the crash"
		return 0
	fi
	mounted=1
	expected_tree
	leave
	check_file_system "$1" >"$work/fsck" 2>&1 || {
		bad "the file system is not sound after recovery:"
		cat "$work/fsck"
	}
}

replica() {
	[ -b "$1" ] || give_up "$1 is no block device"
	[ -n "${CRASH_COPY:-}" ] || give_up "CRASH_COPY, the command that copies the backup, is not set"
	COPY=$work/copy
	export COPY
	make_and_mount "$1"
	steps
	if [ "$compare" = devices ]; then
		leave
		sync
	fi
	sh -c "$CRASH_COPY" || give_up "CRASH_COPY failed"
	[ -s "$COPY" ] || give_up "CRASH_COPY left nothing in $COPY"
	leave
	if [ "$compare" = devices ]; then
		cmp "$1" "$COPY" || bad "the backup's device does not hold what the primary's does"
	else
		look "$COPY" ,loop
	fi
}

flakey() {
	[ -b "$1" ] || give_up "$1 is no block device"
	[ "$compare" = tree ] || give_up "what failed is the comparison of two devices: see replica"
	sectors=$(blockdev --getsz "$1")
	flaky_name=reproduce-$$
	dmsetup create "$flaky_name" --table "0 $sectors flakey $1 0 180 0" || give_up "no dm-flakey"
	flaky=$flaky_name
	make_and_mount "/dev/mapper/$flaky"
	steps
	dmsetup suspend --nolockfs "$flaky"
	dmsetup load "$flaky" --table "0 $sectors flakey $1 0 0 180 1 drop_writes"
	dmsetup resume "$flaky"
	leave
	dmsetup remove "$flaky"
	flaky=
	look "$1" ''
}

in_directory() {
	dir=$1
	[ -d "$dir" ] || give_up "$dir is no directory"
	[ -z "$(ls -A "$dir")" ] || give_up "$dir is not empty"
	steps
	expected_tree
}

clean_up() {
	leave
	[ -z "$flaky" ] || dmsetup remove "$flaky"
	rm -rf "$work"
}

[ $# -eq 2 ] || usage
PATH=$PATH:/sbin:/usr/sbin
failed=
mounted=
flaky=
work=$(mktemp -d)
dir=$work/mnt
mkdir "$dir"
trap clean_up EXIT
trap 'exit 2' HUP INT TERM
case $1 in
replica) replica "$2" ;;
flakey) flakey "$2" ;;
dir) in_directory "$2" ;;
*) usage ;;
esac
if [ -n "$failed" ]; then
	echo "reproduced"
	exit 1
fi
echo "all as expected"
"""
