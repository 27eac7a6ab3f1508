// SPDX-License-Identifier: GPL-2.0-only
/*
 * Messages: promote, demote, hold, step, release, verify, disconnect, connect.
 */
#include <linux/kernel.h>

#include "dm-rollbaccine.h"

static int rb_message_refuse(struct rb_device *rb, const char *why, int error)
{
	DMWARN("%s: message refused: %s", rb_device_name(rb), why);
	return error;
}

static int rb_message_backup(struct rb_device *rb)
{
	return rb_is_primary(rb) ?
	       rb_message_refuse(rb, "only for a backup", -EINVAL) : 0;
}

/* Receive on, but apply nothing past an index. */
static int rb_message_hold(struct rb_device *rb, const char *word)
{
	u64 index;
	int ret;

	if (kstrtou64(word, 10, &index))
		return rb_message_refuse(rb, "not an index", -EINVAL);
	ret = rb_message_backup(rb);
	if (ret)
		return ret;
	spin_lock_irq(&rb->lock);
	rb->backup.holding = true;
	rb->backup.hold = index;
	spin_unlock_irq(&rb->lock);
	rb_backup_apply(rb);
	return 0;
}

/* Let the next @word operations be applied. */
static int rb_message_step(struct rb_device *rb, const char *word)
{
	struct rb_backup *b = &rb->backup;
	u64 steps, applied;
	bool holding;
	int ret;

	if (kstrtou64(word, 10, &steps) || !steps)
		return rb_message_refuse(rb, "not a number", -EINVAL);
	ret = rb_message_backup(rb);
	if (ret)
		return ret;
	applied = READ_ONCE(rb->store.applied);
	spin_lock_irq(&rb->lock);
	holding = b->holding;
	if (holding)
		b->hold = max(b->hold, applied) + steps;
	spin_unlock_irq(&rb->lock);
	if (!holding)
		return rb_message_refuse(rb, "nothing is held", -EINVAL);
	rb_backup_apply(rb);
	return 0;
}

static int rb_message_release(struct rb_device *rb)
{
	spin_lock_irq(&rb->lock);
	rb->backup.holding = false;
	spin_unlock_irq(&rb->lock);
	rb_backup_apply(rb);
	return 0;
}

/* Cut a peer off, until it is allowed back. */
static int rb_message_block(struct rb_device *rb, const char *word, bool block)
{
	struct rb_peer *peer;
	u64 id;

	if (kstrtou64(word, 10, &id))
		return rb_message_refuse(rb, "not an id", -EINVAL);
	rb_for_each_peer(peer, rb) {
		if (peer->id != id)
			continue;
		WRITE_ONCE(peer->blocked, block);
		if (block)
			rb_peer_break(peer);
		return 0;
	}
	return rb_message_refuse(rb, "no such peer", -EINVAL);
}

int rb_message(struct dm_target *ti, unsigned int argc, char **argv,
	       char *result, unsigned int maxlen)
{
	struct rb_device *rb = ti->private;

	if (argc == 1 && !strcasecmp(argv[0], "promote"))
		return rb_promote(rb);
	if (argc == 1 && !strcasecmp(argv[0], "demote"))
		return rb_demote(rb);
	if (argc == 2 && !strcasecmp(argv[0], "hold"))
		return rb_message_hold(rb, argv[1]);
	if (argc == 1 && !strcasecmp(argv[0], "step"))
		return rb_message_step(rb, "1");
	if (argc == 2 && !strcasecmp(argv[0], "step"))
		return rb_message_step(rb, argv[1]);
	if (argc == 1 && !strcasecmp(argv[0], "release"))
		return rb_message_release(rb);
	if (argc == 1 && !strcasecmp(argv[0], "verify"))
		return rb_verify_begin(rb);
	if (argc == 2 && !strcasecmp(argv[0], "disconnect"))
		return rb_message_block(rb, argv[1], true);
	if (argc == 2 && !strcasecmp(argv[0], "connect"))
		return rb_message_block(rb, argv[1], false);
	return rb_message_refuse(rb, "unknown", -EINVAL);
}
