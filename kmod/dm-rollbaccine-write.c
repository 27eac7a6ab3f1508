// SPDX-License-Identifier: GPL-2.0-only
/*
 * The primary: what happens to a write.
 *
 * It is given the next index and encrypted into pages of our own: at once, if it
 * is small and nothing is in the way, else by the issue thread, and larger ones
 * by a worker.  Once it has its slot, its tags
 * are recorded, it goes to the local disk, and the peers may be sent it, in
 * index order.  A plain write completes with the local disk.  A flush or FUA
 * write completes when the local disk and a quorum of peers have everything up
 * to its index.  A bio gets no index, and touches no disk, while fewer peers
 * than the quorum are in sync.
 */
#include <linux/kthread.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "dm-rollbaccine.h"

/* Longer than this is worth a worker of its own, and another processor. */
#define RB_INLINE_BYTES 16384
/* Larger discards are cut: their tags are pinned at once. */
#define RB_MAX_DISCARD_SECTORS (256u << 11)

struct rb_per_bio {
	unsigned int ticks; /* seen while it waited for a peer */
	unsigned int mended; /* chunks of tags, to get at all of them */
	u64 lost; /* a chunk whose tags cannot be had, and why */
	int error;
	struct rb_device *rb;
	struct bio *bio;
	struct work_struct work;
};

static_assert(sizeof(struct rb_per_bio) <= RB_PER_BIO_SIZE);

void rb_bio_end(struct rb_device *rb, struct bio *bio, blk_status_t status)
{
	unsigned long flags;

	spin_lock_irqsave(&rb->lock, flags);
	rb->inflight--;
	spin_unlock_irqrestore(&rb->lock, flags);
	/* Last: the device may be removed once its bios have ended. */
	bio->bi_status = status;
	bio_endio(bio);
}

/* Take out what is sent to all that want it.  Lock held; caller puts. */
static void rb_write_collect_log(struct rb_device *rb, struct list_head *gone)
{
	struct rb_op *op, *next;
	struct rb_peer *peer;

	lockdep_assert_held(&rb->lock);
	list_for_each_entry_safe(op, next, &rb->primary.log, log) {
		if (!op->ready)
			return;
		rb_for_each_peer(peer, rb)
			if (peer->streaming && peer->cursor == op)
				return;
		list_move_tail(&op->log, gone);
	}
}

void rb_write_trim_log(struct rb_device *rb)
{
	struct rb_op *op, *next;
	unsigned long flags;
	LIST_HEAD(gone);

	spin_lock_irqsave(&rb->lock, flags);
	rb_write_collect_log(rb, &gone);
	spin_unlock_irqrestore(&rb->lock, flags);
	list_for_each_entry_safe(op, next, &gone, log) {
		list_del_init(&op->log);
		rb_op_put(op);
	}
}

/* Its tags are recorded: peers may have it.  Process context. */
void rb_write_started(struct rb_op *op)
{
	struct rb_device *rb = op->store->rb;

	spin_lock_irq(&rb->lock);
	op->ready = true;
	spin_unlock_irq(&rb->lock);
	rb_write_trim_log(rb);
	rb_peer_send_now(rb);
}

void rb_write_done(struct rb_op *op)
{
	if (!(op->flags & RB_WIRE_F_SYNC))
		rb_bio_end(op->store->rb, op->source, op->status);
}

/* Complete every flush and FUA write that enough nodes have.  Any context. */
void rb_write_complete(struct rb_device *rb)
{
	struct rb_op *op, *next;
	unsigned long flags;
	LIST_HEAD(complete);

	spin_lock_irqsave(&rb->lock, flags);
	list_for_each_entry_safe(op, next, &rb->primary.waiters, waiter) {
		if (!op->synced || rb->fenced ||
		    (!op->status && !rb_node_acked(rb, op->index)))
			break;
		list_move_tail(&op->waiter, &complete);
	}
	spin_unlock_irqrestore(&rb->lock, flags);

	list_for_each_entry_safe(op, next, &complete, waiter) {
		list_del_init(&op->waiter);
		rb_bio_end(rb, op->source, op->status);
		rb_op_put(op);
	}
}

void rb_write_synced(struct rb_op *op)
{
	struct rb_device *rb = op->store->rb;
	unsigned long flags;

	spin_lock_irqsave(&rb->lock, flags);
	op->synced = true;
	spin_unlock_irqrestore(&rb->lock, flags);
	rb_write_complete(rb);
}

/* Fail every flush and FUA write still waiting: no quorum will have them. */
void rb_write_fail_waiters(struct rb_device *rb)
{
	struct rb_op *op, *next;
	LIST_HEAD(failed);

	spin_lock_irq(&rb->lock);
	list_splice_init(&rb->primary.waiters, &failed);
	spin_unlock_irq(&rb->lock);
	list_for_each_entry_safe(op, next, &failed, waiter) {
		list_del_init(&op->waiter);
		rb_bio_end(rb, op->source, BLK_STS_IOERR);
		rb_op_put(op);
	}
}

static enum rb_wire_type rb_write_type(const struct bio *bio)
{
	switch (bio_op(bio)) {
	case REQ_OP_DISCARD:
		return RB_WIRE_DISCARD;
	case REQ_OP_WRITE_ZEROES:
		return RB_WIRE_ZEROES;
	default:
		return bio_sectors(bio) ? RB_WIRE_WRITE : RB_WIRE_FLUSH;
	}
}

static u32 rb_write_flags(const struct bio *bio, enum rb_wire_type type)
{
	u32 flags = 0;

	if (bio->bi_opf & (REQ_FUA | REQ_PREFLUSH))
		flags |= RB_WIRE_F_SYNC;
	if (type == RB_WIRE_ZEROES && (bio->bi_opf & REQ_NOUNMAP))
		flags |= RB_WIRE_F_NOUNMAP;
	return flags;
}

static u32 rb_write_bytes(const struct bio *bio)
{
	return rb_write_type(bio) == RB_WIRE_WRITE ? bio->bi_iter.bi_size : 0;
}

enum rb_admission { RB_WAIT, RB_ADMIT, RB_REJECT };

/*
 * Whether the bio may have an index now.  Errors rather than waiting once no
 * quorum has been there for a whole timeout; with on_peer_loss suspend waits
 * until the device itself is suspended or removed.
 */
static enum rb_admission rb_write_admit(struct rb_device *rb, struct bio *bio)
{
	struct rb_per_bio *pb = dm_per_bio_data(bio, RB_PER_BIO_SIZE);

	if (!rb_is_primary(rb) || READ_ONCE(rb->fenced))
		return RB_REJECT;
	if (READ_ONCE(rb->state) == RB_CONNECTED)
		return rb_op_room(&rb->store, rb_write_bytes(bio)) ?
		       RB_ADMIT : RB_WAIT;
	if (rb_stopping(rb) || READ_ONCE(rb->primary.quiescing))
		return RB_REJECT;
	if (rb->on_peer_loss == RB_LOSS_SUSPEND)
		return RB_WAIT;
	return pb->ticks > RB_TICKS ||
	       READ_ONCE(rb->primary.alone_ticks) >= RB_TICKS ?
	       RB_REJECT : RB_WAIT;
}

static struct rb_op *rb_write_op(struct rb_device *rb, struct bio *bio)
{
	const blk_opf_t hints = REQ_SYNC | REQ_META | REQ_PRIO | REQ_IDLE |
				REQ_BACKGROUND;
	enum rb_wire_type type = rb_write_type(bio);
	u64 sector = 0;
	struct rb_op *op;

	if (type != RB_WIRE_FLUSH)
		sector = dm_target_offset(rb->ti, bio->bi_iter.bi_sector);
	op = rb_op_alloc(&rb->store, type, sector, bio_sectors(bio),
			 REQ_OP_WRITE | (bio->bi_opf & hints));
	op->flags = rb_write_flags(bio, type);
	if (op->bio)
		/* The block layer wants to see the same class of I/O. */
		op->bio->bi_ioprio = bio->bi_ioprio;
	op->source = bio;
	op->issued_at = jiffies;
	return op;
}

/* Give the operation its index, unless the quorum has just gone. */
static bool rb_write_assign(struct rb_device *rb, struct rb_op *op)
{
	struct rb_primary *p = &rb->primary;
	struct rb_peer *peer;
	bool connected;

	spin_lock_irq(&rb->lock);
	connected = rb->state == RB_CONNECTED;
	if (connected) {
		op->index = ++p->issued;
		op->epoch = rb->epoch;
		rb_op_get(op);
		list_add_tail(&op->log, &p->log);
		rb_for_each_peer(peer, rb)
			if (peer->streaming && !peer->cursor)
				peer->cursor = op;
		if (op->flags & RB_WIRE_F_SYNC) {
			rb_op_get(op);
			list_add_tail(&op->waiter, &p->waiters);
		}
	}
	spin_unlock_irq(&rb->lock);
	return connected;
}

static void rb_write_seal(struct rb_op *op)
{
	struct rb_device *rb = op->store->rb;
	int ret;

	if (op->type != RB_WIRE_WRITE)
		return;
	ret = rb_seal_bio(rb->primary.cipher, op->first,
			  op->index, op->tags, op->bio, op->source);
	if (ret) {
		DMERR_LIMIT("%s: encryption failed (error %d)",
			    rb_device_name(rb), ret);
		op->voided = true;
		op->status = BLK_STS_IOERR;
	}
}

static void rb_write_seal_work(struct work_struct *work)
{
	struct rb_op *op = container_of(work, struct rb_op, work);

	rb_write_seal(op);
	rb_store_sealed(op);
}

static bool rb_write_aligned(struct rb_device *rb, const struct bio *bio)
{
	sector_t sector = dm_target_offset(rb->ti, bio->bi_iter.bi_sector);

	return !bio_sectors(bio) ||
	       !((sector | bio_sectors(bio)) % RB_BLOCK_SECTORS);
}

static void rb_write_hand_over(struct rb_device *rb, struct rb_op *op)
{
	bool later = op->bytes > RB_INLINE_BYTES;

	if (later) {
		INIT_WORK(&op->work, rb_write_seal_work);
		rb_store_submit(&rb->store, op, true);
		queue_work(rb->store.wq, &op->work);
		return;
	}
	rb_write_seal(op);
	rb_store_submit(&rb->store, op, false);
}

static void rb_write_no_tags(struct rb_device *rb, struct bio *bio, int error)
{
	DMERR_LIMIT("%s: no tags for a write (error %d)", rb_device_name(rb),
		    error);
	rb_bio_end(rb, bio, error == -EBADMSG ? BLK_STS_PROTECTION :
			    errno_to_blk_status(error));
}

/* A peer may have what our tree has lost; then the bio is looked at again. */
static void rb_write_mend_work(struct work_struct *work)
{
	struct rb_per_bio *pb = container_of(work, struct rb_per_bio, work);
	u32 blocks = bio_sectors(pb->bio) / RB_BLOCK_SECTORS;
	struct rb_device *rb = pb->rb;

	if (++pb->mended > (blocks >> RB_CHUNK_SHIFT) + 2 || rb_stopping(rb) ||
	    rb_mend_chunk(rb, pb->lost)) {
		rb_write_no_tags(rb, pb->bio, pb->error);
		return;
	}
	spin_lock_irq(&rb->lock);
	bio_list_add_head(&rb->primary.held, pb->bio);
	spin_unlock_irq(&rb->lock);
	wake_up(&rb->primary.issue_wait);
}

static void rb_write_mend(struct rb_device *rb, struct bio *bio, u64 lost,
			  int error)
{
	struct rb_per_bio *pb = dm_per_bio_data(bio, RB_PER_BIO_SIZE);

	if (!rb->tree_pages || error == -ENOMEM) {
		rb_write_no_tags(rb, bio, error);
		return;
	}
	pb->lost = lost;
	pb->error = error;
	pb->rb = rb;
	pb->bio = bio;
	INIT_WORK(&pb->work, rb_write_mend_work);
	queue_work(rb->store.repair_wq, &pb->work);
}

/* Returns false if the bio has to be looked at again. */
static bool rb_write_issue(struct rb_device *rb, struct bio *bio)
{
	struct rb_op *op;
	u64 lost;
	int ret;

	if (!rb_write_aligned(rb, bio)) {
		/* Cannot be: the logical block size forbids it. */
		DMERR_LIMIT("%s: unaligned write refused", rb_device_name(rb));
		rb_bio_end(rb, bio, BLK_STS_IOERR);
		return true;
	}
	op = rb_write_op(rb, bio);
	ret = rb_op_pin(op, &lost);
	if (ret) {
		rb_op_put(op);
		rb_write_mend(rb, bio, lost, ret);
		return true;
	}
	if (!rb_write_assign(rb, op)) {
		rb_op_unpin(op);
		rb_op_put(op);
		return false;
	}
	rb_write_hand_over(rb, op);
	rb_op_put(op);
	return true;
}

static struct bio *rb_write_peek(struct rb_device *rb)
{
	struct bio *bio;

	spin_lock_irq(&rb->lock);
	bio = bio_list_peek(&rb->primary.held);
	spin_unlock_irq(&rb->lock);
	return bio;
}

static bool rb_write_crowd(struct rb_device *rb)
{
	return READ_ONCE(rb->primary.held.head) !=
	       READ_ONCE(rb->primary.held.tail);
}

static void rb_write_pop(struct rb_device *rb)
{
	spin_lock_irq(&rb->lock);
	bio_list_pop(&rb->primary.held);
	spin_unlock_irq(&rb->lock);
}

/* Once per tick seen. */
static void rb_write_tick(struct rb_device *rb)
{
	struct rb_primary *p = &rb->primary;

	if (time_before(jiffies, p->tick_at + rb_tick(rb)))
		return;
	p->tick_at = jiffies;
	rb_node_tick(rb);
}

static void rb_write_serve(struct rb_device *rb, struct bio *bio)
{
	struct rb_per_bio *pb = dm_per_bio_data(bio, RB_PER_BIO_SIZE);
	enum rb_admission admission = rb_write_admit(rb, bio);
	bool issued;

	if (admission == RB_WAIT) {
		/* A tick bounds the wait for what nobody announces: time. */
		if (!wait_event_idle_timeout(rb->store.wait,
				rb_write_admit(rb, bio) != RB_WAIT,
				rb_tick(rb)))
			pb->ticks++;
		rb_write_tick(rb);
		return;
	}
	/* bi_next is ours only while the bio is on the list. */
	rb_write_pop(rb);
	if (admission == RB_REJECT) {
		rb_bio_end(rb, bio, BLK_STS_IOERR);
		return;
	}
	mutex_lock(&rb->primary.issue);
	issued = rb_write_issue(rb, bio);
	mutex_unlock(&rb->primary.issue);
	if (issued)
		return;
	spin_lock_irq(&rb->lock);
	bio_list_add_head(&rb->primary.held, bio);
	spin_unlock_irq(&rb->lock);
}

/*
 * What is small and can go ahead does so in the submitter's context, which
 * saves waking a thread.  No memory reserve can be exhausted by it: a submitter
 * has no more than two pieces of a bio under way that only start when it
 * returns.
 */
static bool rb_write_now(struct rb_device *rb, struct bio *bio)
{
	struct rb_primary *p = &rb->primary;
	unsigned int noio;
	bool issued = false;

	if (!RB_SENDS_ANYWHERE || rb->tree_pages ||
	    bio_op(bio) != REQ_OP_WRITE ||
	    bio->bi_iter.bi_size > RB_INLINE_BYTES || rb_write_peek(rb) ||
	    READ_ONCE(rb->state) != RB_CONNECTED ||
	    rb_write_admit(rb, bio) != RB_ADMIT || !mutex_trylock(&p->issue))
		return false;
	noio = memalloc_noio_save();
	/* Nobody who came earlier may be overtaken by us for ever. */
	if (!rb_write_peek(rb))
		issued = rb_write_issue(rb, bio);
	memalloc_noio_restore(noio);
	mutex_unlock(&p->issue);
	return issued;
}

/* Accept a bio that changes something. */
int rb_write_map(struct rb_device *rb, struct bio *bio)
{
	struct rb_per_bio *pb = dm_per_bio_data(bio, RB_PER_BIO_SIZE);
	unsigned long flags;

	pb->ticks = 0;
	pb->mended = 0;
	if (bio_op(bio) != REQ_OP_WRITE &&
	    bio_sectors(bio) > RB_MAX_DISCARD_SECTORS)
		dm_accept_partial_bio(bio, RB_MAX_DISCARD_SECTORS);
	spin_lock_irqsave(&rb->lock, flags);
	rb->inflight++;
	spin_unlock_irqrestore(&rb->lock, flags);
	if (rb_write_now(rb, bio))
		return DM_MAPIO_SUBMITTED;
	spin_lock_irqsave(&rb->lock, flags);
	bio_list_add(&rb->primary.held, bio);
	spin_unlock_irqrestore(&rb->lock, flags);
	wake_up(&rb->primary.issue_wait);
	return DM_MAPIO_SUBMITTED;
}

int rb_write_issue_thread(void *data)
{
	struct rb_device *rb = data;
	struct rb_primary *p = &rb->primary;
	struct blk_plug plug;
	struct bio *bio;

	rb_thread_enter();
	while (!rb_stopping(rb) || rb_write_peek(rb)) {
		wait_event_idle_timeout(p->issue_wait, rb_write_peek(rb) ||
						       rb_stopping(rb),
					rb_tick(rb));
		rb_write_tick(rb);
		/* A single one should not wait for company. */
		if (!rb_write_crowd(rb)) {
			bio = rb_write_peek(rb);
			if (bio)
				rb_write_serve(rb, bio);
			continue;
		}
		blk_start_plug(&plug);
		while ((bio = rb_write_peek(rb)))
			rb_write_serve(rb, bio);
		blk_finish_plug(&plug);
	}
	return 0;
}
