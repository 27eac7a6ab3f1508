// SPDX-License-Identifier: GPL-2.0-only
/*
 * A module as its author would bring it along, small enough to be built in seconds.  It claims to
 * replicate and does not, so that no run may find it sound; and it can be made to crash.
 *
 * Table line: <device> <role>.  Messages: "promote", "crash".
 */
#include <linux/bio.h>
#include <linux/bug.h>
#include <linux/device-mapper.h>
#include <linux/module.h>

#define DM_MSG_PREFIX "plain"

/* Tests edit these lines. */
static const char greeting[] = "first";
static const bool crashes_on_exit;

struct plain {
	struct dm_dev *dev;
	char role[16];
};

static int plain_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct plain *p;
	int ret;

	if (argc != 2) {
		ti->error = "Two arguments are needed: device, role";
		return -EINVAL;
	}
	p = kzalloc(sizeof(*p), GFP_KERNEL);
	if (!p)
		return -ENOMEM;
	strscpy(p->role, argv[1], sizeof(p->role));
	ret = dm_get_device(ti, argv[0], dm_table_get_mode(ti->table), &p->dev);
	if (ret) {
		ti->error = "Device not found";
		kfree(p);
		return ret;
	}
	ti->num_flush_bios = 1;
	ti->num_discard_bios = 1;
	ti->private = p;
	DMINFO("%s, says the %s", greeting, p->role);
	return 0;
}

static void plain_dtr(struct dm_target *ti)
{
	struct plain *p = ti->private;

	dm_put_device(ti, p->dev);
	kfree(p);
}

static int plain_map(struct dm_target *ti, struct bio *bio)
{
	struct plain *p = ti->private;

	bio_set_dev(bio, p->dev->bdev);
	bio->bi_iter.bi_sector = dm_target_offset(ti, bio->bi_iter.bi_sector);
	return DM_MAPIO_REMAPPED;
}

static void plain_status(struct dm_target *ti, status_type_t type, unsigned int flags,
			 char *result, unsigned int maxlen)
{
	struct plain *p = ti->private;
	unsigned int sz = 0;

	if (type == STATUSTYPE_INFO)
		DMEMIT("role %s state connected received 0 applied 0 greeting %s", p->role,
		       greeting);
	else if (type == STATUSTYPE_TABLE)
		DMEMIT("%s %s", p->dev->name, p->role);
}

static int plain_message(struct dm_target *ti, unsigned int argc, char **argv, char *result,
			 unsigned int maxlen)
{
	struct plain *p = ti->private;

	BUG_ON(argc == 1 && !strcmp(argv[0], "crash"));
	if (argc != 1 || strcmp(argv[0], "promote"))
		return -EINVAL;
	strscpy(p->role, "primary", sizeof(p->role));
	return 0;
}

static struct target_type plain_target = {
	.name = "plain",
	.version = {1, 0, 0},
	.module = THIS_MODULE,
	.ctr = plain_ctr,
	.dtr = plain_dtr,
	.map = plain_map,
	.status = plain_status,
	.message = plain_message,
};

static int __init plain_init(void)
{
	return dm_register_target(&plain_target);
}

static void __exit plain_exit(void)
{
	BUG_ON(crashes_on_exit);
	dm_unregister_target(&plain_target);
}

module_init(plain_init);
module_exit(plain_exit);

MODULE_DESCRIPTION("device-mapper target for the tests of the harness");
MODULE_VERSION("1.0");
MODULE_LICENSE("GPL");
