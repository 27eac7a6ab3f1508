// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who may touch which blocks when.
 *
 * Whatever reads or changes blocks of the device takes a slot over their range.
 * A slot is granted when no conflicting one taken earlier is left; two conflict
 * if they overlap and do not both share.
 */
#include <linux/interval_tree_generic.h>

#include "dm-rollbaccine.h"

#define RB_SLOT_FIRST(slot) ((slot)->first)
#define RB_SLOT_LAST(slot) ((slot)->last)
INTERVAL_TREE_DEFINE(struct rb_slot, node, u64, subtree_last, RB_SLOT_FIRST,
		     RB_SLOT_LAST, static inline, rb_range)

void rb_slot_init(struct rb_slot *slot, u64 first, u64 blocks, bool shared,
		  void (*granted)(struct rb_slot *slot))
{
	slot->first = first;
	slot->last = first + blocks - 1;
	slot->shared = shared;
	slot->granted = granted;
	slot->blockers = 0;
	INIT_LIST_HEAD(&slot->ready);
}

/* Returns whether it is granted; otherwise slot->granted will be called. */
bool rb_slot_take_locked(struct rb_store *store, struct rb_slot *slot)
{
	struct rb_slot *earlier;

	lockdep_assert_held(&store->lock);
	for (earlier = rb_range_iter_first(&store->ranges, slot->first,
					   slot->last);
	     earlier;
	     earlier = rb_range_iter_next(earlier, slot->first, slot->last))
		slot->blockers += !(slot->shared && earlier->shared);
	rb_range_insert(slot, &store->ranges);
	store->slots++;
	return !slot->blockers;
}

bool rb_slot_take(struct rb_store *store, struct rb_slot *slot)
{
	unsigned long flags;
	bool granted;

	spin_lock_irqsave(&store->lock, flags);
	granted = rb_slot_take_locked(store, slot);
	spin_unlock_irqrestore(&store->lock, flags);
	return granted;
}

static void rb_slot_woken(struct rb_slot *slot)
{
	complete(&container_of(slot, struct rb_waiting_slot, slot)->granted);
}

/* Take it and sleep until it is granted. */
void rb_slot_wait(struct rb_store *store, struct rb_waiting_slot *waiting,
		  u64 first, u64 blocks, bool shared)
{
	init_completion(&waiting->granted);
	rb_slot_init(&waiting->slot, first, blocks, shared, rb_slot_woken);
	if (!rb_slot_take(store, &waiting->slot))
		wait_for_completion(&waiting->granted);
}

/* Only granted ones are released: what conflicts and is still here is later. */
void rb_slot_release_locked(struct rb_store *store, struct rb_slot *slot)
{
	struct rb_slot *later;

	lockdep_assert_held(&store->lock);
	rb_range_remove(slot, &store->ranges);
	for (later = rb_range_iter_first(&store->ranges, slot->first,
					 slot->last);
	     later;
	     later = rb_range_iter_next(later, slot->first, slot->last)) {
		if ((slot->shared && later->shared) || --later->blockers)
			continue;
		list_add_tail(&later->ready, &store->ready);
	}
	if (!list_empty(&store->ready))
		queue_work(store->wq, &store->ready_work);
	if (!--store->slots)
		wake_up(&store->wait);
}

void rb_slot_release(struct rb_store *store, struct rb_slot *slot)
{
	unsigned long flags;

	spin_lock_irqsave(&store->lock, flags);
	rb_slot_release_locked(store, slot);
	spin_unlock_irqrestore(&store->lock, flags);
}

void rb_slot_ready_work(struct work_struct *work)
{
	struct rb_store *store = container_of(work, struct rb_store,
					      ready_work);
	struct rb_slot *slot, *next;
	LIST_HEAD(ready);

	spin_lock_irq(&store->lock);
	list_splice_init(&store->ready, &ready);
	spin_unlock_irq(&store->lock);
	list_for_each_entry_safe(slot, next, &ready, ready) {
		list_del_init(&slot->ready);
		slot->granted(slot);
	}
}
