// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory of operations: pools, pages and the window that bounds them.
 *
 * Only one thread per device allocates operations (the issuer on a primary, a
 * receiver on a backup), and what it waits for is freed by disk and network
 * progress that needs no allocation here: the reserves guarantee progress.
 */
#include "dm-rollbaccine.h"

#define RB_MIN_OPS 64
#define RB_MIN_BIOS 16

static_assert(RB_MAX_OP_BLOCKS <= BIO_MAX_VECS);
static_assert(PAGE_SIZE == RB_BLOCK_BYTES);

int rb_op_pools_init(struct rb_store *store)
{
	int ret;

	ret = mempool_init_kmalloc_pool(&store->op_pool, RB_MIN_OPS,
					sizeof(struct rb_op));
	if (ret)
		return ret;
	ret = mempool_init_kmalloc_pool(&store->tag_pool, 1,
					RB_MAX_OP_BLOCKS *
					sizeof(struct rb_tag));
	if (ret)
		goto out_exit_ops;
	ret = mempool_init_page_pool(&store->page_pool, RB_MAX_OP_BLOCKS, 0);
	if (ret)
		goto out_exit_tags;
	ret = mempool_init_page_pool(&store->read_pool, RB_MAX_OP_BLOCKS, 0);
	if (ret)
		goto out_exit_pages;
	ret = bioset_init(&store->bios, RB_MIN_BIOS, 0, BIOSET_NEED_BVECS);
	if (ret)
		goto out_exit_reads;
	return 0;

out_exit_reads:
	mempool_exit(&store->read_pool);
out_exit_pages:
	mempool_exit(&store->page_pool);
out_exit_tags:
	mempool_exit(&store->tag_pool);
out_exit_ops:
	mempool_exit(&store->op_pool);
	return ret;
}

void rb_op_pools_exit(struct rb_store *store)
{
	bioset_exit(&store->bios);
	mempool_exit(&store->read_pool);
	mempool_exit(&store->page_pool);
	mempool_exit(&store->tag_pool);
	mempool_exit(&store->op_pool);
}

/* Whether @bytes more fit; an operation always fits into an empty window. */
bool rb_op_room(struct rb_store *store, u32 bytes)
{
	u32 used = READ_ONCE(store->window_used);

	return !used || used + bytes <= store->window;
}

static sector_t rb_disk_sector(const struct rb_store *store, u64 block)
{
	return store->start + block * RB_BLOCK_SECTORS;
}

static void rb_op_alloc_pages(struct rb_op *op, blk_opf_t opf)
{
	struct rb_store *store = op->store;
	unsigned int nr = op->bytes / PAGE_SIZE;

	op->bio = bio_alloc_bioset(store->bdev, nr, opf, GFP_NOIO,
				   &store->bios);
	op->bio->bi_iter.bi_sector = rb_disk_sector(store, op->first);
	while (nr--)
		__bio_add_page(op->bio,
			       mempool_alloc(&store->page_pool, GFP_NOIO),
			       PAGE_SIZE, 0);
}

static void rb_op_alloc_tags(struct rb_op *op)
{
	op->tags = op->blocks <= RB_FEW_TAGS ? op->few :
		   mempool_alloc(&op->store->tag_pool, GFP_NOIO);
}

/**
 * rb_op_alloc() - make an operation, with pages if it is a write
 * @store: whose pools and window are used
 * @type: one of the operations of the wire format, or RB_WIRE_TAGS
 * @sector: first sector of the device
 * @sectors: length; 0 for a flush
 * @opf: operation and hints for the local disk, used for writes
 *
 * Sleeps but never fails.  Ends up with one reference, the caller's.
 */
struct rb_op *rb_op_alloc(struct rb_store *store, enum rb_wire_type type,
			  u64 sector, u32 sectors, blk_opf_t opf)
{
	struct rb_op *op = mempool_alloc(&store->op_pool, GFP_NOIO);
	unsigned long flags;

	memset(op, 0, sizeof(*op));
	op->store = store;
	op->type = type;
	op->first = sector / RB_BLOCK_SECTORS;
	op->blocks = sectors / RB_BLOCK_SECTORS;
	refcount_set(&op->ref, 1);
	INIT_LIST_HEAD(&op->order);
	INIT_LIST_HEAD(&op->sync);
	INIT_LIST_HEAD(&op->log);
	INIT_LIST_HEAD(&op->waiter);
	INIT_LIST_HEAD(&op->queue);
	if (type == RB_WIRE_WRITE)
		op->bytes = op->blocks * RB_BLOCK_BYTES;
	else if (type == RB_WIRE_TAGS)
		op->bytes = RB_BLOCK_BYTES;
	spin_lock_irqsave(&store->lock, flags);
	store->live++;
	store->window_used += op->bytes;
	spin_unlock_irqrestore(&store->lock, flags);
	if (type == RB_WIRE_WRITE) {
		rb_op_alloc_tags(op);
		rb_op_alloc_pages(op, opf);
	} else if (type == RB_WIRE_TAGS) {
		op->tags = mempool_alloc(&store->tag_pool, GFP_NOIO);
	}
	return op;
}

void rb_op_get(struct rb_op *op)
{
	refcount_inc(&op->ref);
}

static void rb_op_free_parts(struct rb_op *op)
{
	struct rb_store *store = op->store;
	unsigned short i;

	if (op->bio) {
		for (i = 0; i < op->bio->bi_vcnt; i++)
			mempool_free(op->bio->bi_io_vec[i].bv_page,
				     &store->page_pool);
		bio_put(op->bio);
	}
	if (op->tags && op->tags != op->few)
		mempool_free(op->tags, &store->tag_pool);
}

/* Any context. */
void rb_op_put(struct rb_op *op)
{
	struct rb_store *store = op->store;
	unsigned long flags;
	u32 bytes;

	if (!refcount_dec_and_test(&op->ref))
		return;
	rb_op_free_parts(op);
	bytes = op->bytes;
	mempool_free(op, &store->op_pool);
	/*
	 * Woken under the lock: whoever sees live == 0 under it may free the
	 * store, see rb_store_exit().
	 */
	spin_lock_irqsave(&store->lock, flags);
	store->window_used -= bytes;
	store->live--;
	wake_up(&store->wait);
	spin_unlock_irqrestore(&store->lock, flags);
}

static enum rb_pin rb_op_pin_mode(const struct rb_op *op)
{
	return op->type == RB_WIRE_WRITE ? RB_PIN_SET : RB_PIN_EMPTY;
}

/* Before it has its index: have room for its tags.  May sleep.  @lost: a chunk
 * whose tags cannot be had.
 */
int rb_op_pin(struct rb_op *op, u64 *lost)
{
	int ret;

	if (!op->blocks || op->type == RB_WIRE_TAGS)
		return 0;
	ret = rb_tags_pin(op->store->rb->tags, op->first, op->blocks,
			  rb_op_pin_mode(op), lost);
	op->pinned = !ret;
	return ret;
}

void rb_op_unpin(struct rb_op *op)
{
	if (op->pinned)
		rb_tags_unpin(op->store->rb->tags, op->first, op->blocks,
			      rb_op_pin_mode(op));
	op->pinned = false;
}

static bool rb_read_fill(struct rb_store *store, struct bio *bio, u32 blocks,
			 gfp_t gfp)
{
	struct page *page;

	while (bio->bi_vcnt < blocks) {
		page = mempool_alloc(&store->read_pool, gfp);
		if (!page)
			return false;
		__bio_add_page(bio, page, PAGE_SIZE, 0);
	}
	return true;
}

/*
 * A bio with pages of our own to read blocks into.  Who has to wait for pages
 * waits alone, so that two cannot have half each.  NULL only without @wait.
 */
struct bio *rb_read_bio_alloc(struct rb_store *store, u64 block, u32 blocks,
			      bool wait)
{
	const gfp_t try = GFP_NOWAIT | __GFP_NOWARN;
	struct bio *bio;

	bio = bio_alloc_bioset(store->bdev, blocks, REQ_OP_READ,
			       wait ? GFP_NOIO : try, &store->bios);
	if (!bio)
		return NULL;
	bio->bi_iter.bi_sector = rb_disk_sector(store, block);
	if (rb_read_fill(store, bio, blocks, try))
		return bio;
	if (!wait) {
		rb_read_bio_free(store, bio);
		return NULL;
	}
	mutex_lock(&store->read_bulk);
	rb_read_fill(store, bio, blocks, GFP_NOIO);
	mutex_unlock(&store->read_bulk);
	return bio;
}

/* A bio of ours that the disk has consumed: back to its start. */
void rb_bio_rewind(struct bio *bio, u32 blocks)
{
	bio->bi_iter.bi_size = blocks * RB_BLOCK_BYTES;
	bio->bi_iter.bi_idx = 0;
	bio->bi_iter.bi_bvec_done = 0;
}

void rb_read_bio_free(struct rb_store *store, struct bio *bio)
{
	unsigned short i;

	for (i = 0; i < bio->bi_vcnt; i++)
		mempool_free(bio->bi_io_vec[i].bv_page, &store->read_pool);
	bio_put(bio);
}
