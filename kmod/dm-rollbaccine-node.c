// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a node is: its role, its epoch, whom it follows, whether it counts.
 */
#include <linux/random.h>
#include <linux/slab.h>

#include "dm-rollbaccine.h"

/* Lock held, or a snapshot for the status. */
unsigned int rb_node_synced(const struct rb_device *rb)
{
	const struct rb_peer *peer;
	unsigned int synced = 0;

	rb_for_each_peer(peer, rb)
		synced += peer->up && peer->insync;
	return synced;
}

static u64 rb_node_level(const struct rb_device *rb,
			 const struct rb_progress *progress)
{
	switch (rb->ack) {
	case RB_ACK_MEMORY:
		return progress->received;
	case RB_ACK_WRITE:
		return progress->applied;
	default:
		return progress->durable;
	}
}

/* Whether a quorum of peers has acknowledged @index.  Lock held. */
bool rb_node_acked(struct rb_device *rb, u64 index)
{
	const struct rb_peer *peer;
	unsigned int count = 0;

	rb_for_each_peer(peer, rb)
		count += peer->up && peer->insync &&
			 rb_node_level(rb, &peer->progress) >= index;
	return count >= rb->quorum || rb_fault_skips_peer(rb);
}

/* The @n-th largest of @count numbers; 0 if there are fewer. */
static u64 rb_nth_largest(u64 *numbers, unsigned int count, unsigned int n)
{
	unsigned int i, j;

	for (i = 1; i < count; i++)
		for (j = i; j && numbers[j] > numbers[j - 1]; j--)
			swap(numbers[j], numbers[j - 1]);
	return n && n <= count ? numbers[n - 1] : 0;
}

/* How far the quorum-th best peer in sync is.  Lock held. */
void rb_node_quorum_progress(struct rb_device *rb, struct rb_progress *ret,
			     u64 *sent)
{
	u64 received[RB_MAX_PEERS], applied[RB_MAX_PEERS];
	u64 durable[RB_MAX_PEERS], out[RB_MAX_PEERS];
	const struct rb_peer *peer;
	unsigned int n = 0;

	rb_for_each_peer(peer, rb) {
		if (!peer->up || !peer->insync)
			continue;
		received[n] = peer->progress.received;
		applied[n] = peer->progress.applied;
		durable[n] = peer->progress.durable;
		out[n++] = peer->sent;
	}
	ret->received = rb_nth_largest(received, n, rb->quorum);
	ret->applied = rb_nth_largest(applied, n, rb->quorum);
	ret->durable = rb_nth_largest(durable, n, rb->quorum);
	*sent = rb_nth_largest(out, n, rb->quorum);
}

static enum rb_state rb_node_find_state(struct rb_device *rb)
{
	const struct rb_backup *b = &rb->backup;

	if (rb->role == RB_PRIMARY) {
		if (rb->fenced)
			return RB_FENCED;
		return rb_node_synced(rb) >= rb->quorum ? RB_CONNECTED :
							   RB_CONNECTING;
	}
	if (READ_ONCE(rb->store.failed))
		return RB_FAILED;
	if (rb->empty)
		return RB_RECOVERING;
	if (!b->whole)
		return RB_SYNCING;
	return b->leader && b->insync ? RB_CONNECTED : RB_CONNECTING;
}

/* Everyone who waits for something of the device looks again. */
void rb_node_wake(struct rb_device *rb)
{
	struct rb_peer *peer;

	wake_up_all(&rb->primary.issue_wait);
	wake_up_all(&rb->primary.drain_wait);
	wake_up_all(&rb->backup.resync_wait);
	wake_up_all(&rb->store.wait);
	wake_up_all(&rb->wait);
	rb_for_each_peer(peer, rb) {
		wake_up_all(&peer->wait);
		wake_up_all(&peer->send_wait);
	}
}

/* Something the state depends on has changed.  Process context. */
void rb_node_evaluate(struct rb_device *rb)
{
	enum rb_state state;
	bool changed;

	spin_lock_irq(&rb->lock);
	state = rb_node_find_state(rb);
	changed = state != rb->state;
	WRITE_ONCE(rb->state, state);
	if (state == RB_CONNECTED)
		rb->primary.alone_ticks = 0;
	spin_unlock_irq(&rb->lock);
	if (!changed)
		return;
	rb_write_complete(rb);
	rb_node_wake(rb);
	if (!rb_stopping(rb))
		dm_table_event(rb->ti->table);
}

/*
 * A primary below its quorum: what waits is failed once that has lasted for a
 * whole timeout, counted in ticks seen.
 */
void rb_node_tick(struct rb_device *rb)
{
	struct rb_primary *p = &rb->primary;
	bool fail = false;

	spin_lock_irq(&rb->lock);
	if (rb->role == RB_PRIMARY && rb->state == RB_CONNECTING) {
		if (p->alone_ticks < RB_TICKS)
			p->alone_ticks++;
		fail = p->alone_ticks >= RB_TICKS &&
		       rb->on_peer_loss == RB_LOSS_ERROR;
	}
	spin_unlock_irq(&rb->lock);
	if (fail)
		rb_write_fail_waiters(rb);
}

/* There is a higher epoch: nothing succeeds here any more. */
void rb_node_fence(struct rb_device *rb, u32 epoch, u64 by)
{
	bool fenced = false;

	if (rb_fault_ignores_epoch(rb))
		return;
	spin_lock_irq(&rb->lock);
	if (epoch > rb->promised)
		rb->promised = epoch;
	if (rb->role == RB_PRIMARY && !rb->fenced && epoch > rb->epoch) {
		rb->fenced = true;
		fenced = true;
	}
	spin_unlock_irq(&rb->lock);
	if (!fenced)
		return;
	DMERR("%s: fenced: node %llu knows of epoch %u", rb_device_name(rb),
	      by, epoch);
	rb_write_fail_waiters(rb);
	rb_node_evaluate(rb);
}

/* A leadership we have heard of. */
int rb_node_add_epoch(struct rb_device *rb, const struct rb_epoch *epoch)
{
	int ret;

	ret = rb_keys_add_epoch(rb->keys, rb->cluster, epoch);
	return ret ?: rb_tags_epoch_add(rb->tags, epoch->epoch);
}

static enum rb_wire_verdict
rb_node_judge_candidate(struct rb_device *rb,
			const struct rb_hs_connector *hello, bool *fence)
{
	if (hello->epoch <= rb->promised)
		return RB_VERDICT_EPOCH;
	if (rb->empty || memcmp(hello->cluster, rb->cluster,
				sizeof(rb->cluster)))
		return RB_VERDICT_CLUSTER;
	if (hello->flags & RB_HS_PROBE)
		return RB_VERDICT_ACCEPTED;
	rb->promised = hello->epoch;
	*fence = rb->role == RB_PRIMARY;
	return RB_VERDICT_ACCEPTED;
}

static enum rb_wire_verdict
rb_node_judge_leader(struct rb_device *rb, struct rb_peer *peer,
		     const struct rb_hs_connector *hello, bool *fence)
{
	if (hello->flags & RB_HS_EMPTY)
		return RB_VERDICT_IDENTITY;
	if (!rb->empty && memcmp(hello->cluster, rb->cluster,
				 sizeof(rb->cluster)))
		return RB_VERDICT_CLUSTER;
	if (rb->role == RB_PRIMARY) {
		*fence = hello->epoch > rb->epoch;
		return *fence ? RB_VERDICT_BUSY : RB_VERDICT_EPOCH;
	}
	if (hello->epoch < rb->promised && !rb_fault_ignores_epoch(rb))
		return RB_VERDICT_EPOCH;
	if (rb->backup.leader && rb->backup.leader != peer &&
	    hello->epoch == rb->epoch)
		return RB_VERDICT_BUSY;
	if (peer->blocked)
		return RB_VERDICT_BUSY;
	rb->promised = max(rb->promised, hello->epoch);
	return RB_VERDICT_ACCEPTED;
}

/* Whether an authenticated connector is welcome; remembers what was promised. */
enum rb_wire_verdict rb_node_judge(struct rb_device *rb, struct rb_peer *peer,
				   const struct rb_hs_connector *hello)
{
	enum rb_wire_verdict verdict;
	bool adopt = false, fence = false;

	if (READ_ONCE(rb->store.failed))
		return RB_VERDICT_FAILED;
	if (hello->sectors != rb->sectors)
		return RB_VERDICT_SIZE;
	spin_lock_irq(&rb->lock);
	if (hello->flags & RB_HS_CANDIDATE)
		verdict = rb_node_judge_candidate(rb, hello, &fence);
	else
		verdict = rb_node_judge_leader(rb, peer, hello, &fence);
	if (verdict == RB_VERDICT_ACCEPTED &&
	    memcmp(rb->cluster, hello->cluster, sizeof(rb->cluster))) {
		memcpy(rb->cluster, hello->cluster, sizeof(rb->cluster));
		adopt = true;
	}
	spin_unlock_irq(&rb->lock);
	if (adopt)
		/* Of a history that this memory does not hold any more. */
		rb_keys_forget_all(rb->keys);
	if (fence)
		rb_node_fence(rb, hello->epoch, peer->id);
	return verdict;
}

void rb_node_describe(struct rb_device *rb, struct rb_hs_listener *ret)
{
	struct rb_progress progress;

	memset(ret, 0, sizeof(*ret));
	rb_backup_read_progress(rb, &progress);
	spin_lock_irq(&rb->lock);
	ret->id = rb->id;
	ret->incarnation = rb->incarnation;
	ret->sectors = rb->sectors;
	ret->received = rb->role == RB_PRIMARY ? rb->primary.issued :
						 rb->backup.position;
	ret->applied = min(progress.applied, ret->received);
	ret->durable = min(progress.durable, ret->applied);
	ret->epoch = rb->promised;
	ret->data_epoch = rb->data_epoch;
	if (rb->empty)
		ret->flags |= RB_HS_EMPTY;
	if (rb->backup.whole || rb->role == RB_PRIMARY)
		ret->flags |= RB_HS_INSYNC;
	if (!rb->empty)
		memcpy(ret->cluster, rb->cluster, sizeof(ret->cluster));
	spin_unlock_irq(&rb->lock);
}

static int rb_node_init_memory(struct rb_device *rb)
{
	struct rb_tags_params params = {
		.blocks = rb_blocks(rb),
		.bdev = rb->dev->bdev,
		.tree_pages = rb->tree_pages,
		.cache_pages = rb->tree_cache_pages,
	};
	int ret;

	ret = rb_tags_create(&params, &rb->tags);
	if (ret) {
		rb->ti->error = ret == -EINVAL ? "Too few tree_pages" :
						 "Cannot allocate tags";
		return ret;
	}
	rb->empty = true;
	rb->state = RB_RECOVERING;
	do {
		rb->incarnation = get_random_u64();
	} while (!rb->incarnation);
	return 0;
}

static int rb_node_start_threads(struct rb_device *rb)
{
	struct rb_peer *peer;
	int ret;

	ret = rb_thread_start(&rb->primary.issue_thread,
			      rb_write_issue_thread, rb, rb->id, "issue");
	if (!ret)
		ret = rb_thread_start(&rb->backup.resync_thread,
				      rb_resync_thread, rb, rb->id, "resync");
	rb_for_each_peer(peer, rb)
		if (!ret)
			ret = rb_peer_start(peer);
	if (!ret)
		ret = rb_thread_start(&rb->listen_thread, rb_listen_thread, rb,
				      rb->id, "listen");
	return ret;
}

static void rb_node_init(struct rb_device *rb)
{
	struct rb_primary *p = &rb->primary;
	struct rb_backup *b = &rb->backup;

	init_waitqueue_head(&p->issue_wait);
	init_waitqueue_head(&p->drain_wait);
	mutex_init(&p->issue);
	bio_list_init(&p->held);
	INIT_LIST_HEAD(&p->log);
	INIT_LIST_HEAD(&p->waiters);
	init_waitqueue_head(&b->resync_wait);
	INIT_LIST_HEAD(&b->queue);
	mutex_init(&b->apply);
	mutex_init(&rb->admin);
	rb_verify_init(rb);
	timer_setup(&b->report_timer, rb_backup_report_timer, 0);
	rb->role = RB_BACKUP;
}

/*
 * Everything that makes no noise: memory, pools, queues.  On failure everything
 * is undone but what rb_parse_args() did.
 */
int rb_node_prepare(struct rb_device *rb)
{
	struct rb_peer *peer;
	int ret = 0;

	rb_node_init(rb);
	rb_for_each_peer(peer, rb)
		ret = rb_peer_init(rb, peer) ?: ret;
	if (!ret)
		ret = rb_listen_init(rb);
	if (!ret)
		ret = rb_mend_init(rb);
	if (!ret)
		ret = rb_node_init_memory(rb);
	if (ret)
		goto out_exit_peers;
	rb->store.freeze_on_error = true;
	ret = rb_store_init(&rb->store, rb);
	if (!ret)
		return 0;
	rb_tags_put(rb->tags);
out_exit_peers:
	rb_mend_exit(rb);
	rb_listen_exit(rb);
	rb_for_each_peer(peer, rb)
		rb_peer_exit(peer);
	return ret;
}

/* Listen, dial, serve.  On failure rb_node_free() undoes all there is. */
int rb_node_open(struct rb_device *rb)
{
	int ret;

	ret = rb_net_listen(rb, &rb->listener);
	if (ret) {
		rb->ti->error = "Cannot listen on the address and port";
		return ret;
	}
	if (rb->create) {
		get_random_bytes(rb->cluster, sizeof(rb->cluster));
		ret = rb_lead(rb, 1);
	}
	if (!ret)
		ret = rb_node_start_threads(rb);
	WRITE_ONCE(rb->started, !ret);
	return ret;
}

/* What was never sent to anybody. */
void rb_node_drop_log(struct rb_device *rb)
{
	struct rb_op *op, *next;
	LIST_HEAD(dropped);

	spin_lock_irq(&rb->lock);
	list_splice_init(&rb->primary.log, &dropped);
	spin_unlock_irq(&rb->lock);
	list_for_each_entry_safe(op, next, &dropped, log) {
		list_del_init(&op->log);
		rb_op_put(op);
	}
}

/* Be silent, for good: no thread, no connection, nothing under way. */
void rb_node_halt(struct rb_device *rb)
{
	struct rb_peer *peer;

	WRITE_ONCE(rb->stopping, true);
	rb_store_resume(&rb->store);
	rb_node_wake(rb);
	rb_thread_stop(&rb->listen_thread);
	rb_listen_stop(rb);
	rb_for_each_peer(peer, rb)
		rb_peer_stop(peer);
	rb_thread_stop(&rb->backup.resync_thread);
	rb_write_fail_waiters(rb);
	rb_thread_stop(&rb->primary.issue_thread);
	rb_write_fail_waiters(rb);
	rb_backup_drop_queue(rb);
	rb_store_wait_idle(&rb->store);
	rb_node_drop_log(rb);
	del_timer_sync(&rb->backup.report_timer);
	if (rb->listener)
		sock_release(rb->listener);
	rb->listener = NULL;
}

void rb_node_free(struct rb_device *rb)
{
	struct rb_peer *peer;

	rb_node_halt(rb);
	rb_store_exit(&rb->store);
	rb_cipher_put(rb->primary.cipher);
	rb_mend_exit(rb);
	rb_listen_exit(rb);
	rb_for_each_peer(peer, rb)
		rb_peer_exit(peer);
	rb_tags_put(rb->tags);
}
