# SPDX-License-Identifier: GPL-2.0-only
# Whatever a stranger says on the port, or to a primary in the backup's place,
# changes nothing and harms nobody.  Needs perl.
. ./lib.sh
MIB=16
make_disks

say() { # say HEX...: to the backup, then wait for it to hang up or answer
	timeout 10 perl -MIO::Socket::INET -e '
		$s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:7402") or exit 2;
		$s->syswrite(pack("H*", join("", @ARGV)));
		shutdown($s, 1) unless $ENV{HOLD};
		while ($s->sysread($b, 4096)) { print unpack("H*", $b) }' "$@"
}

MAGIC=52426332
HEADER="${MAGIC}0200"
zeros() { printf "%0$(($1 * 2))d" 0; }

must backup peer_timeout_ms 1000
say 00 >/dev/null
say "$(zeros 4096)" >/dev/null
say "${MAGIC}" >/dev/null
# Another version is told so: WELCOME, verdict 2.
case $(say "${MAGIC}0300" "$(zeros 26)") in
*"02000000$(zeros 108)") ;;
*) fail "no answer to another version" ;;
esac
# A hello with an absurd length, an operation instead of a hello, no id.
say "${HEADER}0100ffffffff00000000$(zeros 16)" >/dev/null
say "${HEADER}1000200000000010000$(zeros 16)" >/dev/null
say "${HEADER}01006000000000000000$(zeros 16)" "$(zeros 96)" >/dev/null
# A good hello, and then no proof.
hello="0100000000000000""0200000000000000""$(zeros 80)"
say "${HEADER}01006000000000000000$(zeros 16)" "$hello" >/dev/null
HOLD=1 say >/dev/null # says nothing at all
must is rbb state recovering
must is rbb received 0
must [ "$(get rbb rejected)" -gt 0 ]
must primary
until_true 20 connected
must write_blocks "$P" 0 16 conv=fsync
say "$(zeros 512)" >/dev/null
HOLD=1 say "${HEADER}01006000000000000000$(zeros 16)" "$hello" >/dev/null
must write_blocks "$P" 0 16 conv=fsync
must connected
until_true 20 drained
must same_disks
unpair

# Something in the backup's place that talks nonsense, or nothing: no peer.
impostor() { # impostor HEX: the answer to everything
	perl -MIO::Socket::INET -e '
		$l = IO::Socket::INET->new(LocalAddr => "127.0.0.1:7402",
			Listen => 1, ReuseAddr => 1) or exit 2;
		for (1 .. 3) {
			$s = $l->accept; $s->sysread($h, 128);
			$s->syswrite(pack("H*", $ARGV[0]));
			$s->sysread($b, 65536) if $ARGV[0];
			sleep 1 unless $ARGV[0];
		}' "$1"
}

for words in "$(zeros 64)" "${HEADER}0400ffffffff$(zeros 20)" \
	"${HEADER}04007000000000000000$(zeros 16)$(zeros 112)" \
	"${HEADER}02003000000000000000$(zeros 16)$(zeros 48)" ""; do
	impostor "$words" &
	pid=$!
	must primary peer_timeout_ms 500
	until_true 20 eval "! kill -0 $pid 2>/dev/null"
	must is rbp state connecting
	must_not write_blocks "$P" 0 1
	must dmsetup remove rbp
done
