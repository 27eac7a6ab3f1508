// SPDX-License-Identifier: GPL-2.0-only
/*
 * The table line: one function per argument.
 */
#include <linux/inet.h>
#include <linux/kernel.h>
#include <linux/slab.h>

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
	if (bdev_logical_block_size(rb->dev->bdev) > RB_BLOCK_BYTES) {
		ti->error = "Logical block size of the device exceeds 4096";
		return -EINVAL;
	}
	return 0;
}

static int rb_parse_role(struct rb_device *rb, struct dm_arg_set *as)
{
	const char *word = dm_shift_arg(as);

	if (!strcmp(word, "primary")) {
		rb->first_role = RB_PRIMARY;
	} else if (!strcmp(word, "backup")) {
		rb->first_role = RB_BACKUP;
	} else {
		rb->ti->error = "Role must be primary or backup";
		return -EINVAL;
	}
	return 0;
}

static int rb_parse_id(struct rb_device *rb, const char *word, u64 *ret)
{
	if (kstrtou64(word, 10, ret) || !*ret) {
		rb->ti->error = "Id must be a decimal number above 0";
		return -EINVAL;
	}
	return 0;
}

/* The description, never the key: that stays in the keyring. */
static int rb_parse_key(struct rb_device *rb, const char *word)
{
	rb->key = kstrdup(word, GFP_KERNEL);
	if (!rb->key)
		return -ENOMEM;
	rb->keys = rb_keys_load(word);
	if (!IS_ERR(rb->keys))
		return 0;
	switch (PTR_ERR(rb->keys)) {
	case -EINVAL:
		rb->ti->error = "Key must be logon:<description> or -";
		break;
	case -EKEYREJECTED:
		rb->ti->error = "Key must have 32 to 512 bytes";
		break;
	case -ENOENT:
		rb->ti->error = "The kernel lacks gcm(aes) or hmac(sha256)";
		break;
	default:
		rb->ti->error = "Cannot get the key";
	}
	return PTR_ERR(rb->keys);
}

/* <ipv4>:<port> */
static int rb_parse_address(struct rb_device *rb, const char *word,
			    __be32 *addr, u16 *port)
{
	const char *end;

	if (!in4_pton(word, -1, (u8 *)addr, ':', &end) || *end != ':') {
		rb->ti->error = "Address must be <ipv4>:<port>";
		return -EINVAL;
	}
	if (kstrtou16(end + 1, 10, port) || !*port) {
		rb->ti->error = "Port must be a number from 1 to 65535";
		return -EINVAL;
	}
	return 0;
}

static int rb_parse_peer(struct rb_device *rb, struct dm_arg_set *as,
			 struct rb_peer *peer)
{
	const struct rb_peer *other;
	int ret;

	ret = rb_parse_id(rb, dm_shift_arg(as), &peer->id);
	if (!ret)
		ret = rb_parse_address(rb, dm_shift_arg(as), &peer->addr,
				       &peer->port);
	if (ret)
		return ret;
	if (peer->id == rb->id)
		goto out_twice;
	for (other = rb->peers; other < peer; other++)
		if (other->id == peer->id)
			goto out_twice;
	return 0;

out_twice:
	rb->ti->error = "Two nodes have the same id";
	return -EINVAL;
}

static int rb_parse_peers(struct rb_device *rb, struct dm_arg_set *as)
{
	static const struct dm_arg arg = {
		1, RB_MAX_PEERS, "Invalid number of peers",
	};
	unsigned int i;
	int ret;

	ret = dm_read_arg(&arg, as, &rb->nr_peers, &rb->ti->error);
	if (ret)
		return ret;
	if (as->argc < 2 * rb->nr_peers) {
		rb->ti->error = "Too few arguments";
		return -EINVAL;
	}
	rb->peers = kcalloc(rb->nr_peers, sizeof(*rb->peers), GFP_KERNEL);
	if (!rb->peers)
		return -ENOMEM;
	for (i = 0; i < rb->nr_peers; i++) {
		ret = rb_parse_peer(rb, as, &rb->peers[i]);
		if (ret)
			return ret;
	}
	return 0;
}

/* ---- features ---------------------------------------------------------- */

enum rb_feature {
	RB_FEATURE_TIMEOUT,
	RB_FEATURE_POLICY,
	RB_FEATURE_QUORUM,
	RB_FEATURE_ACK,
	RB_FEATURE_WINDOW,
	RB_FEATURE_TREE,
	RB_FEATURE_TREE_CACHE,
	RB_FEATURE_COUNT,
};

static const char *const rb_policies[] = {
	[RB_LOSS_ERROR] = "error",
	[RB_LOSS_SUSPEND] = "suspend",
	NULL,
};

static const char *const rb_acks[] = {
	[RB_ACK_MEMORY] = "memory",
	[RB_ACK_WRITE] = "write",
	[RB_ACK_FLUSH] = "flush",
	NULL,
};

/* @words: the choices; NULL: a number from @min to @max */
static const struct rb_feature_type {
	const char *name;
	const char *error;
	const char *const *words;
	u64 min;
	u64 max;
} rb_features[RB_FEATURE_COUNT] = {
	[RB_FEATURE_TIMEOUT] = { "peer_timeout_ms",
		"peer_timeout_ms must be 100 to 3600000", NULL,
		RB_MIN_PEER_TIMEOUT_MS, RB_MAX_PEER_TIMEOUT_MS },
	[RB_FEATURE_POLICY] = { "on_peer_loss",
		"on_peer_loss must be error or suspend", rb_policies },
	[RB_FEATURE_QUORUM] = { "quorum",
		"quorum must be 1 to the number of peers", NULL,
		1, RB_MAX_PEERS },
	[RB_FEATURE_ACK] = { "ack",
		"ack must be memory, write or flush", rb_acks },
	[RB_FEATURE_WINDOW] = { "window_kib",
		"window_kib must be 1024 to 1048576", NULL, 1024, 1 << 20 },
	[RB_FEATURE_TREE] = { "tree_pages",
		"tree_pages must be a number of blocks", NULL, 0, U32_MAX },
	[RB_FEATURE_TREE_CACHE] = { "tree_cache_pages",
		"tree_cache_pages must be 16 to 16777216", NULL, 16, 1 << 24 },
};

static void rb_feature_set(struct rb_device *rb, enum rb_feature feature,
			   u64 value)
{
	switch (feature) {
	case RB_FEATURE_TIMEOUT:
		rb->peer_timeout_ms = value;
		break;
	case RB_FEATURE_POLICY:
		rb->on_peer_loss = value;
		break;
	case RB_FEATURE_QUORUM:
		rb->quorum = value;
		break;
	case RB_FEATURE_ACK:
		rb->ack = value;
		break;
	case RB_FEATURE_WINDOW:
		rb->window_kib = value;
		break;
	case RB_FEATURE_TREE:
		rb->tree_pages = value;
		break;
	case RB_FEATURE_TREE_CACHE:
		rb->tree_cache_pages = value;
		break;
	default:
		break;
	}
}

static u64 rb_feature_get(const struct rb_device *rb, enum rb_feature feature)
{
	switch (feature) {
	case RB_FEATURE_TIMEOUT:
		return rb->peer_timeout_ms;
	case RB_FEATURE_POLICY:
		return rb->on_peer_loss;
	case RB_FEATURE_QUORUM:
		return rb->quorum;
	case RB_FEATURE_ACK:
		return rb->ack;
	case RB_FEATURE_WINDOW:
		return rb->window_kib;
	case RB_FEATURE_TREE:
		return rb->tree_pages;
	default:
		return rb->tree_cache_pages;
	}
}

static int rb_parse_value(const struct rb_feature_type *type, const char *word,
			  u64 *value)
{
	if (!type->words)
		return kstrtou64(word, 10, value) || *value < type->min ||
		       *value > type->max ? -EINVAL : 0;
	for (*value = 0; type->words[*value]; ++*value)
		if (!strcmp(type->words[*value], word))
			return 0;
	return -EINVAL;
}

static int rb_parse_feature(struct rb_device *rb, const char *name,
			    const char *word)
{
	unsigned int i;
	u64 value;

	if (RB_FAULTS && !strcmp(name, "fault"))
		return rb_fault_parse(rb, word);
	for (i = 0; i < RB_FEATURE_COUNT; i++)
		if (!strcmp(rb_features[i].name, name))
			break;
	if (i == RB_FEATURE_COUNT) {
		rb->ti->error = "Unknown feature";
		return -EINVAL;
	}
	if (rb->given & BIT(i)) {
		rb->ti->error = "Feature given twice";
		return -EINVAL;
	}
	if (rb_parse_value(&rb_features[i], word, &value)) {
		rb->ti->error = (char *)rb_features[i].error;
		return -EINVAL;
	}
	rb->given |= BIT(i);
	rb_feature_set(rb, i, value);
	return 0;
}

static int rb_parse_create(struct rb_device *rb)
{
	if (rb->create || rb->first_role != RB_PRIMARY) {
		rb->ti->error = "create belongs to a primary, once";
		return -EINVAL;
	}
	rb->create = true;
	return 0;
}

static int rb_parse_features(struct rb_device *rb, struct dm_arg_set *as)
{
	static const struct dm_arg args[] = {
		{ 0, RB_MAX_FEATURE_WORDS, "Invalid number of feature words" },
	};
	unsigned int words;
	const char *name;
	int ret;

	if (!as->argc)
		return 0;
	ret = dm_read_arg_group(args, as, &words, &rb->ti->error);
	if (ret)
		return ret;
	if (as->argc != words) {
		rb->ti->error = "Invalid number of feature words";
		return -EINVAL;
	}
	while (as->argc) {
		name = dm_shift_arg(as);
		if (!strcmp(name, "create"))
			ret = rb_parse_create(rb);
		else if (!as->argc)
			ret = -EINVAL;
		else
			ret = rb_parse_feature(rb, name, dm_shift_arg(as));
		if (ret)
			return ret;
	}
	if (rb->quorum > rb->nr_peers) {
		rb->ti->error = (char *)rb_features[RB_FEATURE_QUORUM].error;
		return -EINVAL;
	}
	return 0;
}

static void rb_default_args(struct rb_device *rb)
{
	rb->peer_timeout_ms = RB_DEFAULT_PEER_TIMEOUT_MS;
	rb->window_kib = RB_DEFAULT_WINDOW_KIB;
	rb->tree_cache_pages = RB_DEFAULT_TREE_CACHE_PAGES;
	rb->on_peer_loss = RB_LOSS_ERROR;
	rb->ack = RB_ACK_FLUSH;
	rb->quorum = rb->nr_peers;
}

/*
 * Fills @rb; on failure ti->error is set and what there is of it is the
 * caller's to free, see rb_free_args().
 */
int rb_parse_args(struct rb_device *rb, unsigned int argc, char **argv)
{
	struct dm_arg_set as = { .argc = argc, .argv = argv };
	int ret;

	rb->ti->error = "Too few arguments";
	if (argc < 8)
		return -EINVAL;
	rb->ti->error = "Out of memory";
	ret = rb_parse_device(rb, &as);
	if (!ret)
		ret = rb_parse_role(rb, &as);
	if (!ret)
		ret = rb_parse_id(rb, dm_shift_arg(&as), &rb->id);
	if (!ret)
		ret = rb_parse_key(rb, dm_shift_arg(&as));
	if (!ret)
		ret = rb_parse_address(rb, dm_shift_arg(&as), &rb->addr,
				       &rb->port);
	if (!ret)
		ret = rb_parse_peers(rb, &as);
	if (ret)
		return ret;
	rb_default_args(rb);
	rb->ti->error = "Features must be pairs of name and value";
	return rb_parse_features(rb, &as);
}

void rb_free_args(struct rb_device *rb)
{
	if (!IS_ERR_OR_NULL(rb->keys))
		rb_keys_destroy(rb->keys);
	kfree(rb->peers);
	kfree(rb->key);
	if (rb->dev)
		dm_put_device(rb->ti, rb->dev);
}

static unsigned int rb_feature_words(const struct rb_device *rb)
{
	return 2 * (hweight32(rb->given) + rb_fault_selected(rb));
}

/*
 * The table line that makes the same device again, but for `create`: that would
 * make another history.  Returns its length.
 */
size_t rb_print_args(const struct rb_device *rb, char *result, size_t maxlen)
{
	const struct rb_peer *peer;
	unsigned int i;
	size_t sz = 0;
	u64 value;

	DMEMIT("%s %s %llu %s %pI4:%u %u", rb->dev->name,
	       rb_is_primary(rb) ? "primary" : "backup", rb->id, rb->key,
	       &rb->addr, rb->port, rb->nr_peers);
	rb_for_each_peer(peer, rb)
		DMEMIT(" %llu %pI4:%u", peer->id, &peer->addr, peer->port);
	if (!rb_feature_words(rb))
		return sz;
	DMEMIT(" %u", rb_feature_words(rb));
	for (i = 0; i < RB_FEATURE_COUNT; i++) {
		if (!(rb->given & BIT(i)))
			continue;
		value = rb_feature_get(rb, i);
		if (rb_features[i].words)
			DMEMIT(" %s %s", rb_features[i].name,
			       rb_features[i].words[value]);
		else
			DMEMIT(" %s %llu", rb_features[i].name, value);
	}
	return rb_fault_print_args(rb, result, maxlen, sz);
}
