// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device-mapper face of the rollbaccine target.
 */
#include <linux/module.h>
#include <linux/slab.h>

#include "dm-rollbaccine.h"

#define RB_VERSION "2.0.0"

const char *rb_device_name(const struct rb_device *rb)
{
	return dm_table_device_name(rb->ti->table);
}

static int rb_check_size(struct rb_device *rb)
{
	struct dm_target *ti = rb->ti;
	u64 blocks = bdev_nr_sectors(rb->dev->bdev) / RB_BLOCK_SECTORS;

	if (ti->len % RB_BLOCK_SECTORS || ti->begin % RB_BLOCK_SECTORS) {
		ti->error = "Start and length must be multiples of 8 sectors";
		return -EINVAL;
	}
	if (rb->tree_pages > blocks ||
	    ti->len / RB_BLOCK_SECTORS > blocks - rb->tree_pages) {
		ti->error = "Device is smaller than the target";
		return -EINVAL;
	}
	rb->sectors = ti->len;
	return 0;
}

static void rb_set_features(struct dm_target *ti)
{
	ti->num_flush_bios = 1;
	ti->flush_supported = true;
	ti->num_discard_bios = 1;
	ti->num_write_zeroes_bios = 1;
	ti->per_io_data_size = RB_PER_BIO_SIZE;
}

/*
 * <device> <primary|backup> <id> <logon:description|-> <ipv4:port>
 *	<#peers> {<id> <ipv4:port>}* [<#feature words> <features>]
 *
 * See README.md for the features.
 */
static int rb_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct rb_device *rb;
	int ret;

	rb = kzalloc(sizeof(*rb), GFP_KERNEL);
	if (!rb) {
		ti->error = "Cannot allocate the device";
		return -ENOMEM;
	}
	rb->ti = ti;
	spin_lock_init(&rb->lock);
	init_waitqueue_head(&rb->wait);
	INIT_LIST_HEAD(&rb->devices);
	rb_fault_init(rb);

	ret = rb_parse_args(rb, argc, argv);
	if (!ret)
		ret = rb_check_size(rb);
	if (ret)
		goto out_free;
	ret = dm_set_target_max_io_len(ti, RB_MAX_DATA_SECTORS);
	if (ret)
		goto out_free;
	rb_set_features(ti);
	rb_fault_start(rb);

	ti->error = "Cannot start";
	ret = rb_node_prepare(rb);
	if (ret)
		goto out_free;
	ret = rb_heir_expect(rb);
	if (!ret)
		ret = rb_heir_start(rb);
	if (ret < 0)
		goto out_free_node;
	ti->error = NULL;
	ti->private = rb;
	return 0;

out_free_node:
	rb_node_free(rb);
out_free:
	rb_free_args(rb);
	kfree(rb);
	return ret;
}

static void rb_dtr(struct dm_target *ti)
{
	struct rb_device *rb = ti->private;

	rb_heir_unregister(rb);
	rb_node_free(rb);
	rb_free_args(rb);
	kfree(rb);
}

static int rb_map(struct dm_target *ti, struct bio *bio)
{
	struct rb_device *rb = ti->private;

	if (bio_op(bio) == REQ_OP_READ)
		return rb_read_map(rb, bio);
	if (rb_is_primary(rb))
		return rb_write_map(rb, bio);
	/* A flush that carries nothing changes nothing. */
	if (bio_op(bio) == REQ_OP_WRITE && !bio_sectors(bio)) {
		bio_set_dev(bio, rb->dev->bdev);
		return DM_MAPIO_REMAPPED;
	}
	return DM_MAPIO_KILL;
}

static bool rb_drained(struct rb_device *rb)
{
	struct rb_progress progress;
	bool drained;
	u64 sent;

	spin_lock_irq(&rb->lock);
	rb_node_quorum_progress(rb, &progress, &sent);
	drained = rb->state != RB_CONNECTED ||
		  progress.applied >= rb->primary.issued;
	spin_unlock_irq(&rb->lock);
	return drained;
}

/*
 * Before the device waits for its bios: those that wait for a peer that is not
 * there must not hold it up.
 */
static void rb_presuspend(struct dm_target *ti)
{
	struct rb_device *rb = ti->private;

	WRITE_ONCE(rb->primary.quiescing, true);
	rb_node_wake(rb);
	if (rb_is_primary(rb) && READ_ONCE(rb->state) != RB_CONNECTED)
		rb_write_fail_waiters(rb);
}

/*
 * After that: leave the disks at rest.  Ends even if a peer does not catch up:
 * one without progress is lost after the timeout.
 */
static void rb_postsuspend(struct dm_target *ti)
{
	struct rb_device *rb = ti->private;

	if (rb_is_primary(rb)) {
		rb_store_wait_idle(&rb->store);
		wait_event(rb->primary.drain_wait, rb_drained(rb));
	} else {
		WRITE_ONCE(rb->suspended, true);
		rb_store_suspend(&rb->store);
	}
	rb_tags_sync(rb->tags);
}

/* A table loaded over another one begins its life here. */
static int rb_preresume(struct dm_target *ti)
{
	return rb_heir_start(ti->private);
}

static void rb_resume(struct dm_target *ti)
{
	struct rb_device *rb = ti->private;

	WRITE_ONCE(rb->primary.quiescing, false);
	WRITE_ONCE(rb->suspended, false);
	rb_store_resume(&rb->store);
	rb_resync_wake(rb);
}

static int rb_iterate_devices(struct dm_target *ti,
			      iterate_devices_callout_fn fn, void *data)
{
	struct rb_device *rb = ti->private;

	return fn(ti, rb->dev, rb->tree_pages * RB_BLOCK_SECTORS, ti->len,
		  data);
}

static void rb_io_hints(struct dm_target *ti, struct queue_limits *limits)
{
	limits->logical_block_size = RB_BLOCK_BYTES;
	limits->physical_block_size = max_t(unsigned int, RB_BLOCK_BYTES,
					    limits->physical_block_size);
	limits->io_min = max_t(unsigned int, RB_BLOCK_BYTES, limits->io_min);
	limits->discard_granularity = max_t(unsigned int, RB_BLOCK_BYTES,
					    limits->discard_granularity);
}

static struct target_type rollbaccine_target = {
	.name = "rollbaccine",
	/* Raised with every change of the table line, status or messages. */
	.version = { 2, 0, 0 },
	.module = THIS_MODULE,
	.ctr = rb_ctr,
	.dtr = rb_dtr,
	.map = rb_map,
	.presuspend = rb_presuspend,
	.postsuspend = rb_postsuspend,
	.preresume = rb_preresume,
	.resume = rb_resume,
	.status = rb_status,
	.message = rb_message,
	.iterate_devices = rb_iterate_devices,
	.io_hints = rb_io_hints,
};
module_dm(rollbaccine);

MODULE_DESCRIPTION(DM_NAME " target replicating writes to a backup");
MODULE_AUTHOR("The harness maintainers");
MODULE_LICENSE("GPL");
MODULE_VERSION(RB_VERSION RB_VERSION_SUFFIX);
