# SPDX-License-Identifier: GPL-2.0-only
# dmsetup table prints a line that can be loaded again; a device that is there
# keeps its memory, another length is refused.
. ./lib.sh
MIB=16
make_disks
reload() { # reload NAME TABLE
	dmsetup load "$1" --table "$2" 2>>"$WORK/dmsetup.log" &&
		dmsetup suspend "$1" && dmsetup resume "$1"
}

pair peer_timeout_ms 2000 window_kib 2048 ack flush on_peer_loss error
must write_blocks "$P" 0 32 conv=fsync
until_true 20 drained
issued=$(get rbp issued)
cluster=$(get rbp cluster)
for name in rbp rbb rbp; do
	line=$(dmsetup table $name)
	must reload $name "$line"
	must [ "$(dmsetup table $name)" = "$line" ]
	until_true 30 connected
	must is rbp issued "$issued"
	must is rbp cluster "$cluster"
	must is rbb resynced 0
	must is rbb missing 0
	must same_disks
	must is rbp corrupt 0
done
# With other features.
must reload rbp "$(dmsetup table rbp | sed 's/peer_timeout_ms 2000/peer_timeout_ms 3000/')"
until_true 30 connected
must write_blocks "$P" 100 8 conv=fsync
until_true 20 drained
must same_disks

# Loaded and thought better of: the old one goes on.
must dmsetup load rbp --table "$(dmsetup table rbp)"
must dmsetup clear rbp
must write_blocks "$P" 100 8 conv=fsync

bad() { must_not dmsetup load rbp --table "$1" 2>>"$WORK/dmsetup.log"; }
bad "$(dmsetup table rbp | sed "s/^0 $SECTORS/0 $((SECTORS - 8))/")"
bad "0 $SECTORS rollbaccine $A primary 1 $KEY 127.0.0.1:7401 1 2 127.0.0.1:7402 1 create"
must write_blocks "$P" 100 8 conv=fsync

# After a promotion the line says who leads.
must dmsetup remove rbp
must dmsetup message rbb 0 promote
must reload rbb "$(dmsetup table rbb)"
must is rbb role primary
must is rbb epoch 2
must node rbp "$A" backup 1 peer_timeout_ms 2000
until_true 30 is rbb state connected
must write_blocks "$B" 0 16 conv=fsync
must same_disks
