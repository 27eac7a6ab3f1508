// SPDX-License-Identifier: GPL-2.0-only
/*
 * Message `verify`: read everything that was written, repair what is not what
 * it should be.  In the background, one run of blocks at a time.
 */
#include "dm-rollbaccine.h"

#define RB_VERIFY_BLOCKS 64

static void rb_verify_count(struct rb_device *rb, bool repaired)
{
	spin_lock_irq(&rb->lock);
	rb->corrupt++;
	rb->repaired += repaired;
	spin_unlock_irq(&rb->lock);
}

/* A block that does not verify.  The caller shares its slot. */
static void rb_verify_repair(struct rb_device *rb, u64 block,
			     const struct rb_tag *tag)
{
	struct page *page = mempool_alloc(&rb->store.read_pool, GFP_NOIO);
	unsigned int patience = RB_TICKS;
	bool repaired = false;

	if (!rb_fetch_wait(rb, block, tag, page, &patience) &&
	    !rb_disk_rw(rb, block, page, REQ_OP_WRITE)) {
		repaired = true;
		rb_tags_clear_missing(rb->tags, block, 1);
	}
	mempool_free(page, &rb->store.read_pool);
	rb_verify_count(rb, repaired);
	if (!repaired)
		DMERR_LIMIT("%s: block %llu is lost, and no peer has it",
			    rb_device_name(rb), block);
}

static void rb_verify_run(struct rb_device *rb, u64 first, u32 blocks,
			  struct rb_tag *tags, struct bio *bio)
{
	DECLARE_BITMAP(bad, RB_VERIFY_BLOCKS) = {};
	unsigned int i;

	if (submit_bio_wait(bio)) {
		bitmap_fill(bad, blocks);
	} else {
		rb_bio_rewind(bio, blocks);
		rb_verify_bio(rb->keys, first, tags, bad, bio);
	}
	for_each_set_bit(i, bad, blocks)
		if (rb_tag_is_data(&tags[i]))
			rb_verify_repair(rb, first + i, &tags[i]);
}

static void rb_verify_blocks(struct rb_device *rb, u64 first, u32 blocks)
{
	struct rb_tag *tags = mempool_alloc(&rb->store.tag_pool, GFP_NOIO);
	struct rb_waiting_slot slot;
	struct bio *bio;
	u64 lost;
	u32 i;
	int ret;

	bio = rb_read_bio_alloc(&rb->store, first, blocks, true);
	rb_slot_wait(&rb->store, &slot, first, blocks, true);
	ret = rb_tags_pin(rb->tags, first, blocks, RB_PIN_GET, &lost);
	if (ret && ret != -ENOMEM) {
		/* A run lies in one chunk. */
		rb_slot_release(&rb->store, &slot.slot);
		rb_mend_chunk(rb, lost);
		rb_slot_wait(&rb->store, &slot, first, blocks, true);
		ret = rb_tags_pin(rb->tags, first, blocks, RB_PIN_GET, &lost);
	}
	if (!ret) {
		rb_tags_get(rb->tags, first, blocks, tags);
		rb_tags_unpin(rb->tags, first, blocks, RB_PIN_GET);
		for (i = 0; i < blocks; i++)
			if (rb_tag_is_data(&tags[i]))
				break;
		if (i < blocks)
			rb_verify_run(rb, first, blocks, tags, bio);
	}
	rb_slot_release(&rb->store, &slot.slot);
	rb_read_bio_free(&rb->store, bio);
	mempool_free(tags, &rb->store.tag_pool);
}

static bool rb_verify_goes_on(struct rb_device *rb)
{
	return !rb_stopping(rb) && !READ_ONCE(rb->suspended) &&
	       !READ_ONCE(rb->primary.quiescing);
}

static void rb_verify_work(struct work_struct *work)
{
	struct rb_device *rb = container_of(work, struct rb_device,
					    verify_work);
	u64 chunk = 0, first, end;

	while (rb_verify_goes_on(rb) &&
	       !rb_tags_next_chunk(rb->tags, &chunk)) {
		first = chunk << RB_CHUNK_SHIFT;
		end = min(first + RB_CHUNK_TAGS, rb_blocks(rb));
		for (; first < end && rb_verify_goes_on(rb);
		     first += RB_VERIFY_BLOCKS)
			rb_verify_blocks(rb, first,
					 min_t(u64, RB_VERIFY_BLOCKS,
					       end - first));
		if (++chunk >= rb_tags_chunks(rb->tags))
			break;
	}
	DMINFO("%s: verify %s", rb_device_name(rb),
	       rb_verify_goes_on(rb) ? "is done" : "was interrupted");
	WRITE_ONCE(rb->verifying, false);
	if (!rb_stopping(rb))
		dm_table_event(rb->ti->table);
}

int rb_verify_begin(struct rb_device *rb)
{
	bool busy;

	spin_lock_irq(&rb->lock);
	busy = rb->verifying || rb->empty || rb->suspended;
	if (!busy)
		rb->verifying = true;
	spin_unlock_irq(&rb->lock);
	if (busy)
		return -EBUSY;
	queue_work(rb->store.slow_wq, &rb->verify_work);
	return 0;
}

void rb_verify_init(struct rb_device *rb)
{
	INIT_WORK(&rb->verify_work, rb_verify_work);
}
