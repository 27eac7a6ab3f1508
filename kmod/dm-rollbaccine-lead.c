// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who leads: promotion of a backup, and the way back.
 *
 * A candidate asks every node to promise that it will follow nobody of a lower
 * epoch than the one asked for; a promise also says what that node has.  With
 * N backups and a quorum of Q, N - Q + 1 promises, the candidate's own among
 * them, meet every quorum that acknowledged anything: nothing acknowledged can
 * be overlooked, and no lower leader can find a quorum any more.
 */
#include <linux/random.h>

#include "dm-rollbaccine.h"

/* Keys of leaderships that no block refers to any more. */
static void rb_forget_epochs(struct rb_device *rb)
{
	struct rb_epoch epoch;
	u32 from = 0;

	while (rb_keys_epochs(rb->keys, from, &epoch, 1)) {
		from = epoch.epoch + 1;
		if (!rb_tags_epoch_blocks(rb->tags, epoch.epoch) &&
		    !rb_tags_epoch_forget(rb->tags, epoch.epoch))
			rb_keys_forget_epoch(rb->keys, epoch.epoch);
		if (!from)
			break;
	}
}

/* Begin to lead @number.  Nobody submits; all that was received is applied. */
int rb_lead(struct rb_device *rb, u32 number)
{
	struct rb_epoch epoch = { .epoch = number, .leader = rb->id };
	struct rb_cipher *cipher;
	int ret;

	rb_forget_epochs(rb);
	get_random_bytes(epoch.salt, sizeof(epoch.salt));
	ret = rb_node_add_epoch(rb, &epoch);
	if (ret)
		return ret;
	cipher = rb_cipher_get(rb->keys, number);
	if (!cipher)
		return -ENOKEY;
	spin_lock_irq(&rb->lock);
	swap(rb->primary.cipher, cipher);
	rb->primary.issued = rb->backup.received;
	rb->primary.alone_ticks = 0;
	rb->epoch = number;
	rb->data_epoch = number;
	rb->promised = max(rb->promised, number);
	rb->empty = false;
	rb->fenced = false;
	rb->store.freeze_on_error = false;
	WRITE_ONCE(rb->role, RB_PRIMARY);
	spin_unlock_irq(&rb->lock);
	rb_cipher_put(cipher);
	rb_node_evaluate(rb);
	rb_node_wake(rb);
	return 0;
}

/* Whether this node may ask at all; if so nothing lower is followed any more. */
static int rb_candidate_begin(struct rb_device *rb, u32 *epoch)
{
	struct rb_backup *b = &rb->backup;
	int ret = 0;

	spin_lock_irq(&rb->lock);
	if (rb->role == RB_PRIMARY)
		ret = -EALREADY;
	else if (rb->empty || !b->insync || b->holding || rb->suspended)
		ret = -EBUSY;
	else if (READ_ONCE(rb->store.failed))
		ret = -EIO;
	else if (rb->promised == U32_MAX)
		ret = -EOVERFLOW;
	else
		*epoch = ++rb->promised;
	spin_unlock_irq(&rb->lock);
	return ret;
}

/* The session with the old leader ends, with all that it has brought applied. */
static int rb_candidate_settle(struct rb_device *rb)
{
	rb_backup_end_session(rb);
	rb_backup_apply(rb);
	wait_event_idle(rb->store.wait, rb_store_quiet(&rb->store) ||
					rb_stopping(rb));
	if (rb_stopping(rb))
		return -ESHUTDOWN;
	if (READ_ONCE(rb->store.failed))
		return -EIO;
	return READ_ONCE(rb->backup.insync) ? 0 : -EBUSY;
}

static bool rb_candidate_behind(struct rb_device *rb,
				const struct rb_hs_listener *other)
{
	return other->data_epoch > rb->data_epoch ||
	       (other->data_epoch == rb->data_epoch &&
		other->received > rb->backup.received);
}

/* Collect promises.  Returns 0 if there are enough. */
static int rb_candidate_ask(struct rb_device *rb, u32 epoch)
{
	unsigned int needed = rb->nr_peers - rb->quorum + 1;
	unsigned int promises = 1;
	struct rb_hs_listener other;
	struct rb_peer *peer;
	int ret;

	rb_for_each_peer(peer, rb) {
		if (READ_ONCE(peer->blocked))
			continue;
		ret = rb_dial_ask(peer, epoch, &other);
		if (ret == -ECONNREFUSED && other.epoch > epoch) {
			spin_lock_irq(&rb->lock);
			rb->promised = max(rb->promised, other.epoch);
			spin_unlock_irq(&rb->lock);
			return -ESTALE;
		}
		/* Who has forgotten everything has forgotten promises too. */
		if (ret || (other.flags & RB_HS_EMPTY))
			continue;
		if (rb_candidate_behind(rb, &other)) {
			DMWARN("%s: node %llu has later data",
			       rb_device_name(rb), peer->id);
			return -ESTALE;
		}
		promises++;
	}
	if (promises >= needed)
		return 0;
	DMWARN("%s: %u of %u promises", rb_device_name(rb), promises, needed);
	return -EHOSTUNREACH;
}

/* Message `promote`. */
int rb_promote(struct rb_device *rb)
{
	u32 epoch;
	int ret;

	mutex_lock(&rb->admin);
	ret = rb_candidate_begin(rb, &epoch);
	if (!ret)
		ret = rb_candidate_settle(rb);
	if (!ret)
		ret = rb_candidate_ask(rb, epoch);
	if (!ret)
		ret = blkdev_issue_flush(rb->store.bdev);
	if (!ret && READ_ONCE(rb->promised) != epoch)
		/* Somebody else asked meanwhile, and was promised it. */
		ret = -ESTALE;
	if (!ret)
		ret = rb_lead(rb, epoch);
	mutex_unlock(&rb->admin);
	if (ret)
		DMWARN("%s: not promoted (error %d)", rb_device_name(rb), ret);
	else
		DMINFO("%s: leads epoch %u", rb_device_name(rb), epoch);
	return ret;
}

/* From a primary whose bios are all done to a backup that has to be resynced. */
static void rb_step_down(struct rb_device *rb)
{
	struct rb_peer *peer;

	rb_for_each_peer(peer, rb) {
		rb_peer_break(peer);
		wait_event_idle(rb->wait, !READ_ONCE(peer->up) ||
					  rb_stopping(rb));
	}
	rb_store_wait_idle(&rb->store);
	rb_node_drop_log(rb);
	spin_lock_irq(&rb->lock);
	rb->backup.insync = false;
	rb->backup.tags_complete = false;
	rb->backup.received = rb->primary.issued;
	rb->fenced = false;
	rb->store.freeze_on_error = true;
	spin_unlock_irq(&rb->lock);
	rb_node_evaluate(rb);
	rb_node_wake(rb);
}

/* Message `demote`. */
int rb_demote(struct rb_device *rb)
{
	int ret = 0;

	mutex_lock(&rb->admin);
	if (READ_ONCE(rb->fenced))
		rb_write_fail_waiters(rb);
	spin_lock_irq(&rb->lock);
	if (rb->role != RB_PRIMARY)
		ret = -EALREADY;
	else if (rb->inflight)
		ret = -EBUSY;
	else
		WRITE_ONCE(rb->role, RB_BACKUP);
	spin_unlock_irq(&rb->lock);
	if (!ret) {
		rb_node_wake(rb);
		rb_step_down(rb);
	}
	mutex_unlock(&rb->admin);
	if (ret)
		DMWARN("%s: not demoted (error %d)", rb_device_name(rb), ret);
	return ret;
}
