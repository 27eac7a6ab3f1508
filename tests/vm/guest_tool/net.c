// SPDX-License-Identifier: Apache-2.0
/* Strangers on a node's port. */
#define _GNU_SOURCE
#include "tool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_BYTES (4UL << 20)
#define MOST_CONNECTIONS 512

int tcp_connect(const char *address, uint64_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	signal(SIGPIPE, SIG_IGN);
	if (fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1)
		return -1;
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static size_t from_hex(const char *text, unsigned char *bytes, size_t room)
{
	size_t len = 0;

	for (; text[0] && text[1] && len < room; text += 2) {
		char pair[3] = { text[0], text[1], 0 };

		bytes[len++] = (unsigned char)strtoul(pair, NULL, 16);
	}
	return len;
}

/*
 * Words of HEX are sent as they are; `zeros:N` and `junk:N` stand for N bytes, `end` closes this
 * side. Prints all that comes back until the other side closes ("closed") or time is up ("open").
 */
int cmd_say(int argc, char **argv)
{
	uint64_t end = now_ms() + number(argv[3]);
	unsigned char *bytes = calloc(1, MOST_BYTES);
	int fd = tcp_connect(argv[1], number(argv[2]));
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (fd < 0 || !bytes)
		return complain("connect");
	for (int i = 4; i < argc; i++) {
		size_t len;

		if (!strcmp(argv[i], "end")) {
			shutdown(fd, SHUT_WR);
			continue;
		}
		if (!strncmp(argv[i], "zeros:", 6) || !strncmp(argv[i], "junk:", 5)) {
			len = number(strchr(argv[i], ':') + 1);
			len = len < MOST_BYTES ? len : MOST_BYTES;
			for (size_t n = 0; n < len; n++)
				bytes[n] = argv[i][0] == 'j' ? (unsigned char)rand() : 0;
		} else {
			len = from_hex(argv[i], bytes, MOST_BYTES);
		}
		/* Whether the other side has hung up by now is told by reading. */
		if (send(fd, bytes, len, MSG_NOSIGNAL) < 0)
			break;
	}
	for (;;) {
		uint64_t now = now_ms();
		ssize_t got;

		if (now >= end || poll(&p, 1, (int)(end - now)) == 0) {
			puts(" open");
			return 0;
		}
		got = read(fd, bytes, MOST_BYTES);
		if (got <= 0) {
			puts(" closed");
			return 0;
		}
		for (ssize_t n = 0; n < got; n++)
			printf("%02x", bytes[n]);
	}
}

/* COUNT connections that say nothing; prints how many there are and stays until it is killed. */
int cmd_crowd(int argc, char **argv)
{
	uint64_t count = number(argv[3]), made = 0;

	(void)argc;
	for (; made < count && made < MOST_CONNECTIONS; made++)
		if (tcp_connect(argv[1], number(argv[2])) < 0)
			break;
	printf("%llu\n", (unsigned long long)made);
	for (;;)
		pause();
}
