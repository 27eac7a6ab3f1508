// SPDX-License-Identifier: Apache-2.0
/*
 * Frames: a 20-byte little-endian header (magic, version, type, request id, payload length,
 * CRC-32 of the payload) and the payload. Bytes between frames are skipped; what begins like a
 * frame and is none is answered with an ERROR frame. A stale half frame never wedges the port.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HEADER_BYTES 20
#define READ_BYTES 65536
/* A frame that stops arriving for so long never will be complete. Tests are built with less. */
#ifndef STALL_MS
#define STALL_MS 5000
#endif
#define BACKOFF_MIN_US 500
#define BACKOFF_MAX_US 20000

static const char magic[4] = { 'H', 'A', 'G', '1' };

struct header {
	char magic[4];
	uint16_t version;
	uint16_t type;
	uint32_t id;
	uint32_t len;
	uint32_t crc;
} __attribute__((packed));

_Static_assert(sizeof(struct header) == HEADER_BYTES, "the header is part of the protocol");

static uint32_t crc_table[8][256];

static void crc_prepare(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320 : 0);
		crc_table[0][i] = crc;
	}
	for (int slice = 1; slice < 8; slice++)
		for (int i = 0; i < 256; i++) {
			uint32_t before = crc_table[slice - 1][i];

			crc_table[slice][i] = (before >> 8) ^ crc_table[0][before & 255];
		}
}

/* CRC-32 as zlib has it, eight bytes at a time: content makes responses long. */
static uint32_t crc32_of(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t crc = 0xffffffff;

	if (!crc_table[0][1])
		crc_prepare();
	for (; len >= 8; len -= 8, p += 8) {
		uint32_t low, high;

		memcpy(&low, p, 4);
		memcpy(&high, p + 4, 4);
		low = le32toh(low) ^ crc;
		high = le32toh(high);
		crc = crc_table[7][low & 255] ^ crc_table[6][(low >> 8) & 255] ^
		      crc_table[5][(low >> 16) & 255] ^ crc_table[4][low >> 24] ^
		      crc_table[3][high & 255] ^ crc_table[2][(high >> 8) & 255] ^
		      crc_table[1][(high >> 16) & 255] ^ crc_table[0][high >> 24];
	}
	while (len--)
		crc = (crc >> 8) ^ crc_table[0][(crc ^ *p++) & 255];
	return ~crc;
}

static void back_off(unsigned int *us)
{
	struct timespec ts = { 0, (long)*us * 1000 };

	nanosleep(&ts, NULL);
	if (*us < BACKOFF_MAX_US)
		*us *= 2;
}

/*
 * Read what there is: bytes read, 0 at the end of a stream, -ETIMEDOUT if a begun frame stalls.
 * A virtio port whose host side is closed polls as hung up and reads as 0: wait for the host.
 */
static int conn_fill(struct conn *c)
{
	unsigned int backoff = BACKOFF_MIN_US;

	if (c->pos) {
		memmove(c->rx.data, c->rx.data + c->pos, c->rx.len - c->pos);
		c->rx.len -= c->pos;
		c->pos = 0;
	}
	for (;;) {
		struct pollfd p = { .fd = c->in, .events = POLLIN };
		size_t room = READ_BYTES;
		ssize_t got;
		int ready;

		reap_orphans();
		ready = poll(&p, 1, c->rx.len ? STALL_MS : -1);
		if (!ready)
			return -ETIMEDOUT;
		if (ready < 0 && errno != EINTR)
			fatal("poll");
		if (ready < 0)
			continue;
		got = read(c->in, buf_extend(&c->rx, room), room);
		c->rx.len -= room - (got > 0 ? (size_t)got : 0);
		if (got > 0)
			return (int)got;
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN && !(p.revents & POLLHUP))
			continue;
		if (!c->port)
			return 0;
		c->rx.len = 0;
		back_off(&backoff);
	}
}

static void complain(struct conn *c, uint32_t id, const char *why)
{
	conn_send(c, FRAME_ERROR, id, why, strlen(why));
}

/* Drop @least bytes, and more up to what is, or may become, a magic. */
static void resync(struct conn *c, size_t least)
{
	c->pos += least;
	while (c->pos < c->rx.len) {
		const char *at = c->rx.data + c->pos;
		size_t left = c->rx.len - c->pos;

		if (!memcmp(at, magic, left < sizeof(magic) ? left : sizeof(magic)))
			return;
		at = memchr(at + 1, magic[0], left - 1);
		c->pos = at ? (size_t)(at - c->rx.data) : c->rx.len;
	}
}

/*
 * A host that left in the middle of a frame and came back greets, again and again, and every
 * greeting would count as payload. No script holds NUL bytes, so a greeting at the end is one.
 */
static bool ends_in_greeting(const struct conn *c)
{
	struct header h;

	if (c->rx.len - c->pos <= HEADER_BYTES)
		return false;
	memcpy(&h, c->rx.data + c->rx.len - HEADER_BYTES, HEADER_BYTES);
	return !memcmp(h.magic, magic, sizeof(magic)) && le16toh(h.version) == PROTOCOL_VERSION &&
	       le16toh(h.type) == FRAME_HELLO && !h.len && !h.crc;
}

/* Look at the bytes at hand: 1 for a frame, 0 if more bytes are needed. */
static int parse(struct conn *c, struct frame *f)
{
	struct header h;
	size_t have;

	for (;;) {
		const char *why = NULL;

		resync(c, 0);
		have = c->rx.len - c->pos;
		if (have < HEADER_BYTES)
			return 0;
		memcpy(&h, c->rx.data + c->pos, HEADER_BYTES);
		f->type = le16toh(h.type);
		f->id = le32toh(h.id);
		f->len = le32toh(h.len);
		f->payload = c->rx.data + c->pos + HEADER_BYTES;
		if (le16toh(h.version) != PROTOCOL_VERSION)
			why = "frame of another protocol version";
		else if (f->len > FRAME_PAYLOAD_MAX)
			why = "payload exceeds 64 MiB";
		else if (have - HEADER_BYTES < f->len && !ends_in_greeting(c))
			return 0;
		else if (have - HEADER_BYTES < f->len)
			why = "frame cut short by a greeting";
		else if (crc32_of(f->payload, f->len) != le32toh(h.crc))
			why = "payload does not match its CRC-32";
		if (!why) {
			c->pos += HEADER_BYTES + f->len;
			return 1;
		}
		/* The length may be what was damaged: look for a frame right after this magic. */
		resync(c, sizeof(magic));
		complain(c, f->id, why);
	}
}

int conn_next(struct conn *c, struct frame *f)
{
	if (c->unread) {
		c->unread = false;
		*f = c->last;
		return 1;
	}
	for (;;) {
		int got;

		if (c->rx.len > c->pos && parse(c, f)) {
			c->last = *f;
			return 1;
		}
		got = conn_fill(c);
		if (!got)
			return 0;
		if (got == -ETIMEDOUT) {
			resync(c, 1);
			complain(c, 0, "frame stopped half-way");
		}
	}
}

void conn_unread(struct conn *c)
{
	c->unread = true;
}

static int send_all(struct conn *c, const char *data, size_t len)
{
	while (len) {
		ssize_t done = write(c->out, data, len);
		struct pollfd p = { .fd = c->out, .events = POLLOUT };

		if (done > 0) {
			data += done;
			len -= (size_t)done;
			continue;
		}
		if (done < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		/* The host has left: nobody wants the rest, and its next frame starts afresh. */
		if (poll(&p, 1, -1) > 0 && !(p.revents & POLLOUT))
			return -EPIPE;
	}
	return 0;
}

int conn_send(struct conn *c, uint16_t type, uint32_t id, const void *payload, size_t len)
{
	struct header h = {
		.version = htole16(PROTOCOL_VERSION),
		.type = htole16(type),
		.id = htole32(id),
		.len = htole32((uint32_t)len),
		.crc = htole32(crc32_of(payload, len)),
	};
	struct buf frame = { 0 };
	int ret;

	memcpy(h.magic, magic, sizeof(magic));
	buf_add(&frame, &h, sizeof(h));
	buf_add(&frame, payload, len);
	ret = send_all(c, frame.data, frame.len);
	buf_free(&frame);
	return ret;
}
