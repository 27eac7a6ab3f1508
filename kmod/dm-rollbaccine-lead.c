// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who leads: promotion of a backup, and the way back.
 *
 * A candidate asks every node to promise that it will follow nobody of a lower
 * epoch than the one asked for; a promise also says what that node has.  With
 * N backups and a quorum of Q, N - Q + 1 promises, the candidate's own among
 * them, meet every quorum that acknowledged anything: nothing acknowledged can
 * be overlooked, and no lower leader can find a quorum any more.  Before it
 * asks for promises it asks who would give one.
 */
#include <linux/random.h>

#include "dm-rollbaccine.h"

/* So many numbers of epochs are tried. */
#define RB_VOTE_ROUNDS 8

/*
 * Forget the keys of leaderships that no block refers to any more.  Nothing is
 * being received or recorded, and what will be names its epochs anew.
 */
void rb_forget_epochs(struct rb_device *rb)
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

/* Epochs that cannot be forgotten. */
static unsigned int rb_epochs_in_use(struct rb_device *rb)
{
	unsigned int count = 0;
	struct rb_epoch epoch;
	u32 from = 0;

	while (rb_keys_epochs(rb->keys, from, &epoch, 1)) {
		from = epoch.epoch + 1;
		count += !!rb_tags_epoch_blocks(rb->tags, epoch.epoch);
		if (!from)
			break;
	}
	return count;
}

static unsigned int rb_epochs_limit(struct rb_device *rb)
{
	return rb_fault_epochs(rb, RB_MAX_EPOCHS_IN_USE);
}

/* Begin to lead @number.  Nobody submits; all that was received is applied. */
int rb_lead(struct rb_device *rb, u32 number)
{
	struct rb_epoch epoch = { .epoch = number, .leader = rb->id };
	struct rb_cipher *cipher;
	int ret;

	rb_forget_epochs(rb);
	if (rb_epochs_in_use(rb) >= rb_epochs_limit(rb))
		return -ENOSPC;
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

/* Whether this node may ask at all. */
static int rb_candidate_begin(struct rb_device *rb, u32 *epoch)
{
	struct rb_backup *b = &rb->backup;
	int ret = 0;

	spin_lock_irq(&rb->lock);
	if (rb->role == RB_PRIMARY)
		ret = -EALREADY;
	else if (rb->empty || !b->whole || b->holding || rb->suspended)
		ret = -EBUSY;
	else if (READ_ONCE(rb->store.failed))
		ret = -EIO;
	else if (rb->promised == U32_MAX)
		ret = -EOVERFLOW;
	else
		*epoch = rb->promised + 1;
	spin_unlock_irq(&rb->lock);
	if (!ret && rb_epochs_in_use(rb) >= rb_epochs_limit(rb)) {
		DMERR("%s: blocks of %u epochs are left, some have to be written again",
		      rb_device_name(rb), rb_epochs_limit(rb));
		ret = -ENOSPC;
	}
	return ret;
}

/* Our own promise: nothing lower is followed any more.  @before: to undo it. */
static int rb_candidate_promise(struct rb_device *rb, u32 epoch, u32 *before)
{
	int ret = 0;

	spin_lock_irq(&rb->lock);
	if (epoch <= rb->promised) {
		ret = -ESTALE;
	} else {
		*before = rb->promised;
		rb->promised = epoch;
	}
	spin_unlock_irq(&rb->lock);
	return ret;
}

/* Nobody will ever lead that epoch: whoever has to may lead us again. */
static void rb_candidate_withdraw(struct rb_device *rb, u32 epoch, u32 before)
{
	spin_lock_irq(&rb->lock);
	if (rb->promised == epoch)
		rb->promised = before;
	spin_unlock_irq(&rb->lock);
}

/* The session with the old leader ends, with all that it has brought applied. */
static int rb_candidate_settle(struct rb_device *rb)
{
	struct rb_backup *b = &rb->backup;

	rb_backup_end_session(rb);
	rb_backup_apply(rb);
	wait_event_idle(rb->store.wait, (rb_store_quiet(&rb->store) &&
					 !READ_ONCE(b->tags_pending)) ||
					rb_stopping(rb));
	if (rb_stopping(rb))
		return -ESHUTDOWN;
	if (READ_ONCE(rb->store.failed))
		return -EIO;
	if (!READ_ONCE(b->whole))
		return -EBUSY;
	/* The indices of a resync that has brought nothing are not ours. */
	if (b->received != b->position) {
		b->received = b->position;
		rb_store_reset(&rb->store, b->position);
	}
	return 0;
}

static bool rb_candidate_behind(struct rb_device *rb,
				const struct rb_hs_listener *other)
{
	return other->data_epoch > rb->data_epoch ||
	       (other->data_epoch == rb->data_epoch &&
		other->received > rb->backup.position);
}

/*
 * What the primary we follow had issued when it answered may still be on its
 * way to us: it has later data only if that does not arrive.
 */
static void rb_candidate_catch_up(struct rb_device *rb, struct rb_peer *peer,
				  const struct rb_hs_listener *other)
{
	u64 before;

	do {
		before = READ_ONCE(rb->backup.position);
		wait_event_idle_timeout(rb->store.wait,
					!rb_candidate_behind(rb, other) ||
					READ_ONCE(rb->backup.leader) != peer ||
					rb_stopping(rb),
					rb_peer_timeout(rb));
	} while (rb_candidate_behind(rb, other) &&
		 READ_ONCE(rb->backup.leader) == peer && !rb_stopping(rb) &&
		 READ_ONCE(rb->backup.position) != before);
}

/**
 * struct rb_vote - one round of questions
 * @epoch: asked for
 * @probe: nothing is promised yet
 * @absent: those who did not answer the probes
 * @known: the highest epoch that somebody has promised already
 * @later: somebody has later data
 */
struct rb_vote {
	u32 epoch;
	bool probe;
	bool absent[RB_MAX_PEERS];
	u32 known;
	bool later;
};

/*
 * Ask one.  Returns 1 for a promise that counts, 0 for none, or why there is to
 * be no second round.  A primary that has gone on without us since the first
 * has no say in that one: what is acknowledged is known to those who count.
 */
static int rb_candidate_ask_one(struct rb_device *rb, struct rb_vote *vote,
				struct rb_peer *peer)
{
	bool *absent = &vote->absent[peer - rb->peers];
	struct rb_hs_listener other;
	int ret;

	if (READ_ONCE(peer->blocked) || *absent)
		return 0;
	ret = rb_dial_ask(peer, vote->epoch, vote->probe, &other);
	if (ret && ret != -ECONNREFUSED) {
		*absent = vote->probe;
		return 0;
	}
	/* Who has forgotten everything has forgotten promises too. */
	if (!other.epoch || (other.flags & RB_HS_EMPTY))
		return 0;
	if (memcmp(other.cluster, rb->cluster, sizeof(rb->cluster)))
		return 0;
	if (vote->probe)
		rb_candidate_catch_up(rb, peer, &other);
	if (rb_candidate_behind(rb, &other)) {
		DMWARN("%s: node %llu has later data: %u:%llu, not %u:%llu",
		       rb_device_name(rb), peer->id, other.data_epoch,
		       other.received, rb->data_epoch, rb->backup.position);
		vote->later = true;
		return vote->probe ? -ESTALE : 0;
	}
	if (ret)
		vote->known = max(vote->known, other.epoch);
	return !ret;
}

/* Returns 0 if there are enough promises. */
static int rb_candidate_ask(struct rb_device *rb, struct rb_vote *vote)
{
	unsigned int needed = rb->nr_peers - rb->quorum + 1;
	unsigned int promises = 1;
	struct rb_peer *peer;
	int ret;

	vote->known = 0;
	rb_for_each_peer(peer, rb) {
		ret = rb_candidate_ask_one(rb, vote, peer);
		if (ret < 0)
			return ret;
		promises += ret;
	}
	/* Promised to one that never led: a higher number will do. */
	if (vote->known >= vote->epoch)
		return vote->known < U32_MAX ? -EAGAIN : -EOVERFLOW;
	if (promises >= needed)
		return 0;
	DMWARN("%s: %u of %u promises", rb_device_name(rb), promises, needed);
	return vote->later ? -ESTALE : -EHOSTUNREACH;
}

/*
 * First it is found out who would promise.  So an attempt that must fail leaves
 * everything as it is: no promise, and no session that has ended.
 */
static int rb_candidate_probe(struct rb_device *rb, struct rb_vote *vote)
{
	unsigned int rounds;
	int ret = -EAGAIN;

	vote->probe = true;
	for (rounds = 0; ret == -EAGAIN && rounds < RB_VOTE_ROUNDS; rounds++) {
		ret = rb_candidate_ask(rb, vote);
		if (ret == -EAGAIN)
			vote->epoch = vote->known + 1;
	}
	vote->probe = false;
	return ret;
}

/*
 * In earnest.  Those who dial us meanwhile hear of the epoch before they are
 * asked for it, and want a higher one.
 */
static int rb_candidate_collect(struct rb_device *rb, struct rb_vote *vote)
{
	unsigned int rounds = 0;
	u32 before;
	int ret;

	for (;;) {
		ret = rb_candidate_ask(rb, vote);
		if (ret != -EAGAIN || ++rounds == RB_VOTE_ROUNDS)
			return ret;
		vote->epoch = vote->known + 1;
		ret = rb_candidate_promise(rb, vote->epoch, &before);
		if (ret)
			return ret;
	}
}

/* From our own promise to the leadership. */
static int rb_candidate_run(struct rb_device *rb, struct rb_vote *vote)
{
	u32 before;
	int ret;

	ret = rb_candidate_promise(rb, vote->epoch, &before);
	if (ret)
		return ret;
	ret = rb_candidate_settle(rb);
	if (!ret)
		ret = rb_candidate_collect(rb, vote);
	if (!ret)
		ret = blkdev_issue_flush(rb->store.bdev);
	if (!ret && READ_ONCE(rb->promised) != vote->epoch)
		/* Somebody else asked meanwhile, and was promised it. */
		ret = -ESTALE;
	if (!ret)
		ret = rb_lead(rb, vote->epoch);
	if (ret)
		rb_candidate_withdraw(rb, vote->epoch, before);
	return ret;
}

/* Message `promote`. */
int rb_promote(struct rb_device *rb)
{
	struct rb_vote vote = {};
	int ret;

	mutex_lock(&rb->admin);
	ret = rb_candidate_begin(rb, &vote.epoch);
	if (!ret)
		ret = rb_candidate_probe(rb, &vote);
	if (!ret)
		ret = rb_candidate_run(rb, &vote);
	mutex_unlock(&rb->admin);
	if (ret)
		DMWARN("%s: not promoted (error %d)", rb_device_name(rb), ret);
	else
		DMINFO("%s: leads epoch %u", rb_device_name(rb), vote.epoch);
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
	rb->backup.position = rb->primary.issued;
	rb->backup.whole = !READ_ONCE(rb->store.errors);
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
