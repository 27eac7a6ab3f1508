// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local disk of either role.
 *
 * Operations arrive in index order, from one thread.  Those that overlap an
 * earlier one still open wait for it; all others run at once.  Two prefixes
 * are kept: `applied`, up to which everything has reached the disk, and
 * `durable`, up to which a flush issued afterwards has completed.  An operation
 * that asks for durability (RB_WIRE_F_SYNC) is answered when `durable` reaches
 * it, so one flush of the disk serves all that wait when it starts.
 */
#include <linux/interval_tree_generic.h>

#include "dm-rollbaccine.h"

#define RB_RANGE_FIRST(op) ((op)->first)
#define RB_RANGE_LAST(op) ((op)->last)
INTERVAL_TREE_DEFINE(struct rb_op, node, u64, subtree_last, RB_RANGE_FIRST,
		     RB_RANGE_LAST, static inline, rb_range)

static void rb_store_done(struct rb_op *op, blk_status_t status);

/* Move what has become contiguous off the order list; the caller puts it. */
static void rb_store_advance(struct rb_store *store, struct list_head *retired)
{
	struct rb_op *op;

	lockdep_assert_held(&store->lock);
	while ((op = list_first_entry_or_null(&store->order, struct rb_op,
					      order)) && op->done) {
		store->applied = op->index;
		store->early--;
		list_move_tail(&op->order, retired);
	}
}

static void rb_store_kick_flush(struct rb_store *store)
{
	struct rb_op *op;

	lockdep_assert_held(&store->lock);
	op = list_first_entry_or_null(&store->sync, struct rb_op, sync);
	if (!op || store->flushing || store->failed ||
	    op->index > store->applied)
		return;
	store->flushing = true;
	store->flush_upto = store->applied;
	queue_work(store->wq, &store->flush_work);
}

static void rb_store_put_retired(struct list_head *retired)
{
	struct rb_op *op, *next;

	list_for_each_entry_safe(op, next, retired, order) {
		list_del_init(&op->order);
		rb_op_put(op);
	}
}

static void rb_store_fail(struct rb_store *store)
{
	lockdep_assert_held(&store->lock);
	store->errors++;
	if (store->freeze_on_error)
		store->failed = true;
}

static void rb_store_flush_done(struct bio *bio)
{
	struct rb_store *store = bio->bi_private;
	blk_status_t status = bio->bi_status;
	struct rb_op *op, *next;
	unsigned long flags;
	LIST_HEAD(synced);

	bio_put(bio);
	spin_lock_irqsave(&store->lock, flags);
	store->flushing = false;
	if (status)
		rb_store_fail(store);
	else
		store->durable = store->flush_upto;
	list_for_each_entry_safe(op, next, &store->sync, sync) {
		if (op->index > store->flush_upto)
			break;
		if (status && !op->status)
			op->status = status;
		list_move_tail(&op->sync, &synced);
	}
	rb_store_kick_flush(store);
	spin_unlock_irqrestore(&store->lock, flags);

	list_for_each_entry(op, &synced, sync)
		store->ops->synced(store, op);
	store->ops->progress(store);
	/* Last, for these references keep the store alive. */
	list_for_each_entry_safe(op, next, &synced, sync) {
		list_del_init(&op->sync);
		rb_op_put(op);
	}
}

static void rb_store_flush_work(struct work_struct *work)
{
	struct rb_store *store = container_of(work, struct rb_store,
					      flush_work);
	struct bio *bio;

	bio = bio_alloc_bioset(store->bdev, 0,
			       REQ_OP_WRITE | REQ_PREFLUSH | REQ_SYNC,
			       GFP_NOIO, &store->bios);
	bio->bi_end_io = rb_store_flush_done;
	bio->bi_private = store;
	submit_bio(bio);
}

static void rb_store_write_done(struct bio *bio)
{
	rb_store_done(bio->bi_private, bio->bi_status);
}

/*
 * Deallocate or zero.  A disk that cannot discard is zeroed instead, so that
 * both nodes of a pair read the same afterwards.
 */
static void rb_store_range_work(struct work_struct *work)
{
	struct rb_op *op = container_of(work, struct rb_op, work);
	struct block_device *bdev = op->store->bdev;
	sector_t sectors = op->last - op->first + 1;
	unsigned int flags = op->flags & RB_WIRE_F_NOUNMAP ?
			     BLKDEV_ZERO_NOUNMAP : 0;
	int err = -EOPNOTSUPP;

	if (op->type == RB_WIRE_DISCARD)
		err = blkdev_issue_discard(bdev, op->first, sectors, GFP_NOIO);
	if (err == -EOPNOTSUPP)
		err = blkdev_issue_zeroout(bdev, op->first, sectors, GFP_NOIO,
					   flags);
	rb_store_done(op, errno_to_blk_status(err));
}

/* The caller has counted it in store->running. */
static void rb_store_start(struct rb_op *op)
{
	if (rb_fault_dropped(op)) {
		rb_store_done(op, BLK_STS_OK);
		return;
	}
	if (op->type == RB_WIRE_WRITE) {
		op->bio->bi_end_io = rb_store_write_done;
		op->bio->bi_private = op;
		submit_bio(op->bio);
		return;
	}
	INIT_WORK(&op->work, rb_store_range_work);
	queue_work(op->store->wq, &op->work);
}

static void rb_store_ready_work(struct work_struct *work)
{
	struct rb_store *store = container_of(work, struct rb_store,
					      ready_work);
	struct rb_op *op, *next;
	LIST_HEAD(ready);

	spin_lock_irq(&store->lock);
	list_splice_init(&store->ready, &ready);
	spin_unlock_irq(&store->lock);
	list_for_each_entry_safe(op, next, &ready, ready) {
		list_del_init(&op->ready);
		rb_store_start(op);
	}
}

/* Let those that waited for @op only go ahead. */
static void rb_store_unblock(struct rb_store *store, struct rb_op *op)
{
	struct rb_op *later;

	lockdep_assert_held(&store->lock);
	rb_range_remove(op, &store->ranges);
	for (later = rb_range_iter_first(&store->ranges, op->first, op->last);
	     later;
	     later = rb_range_iter_next(later, op->first, op->last)) {
		/* Whatever overlaps and is still here came later. */
		if (--later->blockers || store->failed)
			continue;
		store->running++;
		list_add_tail(&later->ready, &store->ready);
	}
	if (!list_empty(&store->ready))
		queue_work(store->wq, &store->ready_work);
}

/* A started operation has ended.  Any context. */
static void rb_store_done(struct rb_op *op, blk_status_t status)
{
	struct rb_store *store = op->store;
	unsigned long flags;
	LIST_HEAD(retired);

	rb_op_get(op);
	spin_lock_irqsave(&store->lock, flags);
	if (status) {
		op->status = status;
		rb_store_fail(store);
	}
	/* On a frozen store a failed operation stays undone for ever. */
	if (!status || !store->failed) {
		op->done = true;
		store->early++;
	}
	rb_store_unblock(store, op);
	rb_store_advance(store, &retired);
	rb_store_kick_flush(store);
	store->running--;
	spin_unlock_irqrestore(&store->lock, flags);

	store->ops->written(store, op);
	store->ops->progress(store);
	rb_store_put_retired(&retired);
	/* rb_op_put() wakes whoever waits for the store to become idle. */
	rb_op_put(op);
}

/* Take the lock once the store is not suspended. */
static void rb_store_lock_unheld(struct rb_store *store)
	__acquires(&store->lock)
{
	for (;;) {
		wait_event_idle(store->wait, !READ_ONCE(store->held));
		spin_lock_irq(&store->lock);
		if (!store->held)
			return;
		spin_unlock_irq(&store->lock);
	}
}

/**
 * rb_store_submit() - apply an operation
 * @store: the disk
 * @op: the next one by index; the store takes its own references
 *
 * May sleep, and does while the store is suspended.  Callers hand in operations
 * one at a time, in index order.
 */
void rb_store_submit(struct rb_store *store, struct rb_op *op)
{
	bool start = false;
	struct rb_op *earlier;
	LIST_HEAD(retired);

	rb_op_get(op);
	rb_store_lock_unheld(store);
	list_add_tail(&op->order, &store->order);
	if (op->flags & RB_WIRE_F_SYNC) {
		rb_op_get(op);
		list_add_tail(&op->sync, &store->sync);
	}
	if (op->type == RB_WIRE_FLUSH) {
		op->done = true;
		store->early++;
		rb_store_advance(store, &retired);
		rb_store_kick_flush(store);
	} else {
		for (earlier = rb_range_iter_first(&store->ranges, op->first,
						   op->last);
		     earlier;
		     earlier = rb_range_iter_next(earlier, op->first, op->last))
			op->blockers++;
		rb_range_insert(op, &store->ranges);
		start = !op->blockers && !store->failed;
		store->running += start;
	}
	spin_unlock_irq(&store->lock);

	if (start)
		rb_store_start(op);
	if (!list_empty(&retired)) {
		store->ops->progress(store);
		rb_store_put_retired(&retired);
	}
}

static bool rb_store_idle(struct rb_store *store)
{
	bool idle;

	spin_lock_irq(&store->lock);
	idle = !store->running && !store->flushing &&
	       (store->failed || list_empty(&store->order));
	spin_unlock_irq(&store->lock);
	return idle;
}

/* Nobody may submit meanwhile. */
void rb_store_wait_idle(struct rb_store *store)
{
	wait_event(store->wait, rb_store_idle(store));
}

/* What was submitted before is finished; later submitters wait. */
void rb_store_suspend(struct rb_store *store)
{
	spin_lock_irq(&store->lock);
	store->held = true;
	spin_unlock_irq(&store->lock);
	rb_store_wait_idle(store);
}

void rb_store_resume(struct rb_store *store)
{
	spin_lock_irq(&store->lock);
	store->held = false;
	spin_unlock_irq(&store->lock);
	wake_up_all(&store->wait);
}

int rb_store_init(struct rb_store *store, struct block_device *bdev,
		  const struct rb_store_ops *ops, bool freeze_on_error)
{
	int ret;

	store->bdev = bdev;
	store->ops = ops;
	store->freeze_on_error = freeze_on_error;
	spin_lock_init(&store->lock);
	init_waitqueue_head(&store->wait);
	store->ranges = RB_ROOT_CACHED;
	INIT_LIST_HEAD(&store->order);
	INIT_LIST_HEAD(&store->sync);
	INIT_LIST_HEAD(&store->ready);
	INIT_WORK(&store->ready_work, rb_store_ready_work);
	INIT_WORK(&store->flush_work, rb_store_flush_work);
	ret = rb_op_pools_init(store);
	if (ret)
		return ret;
	store->wq = alloc_workqueue("rollbaccine", WQ_MEM_RECLAIM | WQ_UNBOUND,
				    0);
	if (!store->wq) {
		rb_op_pools_exit(store);
		return -ENOMEM;
	}
	return 0;
}

/* What a failed disk left behind. */
static void rb_store_purge(struct rb_store *store)
{
	struct rb_op *op, *next;

	list_for_each_entry_safe(op, next, &store->order, order) {
		list_del_init(&op->order);
		rb_op_put(op);
	}
	list_for_each_entry_safe(op, next, &store->sync, sync) {
		list_del_init(&op->sync);
		rb_op_put(op);
	}
}

static bool rb_store_dead(struct rb_store *store)
{
	bool dead;

	spin_lock_irq(&store->lock);
	dead = !store->live;
	spin_unlock_irq(&store->lock);
	return dead;
}

/* Nobody may submit any more; all references but the store's are gone. */
void rb_store_exit(struct rb_store *store)
{
	rb_store_wait_idle(store);
	flush_workqueue(store->wq);
	rb_store_purge(store);
	wait_event(store->wait, rb_store_dead(store));
	destroy_workqueue(store->wq);
	rb_op_pools_exit(store);
}
