# SPDX-License-Identifier: GPL-2.0-only
# 50 create/remove cycles, half of them with I/O, leave no thread, socket or
# memory behind.
. ./lib.sh
MIB=32
make_disks

threads() { grep -l '^Name:.rb_' /proc/[0-9]*/status 2>/dev/null | wc -l; }
sockets() { awk '/^TCP:/ {print $3}' /proc/net/sockstat; }
kib() { awk -v k="$1:" '$1 == k {print $2}' /proc/meminfo; }
cycle() {
	pair
	if [ $(($1 % 2)) = 0 ]; then
		must write_blocks "$P" 0 512
		must sync "$P"
	fi
	unpair
}

measure() { # measure NAME: sets NAME_used and NAME_slab, in KiB
	sync
	echo 3 >/proc/sys/vm/drop_caches
	printf -v "$1_used" %d \
		$(($(kib MemTotal) - $(kib MemFree) - $(kib Cached) - $(kib Buffers)))
	printf -v "$1_slab" %d "$(kib SUnreclaim)"
}

for i in 1 2 3 4 5; do cycle $i; done
measure before
sockets_before=$(sockets)
for ((i = 0; i < 50; i++)); do cycle $i; done
measure after
echo "    KiB used $before_used -> $after_used, slab $before_slab -> $after_slab"
must [ "$(threads)" = 0 ]
must [ "$(sockets)" -le "$sockets_before" ]
# The page cache of the disks makes `used` swing by a few MiB.  A leaked device
# would cost 100 times 1 MiB of reserves, a leaked object of 20 KiB a MiB of slab.
must [ $((after_used - before_used)) -lt 40960 ]
must [ $((after_slab - before_slab)) -lt 1024 ]
