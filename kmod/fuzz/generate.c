// SPDX-License-Identifier: GPL-2.0-only
/*
 * Valid messages of every type, for a receiver that has to accept them, and
 * damage of the kind that parsers get wrong.
 */
#include "fuzz.h"

struct fuzz_build {
	struct fuzz_message receiver;
	struct rb_wire_header header;
	u64 control[RB_WIRE_MAX_CONTROL / 8];
	u64 sectors;
};

/* Small numbers, large ones, and those at the edges. */
static u64 fuzz_below(u64 limit)
{
	switch (fuzz_random() % 4) {
	case 0:
		return 0;
	case 1:
		return limit - 1;
	default:
		return fuzz_random() % limit;
	}
}

static void fuzz_fill(void *bytes, size_t len)
{
	u8 *p = bytes;

	while (len--)
		*p++ = fuzz_random();
}

static struct rb_tag fuzz_data_tag(const struct fuzz_build *b)
{
	struct rb_tag tag = {
		.index = cpu_to_le64(1 + fuzz_below(U64_MAX)),
		.epoch = cpu_to_le32(1 + fuzz_below(b->receiver.epoch)),
		.page = cpu_to_le16(fuzz_below(RB_MAX_OP_BLOCKS)),
		.state = RB_TAG_DATA,
	};

	fuzz_fill(tag.tag, sizeof(tag.tag));
	return tag;
}

static struct rb_tag fuzz_any_tag(const struct fuzz_build *b)
{
	struct rb_tag tag = fuzz_data_tag(b);

	switch (fuzz_random() % 3) {
	case 0:
		return (struct rb_tag){ .state = RB_TAG_EMPTY };
	case 1:
		tag.state = RB_TAG_EMPTY;
		tag.page = 0;
		memset(tag.tag, 0, sizeof(tag.tag));
		return tag;
	default:
		return tag;
	}
}

static void fuzz_build_op(struct fuzz_build *b, enum rb_wire_type type)
{
	const u64 blocks = b->sectors / RB_BLOCK_SECTORS;
	const u64 most = type == RB_WIRE_WRITE ? RB_MAX_OP_BLOCKS :
						 UINT32_MAX / RB_BLOCK_SECTORS;
	struct rb_wire_op op = { .type = type };
	struct rb_wire_op_control *control = (void *)b->control;
	u32 count = 0;

	b->receiver.expected = 1 + fuzz_below(U64_MAX);
	op.index = b->receiver.expected;
	op.epoch = 1 + fuzz_below(b->receiver.epoch);
	op.flags = fuzz_random() & RB_WIRE_F_SYNC;
	if (type == RB_WIRE_ZEROES)
		op.flags |= fuzz_random() & RB_WIRE_F_NOUNMAP;
	if (type == RB_WIRE_FLUSH) {
		op.flags = RB_WIRE_F_SYNC;
	} else {
		count = 1 + fuzz_below(blocks < most ? blocks : most);
		op.sectors = count * RB_BLOCK_SECTORS;
		op.sector = fuzz_below(blocks - count + 1) * RB_BLOCK_SECTORS;
	}
	FUZZ_REQUIRE(!rb_wire_encode_op(&b->header, control, &op));
	if (type == RB_WIRE_WRITE)
		fuzz_fill(control + 1, count * RB_GCM_TAG_BYTES);
}

static void fuzz_build_progress(struct fuzz_build *b)
{
	struct rb_progress p, *last = &b->receiver.last;

	b->receiver.expected = fuzz_below(U64_MAX) + 1;
	p.received = fuzz_below(b->receiver.expected);
	p.applied = fuzz_below(p.received + 1);
	p.durable = fuzz_below(p.applied + 1);
	p.missing = fuzz_below(b->sectors / RB_BLOCK_SECTORS + 1);
	p.flags = fuzz_random() % 4;
	if (p.missing || (p.flags & RB_PROGRESS_FAILED))
		p.flags &= ~RB_PROGRESS_INSYNC;
	last->received = fuzz_below(p.received + 1);
	last->applied = fuzz_below(p.applied + 1);
	last->durable = fuzz_below(p.durable + 1);
	rb_wire_encode_progress(&b->header, (void *)b->control, &p);
}

static void fuzz_build_promise(struct fuzz_build *b)
{
	struct rb_promise p = {
		.epoch = 1 + fuzz_below(UINT32_MAX),
		.received = fuzz_random(),
		.flags = fuzz_random() & RB_PROMISE_CONSISTENT,
	};

	p.data_epoch = fuzz_below(p.epoch);
	rb_wire_encode_promise(&b->header, (void *)b->control, &p);
}

static void fuzz_build_epochs(struct fuzz_build *b)
{
	struct rb_epoch list[RB_MAX_EPOCHS_PER_MESSAGE];
	const u32 count = 1 + fuzz_below(ARRAY_SIZE(list));
	u32 i, epoch = 0;

	for (i = 0; i < count; i++) {
		epoch += 1 + fuzz_random() % 100;
		list[i].epoch = epoch;
		list[i].leader = 1 + fuzz_random() % 100;
		fuzz_fill(list[i].salt, RB_SALT_BYTES);
	}
	rb_wire_encode_epochs(&b->header, b->control, list, count,
			      fuzz_random() & 1);
}

static void fuzz_build_resync(struct fuzz_build *b, enum rb_wire_type type)
{
	struct rb_resync r = {
		.index = fuzz_below(U64_MAX),
		.epoch = 1 + fuzz_below(b->receiver.epoch),
		.flags = type == RB_WIRE_RESYNC_BEGIN ? fuzz_random() & 1 : 0,
	};

	rb_wire_encode_resync(&b->header, (void *)b->control, type, &r);
}

static void fuzz_build_hashes(struct fuzz_build *b)
{
	const u64 chunks = rb_wire_chunks(b->sectors);
	const u32 count = 1 + fuzz_below(min_t(u64, chunks, RB_MAX_HASHES));
	struct rb_wire_hashes *control = (void *)b->control;

	rb_wire_encode_hashes(&b->header, control,
			      fuzz_below(chunks - count + 1), count);
	fuzz_fill(control + 1, count * RB_HASH_BYTES);
}

static void fuzz_build_tags(struct fuzz_build *b)
{
	const u64 chunk = fuzz_below(rb_wire_chunks(b->sectors));
	struct rb_wire_tags *control = (void *)b->control;
	struct rb_tag *tags = (void *)(control + 1);
	unsigned int i;

	rb_wire_encode_tags(&b->header, control, chunk);
	memset(tags, 0, RB_CHUNK_TAGS * sizeof(*tags));
	for (i = 0; i < RB_CHUNK_TAGS; i++)
		if ((chunk * RB_CHUNK_TAGS + i) * RB_BLOCK_SECTORS < b->sectors)
			tags[i] = fuzz_any_tag(b);
}

static void fuzz_build_block(struct fuzz_build *b, enum rb_wire_type type)
{
	struct rb_block_message block = {
		.block = fuzz_below(b->sectors / RB_BLOCK_SECTORS),
		.refused = type == RB_WIRE_BLOCK_DATA && (fuzz_random() & 1),
		.tag = fuzz_data_tag(b),
	};

	rb_wire_encode_block(&b->header, (void *)b->control, type, &block);
}

static void fuzz_build_plain(struct fuzz_build *b, enum rb_wire_type type,
			     u32 control)
{
	rb_wire_encode_header(&b->header, type, control, 0);
	fuzz_fill(b->control, control);
}

static void fuzz_build_any(struct fuzz_build *b, enum rb_wire_type type)
{
	switch (type) {
	case RB_WIRE_HELLO:
		return fuzz_build_plain(b, type, sizeof(struct rb_wire_hello));
	case RB_WIRE_CHALLENGE:
		return fuzz_build_plain(b, type,
					sizeof(struct rb_wire_challenge));
	case RB_WIRE_PROOF:
		return fuzz_build_plain(b, type, sizeof(struct rb_wire_proof));
	case RB_WIRE_WELCOME:
		return fuzz_build_plain(b, type,
					sizeof(struct rb_wire_welcome));
	case RB_WIRE_PING:
		return fuzz_build_plain(b, type, 0);
	case RB_WIRE_PROGRESS:
		return fuzz_build_progress(b);
	case RB_WIRE_FENCED:
	case RB_WIRE_PROMISE_REQ:
		return rb_wire_encode_epoch(&b->header, (void *)b->control,
					    type, 1 + fuzz_below(UINT32_MAX));
	case RB_WIRE_WRITE:
	case RB_WIRE_DISCARD:
	case RB_WIRE_ZEROES:
	case RB_WIRE_FLUSH:
		return fuzz_build_op(b, type);
	case RB_WIRE_EPOCHS:
		return fuzz_build_epochs(b);
	case RB_WIRE_RESYNC_BEGIN:
	case RB_WIRE_RESYNC_END:
		return fuzz_build_resync(b, type);
	case RB_WIRE_HASHES:
		return fuzz_build_hashes(b);
	case RB_WIRE_TAGS:
		return fuzz_build_tags(b);
	case RB_WIRE_TAGS_REQ:
		return rb_wire_encode_tags_req(&b->header, (void *)b->control,
				fuzz_below(rb_wire_chunks(b->sectors)));
	case RB_WIRE_BLOCK_REQ:
	case RB_WIRE_BLOCK_DATA:
		return fuzz_build_block(b, type);
	case RB_WIRE_PROMISE:
		return fuzz_build_promise(b);
	}
}

static const u8 fuzz_types[] = {
	RB_WIRE_HELLO, RB_WIRE_CHALLENGE, RB_WIRE_PROOF, RB_WIRE_WELCOME,
	RB_WIRE_PING, RB_WIRE_PROGRESS, RB_WIRE_FENCED, RB_WIRE_WRITE,
	RB_WIRE_DISCARD, RB_WIRE_ZEROES, RB_WIRE_FLUSH, RB_WIRE_EPOCHS,
	RB_WIRE_RESYNC_BEGIN, RB_WIRE_HASHES, RB_WIRE_TAGS, RB_WIRE_RESYNC_END,
	RB_WIRE_BLOCK_REQ, RB_WIRE_BLOCK_DATA, RB_WIRE_PROMISE_REQ,
	RB_WIRE_PROMISE,
};

static bool fuzz_listener_sends(enum rb_wire_type type)
{
	return type == RB_WIRE_CHALLENGE || type == RB_WIRE_WELCOME ||
	       type == RB_WIRE_PROGRESS || type == RB_WIRE_HASHES ||
	       type == RB_WIRE_PROMISE;
}

size_t fuzz_generate_message(u8 *data)
{
	const enum rb_wire_type type =
		fuzz_types[fuzz_random() % sizeof(fuzz_types)];
	struct fuzz_build b = {};
	u32 control;

	b.receiver.kind = FUZZ_MESSAGE;
	b.receiver.from = fuzz_listener_sends(type);
	b.receiver.epoch = 1 + fuzz_below(fuzz_random() & 1 ? 8 : UINT32_MAX);
	b.receiver.blocks = fuzz_random() >> (fuzz_random() % 56 + 8) | 1;
	b.sectors = b.receiver.blocks * RB_BLOCK_SECTORS;
	fuzz_build_any(&b, type);
	control = le32_to_cpu(b.header.control);
	memcpy(data, &b.receiver, sizeof(b.receiver));
	data += sizeof(b.receiver);
	memcpy(data, &b.header, sizeof(b.header));
	memcpy(data + sizeof(b.header), b.control, control);
	return sizeof(b.receiver) + sizeof(b.header) + control;
}

size_t fuzz_generate_other(u8 *data)
{
	const size_t size = 4 + fuzz_random() % 120;
	size_t i;

	fuzz_fill(data, size);
	data[0] = FUZZ_HANDSHAKE + fuzz_random() % 2;
	if (data[0] == FUZZ_HANDSHAKE) {
		/* Mostly zeros: a few bits changed, or none. */
		for (i = 4; i < size; i++)
			data[i] &= fuzz_random() % 40 ? 0 : 0xff;
		return size;
	}
	/* Mostly as it should be. */
	for (i = 0; 1 + 4 * (i + 1) <= size; i++) {
		u8 *step = data + 1 + 4 * i;

		if (fuzz_random() % 8)
			step[0] = i;
		if (fuzz_random() % 8)
			step[1] = 0;
		if (fuzz_random() % 8)
			memset(step + 2, 0xff, 2);
	}
	return size;
}

/* ---- damage ---------------------------------------------------------- */

static void fuzz_put(u8 *data, size_t size, unsigned int width)
{
	static const u64 values[] = {
		0, 1, 2, 7, 8, 16, 127, 128, 129, 255, 256, 257, 2047, 2048,
		2049, 4095, 4096, 4097, 0x7fffffff, 0x80000000, 0xfffffff8,
		0xffffffff, 0x100000000, 0x7fffffffffffffff,
		0x8000000000000000, 0xfffffffffffffff8, U64_MAX,
	};
	const u64 value = values[fuzz_random() % ARRAY_SIZE(values)];
	const size_t places = size / width;

	if (places)
		memcpy(data + fuzz_random() % places * width, &value, width);
}

/* Add a little to a little-endian number somewhere. */
static void fuzz_nudge(u8 *data, size_t size)
{
	u32 value;
	u8 *at;

	if (size < sizeof(value))
		return;
	at = data + fuzz_random() % (size / sizeof(value)) * sizeof(value);
	memcpy(&value, at, sizeof(value));
	value += fuzz_random() % 33 - 16;
	memcpy(at, &value, sizeof(value));
}

static void fuzz_damage(u8 *data, size_t size)
{
	if (!size)
		return;
	switch (fuzz_random() % 5) {
	case 0:
		data[fuzz_random() % size] ^= 1 << fuzz_random() % 8;
		break;
	case 1:
		fuzz_put(data, size, 4);
		break;
	case 2:
		fuzz_put(data, size, 8);
		break;
	case 3:
		fuzz_nudge(data, size);
		break;
	default:
		data[fuzz_random() % size] = fuzz_random();
		break;
	}
}

size_t fuzz_mutate(u8 *data, size_t size)
{
	const size_t head = sizeof(struct fuzz_message) +
			    sizeof(struct rb_wire_header);
	unsigned int times = 1 + fuzz_random() % 4;

	if (fuzz_random() % 16 == 0)
		size = fuzz_random() % (size + 1);
	else if (fuzz_random() % 16 == 0)
		for (; size < FUZZ_INPUT_MAX && fuzz_random() % 64; size++)
			data[size] = fuzz_random();
	while (times--) {
		/* The fixed parts decide the most: prefer them. */
		size_t from = 1, to = size;

		if (fuzz_random() % 4 && size > head) {
			from = fuzz_random() % 2 ? 8 : head;
			to = min_t(size_t, size, head + 48);
		}
		if (from < to)
			fuzz_damage(data + from, to - from);
	}
	return size;
}
