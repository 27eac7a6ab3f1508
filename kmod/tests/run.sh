#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# run.sh MODULE [TEST...]: load the module, run the tests, unload it.
# To be run as root in a guest that may crash.  Exit code 1 if any test failed,
# the kernel complained, or, where it can tell, memory was leaked.
cd "${0%/*}" || exit 70
. ./reports.sh
module=$1
shift
[ $# -gt 0 ] || set -- [0-9]*.sh
for needed in dm-mod loop; do modprobe $needed || exit 70; done
reports_begin || exit 70
insmod "$module" || exit 70
export FAULTS=0
case $(cat /sys/module/dm_rollbaccine/version) in *-faults) FAULTS=1 ;; esac
bad=0
for test in "$@"; do
	echo "rollbaccine test $test" >/dev/kmsg
	SECONDS=0
	if bash "./$test"; then
		echo "ok     $test ${SECONDS}s"
	else
		echo "not ok $test ${SECONDS}s"
		bad=1
	fi
done
# Before the unloading traces have names; what the module itself still points
# to is a leak only after it.
no_leaks "module loaded" || bad=1
rmmod dm_rollbaccine || bad=1
no_leaks "module unloaded" || bad=1
log_is_clean || bad=1
exit $bad
