// SPDX-License-Identifier: Apache-2.0
/* BLAKE2b after RFC 7693, sequential and unkeyed. */
#include "agent.h"

#include <endian.h>
#include <string.h>

static const uint64_t iv[8] = {
	0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
	0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

static const uint8_t sigma[10][16] = {
	{ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 },
	{ 14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3 },
	{ 11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4 },
	{ 7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8 },
	{ 9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13 },
	{ 2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9 },
	{ 12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11 },
	{ 13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10 },
	{ 6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5 },
	{ 10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0 },
};

static inline uint64_t rotr(uint64_t x, int n)
{
	return (x >> n) | (x << (64 - n));
}

static inline void mix(uint64_t *v, int a, int b, int c, int d, uint64_t x, uint64_t y)
{
	v[a] += v[b] + x;
	v[d] = rotr(v[d] ^ v[a], 32);
	v[c] += v[d];
	v[b] = rotr(v[b] ^ v[c], 24);
	v[a] += v[b] + y;
	v[d] = rotr(v[d] ^ v[a], 16);
	v[c] += v[d];
	v[b] = rotr(v[b] ^ v[c], 63);
}

static void compress(struct blake2b *s, const uint8_t *block, bool last)
{
	uint64_t v[16], m[16];
	int i;

	memcpy(m, block, sizeof(m));
	for (i = 0; i < 16; i++)
		m[i] = le64toh(m[i]);
	memcpy(v, s->h, sizeof(s->h));
	memcpy(v + 8, iv, sizeof(iv));
	v[12] ^= s->count; /* inputs stay below 2^64 bytes: the upper counter word is 0 */
	if (last)
		v[14] = ~v[14];
	for (i = 0; i < 12; i++) {
		const uint8_t *p = sigma[i % 10];

		mix(v, 0, 4, 8, 12, m[p[0]], m[p[1]]);
		mix(v, 1, 5, 9, 13, m[p[2]], m[p[3]]);
		mix(v, 2, 6, 10, 14, m[p[4]], m[p[5]]);
		mix(v, 3, 7, 11, 15, m[p[6]], m[p[7]]);
		mix(v, 0, 5, 10, 15, m[p[8]], m[p[9]]);
		mix(v, 1, 6, 11, 12, m[p[10]], m[p[11]]);
		mix(v, 2, 7, 8, 13, m[p[12]], m[p[13]]);
		mix(v, 3, 4, 9, 14, m[p[14]], m[p[15]]);
	}
	for (i = 0; i < 8; i++)
		s->h[i] ^= v[i] ^ v[i + 8];
}

void blake2b_init(struct blake2b *s, size_t digest_bytes)
{
	memset(s, 0, sizeof(*s));
	memcpy(s->h, iv, sizeof(iv));
	s->h[0] ^= 0x01010000 ^ digest_bytes;
	s->digest_bytes = digest_bytes;
}

void blake2b_update(struct blake2b *s, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len) {
		size_t part = sizeof(s->block) - s->fill;

		/* The last block has to stay unprocessed until it is known to be the last. */
		if (!part) {
			s->count += sizeof(s->block);
			compress(s, s->block, false);
			s->fill = 0;
			part = sizeof(s->block);
		}
		while (!s->fill && len > sizeof(s->block)) {
			s->count += sizeof(s->block);
			compress(s, p, false);
			p += sizeof(s->block);
			len -= sizeof(s->block);
		}
		if (part > len)
			part = len;
		memcpy(s->block + s->fill, p, part);
		s->fill += part;
		p += part;
		len -= part;
	}
}

void blake2b_final(struct blake2b *s, uint8_t *digest)
{
	uint64_t h[8];
	int i;

	s->count += s->fill;
	memset(s->block + s->fill, 0, sizeof(s->block) - s->fill);
	compress(s, s->block, true);
	for (i = 0; i < 8; i++)
		h[i] = htole64(s->h[i]);
	memcpy(digest, h, s->digest_bytes);
}

void blake2b_hex(struct blake2b *s, struct buf *out)
{
	uint8_t digest[64];
	size_t i;

	blake2b_final(s, digest);
	for (i = 0; i < s->digest_bytes; i++)
		buf_printf(out, "%02x", digest[i]);
}
