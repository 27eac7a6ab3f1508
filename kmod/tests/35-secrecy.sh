# SPDX-License-Identifier: GPL-2.0-only
# Nothing of what is written is on a disk or on the wire, two contents of one
# block have nothing in common there, and the key is shown nowhere.  Needs perl.
. ./lib.sh
MIB=16
make_disks

# Between the primary and the backup: copies of all that goes by.
tap() { # tap PORT FILE: forward to the backup's port
	perl -MIO::Socket::INET -MIO::Select -e '
		$l = IO::Socket::INET->new(LocalAddr => "127.0.0.1:$ARGV[0]",
			Listen => 4, ReuseAddr => 1) or die "tap: $@";
		open($f, ">", $ARGV[1]) or die "tap: $!"; $f->autoflush(1);
		while ($a = $l->accept) {
			$b = IO::Socket::INET->new("127.0.0.1:7402") or next;
			$s = IO::Select->new($a, $b);
			LOOP: while (@r = $s->can_read) {
				for $r (@r) {
					last LOOP unless $r->sysread($x, 65536);
					print $f $x; $w = $r == $a ? $b : $a;
					while (length $x) { substr($x, 0, $w->syswrite($x)) = "" }
				}
			}
			close $a; close $b;
		}' "$@" &
	tap=$!
}

tap 7500 "$WORK/wire"
until_true 60 [ -e "$WORK/wire" ]
must backup
must dmsetup create rbp --table "0 $SECTORS rollbaccine $A primary 1 $KEY 127.0.0.1:7401 1 2 127.0.0.1:7500 1 create"
until_true 20 connected

word=attack-at-dawn-and-bring-the-siege-engines
perl -e 'print substr("'$word' " x 2000, 0, 65536)' >"$WORK/plain"
must dd if="$WORK/plain" of="$P" bs=64k oflag=direct conv=fsync status=none
until_true 20 drained
must dd if="$A" of="$WORK/first" bs=64k count=1 iflag=direct status=none
must dd if="$WORK/plain" of="$P" bs=64k oflag=direct conv=fsync status=none
until_true 20 drained
must cmp -n 65536 "$P" "$WORK/plain"
must cmp -n 65536 "$B" "$WORK/plain"
must [ "$(stat -c %s "$WORK/wire")" -gt 131072 ]
for there in "$A" "$D" "$WORK/wire"; do
	must_not grep -q siege-engines "$there"
done
# The control: the same search finds it where it is plain.
must grep -q siege-engines "$P"

# Same content, same block, written twice: nothing in common, in no block.
must dd if="$A" of="$WORK/second" bs=64k count=1 iflag=direct status=none
must perl -e '
	open($f, "<", $ARGV[0]); open($g, "<", $ARGV[1]);
	read($f, $a, 65536); read($g, $b, 65536);
	for (0 .. 15) {
		$x = substr($a, $_ * 4096, 4096) ^ substr($b, $_ * 4096, 4096);
		$same = () = $x =~ /\0/g; exit 1 if $same > 64;	# 16 by chance
		exit 1 if substr($a, 0, 4096) eq substr($a, $_ * 4096, 4096) && $_;
	}' "$WORK/first" "$WORK/second"

# Not in a table line, status or log either.
secret=0123456789abcdef0123456789abcdef
unpair
kill $tap
keyctl add user rollbaccine:probe "$secret" @u >/dev/null
printf %s "$secret" | keyctl padd logon rollbaccine:known @u >/dev/null
KEY=logon:rollbaccine:known pair
must write_blocks "$P" 0 4 conv=fsync
must_not grep -q "$secret" <(dmsetup table; dmsetup table --showkeys; dmsetup status; dmesg)
must grep -q "logon:rollbaccine:known" <(dmsetup table)
unpair
