// SPDX-License-Identifier: GPL-2.0-only
/*
 * The table line: one function per argument.
 */
#include <linux/inet.h>
#include <linux/kernel.h>

#include "dm-rollbaccine.h"

#define RB_MIN_PEER_TIMEOUT_MS 100
#define RB_MAX_PEER_TIMEOUT_MS 3600000
#define RB_MAX_FEATURE_WORDS 32

static int rb_parse_device(struct rb_device *rb, struct dm_arg_set *as)
{
	struct dm_target *ti = rb->ti;
	/* A backup writes to its disk even if its own device is read-only. */
	rb_open_mode_t mode = dm_table_get_mode(ti->table) | RB_OPEN_WRITE;
	int ret;

	ret = dm_get_device(ti, dm_shift_arg(as), mode, &rb->dev);
	if (ret) {
		ti->error = "Cannot open the device";
		return ret;
	}
	if (bdev_is_zoned(rb->dev->bdev)) {
		ti->error = "Zoned devices are not supported";
		return -EINVAL;
	}
	if (bdev_logical_block_size(rb->dev->bdev) > RB_BLOCK_SIZE) {
		ti->error = "Logical block size of the device exceeds 4096";
		return -EINVAL;
	}
	return 0;
}

static int rb_parse_role(struct rb_device *rb, struct dm_arg_set *as)
{
	const char *word = dm_shift_arg(as);

	if (!strcmp(word, "primary")) {
		rb->role = RB_PRIMARY;
	} else if (!strcmp(word, "backup")) {
		rb->role = RB_BACKUP;
	} else {
		rb->ti->error = "Role must be primary or backup";
		return -EINVAL;
	}
	return 0;
}

static int rb_parse_id(struct rb_device *rb, struct dm_arg_set *as)
{
	if (kstrtou64(dm_shift_arg(as), 10, &rb->id) || !rb->id) {
		rb->ti->error = "Id must be a decimal number above 0";
		return -EINVAL;
	}
	return 0;
}

static int rb_parse_address(struct rb_device *rb, struct dm_arg_set *as)
{
	const char *end;

	if (!in4_pton(dm_shift_arg(as), -1, (u8 *)&rb->addr, -1, &end) ||
	    *end) {
		rb->ti->error = "Address must be an IPv4 address";
		return -EINVAL;
	}
	if (kstrtou16(dm_shift_arg(as), 10, &rb->port) || !rb->port) {
		rb->ti->error = "Port must be a number from 1 to 65535";
		return -EINVAL;
	}
	return 0;
}

static int rb_parse_timeout(struct rb_device *rb, const char *value)
{
	if (rb->timeout_given) {
		rb->ti->error = "Feature peer_timeout_ms given twice";
		return -EINVAL;
	}
	if (kstrtouint(value, 10, &rb->peer_timeout_ms) ||
	    rb->peer_timeout_ms < RB_MIN_PEER_TIMEOUT_MS ||
	    rb->peer_timeout_ms > RB_MAX_PEER_TIMEOUT_MS) {
		rb->ti->error = "peer_timeout_ms must be 100 to 3600000";
		return -EINVAL;
	}
	rb->timeout_given = true;
	return 0;
}

static int rb_parse_policy(struct rb_device *rb, const char *value)
{
	if (rb->policy_given) {
		rb->ti->error = "Feature on_peer_loss given twice";
		return -EINVAL;
	}
	if (!strcmp(value, "error")) {
		rb->on_peer_loss = RB_LOSS_ERROR;
	} else if (!strcmp(value, "suspend")) {
		rb->on_peer_loss = RB_LOSS_SUSPEND;
	} else {
		rb->ti->error = "on_peer_loss must be error or suspend";
		return -EINVAL;
	}
	rb->policy_given = true;
	return 0;
}

static int rb_parse_feature(struct rb_device *rb, const char *name,
			    const char *value)
{
	if (!strcmp(name, "peer_timeout_ms"))
		return rb_parse_timeout(rb, value);
	if (!strcmp(name, "on_peer_loss"))
		return rb_parse_policy(rb, value);
	if (RB_FAULTS && !strcmp(name, "fault"))
		return rb_fault_parse(rb, value);
	rb->ti->error = "Unknown feature";
	return -EINVAL;
}

static int rb_parse_features(struct rb_device *rb, struct dm_arg_set *as)
{
	static const struct dm_arg args[] = {
		{ 0, RB_MAX_FEATURE_WORDS, "Invalid number of feature words" },
	};
	const char *name;
	int ret;

	if (!as->argc)
		return 0;
	ret = dm_read_arg_group(args, as, &rb->nr_features, &rb->ti->error);
	if (ret)
		return ret;
	if (rb->nr_features % 2 || as->argc != rb->nr_features) {
		rb->ti->error = "Features must be pairs of name and value";
		return -EINVAL;
	}
	while (as->argc) {
		name = dm_shift_arg(as);
		ret = rb_parse_feature(rb, name, dm_shift_arg(as));
		if (ret)
			return ret;
	}
	return 0;
}

/* Fills @rb; on failure ti->error is set and rb->dev is the caller's to put. */
int rb_parse_args(struct rb_device *rb, unsigned int argc, char **argv)
{
	struct dm_arg_set as = { .argc = argc, .argv = argv };
	int ret;

	if (argc < 5) {
		rb->ti->error = "Too few arguments";
		return -EINVAL;
	}
	rb->peer_timeout_ms = RB_DEFAULT_PEER_TIMEOUT_MS;
	ret = rb_parse_device(rb, &as);
	if (!ret)
		ret = rb_parse_role(rb, &as);
	if (!ret)
		ret = rb_parse_id(rb, &as);
	if (!ret)
		ret = rb_parse_address(rb, &as);
	if (!ret)
		ret = rb_parse_features(rb, &as);
	return ret;
}

/* The table line that makes the same device again.  Returns its length. */
size_t rb_print_args(const struct rb_device *rb, char *result, size_t maxlen)
{
	size_t sz = 0;

	DMEMIT("%s %s %llu %pI4 %u", rb->dev->name,
	       rb->role == RB_PRIMARY ? "primary" : "backup", rb->id,
	       &rb->addr, rb->port);
	if (!rb->nr_features)
		return sz;
	DMEMIT(" %u", rb->nr_features);
	if (rb->timeout_given)
		DMEMIT(" peer_timeout_ms %u", rb->peer_timeout_ms);
	if (rb->policy_given)
		DMEMIT(" on_peer_loss %s",
		       rb->on_peer_loss == RB_LOSS_ERROR ? "error" : "suspend");
	return rb_fault_print_args(rb, result, maxlen, sz);
}
