# SPDX-License-Identifier: GPL-2.0-only
# Sourced by run.sh and under-faults.sh: what the kernel has to say afterwards.

DEBUGFS=/sys/kernel/debug
KMEMLEAK=$DEBUGFS/kmemleak
# Younger memory is never called leaked (MSECS_MIN_AGE of the kernel).
LEAK_AGE=6
COMPLAINTS='\bBUG\b|Oops|WARNING:|hung task|blocked for more|Call Trace'
COMPLAINTS+='|KASAN|KFENCE|UBSAN|ODEBUG|refcount_t|corruption|lockup|stall'
COMPLAINTS+='|kmemleak: (Memory pool|Kernel memory leak detector disabled)'

# Only what comes from now on counts.
reports_begin() {
	mountpoint -q $DEBUGFS || mount -t debugfs debugfs $DEBUGFS || return
	MARK="rollbaccine tests begin $$ $RANDOM"
	echo "$MARK" >/dev/kmsg
	[ ! -e $KMEMLEAK ] || echo clear >$KMEMLEAK
}

# no_leaks WHEN: on a kernel that can tell.  A block is called leaked if two
# scans see it unchanged and find no pointer to it.
no_leaks() {
	local scan
	[ -e $KMEMLEAK ] || return 0
	for scan in 1 2; do
		sleep $LEAK_AGE
		if ! echo scan >$KMEMLEAK; then
			echo "not ok kmemleak, $1: it has switched itself off"
			return 1
		fi
	done
	grep -q unreferenced $KMEMLEAK || return 0
	echo "not ok kmemleak, $1"
	cat $KMEMLEAK
	return 1
}

# The log from the mark on, or all of it if the mark has been pushed out.
log_since_begin() {
	dmesg | awk -v mark="$MARK" '
		{ line[NR] = $0 }
		index($0, mark) { first = NR }
		END { for (i = first; i <= NR; i++) if (i) print line[i] }'
}

log_is_clean() {
	log_since_begin | grep -E "$COMPLAINTS" || return 0
	echo "not ok kernel log"
	return 1
}
