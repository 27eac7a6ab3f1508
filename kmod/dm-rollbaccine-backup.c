// SPDX-License-Identifier: GPL-2.0-only
/*
 * The backup: receive, verify, apply, report.
 *
 * A silent primary is not cut off: it may merely be paused, and what it has
 * already sent stays applicable.  It is reported as lost until it speaks again,
 * and its own new connection takes the old one's place.
 *
 * What is received is queued, and handed to the store in order at once, or when
 * a `hold` is lifted.
 */
#include <linux/kthread.h>

#include "dm-rollbaccine.h"

/* What the primary does not wait for is told this much later, all at once. */
#define RB_REPORT_MS 20

void rb_backup_read_progress(struct rb_device *rb, struct rb_progress *ret)
{
	unsigned long flags;

	memset(ret, 0, sizeof(*ret));
	/* Innermost first: no prefix may overtake the one it lies in. */
	spin_lock_irqsave(&rb->store.lock, flags);
	ret->durable = rb->store.durable;
	ret->applied = rb->store.applied;
	if (rb->store.failed)
		ret->flags |= RB_PROGRESS_FAILED;
	spin_unlock_irqrestore(&rb->store.lock, flags);
	ret->missing = rb_tags_missing(rb->tags);
	spin_lock_irqsave(&rb->lock, flags);
	ret->received = rb->backup.received;
	ret->steps = rb->backup.steps;
	if (rb->backup.insync)
		ret->flags |= RB_PROGRESS_INSYNC;
	spin_unlock_irqrestore(&rb->lock, flags);
	rb_fault_progress(rb, ret);
}

/* Under tx. */
int rb_backup_send_report(struct rb_peer *peer)
{
	struct rb_device *rb = peer->rb;
	struct rb_wire_progress control;
	struct kvec vec = { .iov_base = &control, .iov_len = sizeof(control) };
	struct rb_wire_header header;
	struct rb_progress progress;
	int ret;

	if (!READ_ONCE(peer->begun))
		return 0;
	rb_backup_read_progress(rb, &progress);
	rb_wire_encode_progress(&header, &control, &progress);
	ret = rb_peer_send(peer, &header, &vec, 1, NULL, NULL);
	if (!ret)
		WRITE_ONCE(rb->backup.reported, progress.durable);
	if (ret || (progress.flags & RB_PROGRESS_FAILED)) {
		/* The receiver may wait for room that will never come. */
		wake_up_all(&rb->store.wait);
		return ret ?: -EREMOTEIO;
	}
	return 0;
}

static void rb_backup_report_now(struct rb_device *rb)
{
	struct rb_peer *peer = READ_ONCE(rb->backup.leader);

	if (!peer)
		return;
	WRITE_ONCE(peer->report_now, true);
	rb_peer_kick(peer);
}

void rb_backup_report_timer(struct timer_list *timer)
{
	struct rb_backup *b = container_of(timer, struct rb_backup,
					   report_timer);

	rb_backup_report_now(container_of(b, struct rb_device, backup));
}

/* Any context. */
void rb_backup_want_report(struct rb_device *rb, bool now)
{
	struct timer_list *timer = &rb->backup.report_timer;

	if (rb_is_primary(rb) || rb_stopping(rb))
		return;
	if (now)
		rb_backup_report_now(rb);
	else if (!timer_pending(timer))
		mod_timer(timer, jiffies + msecs_to_jiffies(RB_REPORT_MS));
}

/* The store got further.  Any context. */
void rb_backup_progress(struct rb_device *rb)
{
	bool now;

	if (rb_is_primary(rb)) {
		wake_up(&rb->primary.drain_wait);
		return;
	}
	now = READ_ONCE(rb->store.durable) != READ_ONCE(rb->backup.reported) ||
	      READ_ONCE(rb->store.failed) || rb->ack != RB_ACK_FLUSH;
	rb_backup_want_report(rb, now);
}

bool rb_backup_silent(struct rb_device *rb)
{
	struct rb_peer *peer = READ_ONCE(rb->backup.leader);

	return peer && time_after(jiffies, READ_ONCE(peer->heard_at) +
					   rb_peer_timeout(rb));
}

/* The session there is ends, with all that it has brought. */
void rb_backup_end_session(struct rb_device *rb)
{
	struct rb_peer *leader;

	/* Again and again: it may be about to begin. */
	while ((leader = READ_ONCE(rb->backup.leader)) && !rb_stopping(rb)) {
		rb_peer_break(leader);
		wait_event_idle_timeout(rb->wait,
					!READ_ONCE(rb->backup.leader) ||
					rb_stopping(rb),
					msecs_to_jiffies(RB_RETRY_MS));
	}
}

/* The next thing to be handed over, if the hold allows. */
static struct rb_op *rb_backup_dequeue(struct rb_device *rb)
{
	struct rb_backup *b = &rb->backup;
	struct rb_op *op;

	spin_lock_irq(&rb->lock);
	op = list_first_entry_or_null(&b->queue, struct rb_op, queue);
	if (op && b->holding && op->index > b->hold)
		op = NULL;
	if (op)
		list_del_init(&op->queue);
	spin_unlock_irq(&rb->lock);
	return op;
}

/* Hand over what may be.  Process context. */
void rb_backup_apply(struct rb_device *rb)
{
	struct rb_op *op;

	mutex_lock(&rb->backup.apply);
	while ((op = rb_backup_dequeue(rb))) {
		rb_fault_submit(rb, op);
		rb_op_put(op);
	}
	mutex_unlock(&rb->backup.apply);
}

/*
 * What is about to happen leaves neither the state there was nor yet another
 * one.  Process context.
 */
void rb_backup_spoil(struct rb_device *rb)
{
	struct rb_backup *b = &rb->backup;
	bool spoilt;

	if (!READ_ONCE(b->whole))
		return;
	spin_lock_irq(&rb->lock);
	spoilt = b->whole;
	b->whole = false;
	b->follows = false;
	spin_unlock_irq(&rb->lock);
	if (spoilt)
		rb_node_evaluate(rb);
}

/* A new stream begins: what was held back is not a part of it. */
void rb_backup_drop_queue(struct rb_device *rb)
{
	struct rb_backup *b = &rb->backup;
	struct rb_op *op, *next;
	LIST_HEAD(dropped);

	spin_lock_irq(&rb->lock);
	list_splice_init(&b->queue, &dropped);
	list_for_each_entry(op, &dropped, queue) {
		if (op->type == RB_WIRE_TAGS)
			b->tags_pending--;
		else
			/* It may have been acknowledged. */
			b->whole = false;
	}
	spin_unlock_irq(&rb->lock);
	list_for_each_entry_safe(op, next, &dropped, queue) {
		list_del_init(&op->queue);
		rb_op_unpin(op);
		rb_op_put(op);
	}
}

/* Silence is no reason, see the top; it is a chance to catch up, though. */
static bool rb_backup_give_up(struct rb_peer *peer)
{
	rb_fault_tick(peer->rb);
	return false;
}

static bool rb_backup_over(struct rb_device *rb)
{
	return rb_stopping(rb) || READ_ONCE(rb->store.failed) ||
	       rb_is_primary(rb);
}

static int rb_backup_wait_room(struct rb_peer *peer, u32 bytes)
{
	struct rb_device *rb = peer->rb;
	struct rb_store *store = &rb->store;

	if (!rb_op_room(store, bytes))
		rb_fault_idle(rb);
	wait_event_idle(store->wait, rb_op_room(store, bytes) ||
				     READ_ONCE(peer->broken) ||
				     rb_backup_over(rb));
	if (READ_ONCE(store->failed))
		return -EIO;
	if (!rb_op_room(store, bytes))
		return -ECONNRESET;
	return rb_backup_over(rb) ? -ESHUTDOWN : 0;
}

static void rb_backup_enqueue(struct rb_device *rb, struct rb_op *op)
{
	struct rb_backup *b = &rb->backup;
	bool spoils = false;

	rb_op_get(op);
	spin_lock_irq(&rb->lock);
	if (op->type == RB_WIRE_TAGS) {
		op->index = b->received;
		b->tags_pending++;
	} else {
		b->received = op->index;
		if (b->insync || b->follows) {
			b->position = op->index;
			rb->data_epoch = op->epoch;
		} else {
			/* It skips what the resync has not brought yet. */
			spoils = b->whole;
		}
	}
	spin_unlock_irq(&rb->lock);
	if (spoils)
		rb_backup_spoil(rb);
	spin_lock_irq(&rb->lock);
	list_add_tail(&op->queue, &b->queue);
	spin_unlock_irq(&rb->lock);
	if ((op->flags & RB_WIRE_F_SYNC) && rb->ack == RB_ACK_MEMORY)
		rb_backup_want_report(rb, true);
	rb_backup_apply(rb);
}

/* Every block has to be what its tag says before anything believes in it. */
static int rb_backup_verify(struct rb_device *rb, struct rb_op *op)
{
	DECLARE_BITMAP(bad, RB_MAX_OP_BLOCKS);

	return rb_verify_bio(rb->keys, op->first, op->tags, bad, op->bio) ?
	       -EBADMSG : 0;
}

static int rb_backup_receive_op(struct rb_peer *peer,
				const struct rb_frame *frame)
{
	struct rb_device *rb = peer->rb;
	struct rb_wire_limits limits = rb_peer_limits(rb);
	struct rb_wire_op wire;
	struct rb_op *op;
	u64 lost;
	u32 i;
	int ret;

	ret = rb_wire_decode_op(frame, peer->rx_control, &limits,
				rb->backup.received + 1, &wire);
	if (!ret && wire.epoch != rb->epoch)
		ret = -EBADMSG;
	if (!ret)
		ret = rb_backup_wait_room(peer, frame->data);
	if (ret)
		return ret;
	op = rb_op_alloc(&rb->store, wire.type, wire.sector, wire.sectors,
			 REQ_OP_WRITE | REQ_SYNC);
	op->index = wire.index;
	op->epoch = wire.epoch;
	op->flags = wire.flags;
	if (op->bio) {
		for (i = 0; i < op->blocks; i++)
			rb_wire_op_tag(&wire, i, &op->tags[i]);
		ret = rb_net_recv_bio(rb, peer->sock, op->bio, op->bytes,
				      rb_backup_give_up, peer);
		if (!ret)
			ret = rb_backup_verify(rb, op);
	}
	if (!ret)
		ret = rb_op_pin(op, &lost);
	if (!ret)
		rb_backup_enqueue(rb, op);
	rb_op_put(op);
	return ret;
}

static int rb_backup_receive_tags(struct rb_peer *peer,
				  const struct rb_frame *frame)
{
	struct rb_device *rb = peer->rb;
	struct rb_wire_limits limits = rb_peer_limits(rb);
	struct rb_tags_message message;
	struct rb_op *op;
	u64 first, blocks;
	int ret;

	ret = rb_wire_decode_tags(frame, peer->rx_control, &limits, &message);
	if (!ret && !rb_tags_chunk_valid(rb->tags, message.chunk, message.tags))
		ret = -EBADMSG;
	if (!ret)
		ret = rb_backup_wait_room(peer, RB_BLOCK_BYTES);
	if (ret)
		return ret;
	first = message.chunk << RB_CHUNK_SHIFT;
	blocks = min_t(u64, RB_CHUNK_TAGS, rb_blocks(rb) - first);
	op = rb_op_alloc(&rb->store, RB_WIRE_TAGS, first * RB_BLOCK_SECTORS,
			 blocks * RB_BLOCK_SECTORS, 0);
	memcpy(op->tags, message.tags, RB_CHUNK_TAGS * sizeof(struct rb_tag));
	rb_backup_enqueue(rb, op);
	rb_op_put(op);
	return 0;
}

static int rb_backup_receive_epochs(struct rb_peer *peer,
				    const struct rb_frame *frame)
{
	struct rb_device *rb = peer->rb;
	struct rb_epochs epochs;
	struct rb_epoch epoch;
	u32 i;
	int ret;

	ret = rb_wire_decode_epochs(frame, peer->rx_control, &epochs);
	if (!ret && peer->begun)
		ret = -EBADMSG;
	if (!ret && !peer->named)
		ret = rb_resync_expect_epochs(rb);
	peer->named = true;
	for (i = 0; !ret && i < epochs.count; i++) {
		rb_wire_get_epoch(&epochs, i, &epoch);
		ret = rb_node_add_epoch(rb, &epoch);
	}
	return ret;
}

static int rb_backup_hear(struct rb_peer *peer)
{
	struct rb_device *rb = peer->rb;
	struct rb_frame frame;
	int ret;

	ret = rb_peer_hear(peer, &frame, rb_backup_give_up);
	if (ret)
		return ret;
	WRITE_ONCE(peer->heard_at, jiffies);
	if (rb_wire_is_op(frame.type))
		return peer->begun ? rb_backup_receive_op(peer, &frame) :
				     -EBADMSG;
	switch (frame.type) {
	case RB_WIRE_PING:
		rb_backup_want_report(rb, true);
		return 0;
	case RB_WIRE_EPOCHS:
		return rb_backup_receive_epochs(peer, &frame);
	case RB_WIRE_RESYNC_BEGIN:
		return rb_resync_hear_begin(peer, &frame);
	case RB_WIRE_TAGS:
		return peer->begun ? rb_backup_receive_tags(peer, &frame) :
				     -EBADMSG;
	case RB_WIRE_RESYNC_END:
		return rb_resync_hear_end(peer, &frame);
	case RB_WIRE_TAGS_REQ:
		return rb_mend_receive(peer, &frame);
	case RB_WIRE_BLOCK_REQ:
	case RB_WIRE_BLOCK_DATA:
		return rb_block_receive(peer, &frame);
	default:
		return -EBADMSG;
	}
}

/* The receiving thread of a peer that has become our primary. */
void rb_backup_serve(struct rb_peer *peer)
{
	struct rb_device *rb = peer->rb;
	int ret;

	DMINFO("%s: connected to primary %llu", rb_device_name(rb), peer->id);
	rb_node_evaluate(rb);
	do {
		ret = rb_backup_hear(peer);
		rb_fault_tick(rb);
		WRITE_ONCE(rb->backup.receiving, false);
	} while (!ret);
	rb_fault_idle(rb);
	if (ret == -EBADMSG) {
		spin_lock_irq(&rb->lock);
		rb->rejected++;
		spin_unlock_irq(&rb->lock);
	}
	rb_peer_detach(peer);
	spin_lock_irq(&rb->lock);
	rb->backup.leader = NULL;
	rb->backup.insync = false;
	spin_unlock_irq(&rb->lock);
	wake_up_all(&rb->wait);
	rb_resync_wake(rb);
	if (rb_stopping(rb))
		return;
	DMWARN("%s: primary %llu gone (error %d)", rb_device_name(rb),
	       peer->id, ret);
	rb_node_evaluate(rb);
}
