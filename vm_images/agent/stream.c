// SPDX-License-Identifier: Apache-2.0
/*
 * A load stream: an endless sequence of batches of block I/O, every batch a pure function of the
 * stream's number, its own number and the size of the region. The host computes the same from the
 * same three numbers (harness/model/load.py), so that nobody has to log what was written where.
 */
#include "agent.h"

#include <endian.h>
#include <string.h>

#define SECTOR_BYTES 512
#define SECTOR_WORDS (SECTOR_BYTES / 8)
#define HEADER_WORDS 4
#define MAGIC 0x314b434f4c424148ULL /* "HABLOCK1" */
#define HOT_BLOCKS 64

uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static void range_of(struct stream_op *op, uint64_t random, uint32_t blocks, uint32_t length)
{
	/* Writes overlap, and overwrite each other, only if some places are busier than others. */
	uint32_t among = !(random >> 12 & 3) && blocks > HOT_BLOCKS ? HOT_BLOCKS : blocks;

	op->start = (uint32_t)((random >> 16) % among);
	op->count = length < blocks - op->start ? length : blocks - op->start;
}

void stream_batch(uint64_t stream, uint32_t number, uint32_t blocks, struct stream_batch *b)
{
	uint64_t state = stream + number * 0xd1b54a32d192ed03ULL;
	uint64_t random = random_next(&state);
	unsigned int kind = random & 63, flush = random >> 8 & 7;

	b->kind = kind == 0 ? BATCH_ZERO : kind == 1 ? BATCH_DISCARD : BATCH_WRITE;
	b->flush = flush < 3 ? (enum batch_flush)(flush + 1) : FLUSH_NONE;
	b->verify = !(random >> 24 & 3);
	if (b->kind != BATCH_WRITE) {
		if (b->flush != FLUSH_NONE)
			b->flush = FLUSH_AFTER;
		b->count = 1;
		random = random_next(&state);
		range_of(&b->ops[0], random, blocks, 1 + (random >> 4 & 63));
	} else {
		b->count = 1 + (random >> 16 & 7);
		for (unsigned int i = 0; i < b->count; i++) {
			unsigned int size;

			random = random_next(&state);
			size = random & 15;
			range_of(&b->ops[i], random, blocks,
				 size == 0 ? 1 + (random >> 4 & 31) :
				 size < 4  ? 1 + (random >> 4 & 3) : 1);
		}
	}
	b->verify_block = (uint32_t)(random_next(&state) % blocks);
}

/* The words of one sector; its first four say what it is, the rest follows from them. */
static void fill_sector(uint64_t *words, const struct version *v, uint64_t place)
{
	uint64_t state;

	words[0] = htole64(MAGIC);
	words[1] = htole64(v->stream);
	words[2] = htole64(v->batch | (uint64_t)v->op << 32);
	words[3] = htole64(place);
	state = v->stream ^ (v->batch | (uint64_t)v->op << 32) * 0xff51afd7ed558ccdULL ^
		place * 0xc4ceb9fe1a85ec53ULL;
	for (int i = HEADER_WORDS; i < SECTOR_WORDS; i++)
		words[i] = htole64(random_next(&state));
}

void version_fill(void *block, const struct version *v, uint32_t number)
{
	for (unsigned int i = 0; i < BLOCK_BYTES / SECTOR_BYTES; i++)
		fill_sector((uint64_t *)block + i * SECTOR_WORDS, v, (uint64_t)number << 8 | i);
}

/* What a sector holds: true if it is whole, whatever block it belongs to. */
static bool read_sector(const uint64_t *words, struct version *v, uint64_t *place)
{
	uint64_t want[SECTOR_WORDS], op = le64toh(words[2]);

	if (le64toh(words[0]) != MAGIC)
		return false;
	v->stream = le64toh(words[1]);
	v->batch = (uint32_t)op;
	v->op = (uint32_t)(op >> 32);
	*place = le64toh(words[3]);
	fill_sector(want, v, *place);
	return !memcmp(want, words, sizeof(want));
}

static bool sector_is_zero(const uint64_t *words)
{
	for (int i = 0; i < SECTOR_WORDS; i++)
		if (words[i])
			return false;
	return true;
}

bool version_read(const void *block, uint32_t number, struct version *v)
{
	const uint64_t *words = block;

	for (unsigned int i = 0; i < BLOCK_BYTES / SECTOR_BYTES; i++, words += SECTOR_WORDS) {
		struct version found;
		uint64_t place;

		if (!read_sector(words, &found, &place) || place != ((uint64_t)number << 8 | i))
			return false;
		if (i && (found.stream != v->stream || found.batch != v->batch ||
			  found.op != v->op))
			return false;
		*v = found;
	}
	return true;
}

void block_describe(const void *block, struct buf *out)
{
	const uint64_t *words = block;

	for (unsigned int i = 0; i < BLOCK_BYTES / SECTOR_BYTES; i++, words += SECTOR_WORDS) {
		struct version v;
		uint64_t place;

		if (i)
			buf_printf(out, ",");
		if (sector_is_zero(words))
			buf_printf(out, "zero");
		else if (read_sector(words, &v, &place))
			buf_printf(out, "%llu/%u/%u:%llu.%llu", (unsigned long long)v.stream,
				   v.batch, v.op, (unsigned long long)place >> 8,
				   (unsigned long long)place & 255);
		else
			buf_printf(out, "?%016llx", (unsigned long long)le64toh(words[0]));
	}
}
