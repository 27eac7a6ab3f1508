// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory of operations: pools, pages and the window that bounds them.
 *
 * Only one thread per device allocates (the issuer on a primary, the receiver
 * on a backup), and what it waits for is freed by disk and network progress
 * that needs no allocation here: the reserves therefore guarantee progress.
 */
#include "dm-rollbaccine.h"

#define RB_MIN_OPS 64
#define RB_MIN_BIOS 16

static_assert(RB_MAX_DATA_SECTORS / RB_BLOCK_SECTORS <= BIO_MAX_VECS);
static_assert(PAGE_SIZE == RB_BLOCK_SIZE);

int rb_op_pools_init(struct rb_store *store)
{
	int ret;

	ret = mempool_init_kmalloc_pool(&store->op_pool, RB_MIN_OPS,
					sizeof(struct rb_op));
	if (ret)
		return ret;
	ret = mempool_init_page_pool(&store->page_pool, BIO_MAX_VECS, 0);
	if (ret)
		goto out_exit_ops;
	ret = bioset_init(&store->bios, RB_MIN_BIOS, 0, BIOSET_NEED_BVECS);
	if (ret)
		goto out_exit_pages;
	return 0;

out_exit_pages:
	mempool_exit(&store->page_pool);
out_exit_ops:
	mempool_exit(&store->op_pool);
	return ret;
}

void rb_op_pools_exit(struct rb_store *store)
{
	bioset_exit(&store->bios);
	mempool_exit(&store->page_pool);
	mempool_exit(&store->op_pool);
}

/* Whether @bytes more fit; an operation always fits into an empty window. */
bool rb_op_room(struct rb_store *store, u32 bytes)
{
	u32 used = READ_ONCE(store->window_used);

	return !used || used + bytes <= RB_WINDOW_BYTES;
}

static void rb_op_alloc_pages(struct rb_op *op, blk_opf_t opf)
{
	struct rb_store *store = op->store;
	unsigned int nr = op->bytes / PAGE_SIZE;

	op->bio = bio_alloc_bioset(store->bdev, nr, opf, GFP_NOIO,
				   &store->bios);
	op->bio->bi_iter.bi_sector = op->first;
	while (nr--)
		__bio_add_page(op->bio,
			       mempool_alloc(&store->page_pool, GFP_NOIO),
			       PAGE_SIZE, 0);
}

/**
 * rb_op_alloc() - make an operation, with pages if it is a write
 * @store: whose pools and window are used
 * @type: one of the operations of the wire format
 * @sector: first sector
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
	op->first = sector;
	op->last = sector + sectors - 1;
	refcount_set(&op->ref, 1);
	INIT_LIST_HEAD(&op->order);
	INIT_LIST_HEAD(&op->sync);
	INIT_LIST_HEAD(&op->ready);
	INIT_LIST_HEAD(&op->send);
	INIT_LIST_HEAD(&op->waiter);
	if (type == RB_WIRE_WRITE)
		op->bytes = sectors << SECTOR_SHIFT;
	spin_lock_irqsave(&store->lock, flags);
	store->live++;
	store->window_used += op->bytes;
	spin_unlock_irqrestore(&store->lock, flags);
	if (op->bytes)
		rb_op_alloc_pages(op, opf);
	return op;
}

void rb_op_get(struct rb_op *op)
{
	refcount_inc(&op->ref);
}

/* Any context. */
void rb_op_put(struct rb_op *op)
{
	struct rb_store *store = op->store;
	unsigned long flags;
	unsigned short i;
	u32 bytes;

	if (!refcount_dec_and_test(&op->ref))
		return;
	if (op->bio) {
		for (i = 0; i < op->bio->bi_vcnt; i++)
			mempool_free(op->bio->bi_io_vec[i].bv_page,
				     &store->page_pool);
		bio_put(op->bio);
	}
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
