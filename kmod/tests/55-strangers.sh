# SPDX-License-Identifier: GPL-2.0-only
# Whatever a stranger says on the port, or to a primary in the backup's place,
# changes nothing and harms nobody.  Needs perl.
. ./lib.sh
make_disks

say() { # say HEX...: to the backup, then wait for it to hang up or answer
	timeout 10 perl -MIO::Socket::INET -e '
		$s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:'$PORT'") or exit 2;
		$s->syswrite(pack("H*", join("", @ARGV)));
		shutdown($s, 1) unless $ENV{HOLD};
		while ($s->sysread($b, 4096)) { print unpack("H*", $b) }' "$@"
}

MAGIC=52426331
HEADER="${MAGIC}0100"
zeros() { printf "%0$(($1 * 2))d" 0; }

must backup peer_timeout_ms 1000
say 00 >/dev/null
say "$(zeros 4096)" >/dev/null
say "${MAGIC}" >/dev/null
# Another version is told so: WELCOME, verdict 2.
case $(say "${MAGIC}0200" "$(zeros 26)") in
*"02000000$(zeros 52)") ;;
*) fail "no answer to another version" ;;
esac
# A hello with an absurd length, an operation instead of a hello.
say "${HEADER}0100ffffffff$(zeros 20)" >/dev/null
say "${HEADER}1000000010000008000000$(zeros 16)" >/dev/null
HOLD=1 say >/dev/null # says nothing at all
must is rbb state connecting
must is rbb received 0
must primary
until_true 20 connected
must write_blocks "$P" 0 16 conv=fsync
say "$(zeros 512)" >/dev/null
must write_blocks "$P" 0 16 conv=fsync
must connected
until_true 20 drained
must same_disks
unpair

# A backup that welcomes the primary and then sends junk, or nothing.
impostor() { # impostor HEX: after the welcome
	perl -MIO::Socket::INET -e '
		$l = IO::Socket::INET->new(LocalAddr => "127.0.0.1:'$PORT'",
			Listen => 1, ReuseAddr => 1) or exit 2;
		$s = $l->accept; undef $l; $s->sysread($h, 72);
		$welcome = pack("H*", "'"$HEADER"'") . pack("CCVVQ<Q<", 2, 0, 56, 0, 0, 0);
		$welcome .= pack("VVQ<6", 0, 0, 77, 1, '"$SECTORS"', 0, 0, 0);
		$s->syswrite($welcome . pack("H*", $ARGV[0]));
		while ($s->sysread($b, 65536)) {}' "$1"
}

PROGRESS="${HEADER}040020000000$(zeros 20)"
for words in "$(zeros 64)" "${HEADER}0400ffffffff$(zeros 52)" \
	"${PROGRESS}ff$(zeros 31)" "${PROGRESS}$(zeros 8)01$(zeros 23)" \
	"${PROGRESS}$(zeros 24)02$(zeros 7)"; do
	impostor "$words" &
	pid=$!
	must primary peer_timeout_ms 500
	until_true 10 is rbp state lost
	must_not write_blocks "$P" 0 1
	must dmsetup remove rbp
	wait $pid
done

# Silence: no acknowledgement, so no flush; and no waiting for ever.
impostor "" &
pid=$!
must primary peer_timeout_ms 500
until_true 10 is rbp state connected
must_not write_blocks "$P" 0 4 conv=fsync
until_true 10 is rbp state lost
must dmsetup remove rbp
wait $pid
