// SPDX-License-Identifier: GPL-2.0-only
/*
 * Status: INFO, TABLE and IMA.  No secret appears in any of them.
 */
#include "dm-rollbaccine.h"

/* One snapshot of every number of the status line. */
struct rb_numbers {
	enum rb_role role;
	enum rb_state state;
	u64 peer, issued, sent, acked;
	struct rb_progress progress;
	u64 inflight, early, errors;
	u32 epoch;
	u8 cluster[RB_CLUSTER_BYTES];
	unsigned int synced;
	u64 corrupt, repaired, resynced, rejected;
	bool holding;
	u64 hold;
};

static void rb_read_primary(struct rb_device *rb, struct rb_numbers *n)
{
	u64 local_durable;

	spin_lock_irq(&rb->store.lock);
	local_durable = rb->store.durable;
	spin_unlock_irq(&rb->store.lock);
	spin_lock_irq(&rb->lock);
	n->peer = rb->peers[0].id;
	n->issued = rb->primary.issued;
	rb_node_quorum_progress(rb, &n->progress, &n->sent);
	n->acked = min(local_durable, n->progress.durable);
	n->inflight = rb->inflight;
	spin_unlock_irq(&rb->lock);
}

static void rb_read_backup(struct rb_device *rb, struct rb_numbers *n)
{
	struct rb_peer *leader = READ_ONCE(rb->backup.leader);
	bool partial = READ_ONCE(rb->backup.receiving) ||
		       (leader && rb_peer_unread(leader));

	if (n->state == RB_CONNECTED && rb_backup_silent(rb))
		n->state = RB_LOST;
	n->peer = leader ? leader->id : 0;
	rb_backup_read_progress(rb, &n->progress);
	n->acked = READ_ONCE(rb->backup.reported);
	n->inflight = n->progress.received - n->progress.applied + partial;
}

static void rb_read_numbers(struct rb_device *rb, struct rb_numbers *n)
{
	memset(n, 0, sizeof(*n));
	rb_node_evaluate(rb);
	spin_lock_irq(&rb->lock);
	n->role = rb->role;
	n->state = rb->state;
	n->epoch = rb->epoch;
	memcpy(n->cluster, rb->cluster, sizeof(n->cluster));
	n->synced = rb_node_synced(rb);
	n->corrupt = rb->corrupt;
	n->repaired = rb->repaired;
	n->resynced = rb->resynced;
	n->rejected = rb->rejected;
	n->holding = rb->backup.holding;
	n->hold = rb->backup.hold;
	spin_unlock_irq(&rb->lock);
	if (n->role == RB_PRIMARY)
		rb_read_primary(rb, n);
	else
		rb_read_backup(rb, n);
	spin_lock_irq(&rb->store.lock);
	n->early = rb->store.early;
	n->errors = rb->store.errors;
	spin_unlock_irq(&rb->store.lock);
}

static const char *rb_state_name(enum rb_state state)
{
	static const char *const names[] = {
		[RB_CONNECTING] = "connecting",
		[RB_CONNECTED] = "connected",
		[RB_FENCED] = "fenced",
		[RB_FAILED] = "failed",
		[RB_LOST] = "lost",
		[RB_RECOVERING] = "recovering",
		[RB_SYNCING] = "syncing",
	};

	return names[state];
}

static size_t rb_emit_numbers(struct rb_device *rb, const struct rb_numbers *n,
			      char *result, size_t maxlen, size_t sz)
{
	DMEMIT("role %s state %s peer %llu",
	       n->role == RB_PRIMARY ? "primary" : "backup",
	       rb_state_name(n->state), n->peer);
	DMEMIT(" issued %llu sent %llu acked %llu", n->issued, n->sent,
	       n->acked);
	DMEMIT(" received %llu applied %llu durable %llu",
	       n->progress.received, n->progress.applied,
	       n->progress.durable);
	DMEMIT(" inflight %llu ooo %llu errors %llu", n->inflight, n->early,
	       n->errors);
	DMEMIT(" epoch %u cluster %*phN quorum %u synced %u", n->epoch,
	       RB_CLUSTER_BYTES, n->cluster, rb->quorum, n->synced);
	DMEMIT(" missing %llu corrupt %llu repaired %llu resynced %llu",
	       rb_tags_missing(rb->tags), n->corrupt, n->repaired,
	       n->resynced);
	DMEMIT(" rejected %llu hold ", n->rejected);
	if (n->holding)
		DMEMIT("%llu", n->hold);
	else
		DMEMIT("-");
	return sz;
}

static const char *rb_peer_state(struct rb_device *rb,
				 const struct rb_peer *peer)
{
	if (!peer->up)
		return "down";
	if (!peer->dialled)
		return "up";
	return peer->insync ? "insync" : "syncing";
}

static size_t rb_emit_peers(struct rb_device *rb, char *result, size_t maxlen,
			    size_t sz)
{
	struct rb_progress progress;
	struct rb_tags_stats stats;
	const char *state;
	struct rb_peer *peer;

	rb_tags_get_stats(rb->tags, &stats);
	DMEMIT(" memory %llu peers %u", stats.memory, rb->nr_peers);
	rb_for_each_peer(peer, rb) {
		spin_lock_irq(&rb->lock);
		state = rb_peer_state(rb, peer);
		progress = peer->progress;
		spin_unlock_irq(&rb->lock);
		DMEMIT(" %llu:%s:%llu:%llu:%llu", peer->id, state,
		       progress.received, progress.applied, progress.durable);
	}
	return sz;
}

/* See README.md for both lines. */
void rb_status(struct dm_target *ti, status_type_t type,
	       unsigned int status_flags, char *result, unsigned int maxlen)
{
	struct rb_device *rb = ti->private;
	struct rb_numbers n;
	size_t sz = 0;

	switch (type) {
	case STATUSTYPE_INFO:
		rb_read_numbers(rb, &n);
		sz = rb_emit_numbers(rb, &n, result, maxlen, sz);
		sz = rb_emit_peers(rb, result, maxlen, sz);
		rb_fault_print_status(rb, result, maxlen, sz);
		break;
	case STATUSTYPE_TABLE:
		rb_print_args(rb, result, maxlen);
		break;
	case STATUSTYPE_IMA:
		DMEMIT_TARGET_NAME_VERSION(ti->type);
		DMEMIT(",device=%s,role=%s,id=%llu,encrypted=%s;",
		       rb->dev->name, rb_is_primary(rb) ? "primary" : "backup",
		       rb->id, rb_keys_encrypted(rb->keys) ? "y" : "n");
		break;
	}
}
