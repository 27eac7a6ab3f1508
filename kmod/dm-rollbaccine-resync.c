// SPDX-License-Identifier: GPL-2.0-only
/*
 * Resync: how a node comes by the tags and blocks it lacks.
 *
 * The primary's tags are the truth.  A session begins with RESYNC_BEGIN: the
 * index after which operations follow.  The backup answers with a hash of each
 * chunk of its tags, and the primary sends the chunks that differ (all that are
 * not empty, if the backup's memory is), each with the tags as they are at that
 * place in the stream; then RESYNC_END.  Nothing is kept for an absent peer.
 *
 * A block whose tag turned out to be another is `missing`.  A backup whose disk
 * may know more than its memory looks there first: what opens under the tag is
 * the block, however old the image.  The rest is fetched from the primary.  When
 * nothing is missing and the disk is flushed, the backup is in sync.  This file
 * is the primary's side; the backup's is -fill.
 */
#include <linux/mm.h>
#include <linux/slab.h>

#include "dm-rollbaccine.h"

/* The primary's side, under tx. */

static int rb_resync_send_epochs(struct rb_peer *peer)
{
	struct rb_device *rb = peer->rb;
	struct rb_epoch *epochs;
	struct rb_wire_header header;
	struct kvec vec = { .iov_base = peer->tx_control };
	unsigned int count;
	u32 from = 0;
	int ret = 0;

	epochs = kmalloc_array(RB_MAX_EPOCHS_PER_MESSAGE, sizeof(*epochs),
			       GFP_NOIO);
	if (!epochs)
		return -ENOMEM;
	do {
		count = rb_keys_epochs(rb->keys, from, epochs,
				       RB_MAX_EPOCHS_PER_MESSAGE);
		if (!count)
			break;
		from = epochs[count - 1].epoch + 1;
		rb_wire_encode_epochs(&header, peer->tx_control, epochs, count,
				      count < RB_MAX_EPOCHS_PER_MESSAGE);
		vec.iov_len = le32_to_cpu(header.control);
		ret = rb_peer_send(peer, &header, &vec, 1, NULL, NULL);
	} while (!ret && count == RB_MAX_EPOCHS_PER_MESSAGE);
	kfree(epochs);
	return ret;
}

static int rb_resync_send_mark(struct rb_peer *peer, enum rb_wire_type type,
			       u64 index)
{
	struct rb_resync resync = {
		.index = index,
		.epoch = peer->rb->epoch,
		.flags = type == RB_WIRE_RESYNC_BEGIN && peer->full ?
			 RB_RESYNC_FULL : 0,
	};
	struct rb_wire_resync control;
	struct kvec vec = { .iov_base = &control, .iov_len = sizeof(control) };
	struct rb_wire_header header;

	rb_wire_encode_resync(&header, &control, type, &resync);
	return rb_peer_send(peer, &header, &vec, 1, NULL, NULL);
}

/*
 * Operations whose tags are recorded are told by tags, all others will be sent
 * as operations.
 */
static u64 rb_resync_join_stream(struct rb_peer *peer)
{
	struct rb_device *rb = peer->rb;
	struct rb_op *op;
	u64 index;

	spin_lock_irq(&rb->lock);
	index = rb->primary.issued;
	peer->cursor = NULL;
	list_for_each_entry(op, &rb->primary.log, log) {
		if (op->ready)
			continue;
		peer->cursor = op;
		index = op->index - 1;
		break;
	}
	peer->streaming = true;
	peer->insync = false;
	peer->sent = index;
	memset(&peer->progress, 0, sizeof(peer->progress));
	spin_unlock_irq(&rb->lock);
	return index;
}

int rb_resync_begin(struct rb_peer *peer)
{
	struct rb_device *rb = peer->rb;
	u64 index;
	int ret;

	peer->next_chunk = 0;
	peer->hashed = 0;
	if (!peer->full) {
		peer->chunks = kvcalloc(BITS_TO_LONGS(rb_tags_chunks(rb->tags)),
					sizeof(long), GFP_KERNEL);
		/* More work for everybody, but it works. */
		if (!peer->chunks)
			peer->full = true;
	}
	ret = rb_resync_send_epochs(peer);
	if (ret)
		return ret;
	index = rb_resync_join_stream(peer);
	ret = rb_resync_send_mark(peer, RB_WIRE_RESYNC_BEGIN, index);
	WRITE_ONCE(peer->resyncing, !ret);
	return ret;
}

/* The receiver: mark the chunks that differ. */
int rb_resync_hear_hashes(struct rb_peer *peer, const struct rb_frame *frame)
{
	struct rb_wire_limits limits = rb_peer_limits(peer->rb);
	struct rb_device *rb = peer->rb;
	struct rb_hashes hashes;
	u8 own[RB_HASH_BYTES];
	u32 i;
	int ret;

	ret = rb_wire_decode_hashes(frame, peer->rx_control, &limits, &hashes);
	if (ret)
		return ret;
	if (!READ_ONCE(peer->resyncing) || peer->full ||
	    hashes.first != peer->hashed)
		return -EBADMSG;
	for (i = 0; i < hashes.count; i++) {
		ret = rb_tags_hash(rb->tags, hashes.first + i, own);
		/* One that is lost is the sender's business. */
		if (ret == -EBADMSG || ret == -EIO)
			memset(own, ~hashes.hashes[i][0], sizeof(own));
		else if (ret)
			return ret;
		if (memcmp(own, hashes.hashes[i], sizeof(own)) &&
		    !rb_fault_skip_chunk(rb))
			__set_bit(hashes.first + i, peer->chunks);
	}
	/* The bits first: the sender looks no further than this. */
	smp_store_release(&peer->hashed, hashes.first + hashes.count);
	rb_peer_kick(peer);
	return 0;
}

bool rb_resync_pending(const struct rb_peer *peer)
{
	u64 hashed;

	if (!peer->dialled)
		return READ_ONCE(peer->hashing);
	if (!READ_ONCE(peer->resyncing))
		return false;
	/* Pairs with the release in rb_resync_hear_hashes(). */
	hashed = smp_load_acquire(&peer->hashed);
	return peer->full || READ_ONCE(peer->next_chunk) < hashed;
}

/* Returns the next chunk to be sent, or RB_NO_BLOCK; @end: there are no more. */
static int rb_resync_next(struct rb_peer *peer, u64 *chunk, bool *end)
{
	struct rb_device *rb = peer->rb;
	u64 chunks = rb_tags_chunks(rb->tags);
	u64 hashed;
	int ret;

	*end = false;
	if (peer->full) {
		*chunk = peer->next_chunk;
		ret = *chunk < chunks ? rb_tags_next_chunk(rb->tags, chunk) :
					-ENOENT;
		*end = ret == -ENOENT;
		return *end ? 0 : ret;
	}
	/* Pairs with the release in rb_resync_hear_hashes(). */
	hashed = smp_load_acquire(&peer->hashed);
	*chunk = find_next_bit(peer->chunks, hashed, peer->next_chunk);
	if (*chunk >= hashed) {
		WRITE_ONCE(peer->next_chunk, hashed);
		*chunk = RB_NO_BLOCK;
		*end = hashed == chunks;
	}
	return 0;
}

static int rb_resync_send_tags(struct rb_peer *peer, u64 chunk)
{
	struct rb_wire_tags *control = peer->tx_control;
	struct rb_tag *tags = (struct rb_tag *)(control + 1);
	struct kvec vec = {
		.iov_base = control,
		.iov_len = sizeof(*control) + RB_CHUNK_TAGS * sizeof(*tags),
	};
	struct rb_wire_header header;
	int ret;

	ret = rb_tags_read_chunk(peer->rb->tags, chunk, tags);
	/* Without another peer that has them this one cannot be helped. */
	if (ret == -EBADMSG || ret == -EIO)
		ret = rb_mend_chunk(peer->rb, chunk) ?:
		      rb_tags_read_chunk(peer->rb->tags, chunk, tags);
	if (ret)
		return ret;
	rb_wire_encode_tags(&header, control, chunk);
	return rb_peer_send(peer, &header, &vec, 1, NULL, NULL);
}

/* Returns whether something was sent, or an error. */
int rb_resync_send(struct rb_peer *peer)
{
	u64 chunk;
	bool end;
	int ret;

	if (!peer->resyncing)
		return 0;
	ret = rb_resync_next(peer, &chunk, &end);
	if (ret)
		return ret;
	if (end) {
		WRITE_ONCE(peer->resyncing, false);
		return rb_resync_send_mark(peer, RB_WIRE_RESYNC_END,
					   peer->sent) ?: 1;
	}
	if (chunk == RB_NO_BLOCK)
		return 0;
	WRITE_ONCE(peer->next_chunk, chunk + 1);
	if (peer->full && rb_fault_skip_chunk(peer->rb))
		return 1;
	return rb_resync_send_tags(peer, chunk) ?: 1;
}

void rb_resync_end(struct rb_peer *peer)
{
	WRITE_ONCE(peer->resyncing, false);
	kvfree(peer->chunks);
	peer->chunks = NULL;
}
