// SPDX-License-Identifier: GPL-2.0-only
/*
 * The primary: what happens to a write.
 *
 * map queues it; the issue thread copies its data, gives it the next index,
 * hands it to the local store and leaves it to the send thread.  A plain write
 * completes with the local disk.  A flush or FUA write completes when both the
 * local disk and the backup have everything up to its index durably.  A bio
 * gets no index, and touches neither disk, before a backup is connected.
 */
#include <linux/kthread.h>
#include <linux/sched/signal.h>

#include "dm-rollbaccine.h"

struct rb_per_bio {
	unsigned long arrived;
};

static_assert(sizeof(struct rb_per_bio) <= RB_PER_BIO_SIZE);

static void rb_primary_end(struct rb_device *rb, struct bio *bio,
			   blk_status_t status)
{
	unsigned long flags;

	spin_lock_irqsave(&rb->lock, flags);
	rb->primary.inflight--;
	spin_unlock_irqrestore(&rb->lock, flags);
	/* Last: the device may be removed once its bios have ended. */
	bio->bi_status = status;
	bio_endio(bio);
}

static void rb_primary_written(struct rb_store *store, struct rb_op *op)
{
	struct rb_device *rb = container_of(store, struct rb_device, store);

	if (!(op->flags & RB_WIRE_F_SYNC))
		rb_primary_end(rb, op->source, op->status);
}

static bool rb_primary_peer_has(struct rb_device *rb, const struct rb_op *op)
{
	return rb->primary.peer.durable >= op->index || rb_fault_skips_peer(rb);
}

/* Complete every flush and FUA write that both nodes have.  Any context. */
void rb_primary_complete(struct rb_device *rb)
{
	struct rb_primary *p = &rb->primary;
	struct rb_op *op, *next;
	unsigned long flags;
	LIST_HEAD(complete);

	spin_lock_irqsave(&rb->lock, flags);
	list_for_each_entry_safe(op, next, &p->waiters, waiter) {
		if (!op->synced || (!op->status && !rb_primary_peer_has(rb, op)))
			break;
		list_move_tail(&op->waiter, &complete);
	}
	spin_unlock_irqrestore(&rb->lock, flags);

	list_for_each_entry_safe(op, next, &complete, waiter) {
		list_del_init(&op->waiter);
		rb_primary_end(rb, op->source, op->status);
		rb_op_put(op);
	}
}

static void rb_primary_synced(struct rb_store *store, struct rb_op *op)
{
	struct rb_device *rb = container_of(store, struct rb_device, store);
	unsigned long flags;

	spin_lock_irqsave(&rb->lock, flags);
	op->synced = true;
	spin_unlock_irqrestore(&rb->lock, flags);
	rb_primary_complete(rb);
}

static void rb_primary_progress(struct rb_store *store)
{
}

static const struct rb_store_ops rb_primary_store_ops = {
	.written = rb_primary_written,
	.synced = rb_primary_synced,
	.progress = rb_primary_progress,
};

/* Fail every flush and FUA write still waiting.  The peer will not answer. */
static void rb_primary_fail_waiters(struct rb_device *rb)
{
	struct rb_op *op, *next;
	LIST_HEAD(failed);

	spin_lock_irq(&rb->lock);
	list_splice_init(&rb->primary.waiters, &failed);
	spin_unlock_irq(&rb->lock);
	list_for_each_entry_safe(op, next, &failed, waiter) {
		list_del_init(&op->waiter);
		rb_primary_end(rb, op->source, BLK_STS_IOERR);
		rb_op_put(op);
	}
}

/* The state has changed: have everyone who waits for that look again. */
void rb_primary_wake(struct rb_device *rb)
{
	wake_up(&rb->primary.issue_wait);
	wake_up(&rb->primary.send_wait);
	wake_up(&rb->primary.drain_wait);
	wake_up(&rb->store.wait);
}

/* The peer is lost for good: forget what was still to be sent. */
void rb_primary_abandon(struct rb_device *rb)
{
	struct rb_primary *p = &rb->primary;
	struct rb_op *op, *next;
	LIST_HEAD(unsent);

	spin_lock_irq(&rb->lock);
	list_splice_init(&p->send, &unsent);
	spin_unlock_irq(&rb->lock);
	list_for_each_entry_safe(op, next, &unsent, send) {
		list_del_init(&op->send);
		rb_op_put(op);
	}
	if (rb->on_peer_loss == RB_LOSS_ERROR || rb_stopping(rb) ||
	    READ_ONCE(p->quiescing))
		rb_primary_fail_waiters(rb);
	rb_primary_wake(rb);
}

/* Accept a bio.  Reads go to the local disk; all else to the issue thread. */
int rb_primary_map(struct rb_device *rb, struct bio *bio)
{
	struct rb_per_bio *pb = dm_per_bio_data(bio, RB_PER_BIO_SIZE);
	unsigned long flags;

	pb->arrived = jiffies;
	spin_lock_irqsave(&rb->lock, flags);
	rb->primary.inflight++;
	bio_list_add(&rb->primary.held, bio);
	spin_unlock_irqrestore(&rb->lock, flags);
	wake_up(&rb->primary.issue_wait);
	return DM_MAPIO_SUBMITTED;
}

static enum rb_wire_type rb_primary_type(const struct bio *bio)
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

static u8 rb_primary_flags(const struct bio *bio, enum rb_wire_type type)
{
	u8 flags = 0;

	if (bio->bi_opf & (REQ_FUA | REQ_PREFLUSH))
		flags |= RB_WIRE_F_SYNC;
	if (type == RB_WIRE_ZEROES && (bio->bi_opf & REQ_NOUNMAP))
		flags |= RB_WIRE_F_NOUNMAP;
	return flags;
}

static u32 rb_primary_bytes(const struct bio *bio)
{
	return rb_primary_type(bio) == RB_WIRE_WRITE ? bio->bi_iter.bi_size : 0;
}

enum rb_admission { RB_WAIT, RB_ADMIT, RB_REJECT };

/*
 * Whether the bio may have an index now.  Errors rather than waiting once the
 * peer is lost, or has not come for a whole timeout; with on_peer_loss suspend
 * waits until the device itself is suspended or removed.
 */
static enum rb_admission rb_primary_admit(struct rb_device *rb,
					  struct bio *bio)
{
	struct rb_per_bio *pb = dm_per_bio_data(bio, RB_PER_BIO_SIZE);
	enum rb_state state = READ_ONCE(rb->state);

	if (state == RB_CONNECTED)
		return rb_op_room(&rb->store, rb_primary_bytes(bio)) ?
		       RB_ADMIT : RB_WAIT;
	if (rb_stopping(rb) || READ_ONCE(rb->primary.quiescing))
		return RB_REJECT;
	if (rb->on_peer_loss == RB_LOSS_SUSPEND)
		return RB_WAIT;
	if (state == RB_LOST ||
	    time_after_eq(jiffies, pb->arrived + rb_peer_timeout(rb)))
		return RB_REJECT;
	return RB_WAIT;
}

static struct rb_op *rb_primary_copy(struct rb_device *rb, struct bio *bio)
{
	const blk_opf_t hints = REQ_SYNC | REQ_META | REQ_PRIO | REQ_IDLE |
				REQ_BACKGROUND;
	enum rb_wire_type type = rb_primary_type(bio);
	u64 sector = 0;
	struct rb_op *op;

	if (type != RB_WIRE_FLUSH)
		sector = dm_target_offset(rb->ti, bio->bi_iter.bi_sector);
	op = rb_op_alloc(&rb->store, type, sector, bio_sectors(bio),
			 REQ_OP_WRITE | (bio->bi_opf & hints));
	op->flags = rb_primary_flags(bio, type);
	if (op->bio) {
		bio_copy_data(op->bio, bio);
		/* The block layer wants to see the same class of I/O. */
		op->bio->bi_ioprio = bio->bi_ioprio;
	}
	op->source = bio;
	op->issued_at = jiffies;
	return op;
}

/* Give the operation its index, unless the connection has just gone. */
static bool rb_primary_assign(struct rb_device *rb, struct rb_op *op)
{
	struct rb_primary *p = &rb->primary;
	bool connected;

	spin_lock_irq(&rb->lock);
	connected = rb->state == RB_CONNECTED;
	if (connected) {
		op->index = ++p->issued;
		rb_op_get(op);
		list_add_tail(&op->send, &p->send);
		if (op->flags & RB_WIRE_F_SYNC) {
			rb_op_get(op);
			list_add_tail(&op->waiter, &p->waiters);
		}
	}
	spin_unlock_irq(&rb->lock);
	return connected;
}

static bool rb_primary_aligned(struct rb_device *rb, const struct bio *bio)
{
	sector_t sector = dm_target_offset(rb->ti, bio->bi_iter.bi_sector);

	return !bio_sectors(bio) ||
	       !((sector | bio_sectors(bio)) % RB_BLOCK_SECTORS);
}

/* Returns false if the bio has to be looked at again. */
static bool rb_primary_issue(struct rb_device *rb, struct bio *bio)
{
	struct rb_op *op;

	if (!rb_primary_aligned(rb, bio)) {
		/* Cannot be: the logical block size forbids it. */
		DMERR_LIMIT("%s: unaligned write refused", rb_device_name(rb));
		rb_primary_end(rb, bio, BLK_STS_IOERR);
		return true;
	}
	op = rb_primary_copy(rb, bio);
	if (!rb_primary_assign(rb, op)) {
		rb_op_put(op);
		return false;
	}
	wake_up(&rb->primary.send_wait);
	rb_store_submit(&rb->store, op);
	rb_op_put(op);
	return true;
}

static struct bio *rb_primary_peek(struct rb_device *rb)
{
	struct bio *bio;

	spin_lock_irq(&rb->lock);
	bio = bio_list_peek(&rb->primary.held);
	spin_unlock_irq(&rb->lock);
	return bio;
}

static void rb_primary_pop(struct rb_device *rb)
{
	spin_lock_irq(&rb->lock);
	bio_list_pop(&rb->primary.held);
	spin_unlock_irq(&rb->lock);
}

static void rb_primary_serve(struct rb_device *rb, struct bio *bio)
{
	enum rb_admission admission = rb_primary_admit(rb, bio);

	if (admission == RB_WAIT) {
		/* A tick bounds the wait for what nobody announces: time. */
		wait_event_idle_timeout(rb->store.wait,
				rb_primary_admit(rb, bio) != RB_WAIT,
				rb_tick(rb));
		return;
	}
	/* bi_next is ours only while the bio is on the list. */
	rb_primary_pop(rb);
	if (admission == RB_REJECT) {
		rb_primary_end(rb, bio, BLK_STS_IOERR);
	} else if (!rb_primary_issue(rb, bio)) {
		spin_lock_irq(&rb->lock);
		bio_list_add_head(&rb->primary.held, bio);
		spin_unlock_irq(&rb->lock);
	}
}

static int rb_primary_issue_thread(void *data)
{
	struct rb_device *rb = data;
	struct rb_primary *p = &rb->primary;
	struct blk_plug plug;
	struct bio *bio;

	rb_thread_enter();
	while (!rb_stopping(rb) || rb_primary_peek(rb)) {
		wait_event_idle(p->issue_wait,
				rb_primary_peek(rb) || rb_stopping(rb));
		blk_start_plug(&plug);
		while ((bio = rb_primary_peek(rb)))
			rb_primary_serve(rb, bio);
		blk_finish_plug(&plug);
	}
	return 0;
}

static int rb_primary_send_op(struct rb_conn *conn, struct rb_op *op)
{
	struct rb_wire_op wire = {
		.type = op->type,
		.flags = op->flags,
		.index = op->index,
		.sector = op->first,
		.sectors = op->last - op->first + 1,
	};
	struct rb_wire_header header;
	int ret;

	ret = rb_wire_encode_op(&header, &wire);
	if (!ret)
		ret = rb_net_send(conn->sock, &header, sizeof(header),
				  op->bytes);
	if (!ret && op->bytes)
		ret = rb_net_send_bio(conn->sock, op->bio, op->bytes);
	return ret;
}

static int rb_primary_send_ping(struct rb_conn *conn)
{
	struct rb_wire_header header;

	rb_wire_header_init(&header, RB_WIRE_PING, 0);
	return rb_net_send(conn->sock, &header, sizeof(header), false);
}

static struct rb_op *rb_primary_next_to_send(struct rb_device *rb)
{
	struct rb_op *op;

	spin_lock_irq(&rb->lock);
	op = list_first_entry_or_null(&rb->primary.send, struct rb_op, send);
	if (op && rb_fault_delay_send(rb))
		op = NULL;
	if (op)
		list_del_init(&op->send);
	spin_unlock_irq(&rb->lock);
	return op;
}

/* Send one operation, or a sign of life if there is none. */
static void rb_primary_send_one(struct rb_device *rb)
{
	struct rb_conn *conn = &rb->conn;
	struct rb_op *op = NULL;
	int ret = 0;

	mutex_lock(&conn->tx);
	if (conn->sock) {
		op = rb_primary_next_to_send(rb);
		ret = op ? rb_primary_send_op(conn, op) :
			   rb_primary_send_ping(conn);
	}
	mutex_unlock(&conn->tx);
	if (op) {
		spin_lock_irq(&rb->lock);
		if (!ret)
			rb->primary.sent = op->index;
		spin_unlock_irq(&rb->lock);
		rb_op_put(op);
	}
	if (ret)
		rb_conn_break(conn);
}

static bool rb_primary_can_send(struct rb_device *rb)
{
	bool can;

	spin_lock_irq(&rb->lock);
	can = rb->state == RB_CONNECTED && !list_empty(&rb->primary.send) &&
	      !rb_fault_delay_send(rb);
	spin_unlock_irq(&rb->lock);
	return can;
}

static int rb_primary_send_thread(void *data)
{
	struct rb_device *rb = data;

	rb_thread_enter();
	while (!rb_stopping(rb)) {
		if (signal_pending(current))
			flush_signals(current);
		wait_event_idle_timeout(rb->primary.send_wait,
					rb_primary_can_send(rb) ||
					rb_stopping(rb),
					rb_fault_poll(rb, rb_tick(rb)));
		rb_primary_send_one(rb);
	}
	return 0;
}

static bool rb_primary_drained(struct rb_device *rb)
{
	bool drained;

	spin_lock_irq(&rb->lock);
	drained = rb->state != RB_CONNECTED ||
		  rb->primary.peer.applied == rb->primary.issued;
	spin_unlock_irq(&rb->lock);
	return drained;
}

/*
 * The device is being suspended and waits for its bios: those that wait for a
 * peer that is not there must not hold it up.
 */
void rb_primary_suspend(struct rb_device *rb)
{
	WRITE_ONCE(rb->primary.quiescing, true);
	rb_primary_wake(rb);
	if (READ_ONCE(rb->state) == RB_LOST)
		rb_primary_abandon(rb);
}

/*
 * All bios have completed; let the backup catch up.  Ends even if it does not:
 * a peer without progress is lost after the timeout.
 */
void rb_primary_drain(struct rb_device *rb)
{
	rb_store_wait_idle(&rb->store);
	wait_event(rb->primary.drain_wait, rb_primary_drained(rb));
}

void rb_primary_resume(struct rb_device *rb)
{
	WRITE_ONCE(rb->primary.quiescing, false);
}

int rb_primary_start(struct rb_device *rb)
{
	struct rb_primary *p = &rb->primary;
	int ret;

	init_waitqueue_head(&p->issue_wait);
	init_waitqueue_head(&p->send_wait);
	init_waitqueue_head(&p->drain_wait);
	bio_list_init(&p->held);
	INIT_LIST_HEAD(&p->send);
	INIT_LIST_HEAD(&p->waiters);
	ret = rb_store_init(&rb->store, rb->dev->bdev, &rb_primary_store_ops,
			    false);
	if (ret)
		return ret;
	ret = rb_thread_start(&p->issue_thread, rb_primary_issue_thread, rb,
			      "issue");
	if (!ret)
		ret = rb_thread_start(&p->send_thread, rb_primary_send_thread,
				      rb, "send");
	if (!ret)
		ret = rb_thread_start(&p->uplink_thread, rb_uplink_thread, rb,
				      "uplink");
	if (ret)
		rb_primary_stop(rb);
	return ret;
}

void rb_primary_stop(struct rb_device *rb)
{
	struct rb_primary *p = &rb->primary;

	WRITE_ONCE(rb->stopping, true);
	rb_primary_wake(rb);
	rb_thread_stop(&p->uplink_thread);
	rb_thread_stop(&p->send_thread);
	rb_primary_abandon(rb);
	rb_thread_stop(&p->issue_thread);
	rb_primary_abandon(rb);
	rb_store_exit(&rb->store);
}
