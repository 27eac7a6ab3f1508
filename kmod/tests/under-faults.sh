#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# under-faults.sh MODULE [ROUNDS]: the module with memory running out and disks
# failing below it.  To be run as root in a guest that may crash, on a kernel
# with failslab, fail_page_alloc and fail_make_request.
#
# I/O errors, refusals and a lost peer are legal.  Not legal: a complaint of the
# kernel, a leak, a hang, a device or a module that cannot be removed.
cd "${0%/*}" || exit 70
. ./reports.sh
# A large allocation that fails may say so with a trace.
COMPLAINTS=${COMPLAINTS/|Call Trace/}
module=$1
ROUNDS=${2:-16}
ROUND_SECONDS=${ROUND_SECONDS:-4}
# More allocations than any table line makes; the sweep must end before.
MOST_STEPS=400
MEMORY="failslab fail_page_alloc"
# How often a fault may strike; counted down, so that strikes can be told.
BUDGET=1000000

set_fault() { # set_fault KIND NAME=VALUE...
	local kind=$1 setting
	shift
	for setting in "$@"; do
		echo "${setting#*=}" >"$DEBUGFS/$kind/${setting%%=*}" || exit 70
	done
}

struck() { echo $((BUDGET - $(cat "$DEBUGFS/$1/times"))); }

all_struck() {
	local kind sum=0
	for kind in $MEMORY; do sum=$((sum + $(struck "$kind"))); done
	echo "$sum"
}

# Allocations fail only if code of the module is among the callers.
prepare_faults() {
	local kind range
	range=$(awk '/\[dm_rollbaccine\]$/ && tolower($2) == "t" {print $1}' \
		/proc/kallsyms | sort | sed -n '1p;$p')
	# shellcheck disable=SC2086
	set -- $range
	[ $# -eq 2 ] && [ "$1" != "$2" ] || exit 70
	for kind in $MEMORY; do
		set_fault "$kind" probability=0 interval=1 verbose=0 times=$BUDGET \
			ignore-gfp-wait=N require-start="0x$1" require-end="0x$2"
	done
	set_fault fail_page_alloc ignore-gfp-highmem=N min-order=0
	set_fault fail_make_request probability=0 interval=1 verbose=0 times=$BUDGET
}

no_faults() {
	local kind
	for kind in $MEMORY fail_make_request; do
		set_fault "$kind" probability=0
	done
}

# With NTH set, the creation of a device meets one failed allocation: the NTH.
dmsetup() {
	if [ "${NTH:-0}" -gt 0 ] && [ "$1" = create ]; then
		bash -c 'echo "$0" >/proc/self/fail-nth && exec dmsetup "$@"' \
			"$NTH" "$@"
	else
		command dmsetup "$@"
	fi
}

# Let each allocation of the constructor and of the resume fail in turn.
sweep() { # sweep FUNCTION DEVICE
	local before step
	for ((step = 1; step <= MOST_STEPS; step++)); do
		before=$(all_struck)
		# A device that came up although something failed is right as well.
		if NTH=$step "$1"; then
			must command dmsetup remove --retry "$2"
		elif command dmsetup info "$2" >/dev/null 2>&1; then
			fail "$2 is there although its creation failed"
		fi
		if [ "$(all_struck)" -eq "$before" ]; then
			echo "    $1: $((step - 1)) allocations, each failed once"
			[ "$step" -gt 1 ] || fail "no allocation of $1 was made to fail"
			return
		fi
	done
	fail "$1 never came to its end"
}

# What users do to a device; every error of it is legal, not to return is not.
load() {
	local limit="timeout -k 10 300"
	$limit fio --name=load --filename=$P --rw=randrw --direct=1 --iodepth=8 \
		--ioengine=libaio --bsrange=4k-256k --fsync=8 --time_based \
		--runtime="$ROUND_SECONDS" --continue_on_error=all >/dev/null 2>&1
	[ $? -lt 124 ] || fail "fio did not end"
	$limit blkdiscard -f -l 1M $P 2>/dev/null
	[ $? -lt 124 ] || fail "blkdiscard did not end"
	$limit dd if=$B of=/dev/null bs=64k count=64 iflag=direct 2>/dev/null
	[ $? -lt 124 ] || fail "dd did not end"
}

faulty_disk() { echo "$2" >"/sys/block/${1#/dev/}/make-it-fail"; }

round() { # round NUMBER
	pair
	case $(($1 % 4)) in
	0) set_fault failslab probability=2 ;;
	1) set_fault fail_page_alloc probability=2 ;;
	2) faulty_disk "$A" 1 ;;
	3) faulty_disk "$D" 1 ;;
	esac
	[ $(($1 % 4)) -lt 2 ] || set_fault fail_make_request probability=1
	load
	# Half of the pairs go away while it is still failing.
	[ $(($1 / 4 % 2)) -eq 0 ] || no_faults
	must timeout 120 dmsetup remove --retry rbp
	must timeout 120 dmsetup remove --retry rbb
	no_faults
	faulty_disk "$A" 0
	faulty_disk "$D" 0
}

work() {
	. ./lib.sh
	make_disks
	prepare_faults
	sweep backup rbb
	sweep primary rbp
	for ((number = 0; number < ROUNDS; number++)); do
		echo "rollbaccine round $number" >/dev/kmsg
		round "$number"
	done
	for kind in $MEMORY fail_make_request; do
		echo "    $kind: $(struck "$kind") times"
		[ "$(struck "$kind")" -gt 0 ] || fail "$kind never struck"
	done
}

for needed in dm-mod loop; do modprobe $needed || exit 70; done
reports_begin || exit 70
for kind in $MEMORY fail_make_request; do
	[ -d "$DEBUGFS/$kind" ] || { echo "this kernel has no $kind" >&2; exit 70; }
done
insmod "$module" || exit 70
bad=0
if (work); then echo "ok     under-faults"; else
	echo "not ok under-faults"
	bad=1
fi
no_faults
no_leaks "module loaded" || bad=1
rmmod dm_rollbaccine || bad=1
no_leaks "module unloaded" || bad=1
log_is_clean || bad=1
exit $bad
