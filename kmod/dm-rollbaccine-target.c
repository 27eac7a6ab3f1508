// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device-mapper face of the rollbaccine target.
 */
#include <linux/module.h>
#include <linux/random.h>
#include <linux/slab.h>

#include "dm-rollbaccine.h"

#define RB_VERSION "0.1.0"

const char *rb_device_name(const struct rb_device *rb)
{
	return dm_table_device_name(rb->ti->table);
}

static int rb_check_size(struct rb_device *rb)
{
	struct dm_target *ti = rb->ti;

	if (ti->len % RB_BLOCK_SECTORS || ti->begin % RB_BLOCK_SECTORS) {
		ti->error = "Start and length must be multiples of 8 sectors";
		return -EINVAL;
	}
	if (ti->len > bdev_nr_sectors(rb->dev->bdev)) {
		ti->error = "Device is smaller than the target";
		return -EINVAL;
	}
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
 * <device> <primary|backup> <id> <ipv4> <port>
 *	[<#feature words> [peer_timeout_ms <ms>] [on_peer_loss error|suspend]]
 *
 * The backup listens on the address and port, the primary connects to them.
 * FAULTS=1 builds also take any number of: fault <name>[:<number>]
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
	rb_conn_init(&rb->conn);
	rb_fault_init(rb);
	do {
		rb->generation = get_random_u64();
	} while (!rb->generation);

	ret = rb_parse_args(rb, argc, argv);
	if (!ret)
		ret = rb_check_size(rb);
	if (ret)
		goto out_put_device;
	ret = dm_set_target_max_io_len(ti, RB_MAX_DATA_SECTORS);
	if (ret)
		goto out_put_device;
	rb_set_features(ti);

	ti->error = "Cannot start";
	ret = rb->role == RB_PRIMARY ? rb_primary_start(rb) :
				       rb_backup_start(rb);
	if (ret)
		goto out_put_device;
	ti->error = NULL;
	ti->private = rb;
	return 0;

out_put_device:
	if (rb->dev)
		dm_put_device(ti, rb->dev);
	kfree(rb);
	return ret;
}

static void rb_dtr(struct dm_target *ti)
{
	struct rb_device *rb = ti->private;

	if (rb->role == RB_PRIMARY)
		rb_primary_stop(rb);
	else
		rb_backup_stop(rb);
	dm_put_device(ti, rb->dev);
	kfree(rb);
}

static int rb_remap(struct rb_device *rb, struct bio *bio)
{
	bio_set_dev(bio, rb->dev->bdev);
	bio->bi_iter.bi_sector = dm_target_offset(rb->ti,
						  bio->bi_iter.bi_sector);
	return DM_MAPIO_REMAPPED;
}

static int rb_map(struct dm_target *ti, struct bio *bio)
{
	struct rb_device *rb = ti->private;

	if (bio_op(bio) == REQ_OP_READ)
		return rb_remap(rb, bio);
	if (rb->role == RB_PRIMARY)
		return rb_primary_map(rb, bio);
	/* A flush that carries nothing changes nothing. */
	if (bio_op(bio) == REQ_OP_WRITE && !bio_sectors(bio)) {
		bio_set_dev(bio, rb->dev->bdev);
		return DM_MAPIO_REMAPPED;
	}
	return DM_MAPIO_KILL;
}

/* Before the device waits for its bios. */
static void rb_presuspend(struct dm_target *ti)
{
	struct rb_device *rb = ti->private;

	if (rb->role == RB_PRIMARY)
		rb_primary_suspend(rb);
}

/* After that: leave the disks of the pair at rest. */
static void rb_postsuspend(struct dm_target *ti)
{
	struct rb_device *rb = ti->private;

	if (rb->role == RB_PRIMARY)
		rb_primary_drain(rb);
	else
		rb_store_suspend(&rb->store);
}

static void rb_resume(struct dm_target *ti)
{
	struct rb_device *rb = ti->private;

	if (rb->role == RB_PRIMARY)
		rb_primary_resume(rb);
	else
		rb_store_resume(&rb->store);
}

/* One snapshot of every number of the status line. */
struct rb_numbers {
	enum rb_state state;
	u64 peer, issued, sent, acked;
	struct rb_progress progress;
	u64 inflight, early, errors;
};

static void rb_read_primary(struct rb_device *rb, struct rb_numbers *n)
{
	const struct rb_primary *p = &rb->primary;
	u64 local_durable;

	spin_lock_irq(&rb->store.lock);
	local_durable = rb->store.durable;
	spin_unlock_irq(&rb->store.lock);
	spin_lock_irq(&rb->lock);
	n->issued = p->issued;
	n->sent = p->sent;
	n->progress = p->peer;
	n->acked = min(local_durable, p->peer.durable);
	n->inflight = p->inflight;
	spin_unlock_irq(&rb->lock);
}

static void rb_read_backup(struct rb_device *rb, struct rb_numbers *n)
{
	const struct rb_backup *b = &rb->backup;
	bool partial = rb_net_unread(&rb->conn) || READ_ONCE(b->receiving);

	if (n->state == RB_CONNECTED && rb_backup_silent(rb))
		n->state = RB_LOST;
	spin_lock_irq(&rb->store.lock);
	n->progress.durable = rb->store.durable;
	n->progress.applied = rb->store.applied;
	spin_unlock_irq(&rb->store.lock);
	spin_lock_irq(&rb->lock);
	n->progress.received = b->received;
	spin_unlock_irq(&rb->lock);
	n->acked = READ_ONCE(b->reported);
	n->inflight = n->progress.received - n->progress.applied + partial;
}

static void rb_read_numbers(struct rb_device *rb, struct rb_numbers *n)
{
	memset(n, 0, sizeof(*n));
	spin_lock_irq(&rb->lock);
	n->state = rb->state;
	n->peer = rb->peer_id;
	spin_unlock_irq(&rb->lock);
	if (rb->role == RB_PRIMARY)
		rb_read_primary(rb, n);
	else
		rb_read_backup(rb, n);
	spin_lock_irq(&rb->store.lock);
	n->early = rb->store.early;
	n->errors = rb->store.errors;
	spin_unlock_irq(&rb->store.lock);
}

/*
 * INFO: role <primary|backup> state <connecting|connected|lost> peer <id>
 *	issued <i> sent <i> acked <i> received <i> applied <i> durable <i>
 *	inflight <n> ooo <n> errors <n>
 * TABLE: the table line.
 */
static void rb_status(struct dm_target *ti, status_type_t type,
		      unsigned int status_flags, char *result,
		      unsigned int maxlen)
{
	static const char *const states[] = {
		[RB_CONNECTING] = "connecting",
		[RB_CONNECTED] = "connected",
		[RB_LOST] = "lost",
	};
	struct rb_device *rb = ti->private;
	const char *role = rb->role == RB_PRIMARY ? "primary" : "backup";
	struct rb_numbers n;
	size_t sz = 0;

	switch (type) {
	case STATUSTYPE_INFO:
		rb_read_numbers(rb, &n);
		DMEMIT("role %s state %s peer %llu", role, states[n.state],
		       n.peer);
		DMEMIT(" issued %llu sent %llu acked %llu", n.issued, n.sent,
		       n.acked);
		DMEMIT(" received %llu applied %llu durable %llu",
		       n.progress.received, n.progress.applied,
		       n.progress.durable);
		DMEMIT(" inflight %llu ooo %llu errors %llu", n.inflight,
		       n.early, n.errors);
		rb_fault_print_status(rb, result, maxlen, sz);
		break;
	case STATUSTYPE_TABLE:
		rb_print_args(rb, result, maxlen);
		break;
	case STATUSTYPE_IMA:
		DMEMIT_TARGET_NAME_VERSION(ti->type);
		DMEMIT(",device=%s,role=%s,id=%llu;", rb->dev->name, role,
		       rb->id);
		break;
	}
}

static int rb_iterate_devices(struct dm_target *ti,
			      iterate_devices_callout_fn fn, void *data)
{
	struct rb_device *rb = ti->private;

	return fn(ti, rb->dev, 0, ti->len, data);
}

static void rb_io_hints(struct dm_target *ti, struct queue_limits *limits)
{
	limits->logical_block_size = RB_BLOCK_SIZE;
	limits->physical_block_size = max_t(unsigned int, RB_BLOCK_SIZE,
					    limits->physical_block_size);
	limits->io_min = max_t(unsigned int, RB_BLOCK_SIZE, limits->io_min);
	limits->discard_granularity = max_t(unsigned int, RB_BLOCK_SIZE,
					    limits->discard_granularity);
}

static struct target_type rollbaccine_target = {
	.name = "rollbaccine",
	/* Raised with every change of the table line, status or messages. */
	.version = { 0, 1, 0 },
	.module = THIS_MODULE,
	.ctr = rb_ctr,
	.dtr = rb_dtr,
	.map = rb_map,
	.presuspend = rb_presuspend,
	.postsuspend = rb_postsuspend,
	.resume = rb_resume,
	.status = rb_status,
	.iterate_devices = rb_iterate_devices,
	.io_hints = rb_io_hints,
};
module_dm(rollbaccine);

MODULE_DESCRIPTION(DM_NAME " target replicating writes to a backup");
MODULE_AUTHOR("The harness maintainers");
MODULE_LICENSE("GPL");
MODULE_VERSION(RB_VERSION RB_VERSION_SUFFIX);
