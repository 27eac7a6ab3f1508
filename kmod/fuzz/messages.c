// SPDX-License-Identifier: GPL-2.0-only
/*
 * Properties of the decoders: what they accept is inside every bound, and is
 * what their encoder makes of it, byte for byte.
 */
#include "fuzz.h"

/* A message that got past the header, as a receiver has it. */
struct fuzz_received {
	const struct fuzz_message *receiver;
	struct rb_wire_limits limits;
	struct rb_wire_header header;
	struct rb_frame frame;
	const void *control;
};

/* Another list of bounds, kept apart from the one that is tested. */
static u32 fuzz_max_control(unsigned int type)
{
	switch (type) {
	case RB_WIRE_WRITE:
		return 32 + 256 * 16;
	case RB_WIRE_TAGS:
	case RB_WIRE_EPOCHS:
		return 8 + 128 * 32;
	case RB_WIRE_HASHES:
		return 16 + 128 * 32;
	default:
		return 128;
	}
}

static u32 fuzz_max_data(unsigned int type)
{
	if (type == RB_WIRE_WRITE)
		return 1 << 20;
	return type == RB_WIRE_BLOCK_DATA ? 4096 : 0;
}

/* And who may send what. */
static bool fuzz_may_send(enum rb_wire_side from, unsigned int type)
{
	switch (type) {
	case RB_WIRE_PING:
	case RB_WIRE_FENCED:
	case RB_WIRE_BLOCK_REQ:
	case RB_WIRE_BLOCK_DATA:
		return true;
	case RB_WIRE_CHALLENGE:
	case RB_WIRE_WELCOME:
	case RB_WIRE_PROGRESS:
	case RB_WIRE_HASHES:
	case RB_WIRE_PROMISE:
		return from == RB_LISTENER;
	default:
		return from == RB_CONNECTOR;
	}
}

/* The same again has to come out, in header and control part. */
static void fuzz_require_same(const struct fuzz_received *m,
			      const struct rb_wire_header *header,
			      const void *control, size_t len)
{
	size_t checked = offsetof(struct rb_wire_header, mac);

	FUZZ_REQUIRE(!memcmp(header, &m->header, checked));
	FUZZ_REQUIRE(len <= m->frame.control);
	FUZZ_REQUIRE(!memcmp(control, m->control, len));
}

static void fuzz_require_tag(const struct rb_tag *tag, u32 epoch)
{
	FUZZ_REQUIRE(tag->state <= RB_TAG_DATA && !tag->reserved);
	FUZZ_REQUIRE(le32_to_cpu(tag->epoch) <= epoch);
	FUZZ_REQUIRE(le16_to_cpu(tag->page) < 256);
	FUZZ_REQUIRE(!tag->epoch == !tag->index);
	if (tag->state == RB_TAG_DATA)
		FUZZ_REQUIRE(tag->epoch);
	else
		FUZZ_REQUIRE(!tag->page && !memchr_inv(tag->tag, 0, 16));
}

static bool fuzz_op(const struct fuzz_received *m)
{
	struct rb_wire_op_control control;
	struct rb_wire_header header;
	struct rb_tag tag;
	struct rb_wire_op op;
	u32 i;

	if (rb_wire_decode_op(&m->frame, m->control, &m->limits,
			      m->receiver->expected, &op))
		return false;
	FUZZ_REQUIRE(op.type == m->frame.type && rb_wire_is_op(op.type));
	FUZZ_REQUIRE(op.index == m->receiver->expected && op.index);
	FUZZ_REQUIRE(op.epoch && op.epoch <= m->limits.epoch);
	FUZZ_REQUIRE((u128)op.sector + op.sectors <=
		     m->limits.sectors);
	FUZZ_REQUIRE(op.sector % 8 == 0 && op.sectors % 8 == 0);
	FUZZ_REQUIRE((op.type == RB_WIRE_FLUSH) == !op.sectors);
	if (op.type == RB_WIRE_WRITE) {
		FUZZ_REQUIRE(op.sectors <= 2048);
		FUZZ_REQUIRE(m->frame.data == op.sectors * 512);
		for (i = 0; i < rb_wire_op_blocks(&op); i++) {
			rb_wire_op_tag(&op, i, &tag);
			FUZZ_REQUIRE(!rb_tag_check(&tag, m->limits.epoch));
		}
	} else {
		FUZZ_REQUIRE(!m->frame.data && !op.tags);
		rb_wire_op_tag(&op, 0, &tag);
		FUZZ_REQUIRE(tag.state == RB_TAG_EMPTY);
	}
	FUZZ_REQUIRE(!rb_wire_encode_op(&header, &control, &op));
	fuzz_require_same(m, &header, &control, sizeof(control));
	return true;
}

static bool fuzz_progress(const struct fuzz_received *m)
{
	const struct rb_progress *last = &m->receiver->last;
	struct rb_wire_progress control;
	struct rb_wire_header header;
	struct rb_progress p;

	if (rb_wire_decode_progress(&m->frame, m->control, &m->limits, last,
				    m->receiver->expected, &p))
		return false;
	FUZZ_REQUIRE(p.durable <= p.applied && p.applied <= p.received &&
		     p.received <= m->receiver->expected);
	FUZZ_REQUIRE(p.durable >= last->durable && p.applied >= last->applied &&
		     p.received >= last->received);
	FUZZ_REQUIRE(p.missing <= m->limits.sectors / 8);
	FUZZ_REQUIRE(!(p.flags & RB_PROGRESS_INSYNC) ||
		     (!p.missing && !(p.flags & RB_PROGRESS_FAILED)));
	rb_wire_encode_progress(&header, &control, &p);
	fuzz_require_same(m, &header, &control, sizeof(control));
	return true;
}

static bool fuzz_epoch(const struct fuzz_received *m)
{
	struct rb_wire_epoch_control control;
	struct rb_wire_header header;
	u32 epoch;

	if (rb_wire_decode_epoch(&m->frame, m->control, &epoch))
		return false;
	FUZZ_REQUIRE(epoch);
	rb_wire_encode_epoch(&header, &control, m->frame.type, epoch);
	fuzz_require_same(m, &header, &control, sizeof(control));
	return true;
}

static bool fuzz_promise(const struct fuzz_received *m)
{
	struct rb_wire_promise control;
	struct rb_wire_header header;
	struct rb_promise p;

	if (rb_wire_decode_promise(&m->frame, m->control, &p))
		return false;
	FUZZ_REQUIRE(p.epoch > p.data_epoch);
	rb_wire_encode_promise(&header, &control, &p);
	fuzz_require_same(m, &header, &control, sizeof(control));
	return true;
}

static bool fuzz_epochs(const struct fuzz_received *m)
{
	struct rb_epoch list[RB_MAX_EPOCHS_PER_MESSAGE];
	u64 control[RB_WIRE_MAX_CONTROL / 8];
	struct rb_wire_header header;
	struct rb_epochs epochs;
	u32 i;

	if (rb_wire_decode_epochs(&m->frame, m->control, &epochs))
		return false;
	FUZZ_REQUIRE(epochs.count && epochs.count <= ARRAY_SIZE(list));
	for (i = 0; i < epochs.count; i++) {
		rb_wire_get_epoch(&epochs, i, &list[i]);
		FUZZ_REQUIRE(list[i].epoch > (i ? list[i - 1].epoch : 0));
	}
	rb_wire_encode_epochs(&header, control, list, epochs.count,
			      epochs.last);
	fuzz_require_same(m, &header, control, m->frame.control);
	return true;
}

static bool fuzz_resync(const struct fuzz_received *m)
{
	struct rb_wire_resync control;
	struct rb_wire_header header;
	struct rb_resync r;

	if (rb_wire_decode_resync(&m->frame, m->control, &m->limits, &r))
		return false;
	FUZZ_REQUIRE(r.index + 1 && r.epoch && r.epoch <= m->limits.epoch);
	rb_wire_encode_resync(&header, &control, m->frame.type, &r);
	fuzz_require_same(m, &header, &control, sizeof(control));
	return true;
}

static bool fuzz_hashes(const struct fuzz_received *m)
{
	struct rb_wire_hashes control;
	struct rb_wire_header header;
	struct rb_hashes h;
	u8 sum = 0;
	u32 i;

	if (rb_wire_decode_hashes(&m->frame, m->control, &m->limits, &h))
		return false;
	FUZZ_REQUIRE(h.count && h.count <= 128);
	FUZZ_REQUIRE((u128)h.first + h.count <=
		     ((u128)m->limits.sectors + 1023) / 1024);
	for (i = 0; i < h.count; i++)
		sum += h.hashes[i][0] + h.hashes[i][RB_HASH_BYTES - 1];
	control.reserved = sum;
	rb_wire_encode_hashes(&header, &control, h.first, h.count);
	fuzz_require_same(m, &header, &control, sizeof(control));
	return true;
}

static bool fuzz_tags(const struct fuzz_received *m)
{
	struct rb_wire_header header;
	struct rb_tags_message t;
	struct rb_wire_tags control;
	u32 i;

	if (rb_wire_decode_tags(&m->frame, m->control, &m->limits, &t))
		return false;
	FUZZ_REQUIRE((u128)t.chunk * 1024 < m->limits.sectors);
	for (i = 0; i < RB_CHUNK_TAGS; i++) {
		fuzz_require_tag(&t.tags[i], m->limits.epoch);
		if ((t.chunk * 128 + i) * 8 >= m->limits.sectors)
			FUZZ_REQUIRE(!memchr_inv(&t.tags[i], 0, 32));
	}
	rb_wire_encode_tags(&header, &control, t.chunk);
	fuzz_require_same(m, &header, &control, sizeof(control));
	return true;
}

static bool fuzz_tags_req(const struct fuzz_received *m)
{
	struct rb_wire_header header;
	struct rb_wire_tags control;
	u64 chunk;

	if (rb_wire_decode_tags_req(&m->frame, m->control, &m->limits, &chunk))
		return false;
	FUZZ_REQUIRE((u128)chunk * 1024 < m->limits.sectors);
	rb_wire_encode_tags_req(&header, &control, chunk);
	fuzz_require_same(m, &header, &control, sizeof(control));
	return true;
}

static bool fuzz_block(const struct fuzz_received *m)
{
	struct rb_wire_header header;
	struct rb_wire_block control;
	struct rb_block_message b;

	if (rb_wire_decode_block(&m->frame, m->control, &m->limits, &b))
		return false;
	FUZZ_REQUIRE(b.block < m->limits.sectors / 8);
	FUZZ_REQUIRE(b.tag.state == RB_TAG_DATA);
	fuzz_require_tag(&b.tag, m->limits.epoch);
	FUZZ_REQUIRE(m->frame.data == 0 || !b.refused);
	rb_wire_encode_block(&header, &control, m->frame.type, &b);
	fuzz_require_same(m, &header, &control, sizeof(control));
	return true;
}

/* Exactly the decoder of the type may accept it; none knows these. */
static bool fuzz_control(const struct fuzz_received *m)
{
	static bool (*const decoders[])(const struct fuzz_received *m) = {
		fuzz_op, fuzz_progress, fuzz_epoch, fuzz_promise, fuzz_epochs,
		fuzz_resync, fuzz_hashes, fuzz_tags, fuzz_tags_req,
		fuzz_block,
	};
	unsigned int i, accepted = 0;

	for (i = 0; i < ARRAY_SIZE(decoders); i++)
		accepted += decoders[i](m);
	FUZZ_REQUIRE(accepted <= 1);
	if (m->frame.type > RB_WIRE_PING)
		return accepted;
	FUZZ_REQUIRE(!accepted);
	return true;
}

bool fuzz_message(const u8 *data, size_t size)
{
	struct fuzz_message receiver;
	struct fuzz_received m = { .receiver = &receiver };
	enum rb_wire_side from;
	void *control;
	bool accepted;

	if (size < sizeof(receiver) + sizeof(m.header))
		return false;
	memcpy(&receiver, data, sizeof(receiver));
	memcpy(&m.header, data + sizeof(receiver), sizeof(m.header));
	data += sizeof(receiver) + sizeof(m.header);
	size -= sizeof(receiver) + sizeof(m.header);
	from = receiver.from & 1 ? RB_LISTENER : RB_CONNECTOR;
	m.limits.epoch = receiver.epoch;
	/* A device is no larger than its sectors can be counted, and no empty
	 * one exists.
	 */
	m.limits.sectors = ((receiver.blocks & (U64_MAX >> 8)) | 1) * 8;
	if (rb_wire_decode_header(&m.header, from, &m.frame))
		return false;
	FUZZ_REQUIRE(m.frame.type == m.header.type);
	FUZZ_REQUIRE(fuzz_may_send(from, m.frame.type));
	FUZZ_REQUIRE(m.frame.control <= fuzz_max_control(m.frame.type));
	FUZZ_REQUIRE(m.frame.control <= RB_WIRE_MAX_CONTROL);
	FUZZ_REQUIRE(m.frame.data <= fuzz_max_data(m.frame.type));
	FUZZ_REQUIRE(m.frame.data % 4096 == 0);
	FUZZ_REQUIRE(strcmp(rb_wire_type_name(m.frame.type), "unknown"));
	if (size < m.frame.control)
		return false;
	/* Exactly as much as was announced: what reads on is found. */
	control = malloc(m.frame.control);
	if (!control)
		abort();
	memcpy(control, data, m.frame.control);
	m.control = control;
	accepted = fuzz_control(&m);
	free(control);
	return accepted;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	if (!size)
		return 0;
	switch (data[0] % FUZZ_KINDS) {
	case FUZZ_MESSAGE:
		fuzz_message(data, size);
		break;
	case FUZZ_HANDSHAKE:
		fuzz_handshake(data, size);
		break;
	default:
		fuzz_session(data, size);
		break;
	}
	return 0;
}
