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
 *
 * Tags of an operation are recorded when it has its slot, before its data goes
 * to the disk: a reader who comes later waits for the slot, and whoever finds
 * the data missing after an error finds a tag that does not fit.
 */
#include "dm-rollbaccine.h"

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

/* Returns true if the caller has to start a flush of the disk. */
static bool rb_store_wants_flush(struct rb_store *store)
{
	struct rb_op *op;

	lockdep_assert_held(&store->lock);
	op = list_first_entry_or_null(&store->sync, struct rb_op, sync);
	if (!op || store->flushing || store->failed ||
	    op->index > store->applied)
		return false;
	store->flushing = true;
	store->flush_upto = store->applied;
	return true;
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

/* A read failed: of interest to whoever looks, not to the order of things. */
void rb_store_count_error(struct rb_store *store)
{
	spin_lock_irq(&store->lock);
	store->errors++;
	spin_unlock_irq(&store->lock);
}

/* Somebody else found the disk wanting. */
void rb_store_fail_disk(struct rb_store *store)
{
	unsigned long flags;

	spin_lock_irqsave(&store->lock, flags);
	rb_store_fail(store);
	spin_unlock_irqrestore(&store->lock, flags);
	rb_backup_progress(store->rb);
}

static void rb_store_flush_done(struct bio *bio)
{
	struct rb_store *store = bio->bi_private;
	blk_status_t status = bio->bi_status;
	struct rb_op *op, *next;
	unsigned long flags;
	LIST_HEAD(synced);
	bool again;

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
	again = rb_store_wants_flush(store);
	if (again)
		queue_work(store->wq, &store->flush_work);
	spin_unlock_irqrestore(&store->lock, flags);

	list_for_each_entry(op, &synced, sync)
		if (op->source)
			rb_write_synced(op);
	rb_backup_progress(store->rb);
	/* Last, for these references keep the store alive. */
	list_for_each_entry_safe(op, next, &synced, sync) {
		list_del_init(&op->sync);
		rb_op_put(op);
	}
	wake_up(&store->wait);
}

static void rb_store_flush(struct rb_store *store)
{
	struct bio *bio;

	bio = bio_alloc_bioset(store->bdev, 0,
			       REQ_OP_WRITE | REQ_PREFLUSH | REQ_SYNC,
			       GFP_NOIO, &store->bios);
	bio->bi_end_io = rb_store_flush_done;
	bio->bi_private = store;
	submit_bio(bio);
}

static void rb_store_flush_work(struct work_struct *work)
{
	rb_store_flush(container_of(work, struct rb_store, flush_work));
}

static void rb_store_write_done(struct bio *bio)
{
	rb_store_done(bio->bi_private, bio->bi_status);
}

/*
 * The tags alone decide what is read; the disk is told only to save space, and
 * may refuse.
 */
static void rb_store_discard(struct rb_op *op)
{
	struct rb_store *store = op->store;
	sector_t sector = store->start + op->first * RB_BLOCK_SECTORS;
	sector_t sectors = (sector_t)op->blocks * RB_BLOCK_SECTORS;
	unsigned int flags = BLKDEV_ZERO_NOFALLBACK;

	if (op->type == RB_WIRE_DISCARD) {
		blkdev_issue_discard(store->bdev, sector, sectors, GFP_NOIO);
		return;
	}
	if (op->flags & RB_WIRE_F_NOUNMAP)
		flags |= BLKDEV_ZERO_NOUNMAP;
	blkdev_issue_zeroout(store->bdev, sector, sectors, GFP_NOIO, flags);
}

static void rb_store_range_work(struct work_struct *work)
{
	struct rb_op *op = container_of(work, struct rb_op, work);

	rb_store_discard(op);
	rb_store_done(op, BLK_STS_OK);
}

static void rb_store_tags_work(struct work_struct *work)
{
	rb_resync_adopt(container_of(work, struct rb_op, work));
}

/* Tags first: from here on the block is what the operation made it. */
static void rb_store_record(struct rb_op *op)
{
	struct rb_tags *tags = op->store->rb->tags;

	if (op->type == RB_WIRE_WRITE)
		rb_tags_set(tags, op->first, op->blocks, op->tags);
	else
		rb_tags_set_empty(tags, op->first, op->blocks, op->epoch,
				  op->index);
	rb_tags_clear_missing(tags, op->first, op->blocks);
	rb_op_unpin(op);
}

/* It has its slot, and its data if it is a write.  Process context. */
static void rb_store_start(struct rb_op *op)
{
	struct rb_store *store = op->store;

	if (op->type == RB_WIRE_TAGS) {
		INIT_WORK(&op->work, rb_store_tags_work);
		queue_work(store->repair_wq, &op->work);
		return;
	}
	if (READ_ONCE(store->failed)) {
		/* Stays undone for ever. */
		rb_op_unpin(op);
		rb_slot_release(store, &op->slot);
		rb_op_put(op);
		return;
	}
	if (rb_fault_dropped(op)) {
		rb_op_unpin(op);
		rb_store_done(op, BLK_STS_OK);
		return;
	}
	if (op->voided)
		rb_op_unpin(op);
	else
		rb_store_record(op);
	rb_op_get(op);
	if (op->voided) {
		rb_store_done(op, op->status);
	} else if (op->type == RB_WIRE_WRITE) {
		op->bio->bi_end_io = rb_store_write_done;
		op->bio->bi_private = op;
		submit_bio(op->bio);
	} else {
		INIT_WORK(&op->work, rb_store_range_work);
		queue_work(store->wq, &op->work);
	}
	/* The disk is at work already while the peers are told. */
	if (op->source)
		rb_write_started(op);
	rb_op_put(op);
}

static void rb_store_granted(struct rb_slot *slot)
{
	rb_store_start(container_of(slot, struct rb_op, slot));
}

/* A started operation has ended.  Any context. */
void rb_store_done(struct rb_op *op, blk_status_t status)
{
	struct rb_store *store = op->store;
	unsigned long flags;
	LIST_HEAD(retired);

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
	rb_slot_release_locked(store, &op->slot);
	rb_store_advance(store, &retired);
	if (rb_store_wants_flush(store))
		queue_work(store->wq, &store->flush_work);
	spin_unlock_irqrestore(&store->lock, flags);

	if (op->source)
		rb_write_done(op);
	else
		rb_backup_progress(store->rb);
	rb_store_put_retired(&retired);
	/* The reference of the slot. */
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

/* A flush has no data and no slot: it only waits for what came before. */
static void rb_store_submit_flush(struct rb_store *store, struct rb_op *op)
{
	LIST_HEAD(retired);
	bool flush;

	op->done = true;
	store->early++;
	rb_store_advance(store, &retired);
	flush = rb_store_wants_flush(store);
	spin_unlock_irq(&store->lock);
	if (op->source)
		rb_write_started(op);
	if (flush)
		rb_store_flush(store);
	if (!list_empty(&retired)) {
		rb_backup_progress(store->rb);
		rb_store_put_retired(&retired);
	}
}

/**
 * rb_store_submit() - apply an operation
 * @store: the disk
 * @op: the next one by index; the store takes its own references
 * @unsealed: rb_store_sealed() will be called when its data is there
 *
 * May sleep, and does while the store is suspended.  Callers hand in operations
 * one at a time, in index order.
 */
void rb_store_submit(struct rb_store *store, struct rb_op *op, bool unsealed)
{
	bool start;

	rb_store_lock_unheld(store);
	if (op->type != RB_WIRE_TAGS) {
		rb_op_get(op);
		list_add_tail(&op->order, &store->order);
	}
	if (op->flags & RB_WIRE_F_SYNC) {
		rb_op_get(op);
		list_add_tail(&op->sync, &store->sync);
	}
	if (op->type == RB_WIRE_FLUSH) {
		rb_store_submit_flush(store, op);
		return;
	}
	rb_op_get(op);
	rb_slot_init(&op->slot, op->first, op->blocks, false,
		     rb_store_granted);
	op->slot.blockers = unsealed;
	start = rb_slot_take_locked(store, &op->slot);
	spin_unlock_irq(&store->lock);
	if (start)
		rb_store_start(op);
}

/* The data of an operation submitted unsealed is there.  Process context. */
void rb_store_sealed(struct rb_op *op)
{
	struct rb_store *store = op->store;
	bool start;

	spin_lock_irq(&store->lock);
	start = !--op->slot.blockers;
	spin_unlock_irq(&store->lock);
	if (start)
		rb_store_start(op);
}

static bool rb_store_idle(struct rb_store *store)
{
	bool idle;

	spin_lock_irq(&store->lock);
	idle = !store->slots && !store->flushing &&
	       (store->failed || list_empty(&store->order));
	spin_unlock_irq(&store->lock);
	return idle;
}

/* Nobody may submit meanwhile. */
void rb_store_wait_idle(struct rb_store *store)
{
	wait_event_idle(store->wait, rb_store_idle(store));
}

/* All operations have been applied; other uses of the disk do not matter. */
bool rb_store_quiet(struct rb_store *store)
{
	bool quiet;

	spin_lock_irq(&store->lock);
	quiet = !store->flushing &&
		(store->failed || list_empty(&store->order));
	spin_unlock_irq(&store->lock);
	return quiet;
}

/* The next operation will be @index + 1.  Quiet, and nobody submits. */
void rb_store_reset(struct rb_store *store, u64 index)
{
	spin_lock_irq(&store->lock);
	store->applied = index;
	store->durable = 0;
	spin_unlock_irq(&store->lock);
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

int rb_store_init(struct rb_store *store, struct rb_device *rb)
{
	int ret;

	store->rb = rb;
	store->bdev = rb->dev->bdev;
	store->start = rb->tree_pages * RB_BLOCK_SECTORS;
	store->window = rb->window_kib << 10;
	spin_lock_init(&store->lock);
	mutex_init(&store->read_bulk);
	init_waitqueue_head(&store->wait);
	store->ranges = RB_ROOT_CACHED;
	INIT_LIST_HEAD(&store->order);
	INIT_LIST_HEAD(&store->sync);
	INIT_LIST_HEAD(&store->ready);
	INIT_WORK(&store->ready_work, rb_slot_ready_work);
	INIT_WORK(&store->flush_work, rb_store_flush_work);
	ret = rb_op_pools_init(store);
	if (ret)
		return ret;
	ret = -ENOMEM;
	store->wq = alloc_workqueue("rollbaccine", WQ_MEM_RECLAIM | WQ_UNBOUND,
				    0);
	if (!store->wq)
		goto out_exit_pools;
	store->slow_wq = alloc_workqueue("rollbaccine_slow",
					 WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!store->slow_wq)
		goto out_destroy_wq;
	store->repair_wq = alloc_workqueue("rollbaccine_repair",
					   WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!store->repair_wq)
		goto out_destroy_slow;
	return 0;

out_destroy_slow:
	destroy_workqueue(store->slow_wq);
out_destroy_wq:
	destroy_workqueue(store->wq);
out_exit_pools:
	rb_op_pools_exit(store);
	return ret;
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
	flush_workqueue(store->slow_wq);
	flush_workqueue(store->repair_wq);
	flush_workqueue(store->wq);
	rb_store_purge(store);
	wait_event(store->wait, rb_store_dead(store));
	destroy_workqueue(store->repair_wq);
	destroy_workqueue(store->slow_wq);
	destroy_workqueue(store->wq);
	rb_op_pools_exit(store);
}
