// SPDX-License-Identifier: GPL-2.0-only
/*
 * Encoding and strict decoding of messages.  Pure functions, no allocation.
 */
#ifdef __KERNEL__
#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/string.h>

#include <asm/byteorder.h>
#endif

#include "dm-rollbaccine-wire.h"

#define RB_FROM_CONNECTOR (1u << RB_CONNECTOR)
#define RB_FROM_LISTENER (1u << RB_LISTENER)
#define RB_FROM_BOTH (RB_FROM_CONNECTOR | RB_FROM_LISTENER)

/*
 * What a type may look like: a control part of @fixed bytes and then up to
 * @max elements of @element bytes; data in units of blocks, up to @blocks.
 */
struct rb_wire_shape {
	const char *name;
	u8 from;
	u16 fixed;
	u16 element;
	u16 min;
	u16 max;
	u16 blocks;
};

#define RB_SHAPE(type, sides, bytes, ...)				\
	[RB_WIRE_##type] = {						\
		.name = #type,						\
		.from = RB_FROM_##sides,				\
		.fixed = bytes,						\
		##__VA_ARGS__						\
	}

static const struct rb_wire_shape rb_wire_shapes[] = {
	RB_SHAPE(HELLO, CONNECTOR, sizeof(struct rb_wire_hello)),
	RB_SHAPE(CHALLENGE, LISTENER, sizeof(struct rb_wire_challenge)),
	RB_SHAPE(PROOF, CONNECTOR, sizeof(struct rb_wire_proof)),
	RB_SHAPE(WELCOME, LISTENER, sizeof(struct rb_wire_welcome)),
	RB_SHAPE(PING, BOTH, 0),
	RB_SHAPE(PROGRESS, LISTENER, sizeof(struct rb_wire_progress)),
	RB_SHAPE(FENCED, BOTH, sizeof(struct rb_wire_epoch_control)),
	RB_SHAPE(WRITE, CONNECTOR, sizeof(struct rb_wire_op_control),
		 .element = RB_GCM_TAG_BYTES, .min = 1, .max = RB_MAX_OP_BLOCKS,
		 .blocks = RB_MAX_OP_BLOCKS),
	RB_SHAPE(DISCARD, CONNECTOR, sizeof(struct rb_wire_op_control)),
	RB_SHAPE(ZEROES, CONNECTOR, sizeof(struct rb_wire_op_control)),
	RB_SHAPE(FLUSH, CONNECTOR, sizeof(struct rb_wire_op_control)),
	RB_SHAPE(EPOCHS, CONNECTOR, sizeof(struct rb_wire_epochs),
		 .element = sizeof(struct rb_wire_epoch_entry), .min = 1,
		 .max = RB_MAX_EPOCHS_PER_MESSAGE),
	RB_SHAPE(RESYNC_BEGIN, CONNECTOR, sizeof(struct rb_wire_resync)),
	RB_SHAPE(HASHES, LISTENER, sizeof(struct rb_wire_hashes),
		 .element = RB_HASH_BYTES, .min = 1, .max = RB_MAX_HASHES),
	RB_SHAPE(TAGS, BOTH, sizeof(struct rb_wire_tags),
		 .element = sizeof(struct rb_tag), .min = RB_CHUNK_TAGS,
		 .max = RB_CHUNK_TAGS),
	RB_SHAPE(RESYNC_END, CONNECTOR, sizeof(struct rb_wire_resync)),
	RB_SHAPE(BLOCK_REQ, BOTH, sizeof(struct rb_wire_block)),
	RB_SHAPE(BLOCK_DATA, BOTH, sizeof(struct rb_wire_block), .blocks = 1),
	RB_SHAPE(TAGS_REQ, BOTH, sizeof(struct rb_wire_tags)),
	RB_SHAPE(PROMISE_REQ, CONNECTOR, sizeof(struct rb_wire_epoch_control)),
	RB_SHAPE(PROMISE, LISTENER, sizeof(struct rb_wire_promise)),
};

static const struct rb_wire_shape *rb_wire_shape(unsigned int type)
{
	if (type >= ARRAY_SIZE(rb_wire_shapes) || !rb_wire_shapes[type].name)
		return NULL;
	return &rb_wire_shapes[type];
}

static bool rb_wire_fits(const struct rb_wire_shape *shape, u32 control,
			 u32 data)
{
	u32 elements;

	if (control < shape->fixed)
		return false;
	if (!shape->element)
		return control == shape->fixed &&
		       data <= shape->blocks * RB_BLOCK_BYTES &&
		       data % RB_BLOCK_BYTES == 0;
	elements = (control - shape->fixed) / shape->element;
	if ((control - shape->fixed) % shape->element ||
	    elements < shape->min || elements > shape->max)
		return false;
	/* Only a WRITE has both elements and data, one block for each. */
	return data == (shape->blocks ? elements * RB_BLOCK_BYTES : 0);
}

int rb_wire_decode_header(const struct rb_wire_header *header,
			  enum rb_wire_side from, struct rb_frame *ret)
{
	const struct rb_wire_shape *shape;

	if (header->magic != cpu_to_le32(RB_WIRE_MAGIC))
		return -EBADMSG;
	if (header->version != cpu_to_le16(RB_WIRE_VERSION))
		return -EPROTONOSUPPORT;
	shape = rb_wire_shape(header->type);
	if (!shape || !(shape->from & (1u << from)) || header->reserved)
		return -EBADMSG;
	ret->type = header->type;
	ret->control = le32_to_cpu(header->control);
	ret->data = le32_to_cpu(header->data);
	return rb_wire_fits(shape, ret->control, ret->data) ? 0 : -EBADMSG;
}

void rb_wire_encode_header(struct rb_wire_header *header,
			   enum rb_wire_type type, u32 control, u32 data)
{
	memset(header, 0, sizeof(*header));
	header->magic = cpu_to_le32(RB_WIRE_MAGIC);
	header->version = cpu_to_le16(RB_WIRE_VERSION);
	header->type = type;
	header->control = cpu_to_le32(control);
	header->data = cpu_to_le32(data);
}

static bool rb_wire_is_zero(const void *bytes, size_t len)
{
	return !memchr_inv(bytes, 0, len);
}

int rb_tag_check(const struct rb_tag *tag, u32 epoch)
{
	bool written = tag->epoch && tag->index;

	if (tag->reserved || le32_to_cpu(tag->epoch) > epoch)
		return -EBADMSG;
	if (tag->state == RB_TAG_DATA)
		return written && le16_to_cpu(tag->page) < RB_MAX_OP_BLOCKS ?
		       0 : -EBADMSG;
	if (tag->state != RB_TAG_EMPTY || tag->page ||
	    !rb_wire_is_zero(tag->tag, sizeof(tag->tag)))
		return -EBADMSG;
	/* Discarded by an operation, or never written: nothing in between. */
	return written || (!tag->epoch && !tag->index) ? 0 : -EBADMSG;
}

/* ---- operations ------------------------------------------------------ */

static int rb_wire_check_op(const struct rb_wire_op *op)
{
	u32 known = RB_WIRE_F_SYNC;

	if (op->type == RB_WIRE_ZEROES)
		known |= RB_WIRE_F_NOUNMAP;
	if (!rb_wire_is_op(op->type) || (op->flags & ~known) || !op->index ||
	    !op->epoch)
		return -EBADMSG;
	if (op->type == RB_WIRE_FLUSH)
		/* Without the flag it would ask for nothing. */
		return op->sector || op->sectors ||
		       !(op->flags & RB_WIRE_F_SYNC) ? -EBADMSG : 0;
	if (!op->sectors || op->sectors % RB_BLOCK_SECTORS ||
	    op->sector % RB_BLOCK_SECTORS)
		return -EBADMSG;
	if (op->type == RB_WIRE_WRITE && op->sectors > RB_MAX_DATA_SECTORS)
		return -EBADMSG;
	return 0;
}

int rb_wire_encode_op(struct rb_wire_header *header,
		      struct rb_wire_op_control *control,
		      const struct rb_wire_op *op)
{
	u32 blocks = op->type == RB_WIRE_WRITE ? rb_wire_op_blocks(op) : 0;

	rb_wire_encode_header(header, op->type,
			      sizeof(*control) + blocks * RB_GCM_TAG_BYTES,
			      blocks * RB_BLOCK_BYTES);
	memset(control, 0, sizeof(*control));
	control->index = cpu_to_le64(op->index);
	control->sector = cpu_to_le64(op->sector);
	control->sectors = cpu_to_le32(op->sectors);
	control->epoch = cpu_to_le32(op->epoch);
	control->flags = cpu_to_le32(op->flags);
	return rb_wire_check_op(op);
}

int rb_wire_decode_op(const struct rb_frame *frame, const void *control,
		      const struct rb_wire_limits *limits, u64 expected,
		      struct rb_wire_op *ret)
{
	const struct rb_wire_op_control *wire = control;
	u32 blocks;

	if (!rb_wire_is_op(frame->type) || frame->control < sizeof(*wire))
		return -EBADMSG;
	ret->type = frame->type;
	ret->flags = le32_to_cpu(wire->flags);
	ret->index = le64_to_cpu(wire->index);
	ret->sector = le64_to_cpu(wire->sector);
	ret->sectors = le32_to_cpu(wire->sectors);
	ret->epoch = le32_to_cpu(wire->epoch);
	ret->tags = NULL;
	if (wire->reserved || ret->index != expected ||
	    ret->epoch > limits->epoch)
		return -EBADMSG;
	/* Subtraction cannot wrap: each term is checked against the size. */
	if (ret->sectors > limits->sectors ||
	    ret->sector > limits->sectors - ret->sectors)
		return -EBADMSG;
	if (rb_wire_check_op(ret))
		return -EBADMSG;
	blocks = ret->type == RB_WIRE_WRITE ? rb_wire_op_blocks(ret) : 0;
	if (frame->control != sizeof(*wire) + blocks * RB_GCM_TAG_BYTES ||
	    frame->data != blocks * RB_BLOCK_BYTES)
		return -EBADMSG;
	if (blocks)
		ret->tags = (const void *)(wire + 1);
	return 0;
}

void rb_wire_put_tags(u8 (*out)[RB_GCM_TAG_BYTES], const struct rb_tag *tags,
		      u32 count)
{
	u32 i;

	for (i = 0; i < count; i++)
		memcpy(out[i], tags[i].tag, RB_GCM_TAG_BYTES);
}

void rb_wire_op_tag(const struct rb_wire_op *op, u32 page, struct rb_tag *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->index = cpu_to_le64(op->index);
	ret->epoch = cpu_to_le32(op->epoch);
	if (op->type != RB_WIRE_WRITE)
		return;
	ret->state = RB_TAG_DATA;
	ret->page = cpu_to_le16(page);
	memcpy(ret->tag, op->tags[page], RB_GCM_TAG_BYTES);
}

/* ---- progress, epochs, promises -------------------------------------- */

void rb_wire_encode_progress(struct rb_wire_header *header,
			     struct rb_wire_progress *control,
			     const struct rb_progress *progress)
{
	rb_wire_encode_header(header, RB_WIRE_PROGRESS, sizeof(*control), 0);
	memset(control, 0, sizeof(*control));
	control->received = cpu_to_le64(progress->received);
	control->applied = cpu_to_le64(progress->applied);
	control->durable = cpu_to_le64(progress->durable);
	control->missing = cpu_to_le64(progress->missing);
	control->flags = cpu_to_le32(progress->flags);
	control->steps = cpu_to_le32(progress->steps);
}

int rb_wire_decode_progress(const struct rb_frame *frame, const void *control,
			    const struct rb_wire_limits *limits,
			    const struct rb_progress *last, u64 issued,
			    struct rb_progress *ret)
{
	const struct rb_wire_progress *wire = control;

	if (frame->type != RB_WIRE_PROGRESS || frame->control != sizeof(*wire))
		return -EBADMSG;
	ret->received = le64_to_cpu(wire->received);
	ret->applied = le64_to_cpu(wire->applied);
	ret->durable = le64_to_cpu(wire->durable);
	ret->missing = le64_to_cpu(wire->missing);
	ret->flags = le32_to_cpu(wire->flags);
	ret->steps = le32_to_cpu(wire->steps);
	if ((ret->flags & ~(RB_PROGRESS_INSYNC | RB_PROGRESS_FAILED)) ||
	    ret->missing > limits->sectors / RB_BLOCK_SECTORS)
		return -EBADMSG;
	/* Who misses something, or has no disk, cannot be in sync. */
	if ((ret->flags & RB_PROGRESS_INSYNC) &&
	    (ret->missing || (ret->flags & RB_PROGRESS_FAILED)))
		return -EBADMSG;
	if (ret->received > issued || ret->applied > ret->received ||
	    ret->durable > ret->applied)
		return -EBADMSG;
	if (ret->received < last->received || ret->applied < last->applied ||
	    ret->durable < last->durable)
		return -EBADMSG;
	return 0;
}

void rb_wire_encode_epoch(struct rb_wire_header *header,
			  struct rb_wire_epoch_control *control,
			  enum rb_wire_type type, u32 epoch)
{
	rb_wire_encode_header(header, type, sizeof(*control), 0);
	control->epoch = cpu_to_le32(epoch);
	control->reserved = 0;
}

int rb_wire_decode_epoch(const struct rb_frame *frame, const void *control,
			 u32 *epoch)
{
	const struct rb_wire_epoch_control *wire = control;

	if ((frame->type != RB_WIRE_FENCED &&
	     frame->type != RB_WIRE_PROMISE_REQ) ||
	    frame->control != sizeof(*wire))
		return -EBADMSG;
	*epoch = le32_to_cpu(wire->epoch);
	return wire->reserved || !*epoch ? -EBADMSG : 0;
}

void rb_wire_encode_promise(struct rb_wire_header *header,
			    struct rb_wire_promise *control,
			    const struct rb_promise *promise)
{
	rb_wire_encode_header(header, RB_WIRE_PROMISE, sizeof(*control), 0);
	memset(control, 0, sizeof(*control));
	control->epoch = cpu_to_le32(promise->epoch);
	control->data_epoch = cpu_to_le32(promise->data_epoch);
	control->received = cpu_to_le64(promise->received);
	control->flags = cpu_to_le32(promise->flags);
}

int rb_wire_decode_promise(const struct rb_frame *frame, const void *control,
			   struct rb_promise *ret)
{
	const struct rb_wire_promise *wire = control;

	if (frame->type != RB_WIRE_PROMISE || frame->control != sizeof(*wire))
		return -EBADMSG;
	ret->epoch = le32_to_cpu(wire->epoch);
	ret->data_epoch = le32_to_cpu(wire->data_epoch);
	ret->received = le64_to_cpu(wire->received);
	ret->flags = le32_to_cpu(wire->flags);
	if (wire->reserved || (ret->flags & ~RB_PROMISE_CONSISTENT))
		return -EBADMSG;
	/* Data of the epoch being asked for cannot exist yet. */
	return ret->data_epoch < ret->epoch ? 0 : -EBADMSG;
}

void rb_wire_encode_epochs(struct rb_wire_header *header, void *control,
			   const struct rb_epoch *epochs, u32 count, bool last)
{
	struct rb_wire_epochs *fixed = control;
	struct rb_wire_epoch_entry *entries = (void *)(fixed + 1);
	u32 i;

	rb_wire_encode_header(header, RB_WIRE_EPOCHS,
			      sizeof(*fixed) + count * sizeof(*entries), 0);
	fixed->count = cpu_to_le32(count);
	fixed->flags = cpu_to_le32(last ? RB_EPOCHS_LAST : 0);
	for (i = 0; i < count; i++) {
		entries[i].leader = cpu_to_le64(epochs[i].leader);
		entries[i].epoch = cpu_to_le32(epochs[i].epoch);
		entries[i].reserved = 0;
		memcpy(entries[i].salt, epochs[i].salt, RB_SALT_BYTES);
	}
}

int rb_wire_decode_epochs(const struct rb_frame *frame, const void *control,
			  struct rb_epochs *ret)
{
	const struct rb_wire_epochs *fixed = control;
	const struct rb_wire_epoch_entry *entries = (const void *)(fixed + 1);
	u32 flags, i, before = 0;

	if (frame->type != RB_WIRE_EPOCHS || frame->control < sizeof(*fixed))
		return -EBADMSG;
	ret->count = le32_to_cpu(fixed->count);
	flags = le32_to_cpu(fixed->flags);
	if (!ret->count || ret->count > RB_MAX_EPOCHS_PER_MESSAGE ||
	    frame->control != sizeof(*fixed) + ret->count * sizeof(*entries) ||
	    (flags & ~RB_EPOCHS_LAST))
		return -EBADMSG;
	for (i = 0; i < ret->count; i++) {
		u32 epoch = le32_to_cpu(entries[i].epoch);

		if (epoch <= before || entries[i].reserved ||
		    !entries[i].leader)
			return -EBADMSG;
		before = epoch;
	}
	ret->last = flags & RB_EPOCHS_LAST;
	ret->entries = entries;
	return 0;
}

void rb_wire_get_epoch(const struct rb_epochs *epochs, u32 i,
		       struct rb_epoch *ret)
{
	const struct rb_wire_epoch_entry *entry = &epochs->entries[i];

	ret->leader = le64_to_cpu(entry->leader);
	ret->epoch = le32_to_cpu(entry->epoch);
	memcpy(ret->salt, entry->salt, RB_SALT_BYTES);
}

/* ---- resync ---------------------------------------------------------- */

void rb_wire_encode_resync(struct rb_wire_header *header,
			   struct rb_wire_resync *control,
			   enum rb_wire_type type,
			   const struct rb_resync *resync)
{
	rb_wire_encode_header(header, type, sizeof(*control), 0);
	control->index = cpu_to_le64(resync->index);
	control->epoch = cpu_to_le32(resync->epoch);
	control->flags = cpu_to_le32(resync->flags);
}

int rb_wire_decode_resync(const struct rb_frame *frame, const void *control,
			  const struct rb_wire_limits *limits,
			  struct rb_resync *ret)
{
	const struct rb_wire_resync *wire = control;
	const bool begin = frame->type == RB_WIRE_RESYNC_BEGIN;

	if ((!begin && frame->type != RB_WIRE_RESYNC_END) ||
	    frame->control != sizeof(*wire))
		return -EBADMSG;
	ret->index = le64_to_cpu(wire->index);
	ret->epoch = le32_to_cpu(wire->epoch);
	ret->flags = le32_to_cpu(wire->flags);
	if (ret->flags & ~(begin ? RB_RESYNC_FULL : 0u))
		return -EBADMSG;
	/* An index has to have a successor. */
	if (!ret->epoch || ret->epoch > limits->epoch || ret->index == U64_MAX)
		return -EBADMSG;
	return 0;
}

void rb_wire_encode_hashes(struct rb_wire_header *header,
			   struct rb_wire_hashes *control, u64 first,
			   u32 count)
{
	rb_wire_encode_header(header, RB_WIRE_HASHES,
			      sizeof(*control) + count * RB_HASH_BYTES, 0);
	control->first = cpu_to_le64(first);
	control->count = cpu_to_le32(count);
	control->reserved = 0;
}

int rb_wire_decode_hashes(const struct rb_frame *frame, const void *control,
			  const struct rb_wire_limits *limits,
			  struct rb_hashes *ret)
{
	const u64 chunks = rb_wire_chunks(limits->sectors);
	const struct rb_wire_hashes *fixed = control;

	if (frame->type != RB_WIRE_HASHES || frame->control < sizeof(*fixed))
		return -EBADMSG;
	ret->first = le64_to_cpu(fixed->first);
	ret->count = le32_to_cpu(fixed->count);
	if (!ret->count || ret->count > RB_MAX_HASHES || fixed->reserved ||
	    frame->control != sizeof(*fixed) + ret->count * RB_HASH_BYTES)
		return -EBADMSG;
	if (ret->count > chunks || ret->first > chunks - ret->count)
		return -EBADMSG;
	ret->hashes = (const void *)(fixed + 1);
	return 0;
}

void rb_wire_encode_tags(struct rb_wire_header *header,
			 struct rb_wire_tags *control, u64 chunk)
{
	rb_wire_encode_header(header, RB_WIRE_TAGS,
			      sizeof(*control) +
			      RB_CHUNK_TAGS * sizeof(struct rb_tag), 0);
	control->chunk = cpu_to_le64(chunk);
}

int rb_wire_decode_tags(const struct rb_frame *frame, const void *control,
			const struct rb_wire_limits *limits,
			struct rb_tags_message *ret)
{
	const u64 blocks = limits->sectors / RB_BLOCK_SECTORS;
	const struct rb_wire_tags *fixed = control;
	const struct rb_tag *tags = (const void *)(fixed + 1);
	u64 used;
	u32 i;

	if (frame->type != RB_WIRE_TAGS ||
	    frame->control != sizeof(*fixed) + RB_CHUNK_TAGS * sizeof(*tags))
		return -EBADMSG;
	ret->chunk = le64_to_cpu(fixed->chunk);
	if (ret->chunk >= rb_wire_chunks(limits->sectors))
		return -EBADMSG;
	/* The last chunk may reach beyond the device. */
	used = min_t(u64, blocks - ret->chunk * RB_CHUNK_TAGS, RB_CHUNK_TAGS);
	for (i = 0; i < used; i++)
		if (rb_tag_check(&tags[i], limits->epoch))
			return -EBADMSG;
	if (!rb_wire_is_zero(tags + used,
			     (RB_CHUNK_TAGS - used) * sizeof(*tags)))
		return -EBADMSG;
	ret->tags = tags;
	return 0;
}

void rb_wire_encode_tags_req(struct rb_wire_header *header,
			     struct rb_wire_tags *control, u64 chunk)
{
	rb_wire_encode_header(header, RB_WIRE_TAGS_REQ, sizeof(*control), 0);
	control->chunk = cpu_to_le64(chunk);
}

int rb_wire_decode_tags_req(const struct rb_frame *frame, const void *control,
			    const struct rb_wire_limits *limits, u64 *chunk)
{
	const struct rb_wire_tags *wire = control;

	if (frame->type != RB_WIRE_TAGS_REQ || frame->control != sizeof(*wire))
		return -EBADMSG;
	*chunk = le64_to_cpu(wire->chunk);
	return *chunk < rb_wire_chunks(limits->sectors) ? 0 : -EBADMSG;
}

void rb_wire_encode_block(struct rb_wire_header *header,
			  struct rb_wire_block *control,
			  enum rb_wire_type type,
			  const struct rb_block_message *block)
{
	const bool data = type == RB_WIRE_BLOCK_DATA && !block->refused;

	rb_wire_encode_header(header, type, sizeof(*control),
			      data ? RB_BLOCK_BYTES : 0);
	memset(control, 0, sizeof(*control));
	control->block = cpu_to_le64(block->block);
	control->flags = cpu_to_le32(block->refused ? RB_BLOCK_REFUSED : 0);
	control->tag = block->tag;
}

int rb_wire_decode_block(const struct rb_frame *frame, const void *control,
			 const struct rb_wire_limits *limits,
			 struct rb_block_message *ret)
{
	const bool answer = frame->type == RB_WIRE_BLOCK_DATA;
	const struct rb_wire_block *wire = control;
	u32 flags;

	if ((!answer && frame->type != RB_WIRE_BLOCK_REQ) ||
	    frame->control != sizeof(*wire))
		return -EBADMSG;
	ret->block = le64_to_cpu(wire->block);
	flags = le32_to_cpu(wire->flags);
	ret->refused = flags & RB_BLOCK_REFUSED;
	ret->tag = wire->tag;
	if (wire->reserved || (flags & ~(answer ? RB_BLOCK_REFUSED : 0u)) ||
	    ret->block >= limits->sectors / RB_BLOCK_SECTORS)
		return -EBADMSG;
	if (frame->data != (answer && !ret->refused ? RB_BLOCK_BYTES : 0))
		return -EBADMSG;
	if (ret->tag.state != RB_TAG_DATA)
		return -EBADMSG;
	return rb_tag_check(&ret->tag, limits->epoch);
}

/* ---- for logs -------------------------------------------------------- */

const char *rb_wire_verdict_name(u32 verdict)
{
	static const char *const names[RB_VERDICT_COUNT] = {
		[RB_VERDICT_ACCEPTED] = "accepted",
		[RB_VERDICT_BUSY] = "it serves another node",
		[RB_VERDICT_VERSION] = "it speaks another wire version",
		[RB_VERDICT_SIZE] = "the devices differ in size",
		[RB_VERDICT_IDENTITY] = "an id is wrong",
		[RB_VERDICT_MODE] = "one node has a key, the other has none",
		[RB_VERDICT_KEY] = "the keys differ",
		[RB_VERDICT_CLUSTER] = "its history is not ours",
		[RB_VERDICT_EPOCH] = "it follows a higher epoch",
		[RB_VERDICT_FAILED] = "its disk has failed",
	};

	return verdict < RB_VERDICT_COUNT ? names[verdict] : "unknown verdict";
}

const char *rb_wire_type_name(unsigned int type)
{
	const struct rb_wire_shape *shape = rb_wire_shape(type);

	return shape ? shape->name : "unknown";
}
