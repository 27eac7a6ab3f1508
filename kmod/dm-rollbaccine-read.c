// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads, of either role: no block that is not what its tag says is returned.
 *
 * A read shares its blocks with other reads, waits for writes accepted before
 * it, and keeps later ones waiting.  Without a key the disk reads straight into
 * the reader's pages; with one, into pages of our own, from where it is
 * decrypted.  What does not verify, or cannot be read, is fetched from a peer
 * and written back.
 */
#include <linux/highmem.h>

#include "dm-rollbaccine.h"

struct rb_read {
	struct rb_device *rb;
	struct bio *source;
	struct bio *bio; /* what the disk is asked; NULL: nothing */
	struct rb_tag *tags;
	struct rb_tag few[RB_FEW_TAGS];
	struct rb_slot slot;
	struct work_struct work;
	u64 first;
	u32 blocks;
	blk_status_t status;
	unsigned int mended; /* chunks of tags, to get at all of them */
	u64 lost; /* a chunk whose tags cannot be had, and why */
	int error;
	DECLARE_BITMAP(bad, RB_MAX_OP_BLOCKS);
};

static_assert(sizeof(struct rb_read) <= RB_PER_BIO_SIZE);

static void rb_read_free(struct rb_read *read)
{
	struct rb_store *store = &read->rb->store;

	if (read->bio) {
		if (rb_keys_encrypted(read->rb->keys))
			rb_read_bio_free(store, read->bio);
		else
			bio_put(read->bio);
	}
	if (read->tags && read->tags != read->few)
		mempool_free(read->tags, &store->tag_pool);
}

/* The slot is ours.  Any context. */
static void rb_read_end(struct rb_read *read, blk_status_t status)
{
	struct rb_device *rb = read->rb;
	struct bio *source = read->source;

	rb_read_free(read);
	rb_slot_release(&rb->store, &read->slot);
	/* Last: it holds @read, and the device. */
	rb_bio_end(rb, source, status);
}

/* Copy a page to its place in the reader's bio. */
static void rb_read_put_page(struct rb_read *read, u32 i, struct page *page)
{
	struct bvec_iter iter = read->source->bi_iter;
	char *from = page_address(page);
	struct bio_vec bv;
	u32 copied = 0;

	bio_advance_iter(read->source, &iter, i * RB_BLOCK_BYTES);
	while (copied < RB_BLOCK_BYTES) {
		bv = bio_iter_iovec(read->source, iter);
		bv.bv_len = min_t(u32, bv.bv_len, RB_BLOCK_BYTES - copied);
		memcpy_to_bvec(&bv, from + copied);
		copied += bv.bv_len;
		bio_advance_iter(read->source, &iter, bv.bv_len);
	}
}

static void rb_read_count(struct rb_device *rb, u64 *counter)
{
	unsigned long flags;

	spin_lock_irqsave(&rb->lock, flags);
	(*counter)++;
	spin_unlock_irqrestore(&rb->lock, flags);
}

/* Get block @i from a peer, for the reader and for our disk. */
static int rb_read_repair_one(struct rb_read *read, u32 i, struct page *page,
			      unsigned int *patience)
{
	struct rb_device *rb = read->rb;
	u64 block = read->first + i;
	struct rb_cipher *cipher;
	int ret;

	ret = rb_fetch_wait(rb, block, &read->tags[i], page, patience);
	if (ret)
		return ret;
	/* If the disk refuses, the next reader comes here again. */
	if (!READ_ONCE(rb->suspended) &&
	    !rb_disk_rw(rb, block, page, REQ_OP_WRITE)) {
		rb_tags_clear_missing(rb->tags, block, 1);
		rb_read_count(rb, &rb->repaired);
	}
	cipher = rb_cipher_get(rb->keys, le32_to_cpu(read->tags[i].epoch));
	if (!cipher)
		return -EBADMSG;
	ret = rb_open(cipher, block, &read->tags[i], page, page);
	rb_cipher_put(cipher);
	if (!ret)
		rb_read_put_page(read, i, page);
	return ret;
}

/* Not to be returned: zeros, an error, and a record of it. */
static void rb_read_reject(struct rb_read *read, u32 i, struct page *page)
{
	struct rb_device *rb = read->rb;
	sector_t sector = (read->first + i) * RB_BLOCK_SECTORS;

	clear_highpage(page);
	rb_read_put_page(read, i, page);
	DMERR_LIMIT("%s: block %llu is %s, and no peer has it",
		    rb_device_name(rb), read->first + i,
		    read->status ? "unreadable" : "not what was written");
	rb_audit_bio(read->source, sector);
}

static void rb_read_repair_work(struct work_struct *work)
{
	struct rb_read *read = container_of(work, struct rb_read, work);
	struct rb_device *rb = read->rb;
	blk_status_t status = BLK_STS_OK;
	/* For all of its blocks together. */
	unsigned int patience = RB_TICKS;
	struct page *page = mempool_alloc(&rb->store.read_pool, GFP_NOIO);
	unsigned int i;

	for_each_set_bit(i, read->bad, read->blocks) {
		if (!read->status)
			rb_read_count(rb, &rb->corrupt);
		if (!rb_read_repair_one(read, i, page, &patience))
			continue;
		rb_read_reject(read, i, page);
		status = read->status ?: BLK_STS_PROTECTION;
	}
	mempool_free(page, &rb->store.read_pool);
	rb_read_end(read, status);
}

static bool rb_read_direct(const struct rb_read *read)
{
	return !rb_keys_encrypted(read->rb->keys);
}

/*
 * Which blocks the disk does not have: all after an error; those missing, which
 * without a key nothing else would tell.
 */
static void rb_read_find_bad(struct rb_read *read)
{
	struct rb_tags *tags = read->rb->tags;
	u32 i;

	for (i = 0; i < read->blocks; i++)
		if (rb_tag_is_data(&read->tags[i]) &&
		    (read->status ||
		     rb_tags_test_missing(tags, read->first + i, 1)))
			__set_bit(i, read->bad);
}

/* As zero_fill_bio(), but whole pages the way that is the processor's fastest. */
static void rb_zero_bio(struct bio *bio)
{
	struct bvec_iter iter;
	struct bio_vec vec;

	bio_for_each_segment(vec, bio, iter) {
		if (vec.bv_len == PAGE_SIZE)
			clear_highpage(vec.bv_page);
		else
			memzero_page(vec.bv_page, vec.bv_offset, vec.bv_len);
		flush_dcache_page(vec.bv_page);
	}
}

/* Zero what is EMPTY in a bio that the disk has filled. */
static void rb_read_zero_empty(struct rb_read *read)
{
	struct page *zero = ZERO_PAGE(0);
	u32 i;

	for (i = 0; i < read->blocks; i++)
		if (!rb_tag_is_data(&read->tags[i]))
			rb_read_put_page(read, i, zero);
}

/* The disk has answered, and all may not be well.  Process context. */
static void rb_read_check_work(struct work_struct *work)
{
	struct rb_read *read = container_of(work, struct rb_read, work);
	struct rb_device *rb = read->rb;

	if (read->status)
		rb_store_count_error(&rb->store);
	if (rb_read_direct(read) || read->status)
		rb_read_zero_empty(read);
	else
		rb_open_bio(rb->keys, read->first, read->tags,
			    read->bad, read->source, read->bio);
	rb_read_find_bad(read);
	if (bitmap_empty(read->bad, read->blocks)) {
		rb_read_end(read, BLK_STS_OK);
		return;
	}
	INIT_WORK(&read->work, rb_read_repair_work);
	queue_work(rb->store.repair_wq, &read->work);
}

static bool rb_read_any(const struct rb_read *read, bool data)
{
	u32 i;

	for (i = 0; i < read->blocks; i++)
		if (rb_tag_is_data(&read->tags[i]) == data)
			return true;
	return false;
}

static void rb_read_done(struct bio *bio)
{
	struct rb_read *read = bio->bi_private;
	struct rb_store *store = &read->rb->store;

	read->status = bio->bi_status;
	if (!rb_read_direct(read))
		rb_bio_rewind(bio, read->blocks);
	if (rb_read_direct(read) && !read->status &&
	    !rb_tags_test_missing(read->rb->tags, read->first, read->blocks)) {
		rb_read_zero_empty(read);
		rb_read_end(read, BLK_STS_OK);
		return;
	}
	INIT_WORK(&read->work, rb_read_check_work);
	queue_work(store->wq, &read->work);
}

static void rb_read_take(struct rb_read *read);

/* It has no slot, and gets none. */
static void rb_read_fail(struct rb_read *read, int error)
{
	struct rb_device *rb = read->rb;
	struct bio *source = read->source;

	rb_read_free(read);
	rb_bio_end(rb, source, error == -EBADMSG ? BLK_STS_PROTECTION :
			       errno_to_blk_status(error));
}

/* A peer may have what our tree has lost; then the read begins anew. */
static void rb_read_mend_work(struct work_struct *work)
{
	struct rb_read *read = container_of(work, struct rb_read, work);
	u32 chunks = (read->blocks >> RB_CHUNK_SHIFT) + 2;

	if (++read->mended > chunks || rb_mend_chunk(read->rb, read->lost))
		rb_read_fail(read, read->error);
	else
		rb_read_take(read);
}

/*
 * The tree does not know them any more: a backup gets them in a new session, a
 * primary asks.
 */
static void rb_read_lost_tags(struct rb_read *read, u64 chunk, int error)
{
	struct rb_device *rb = read->rb;
	struct rb_peer *leader = READ_ONCE(rb->backup.leader);

	DMERR_LIMIT("%s: tags of chunk %llu cannot be read (error %d)",
		    rb_device_name(rb), chunk, error);
	if (leader && error != -ENOMEM)
		rb_peer_break(leader);
	rb_slot_release(&rb->store, &read->slot);
	if (!rb_is_primary(rb) || error == -ENOMEM) {
		rb_read_fail(read, error);
		return;
	}
	read->lost = chunk;
	read->error = error;
	INIT_WORK(&read->work, rb_read_mend_work);
	queue_work(rb->store.repair_wq, &read->work);
}

static struct bio *rb_read_clone(struct rb_read *read, gfp_t gfp)
{
	struct rb_store *store = &read->rb->store;
	struct bio *bio;

	bio = bio_alloc_clone(store->bdev, read->source, gfp, &store->bios);
	if (bio)
		bio->bi_iter.bi_sector = store->start +
					 read->first * RB_BLOCK_SECTORS;
	return bio;
}

/* What the disk is asked; without @wait returns false if it is not at hand. */
static bool rb_read_prepare_bio(struct rb_read *read, bool wait)
{
	gfp_t gfp = wait ? GFP_NOIO : GFP_NOWAIT | __GFP_NOWARN;

	read->bio = rb_read_direct(read) ? rb_read_clone(read, gfp) :
		    rb_read_bio_alloc(&read->rb->store, read->first,
				      read->blocks, wait);
	if (!read->bio)
		return false;
	read->bio->bi_end_io = rb_read_done;
	read->bio->bi_private = read;
	return true;
}

static bool rb_read_prepare_tags(struct rb_read *read, bool wait)
{
	gfp_t gfp = wait ? GFP_NOIO : GFP_NOWAIT | __GFP_NOWARN;

	if (!read->tags)
		read->tags = read->blocks <= RB_FEW_TAGS ? read->few :
			     mempool_alloc(&read->rb->store.tag_pool, gfp);
	return read->tags;
}

static void rb_read_work(struct work_struct *work);

/* The slot is granted.  Process context, or a submitter's. */
static void rb_read_start(struct rb_read *read)
{
	struct rb_device *rb = read->rb;
	u64 bad;
	int ret;

	ret = rb_tags_pin(rb->tags, read->first, read->blocks, RB_PIN_GET,
			  &bad);
	if (ret) {
		rb_read_lost_tags(read, bad, ret);
		return;
	}
	rb_tags_get(rb->tags, read->first, read->blocks, read->tags);
	rb_tags_unpin(rb->tags, read->first, read->blocks, RB_PIN_GET);
	if (!rb_read_any(read, true)) {
		rb_zero_bio(read->source);
		rb_read_end(read, BLK_STS_OK);
		return;
	}
	/*
	 * Much of a new device is empty: pages are got only for what is not.
	 * Who has to wait for them does so without a slot.
	 */
	if (!read->bio && !rb_read_prepare_bio(read, false)) {
		rb_slot_release(&rb->store, &read->slot);
		INIT_WORK(&read->work, rb_read_work);
		queue_work(rb->store.slow_wq, &read->work);
		return;
	}
	submit_bio(read->bio);
}

static void rb_read_granted(struct rb_slot *slot)
{
	rb_read_start(container_of(slot, struct rb_read, slot));
}

static void rb_read_take(struct rb_read *read)
{
	rb_slot_init(&read->slot, read->first, read->blocks, true,
		     rb_read_granted);
	if (rb_slot_take(&read->rb->store, &read->slot))
		rb_read_start(read);
}

static void rb_read_work(struct work_struct *work)
{
	struct rb_read *read = container_of(work, struct rb_read, work);

	rb_read_prepare_tags(read, true);
	rb_read_prepare_bio(read, true);
	rb_read_take(read);
}

static bool rb_read_allowed(struct rb_device *rb)
{
	return rb_is_primary(rb) ? !READ_ONCE(rb->fenced) :
				   !READ_ONCE(rb->empty);
}

int rb_read_map(struct rb_device *rb, struct bio *bio)
{
	struct rb_read *read = dm_per_bio_data(bio, RB_PER_BIO_SIZE);
	sector_t sector = dm_target_offset(rb->ti, bio->bi_iter.bi_sector);
	unsigned long flags;

	if (!bio_sectors(bio)) {
		bio_endio(bio);
		return DM_MAPIO_SUBMITTED;
	}
	if ((sector | bio_sectors(bio)) % RB_BLOCK_SECTORS ||
	    !rb_read_allowed(rb))
		return DM_MAPIO_KILL;
	memset(read, 0, sizeof(*read));
	read->rb = rb;
	read->source = bio;
	read->first = sector / RB_BLOCK_SECTORS;
	read->blocks = bio_sectors(bio) / RB_BLOCK_SECTORS;
	spin_lock_irqsave(&rb->lock, flags);
	rb->inflight++;
	spin_unlock_irqrestore(&rb->lock, flags);
	/*
	 * From here only what cannot wait: a submitter's own bios are not on
	 * their way before it returns, so a tree cannot be read either.
	 */
	if (!rb->tree_pages && rb_read_prepare_tags(read, false)) {
		rb_read_take(read);
	} else {
		INIT_WORK(&read->work, rb_read_work);
		queue_work(rb->store.slow_wq, &read->work);
	}
	return DM_MAPIO_SUBMITTED;
}
