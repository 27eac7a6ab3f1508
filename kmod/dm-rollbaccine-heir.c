// SPDX-License-Identifier: GPL-2.0-only
/*
 * A new table for a device that is there: it takes over the memory of the old
 * one.  Until it is resumed it owns nothing; then the old one, suspended, gives
 * up its threads and connections, and what it knew passes on.
 */
#include "dm-rollbaccine.h"

static DEFINE_MUTEX(rb_devices_lock);
static LIST_HEAD(rb_devices); /* started */

static void rb_heir_register(struct rb_device *rb)
{
	mutex_lock(&rb_devices_lock);
	list_add(&rb->devices, &rb_devices);
	mutex_unlock(&rb_devices_lock);
}

/* Idempotent. */
void rb_heir_unregister(struct rb_device *rb)
{
	mutex_lock(&rb_devices_lock);
	list_del_init(&rb->devices);
	mutex_unlock(&rb_devices_lock);
}

/* The one that this mapped device runs now.  Lock held. */
static struct rb_device *rb_heir_find(struct rb_device *rb)
{
	struct mapped_device *md = dm_table_get_md(rb->ti->table);
	struct rb_device *other;

	list_for_each_entry(other, &rb_devices, devices)
		if (other != rb && dm_table_get_md(other->ti->table) == md)
			return other;
	return NULL;
}

static bool rb_heir_same(const struct rb_device *rb,
			 const struct rb_device *old)
{
	return rb->id == old->id && rb->tree_pages == old->tree_pages &&
	       rb->dev->bdev == old->dev->bdev && !strcmp(rb->key, old->key);
}

/* The constructor: returns 1 if there is somebody to take over from. */
int rb_heir_expect(struct rb_device *rb)
{
	struct rb_device *old;
	int ret = 0;

	mutex_lock(&rb_devices_lock);
	old = rb_heir_find(rb);
	if (old && old->sectors != rb->sectors) {
		rb->ti->error = "Length cannot be changed";
		ret = -EINVAL;
	} else if (old && rb->create) {
		rb->ti->error = "create on a device that is there";
		ret = -EINVAL;
	} else if (old) {
		ret = 1;
	}
	mutex_unlock(&rb_devices_lock);
	return ret;
}

static int rb_heir_epochs(struct rb_device *rb, struct rb_device *old)
{
	struct rb_epoch epoch;
	u32 from = 0;
	int ret = 0;

	while (!ret && rb_keys_epochs(old->keys, from, &epoch, 1)) {
		ret = rb_keys_add_epoch(rb->keys, old->cluster, &epoch);
		from = epoch.epoch + 1;
	}
	return ret;
}

/* Both are at rest: nobody else looks at either. */
static int rb_heir_inherit(struct rb_device *rb, struct rb_device *old)
{
	int ret = rb_heir_epochs(rb, old);

	if (ret)
		return ret;
	rb_tags_put(rb->tags);
	rb->tags = rb_tags_hold(old->tags);
	memcpy(rb->cluster, old->cluster, sizeof(rb->cluster));
	rb->incarnation = old->incarnation;
	rb->empty = old->empty;
	rb->epoch = old->epoch;
	rb->promised = old->promised;
	rb->data_epoch = old->data_epoch;
	rb->fenced = old->fenced;
	rb->role = old->role;
	rb->corrupt = old->corrupt;
	rb->repaired = old->repaired;
	rb->resynced = old->resynced;
	rb->rejected = old->rejected;
	rb->primary.issued = old->primary.issued;
	rb->backup.received = old->store.applied;
	rb->backup.whole = old->backup.whole;
	rb->backup.position = old->backup.position;
	rb->backup.scan = old->backup.scan;
	rb->backup.holding = old->backup.holding;
	rb->backup.hold = old->backup.hold;
	rb->store.applied = old->store.applied;
	rb->store.durable = old->store.durable;
	rb->store.errors = old->store.errors;
	rb->store.failed = old->store.failed;
	rb->store.freeze_on_error = old->store.freeze_on_error;
	if (rb->role == RB_PRIMARY)
		rb->primary.cipher = rb_cipher_get(rb->keys, rb->epoch);
	rb->state = old->state;
	return rb->role == RB_PRIMARY && !rb->primary.cipher ? -ENOKEY : 0;
}

/*
 * Before the first resume.  What the old one had received and not applied, its
 * primary sends again.
 */
int rb_heir_start(struct rb_device *rb)
{
	struct rb_device *old;
	int ret = 0;

	if (rb->started)
		return 0;
	mutex_lock(&rb_devices_lock);
	old = rb_heir_find(rb);
	if (old)
		list_del_init(&old->devices);
	mutex_unlock(&rb_devices_lock);
	if (old) {
		rb_node_halt(old);
		if (rb_heir_same(rb, old))
			ret = rb_heir_inherit(rb, old);
	}
	if (!ret)
		ret = rb_node_open(rb);
	if (!ret)
		rb_heir_register(rb);
	else
		DMERR("%s: the new table cannot be used (error %d)",
		      rb_device_name(rb), ret);
	return ret;
}
