// SPDX-License-Identifier: Apache-2.0
/*
 * A man in the middle that knows where messages begin and end, but has no key:
 * `proxy PORT TO_ADDRESS TO_PORT` relays connections, and does to single messages what it is told
 * (`ctl PORT WORD...`, see rules.c).
 */
#define _GNU_SOURCE
#include "proxy.h"
#include "tool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_CONNS 64
#define BUFFER_BYTES (4UL << 20)
#define DATAGRAM_BYTES 40000
#define CTL_TIMEOUT_MS 5000

struct conn {
	unsigned int number; /* 0: free */
	int fd[2]; /* who connected; who listens */
	unsigned char *in[2]; /* bytes of a message that has not all come yet, by direction */
	size_t len[2];
	struct message later[2]; /* held back until the next message has gone */
	bool stalled;
};

static struct conn conns[MOST_CONNS];
static unsigned int conn_count;

static void close_conn(struct conn *c)
{
	rules_closed(c->number);
	for (int i = 0; i < 2; i++) {
		close(c->fd[i]);
		free(c->in[i]);
		free(c->later[i].data);
	}
	memset(c, 0, sizeof(*c));
}

static bool put(int fd, const unsigned char *data, size_t len)
{
	while (len) {
		ssize_t done = send(fd, data, len, MSG_NOSIGNAL);

		if (done <= 0)
			return false;
		data += done;
		len -= (size_t)done;
	}
	return true;
}

static struct message copy_of(const unsigned char *data, size_t len)
{
	struct message copy = { malloc(len), len };

	if (copy.data)
		memcpy(copy.data, data, len);
	return copy;
}

static bool put_slot(int to, long slot)
{
	struct message *kept = rules_slot(slot);

	return !kept->data || put(to, kept->data, kept->len);
}

static bool put_junk(int to, long count)
{
	for (long i = 0; i < count; i++) {
		unsigned char byte = (unsigned char)rand();

		if (!put(to, &byte, 1))
			return false;
	}
	return true;
}

/* Pass one message on, or do something worse; false if the connection is over. */
static bool treat(struct conn *c, enum direction dir, unsigned char *data, size_t len)
{
	int to = c->fd[dir == UP ? 1 : 0], back = c->fd[dir == UP ? 0 : 1];
	struct message *later = &c->later[dir];
	long arg = 0;
	enum action action = rules_match(c->number, dir, data, &arg);
	bool ok = true;

	switch (action) {
	case PASS:
		ok = put(to, data, len);
		break;
	case FLIP:
		data[arg < 0 ? len - (size_t)-arg : (size_t)arg % len] ^= 1;
		ok = put(to, data, len);
		break;
	case DROP:
		break;
	case DUP:
		ok = put(to, data, len) && put(to, data, len);
		break;
	case SWAP:
		*later = copy_of(data, len);
		return true;
	case CUT:
		return false;
	case CUT_AFTER:
		put(to, data, len);
		return false;
	case STALL:
		c->stalled = true;
		return true;
	case STALL_AFTER:
		ok = put(to, data, len);
		c->stalled = true;
		return ok;
	case TRUNCATE:
		put(to, data, (size_t)arg < len ? (size_t)arg : len);
		return false;
	case GROW:
		ok = put(to, data, len) && put_junk(to, arg);
		break;
	case KEEP:
		free(rules_slot(arg)->data);
		*rules_slot(arg) = copy_of(data, len);
		ok = put(to, data, len);
		break;
	case INJECT:
		ok = put_slot(to, arg) && put(to, data, len);
		break;
	case REPLACE:
		ok = put_slot(to, arg);
		break;
	case REFLECT:
		ok = put(back, data, len) && put(to, data, len);
		break;
	}
	if (ok && later->data) {
		ok = put(to, later->data, later->len);
		free(later->data);
		later->data = NULL;
	}
	return ok;
}

/* Read what there is and treat every message that is complete. */
static bool take(struct conn *c, enum direction dir)
{
	unsigned char *in = c->in[dir];
	ssize_t got = read(c->fd[dir], in + c->len[dir], BUFFER_BYTES - c->len[dir]);
	size_t len, at = 0;

	if (got <= 0)
		return false;
	c->len[dir] += (size_t)got;
	while (!c->stalled && (len = message_length(in + at, c->len[dir] - at)) &&
	       len <= c->len[dir] - at) {
		if (!treat(c, dir, in + at, len))
			return false;
		at += len;
	}
	memmove(in, in + at, c->len[dir] - at);
	c->len[dir] -= at;
	/* Longer than any message can be: not ours to judge, but no room for more. */
	return c->len[dir] < BUFFER_BYTES;
}

static void no_delay(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void welcome(int listener, const char *address, uint64_t port)
{
	int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	struct conn *c = conns;
	int server;

	if (client < 0)
		return;
	while (c < conns + MOST_CONNS && c->number)
		c++;
	if (c == conns + MOST_CONNS) {
		close(client);
		return;
	}
	server = rules_stalled() ? dup(client) : tcp_connect(address, port);
	if (server < 0) {
		close(client);
		return;
	}
	no_delay(client);
	no_delay(server);
	c->number = ++conn_count;
	c->fd[0] = client;
	c->fd[1] = server;
	c->stalled = rules_stalled();
	for (int i = 0; i < 2; i++)
		c->in[i] = malloc(BUFFER_BYTES);
	rules_connected(c->number);
}

static void obey(int control)
{
	char text[256], reply[DATAGRAM_BYTES];
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	ssize_t got = recvfrom(control, text, sizeof(text) - 1, 0, (struct sockaddr *)&from,
			       &from_len);

	if (got < 0)
		return;
	text[got] = '\0';
	rules_command(text, reply, sizeof(reply));
	sendto(control, reply, strlen(reply), 0, (struct sockaddr *)&from, from_len);
}

static int local_socket(int type, uint64_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int on = 1, fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		exit(complain("bind"));
	return fd;
}

int cmd_proxy(int argc, char **argv)
{
	struct pollfd p[2 + 2 * MOST_CONNS] = { { .events = POLLIN }, { .events = POLLIN } };

	(void)argc;
	signal(SIGPIPE, SIG_IGN);
	p[0].fd = local_socket(SOCK_STREAM, number(argv[1]));
	p[1].fd = local_socket(SOCK_DGRAM, number(argv[1]));
	if (listen(p[0].fd, 16) < 0)
		return complain("listen");
	for (;;) {
		for (int i = 0; i < 2 * MOST_CONNS; i++) {
			const struct conn *c = &conns[i / 2];

			/* A stalled connection is neither read nor closed. */
			p[2 + i].fd = c->number && !c->stalled ? c->fd[i % 2] : -1;
			p[2 + i].events = POLLIN;
			p[2 + i].revents = 0;
		}
		if (poll(p, ARRAY_SIZE(p), -1) < 0 && errno != EINTR)
			return complain("poll");
		for (int i = 0; i < 2 * MOST_CONNS; i++) {
			struct conn *c = &conns[i / 2];

			if (p[2 + i].revents && c->number && !c->stalled &&
			    !take(c, i % 2 ? DOWN : UP))
				close_conn(c);
		}
		if (p[1].revents)
			obey(p[1].fd);
		if (p[0].revents)
			welcome(p[0].fd, argv[2], number(argv[3]));
	}
}

int cmd_ctl(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)number(argv[1])),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char text[256] = "", reply[DATAGRAM_BYTES + 1];
	ssize_t got;

	for (int i = 2; i < argc; i++) {
		strncat(text, i > 2 ? " " : "", sizeof(text) - strlen(text) - 1);
		strncat(text, argv[i], sizeof(text) - strlen(text) - 1);
	}
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
	    send(fd, text, strlen(text), 0) < 0 || poll(&p, 1, CTL_TIMEOUT_MS) <= 0)
		return complain("ctl");
	got = read(fd, reply, DATAGRAM_BYTES);
	if (got < 0)
		return complain("ctl");
	reply[got] = '\0';
	puts(reply);
	return !strcmp(reply, "bad");
}
