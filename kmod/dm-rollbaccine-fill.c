// SPDX-License-Identifier: GPL-2.0-only
/*
 * The backup's side of a resync, see -resync: say what is known, adopt what the
 * primary's tags say, find or fetch the blocks that are missing.
 */
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "dm-rollbaccine.h"

#define RB_MAX_FETCHING 64
#define RB_SCAN_BLOCKS 64

/* Under tx: the hashes of some chunks, if the primary wants them. */
int rb_resync_send_hashes(struct rb_peer *peer)
{
	struct rb_device *rb = peer->rb;
	u64 chunks = rb_tags_chunks(rb->tags);
	struct rb_wire_hashes *control = peer->tx_control;
	u8 (*hashes)[RB_HASH_BYTES] = (void *)(control + 1);
	struct kvec vec = { .iov_base = control };
	struct rb_wire_header header;
	u32 count, i;
	int ret;

	if (!peer->hashing)
		return 0;
	count = min_t(u64, RB_MAX_HASHES, chunks - peer->hash_next);
	for (i = 0; i < count; i++) {
		/* What cannot be read is certainly not the same. */
		ret = rb_tags_hash(rb->tags, peer->hash_next + i, hashes[i]);
		if (ret == -EBADMSG || ret == -EIO)
			memset(hashes[i], 0xff, RB_HASH_BYTES);
		else if (ret)
			return ret;
	}
	rb_wire_encode_hashes(&header, control, peer->hash_next, count);
	vec.iov_len = sizeof(*control) + count * RB_HASH_BYTES;
	peer->hash_next += count;
	if (peer->hash_next == chunks)
		WRITE_ONCE(peer->hashing, false);
	return rb_peer_send(peer, &header, &vec, 1, NULL, NULL) ?: 1;
}

/* All tags will come: those we have are nobody's. */
static int rb_resync_forget(struct rb_device *rb)
{
	u64 chunk = 0;
	int ret;

	for (;;) {
		ret = rb_tags_next_chunk(rb->tags, &chunk);
		if (ret)
			break;
		ret = rb_tags_reset_chunk(rb->tags, chunk);
		if (ret || ++chunk >= rb_tags_chunks(rb->tags))
			break;
	}
	rb_tags_clear_missing(rb->tags, 0, rb_blocks(rb));
	return ret == -ENOENT ? 0 : ret;
}

/* What earlier sessions have brought is either in its place or dropped. */
static int rb_resync_settle(struct rb_device *rb)
{
	rb_backup_drop_queue(rb);
	wait_event_idle(rb->store.wait,
			(rb_store_quiet(&rb->store) &&
			 !READ_ONCE(rb->backup.tags_pending)) ||
			rb_stopping(rb));
	return rb_stopping(rb) || READ_ONCE(rb->store.failed) ? -ESHUTDOWN : 0;
}

/*
 * Before a primary names the epochs there are.  Those it does not name are of
 * no use unless a block here is of one, and each takes memory.
 */
int rb_resync_expect_epochs(struct rb_device *rb)
{
	int ret = rb_resync_settle(rb);

	if (!ret)
		rb_forget_epochs(rb);
	return ret;
}

int rb_resync_hear_begin(struct rb_peer *peer, const struct rb_frame *frame)
{
	struct rb_wire_limits limits = rb_peer_limits(peer->rb);
	struct rb_device *rb = peer->rb;
	struct rb_backup *b = &rb->backup;
	struct rb_resync resync;
	int ret;

	ret = rb_wire_decode_resync(frame, peer->rx_control, &limits, &resync);
	if (ret)
		return ret;
	if (peer->begun || (resync.epoch != READ_ONCE(rb->promised) &&
			    !rb_fault_ignores_epoch(rb)))
		return -EBADMSG;
	spin_lock_irq(&rb->lock);
	b->insync = false;
	b->tags_complete = false;
	spin_unlock_irq(&rb->lock);
	ret = rb_resync_settle(rb);
	if (ret)
		return ret;
	if (resync.flags & RB_RESYNC_FULL) {
		rb_backup_spoil(rb);
		ret = rb_resync_forget(rb);
		if (ret)
			return ret;
	}
	rb_store_reset(&rb->store, resync.index);
	spin_lock_irq(&rb->lock);
	b->received = resync.index;
	b->follows = b->whole && b->position == resync.index &&
		     rb->data_epoch == resync.epoch;
	b->reported = 0;
	b->scan |= rb->empty;
	rb->epoch = resync.epoch;
	spin_unlock_irq(&rb->lock);
	mutex_lock(&peer->tx);
	peer->hash_next = 0;
	peer->hashing = !(resync.flags & RB_RESYNC_FULL);
	WRITE_ONCE(peer->begun, true);
	mutex_unlock(&peer->tx);
	rb_peer_kick(peer);
	rb_node_evaluate(rb);
	return 0;
}

int rb_resync_hear_end(struct rb_peer *peer, const struct rb_frame *frame)
{
	struct rb_wire_limits limits = rb_peer_limits(peer->rb);
	struct rb_device *rb = peer->rb;
	struct rb_resync resync;
	int ret;

	ret = rb_wire_decode_resync(frame, peer->rx_control, &limits, &resync);
	if (ret)
		return ret;
	if (!peer->begun || READ_ONCE(rb->backup.tags_complete))
		return -EBADMSG;
	spin_lock_irq(&rb->lock);
	rb->backup.tags_complete = true;
	spin_unlock_irq(&rb->lock);
	rb_resync_wake(rb);
	return 0;
}

/* Compare, mark, record: one block of a chunk. */
static int rb_resync_adopt_one(struct rb_device *rb, u64 block,
			       const struct rb_tag *old,
			       const struct rb_tag *new)
{
	if (!memcmp(old, new, sizeof(*old)))
		return 0;
	rb_backup_spoil(rb);
	if (rb_tag_is_data(new))
		return rb_fault_stale(rb) ? 0 :
		       rb_tags_mark_missing(rb->tags, block, 1);
	rb_tags_clear_missing(rb->tags, block, 1);
	return 0;
}

static int rb_resync_adopt_chunk(struct rb_device *rb, struct rb_op *op,
				 struct rb_tag *old)
{
	u32 i;
	int ret;

	ret = rb_tags_read_chunk(rb->tags, op->first >> RB_CHUNK_SHIFT, old);
	if (ret == -EBADMSG || ret == -EIO)
		/* A tag no block can have: all are missing. */
		memset(old, 0xff, RB_CHUNK_TAGS * sizeof(*old));
	else if (ret)
		return ret;
	for (i = 0; i < op->blocks; i++) {
		ret = rb_resync_adopt_one(rb, op->first + i, &old[i],
					  &op->tags[i]);
		if (ret)
			return ret;
	}
	return rb_tags_write_chunk(rb->tags, op->first >> RB_CHUNK_SHIFT,
				   op->tags);
}

/* A chunk of the primary's tags has its slot. */
void rb_resync_adopt(struct rb_op *op)
{
	struct rb_store *store = op->store;
	struct rb_device *rb = store->rb;
	struct rb_tag *old = mempool_alloc(&store->tag_pool, GFP_NOIO);
	struct rb_peer *peer;
	int ret;

	ret = rb_resync_adopt_chunk(rb, op, old);
	mempool_free(old, &store->tag_pool);
	rb_slot_release(store, &op->slot);
	spin_lock_irq(&rb->lock);
	rb->backup.tags_pending--;
	peer = rb->backup.leader;
	spin_unlock_irq(&rb->lock);
	if (ret) {
		DMERR_LIMIT("%s: cannot keep tags (error %d)",
			    rb_device_name(rb), ret);
		if (peer)
			rb_peer_break(peer);
	}
	wake_up(&store->wait);
	rb_resync_wake(rb);
	rb_op_put(op);
}

void rb_resync_wake(struct rb_device *rb)
{
	wake_up(&rb->backup.resync_wait);
}

static void rb_resync_filled(struct rb_device *rb, u64 block)
{
	unsigned long flags;

	if (!rb_tags_clear_missing(rb->tags, block, 1))
		return;
	spin_lock_irqsave(&rb->lock, flags);
	rb->resynced++;
	spin_unlock_irqrestore(&rb->lock, flags);
}

/* What a peer gave is to go to the disk, if it is still what is wanted. */
static void rb_resync_fill_work(struct work_struct *work)
{
	struct rb_fetch *fetch = container_of(work, struct rb_fetch, work);
	struct rb_device *rb = fetch->private;
	struct rb_waiting_slot slot;
	struct rb_tag tag;
	u64 bad;
	int ret;

	rb_slot_wait(&rb->store, &slot, fetch->block, 1, false);
	ret = rb_tags_pin(rb->tags, fetch->block, 1, RB_PIN_GET, &bad);
	if (!ret) {
		rb_tags_get(rb->tags, fetch->block, 1, &tag);
		rb_tags_unpin(rb->tags, fetch->block, 1, RB_PIN_GET);
	}
	if (!ret && !fetch->error && !memcmp(&tag, &fetch->tag, sizeof(tag)) &&
	    rb_tags_test_missing(rb->tags, fetch->block, 1) &&
	    !rb_block_verify(rb, fetch->block, &tag, fetch->page)) {
		ret = rb_disk_rw(rb, fetch->block, fetch->page, REQ_OP_WRITE);
		if (ret)
			rb_store_fail_disk(&rb->store);
		else
			rb_resync_filled(rb, fetch->block);
	}
	rb_slot_release(&rb->store, &slot.slot);
	__free_page(fetch->page);
	kfree(fetch);
	spin_lock_irq(&rb->lock);
	rb->backup.fetching--;
	spin_unlock_irq(&rb->lock);
	rb_resync_wake(rb);
}

static void rb_resync_fetched(struct rb_fetch *fetch)
{
	struct rb_device *rb = fetch->private;

	INIT_WORK(&fetch->work, rb_resync_fill_work);
	queue_work(rb->store.slow_wq, &fetch->work);
}

static int rb_resync_fetch(struct rb_device *rb, struct rb_peer *peer,
			   u64 block, const struct rb_tag *tag)
{
	struct rb_fetch *fetch = kzalloc(sizeof(*fetch), GFP_NOIO);

	if (!fetch)
		return -ENOMEM;
	fetch->page = alloc_page(GFP_NOIO);
	if (!fetch->page) {
		kfree(fetch);
		return -ENOMEM;
	}
	INIT_LIST_HEAD(&fetch->list);
	fetch->block = block;
	fetch->tag = *tag;
	fetch->done = rb_resync_fetched;
	fetch->private = rb;
	spin_lock_irq(&rb->lock);
	rb->backup.fetching++;
	spin_unlock_irq(&rb->lock);
	rb_fetch_ask(rb, peer, fetch);
	return 0;
}

/* Which of a run of missing blocks the disk has after all. */
static int rb_resync_scan(struct rb_device *rb, u64 first, u32 blocks)
{
	DECLARE_BITMAP(bad, RB_SCAN_BLOCKS) = {};
	struct rb_tag *tags = mempool_alloc(&rb->store.tag_pool, GFP_NOIO);
	struct rb_waiting_slot slot;
	struct bio *bio;
	u64 lost;
	u32 i;
	int ret;

	bio = rb_read_bio_alloc(&rb->store, first, blocks, true);
	rb_slot_wait(&rb->store, &slot, first, blocks, false);
	ret = rb_tags_pin(rb->tags, first, blocks, RB_PIN_GET, &lost);
	if (!ret) {
		rb_tags_get(rb->tags, first, blocks, tags);
		rb_tags_unpin(rb->tags, first, blocks, RB_PIN_GET);
		ret = submit_bio_wait(bio);
	}
	if (!ret) {
		rb_bio_rewind(bio, blocks);
		rb_verify_bio(rb->keys, first, tags, bad, bio);
		for (i = 0; i < blocks; i++)
			if (!test_bit(i, bad))
				rb_tags_clear_missing(rb->tags, first + i, 1);
	}
	rb_slot_release(&rb->store, &slot.slot);
	rb_read_bio_free(&rb->store, bio);
	mempool_free(tags, &rb->store.tag_pool);
	return ret;
}

/* Once over the disk, before anything is fetched. */
static void rb_resync_scan_all(struct rb_device *rb)
{
	u64 block = 0;
	u32 run;

	while (!rb_stopping(rb) && !READ_ONCE(rb->suspended) &&
	       READ_ONCE(rb->backup.leader)) {
		block = rb_tags_next_missing(rb->tags, block);
		if (block == RB_NO_BLOCK)
			break;
		for (run = 1; run < RB_SCAN_BLOCKS &&
		     block + run < rb_blocks(rb) &&
		     rb_tags_test_missing(rb->tags, block + run, 1); run++)
			;
		/* Unreadable is as good as wrong: it will be written. */
		rb_resync_scan(rb, block, run);
		WRITE_ONCE(rb->backup.steps, rb->backup.steps + 1);
		block += run;
		if (block >= rb_blocks(rb))
			break;
	}
}

/* The tag of a missing block, if it still is missing. */
static bool rb_resync_wanted(struct rb_device *rb, u64 block,
			     struct rb_tag *tag)
{
	u64 bad;

	if (rb_tags_pin(rb->tags, block, 1, RB_PIN_GET, &bad))
		return false;
	rb_tags_get(rb->tags, block, 1, tag);
	rb_tags_unpin(rb->tags, block, 1, RB_PIN_GET);
	return rb_tag_is_data(tag) && rb_tags_test_missing(rb->tags, block, 1);
}

/* One pass over what is missing.  Those refused come again in the next. */
static void rb_resync_fetch_all(struct rb_device *rb, struct rb_peer *peer)
{
	struct rb_backup *b = &rb->backup;
	struct rb_tag tag;
	u64 block = 0;

	while (!rb_stopping(rb) && !READ_ONCE(rb->suspended) &&
	       READ_ONCE(b->leader) == peer) {
		wait_event_idle(b->resync_wait,
				READ_ONCE(b->fetching) < RB_MAX_FETCHING ||
				rb_stopping(rb));
		block = rb_tags_next_missing(rb->tags, block);
		if (block == RB_NO_BLOCK)
			break;
		if (rb_resync_wanted(rb, block, &tag) &&
		    rb_resync_fetch(rb, peer, block, &tag))
			break;
		if (++block >= rb_blocks(rb))
			break;
	}
	wait_event_idle(b->resync_wait, !READ_ONCE(b->fetching));
}

/* Nothing is missing: make it last, then say so. */
static void rb_resync_finish(struct rb_device *rb, struct rb_peer *peer)
{
	struct rb_backup *b = &rb->backup;
	bool insync = false;
	u64 applied;

	spin_lock_irq(&rb->store.lock);
	applied = rb->store.applied;
	spin_unlock_irq(&rb->store.lock);
	if (blkdev_issue_flush(rb->store.bdev)) {
		rb_store_fail_disk(&rb->store);
		return;
	}
	spin_lock_irq(&rb->store.lock);
	if (rb->store.durable < applied)
		rb->store.durable = applied;
	spin_unlock_irq(&rb->store.lock);
	spin_lock_irq(&rb->lock);
	if (b->leader == peer && b->tags_complete && !b->tags_pending) {
		insync = true;
		b->insync = true;
		b->whole = true;
		b->position = b->received;
		/* Whose state it is, whoever wrote the blocks. */
		rb->data_epoch = rb->epoch;
		b->scan = false;
		rb->empty = false;
	}
	spin_unlock_irq(&rb->lock);
	if (!insync)
		return;
	DMINFO("%s: in sync", rb_device_name(rb));
	rb_backup_want_report(rb, true);
	rb_node_evaluate(rb);
}

static bool rb_resync_due(struct rb_device *rb)
{
	struct rb_backup *b = &rb->backup;

	return !rb_is_primary(rb) && READ_ONCE(b->leader) &&
	       READ_ONCE(b->tags_complete) && !READ_ONCE(b->tags_pending) &&
	       !READ_ONCE(b->insync) && !READ_ONCE(rb->suspended) &&
	       !READ_ONCE(rb->store.failed);
}

int rb_resync_thread(void *data)
{
	struct rb_device *rb = data;
	struct rb_backup *b = &rb->backup;
	struct rb_peer *peer;

	rb_thread_enter();
	while (!rb_stopping(rb)) {
		if (signal_pending(current))
			flush_signals(current);
		wait_event_idle(b->resync_wait,
				rb_resync_due(rb) || rb_stopping(rb));
		peer = READ_ONCE(b->leader);
		if (rb_stopping(rb) || !peer)
			continue;
		/* Without a key nothing tells what the disk has. */
		if (xchg(&b->scan, false) && rb_keys_encrypted(rb->keys))
			rb_resync_scan_all(rb);
		rb_resync_fetch_all(rb, peer);
		if (!rb_resync_due(rb))
			continue;
		if (!rb_tags_missing(rb->tags))
			rb_resync_finish(rb, peer);
		else
			/* Refused, or failed: not all at once again. */
			wait_event_idle_timeout(b->resync_wait,
						rb_stopping(rb),
						msecs_to_jiffies(RB_RETRY_MS));
	}
	return 0;
}
