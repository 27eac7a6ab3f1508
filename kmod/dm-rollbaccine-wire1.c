// SPDX-License-Identifier: GPL-2.0-only
/*
 * Encoding and strict decoding of messages.  Pure functions, no allocation.
 */
#include <linux/errno.h>
#include <linux/string.h>

#include <asm/byteorder.h>

#include "dm-rollbaccine-wire1.h"

bool rb_wire_is_op(u8 type)
{
	return type >= RB_WIRE_WRITE && type <= RB_WIRE_FLUSH;
}

void rb_wire_header_init(struct rb_wire_header *header, enum rb_wire_type type,
			 u32 length)
{
	memset(header, 0, sizeof(*header));
	header->magic = cpu_to_le32(RB_WIRE_MAGIC);
	header->version = cpu_to_le16(RB_WIRE_VERSION);
	header->type = type;
	header->length = cpu_to_le32(length);
}

static int rb_wire_check_prefix(const struct rb_wire_header *header)
{
	if (header->magic != cpu_to_le32(RB_WIRE_MAGIC))
		return -EBADMSG;
	if (header->version != cpu_to_le16(RB_WIRE_VERSION))
		return -EPROTONOSUPPORT;
	return 0;
}

/**
 * rb_wire_check_control() - check the header of a message that is no operation
 * @header: the header as received
 * @type: the only type acceptable here
 * @length: the only payload length acceptable for it
 *
 * Return: 0, -EBADMSG, or -EPROTONOSUPPORT for another version of the format.
 */
int rb_wire_check_control(const struct rb_wire_header *header,
			  enum rb_wire_type type, u32 length)
{
	int ret = rb_wire_check_prefix(header);

	if (ret)
		return ret;
	if (header->type != type || header->flags || header->index ||
	    header->sector || header->sectors ||
	    le32_to_cpu(header->length) != length)
		return -EBADMSG;
	return 0;
}

static int rb_wire_check_op(const struct rb_wire_op *op)
{
	const u8 known = op->type == RB_WIRE_ZEROES ?
			 RB_WIRE_F_SYNC | RB_WIRE_F_NOUNMAP : RB_WIRE_F_SYNC;

	if (!rb_wire_is_op(op->type) || (op->flags & ~known))
		return -EBADMSG;
	if (op->type == RB_WIRE_FLUSH) {
		/* A flush without the flag would ask for nothing. */
		if (op->sector || op->sectors || op->length ||
		    !(op->flags & RB_WIRE_F_SYNC))
			return -EBADMSG;
		return 0;
	}
	if (!op->sectors || op->sector % RB_BLOCK_SECTORS ||
	    op->sectors % RB_BLOCK_SECTORS)
		return -EBADMSG;
	if (op->type == RB_WIRE_WRITE) {
		if (op->sectors > RB_MAX_DATA_SECTORS ||
		    op->length != op->sectors << RB_SECTOR_SHIFT)
			return -EBADMSG;
	} else if (op->length) {
		return -EBADMSG;
	}
	return 0;
}

/**
 * rb_wire_encode_op() - fill a header from an operation
 * @header: filled
 * @op: the operation; op->length is derived and need not be set
 *
 * Return: 0, or -EBADMSG if a backup would refuse the operation, so that a bug
 * on this side is found on this side.
 */
int rb_wire_encode_op(struct rb_wire_header *header,
		      const struct rb_wire_op *op)
{
	struct rb_wire_op full = *op;

	full.length = op->type == RB_WIRE_WRITE ?
		      op->sectors << RB_SECTOR_SHIFT : 0;
	rb_wire_header_init(header, full.type, full.length);
	header->flags = full.flags;
	header->index = cpu_to_le64(full.index);
	header->sector = cpu_to_le64(full.sector);
	header->sectors = cpu_to_le32(full.sectors);
	return rb_wire_check_op(&full);
}

/**
 * rb_wire_decode_op() - check and decode the header of an operation
 * @header: the header as received
 * @expected_index: the only index acceptable here
 * @device_sectors: size of the device; the operation must lie inside
 * @ret: filled if the header is good
 *
 * Return: 0, -EBADMSG, or -EPROTONOSUPPORT for another version of the format.
 */
int rb_wire_decode_op(const struct rb_wire_header *header, u64 expected_index,
		      u64 device_sectors, struct rb_wire_op *ret)
{
	int err = rb_wire_check_prefix(header);

	if (err)
		return err;
	ret->type = header->type;
	ret->flags = header->flags;
	ret->index = le64_to_cpu(header->index);
	ret->sector = le64_to_cpu(header->sector);
	ret->sectors = le32_to_cpu(header->sectors);
	ret->length = le32_to_cpu(header->length);
	if (ret->index != expected_index)
		return -EBADMSG;
	/* Subtraction cannot wrap: each term is checked against the size. */
	if (ret->sectors > device_sectors ||
	    ret->sector > device_sectors - ret->sectors)
		return -EBADMSG;
	return rb_wire_check_op(ret);
}

/**
 * rb_wire_decode_progress() - check and decode a progress report
 * @wire: the payload as received
 * @last: the previous report; nothing may go backwards
 * @issued: nothing past this index can have been received
 * @ret: filled if the report is good
 *
 * Return: 0 or -EBADMSG.
 */
int rb_wire_decode_progress(const struct rb_wire_progress *wire,
			    const struct rb_progress *last, u64 issued,
			    struct rb_progress *ret)
{
	ret->received = le64_to_cpu(wire->received);
	ret->applied = le64_to_cpu(wire->applied);
	ret->durable = le64_to_cpu(wire->durable);
	if (wire->reserved || le32_to_cpu(wire->failed) > 1)
		return -EBADMSG;
	if (ret->received > issued || ret->applied > ret->received ||
	    ret->durable > ret->applied)
		return -EBADMSG;
	if (ret->received < last->received || ret->applied < last->applied ||
	    ret->durable < last->durable)
		return -EBADMSG;
	return 0;
}

const char *rb_wire_verdict_name(u32 verdict)
{
	static const char *const names[RB_VERDICT_COUNT] = {
		[RB_VERDICT_ACCEPTED] = "accepted",
		[RB_VERDICT_BUSY] = "it serves another primary",
		[RB_VERDICT_VERSION] = "it speaks another wire version",
		[RB_VERDICT_SIZE] = "the devices differ in size",
		[RB_VERDICT_IDENTITY] = "the id is zero or its own",
		[RB_VERDICT_STALE] = "its history is not ours",
		[RB_VERDICT_FAILED] = "its disk has failed",
	};

	return verdict < RB_VERDICT_COUNT ? names[verdict] : "unknown verdict";
}
