/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of the tag store: the leaf both backends share, and the tree as -tags
 * uses it.
 */
#ifndef DM_ROLLBACCINE_TREE_H
#define DM_ROLLBACCINE_TREE_H

#include <linux/atomic.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/xarray.h>

#include "dm-rollbaccine-tags.h"

#ifndef DM_MSG_PREFIX
#define DM_MSG_PREFIX "rollbaccine"
#endif

struct crypto_shash;
struct rb_tree;

/**
 * struct rb_leaf - the tags of one chunk in memory
 * @lock: taken with irqs off
 * @pins: of a leaf in memory: who needs @tags to stay
 * @tags: 4 KiB; NULL: all are EMPTY with version @epoch, @index.  Never NULL
 *	in a tree
 */
struct rb_leaf {
	spinlock_t lock;
	unsigned int pins;
	struct rb_tag *tags;
	u64 index;
	u32 epoch;
};

/**
 * struct rb_tags - see -tags.h
 * @leaves: chunk to struct rb_leaf, without a tree
 * @missing: block / RB_MISSING_BITS to a page of bits
 * @epochs: epoch to struct rb_epoch_count
 * @memory: bytes allocated, but for the tree's
 * @pinned: chunks pinned, to find owners that forget
 * @scratch: a chunk to work on, under @scratch_lock
 */
struct rb_tags {
	refcount_t ref;
	u64 blocks;
	struct crypto_shash *sha;
	struct rb_tree *tree;
	struct xarray leaves;
	struct xarray missing;
	struct xarray epochs;
	atomic64_t nr_missing;
	atomic64_t memory;
	atomic64_t pinned;
	struct mutex scratch_lock;
	struct rb_tag *scratch;
};

/* -missing */
void rb_missing_exit(struct rb_tags *t);

/* -tags: digest of a chunk's tags, as rb_tags_hash() has it. */
int rb_tags_digest(struct crypto_shash *sha, const struct rb_tag *tags,
		   u8 ret[RB_HASH_BYTES]);
/* The same for a chunk that is EMPTY with one version, and back again. */
void rb_tags_uniform_digest(u32 epoch, u64 index, u8 ret[RB_HASH_BYTES]);
bool rb_tags_digest_is_uniform(const u8 digest[RB_HASH_BYTES],
			       struct rb_tag *ret);

/* -tree.  Chunks are within the device; see the functions for the rest. */
int rb_tree_create(const struct rb_tags_params *params,
		   struct crypto_shash *sha, struct rb_tree **ret);
void rb_tree_destroy(struct rb_tree *tree);
int rb_tree_pin(struct rb_tree *tree, u64 chunk);
int rb_tree_pin_blank(struct rb_tree *tree, u64 chunk, bool force);
void rb_tree_unpin(struct rb_tree *tree, u64 chunk);
struct rb_leaf *rb_tree_leaf(struct rb_tree *tree, u64 chunk);
void rb_tree_dirty(struct rb_tree *tree, struct rb_leaf *leaf);
int rb_tree_hash(struct rb_tree *tree, u64 chunk, u8 ret[RB_HASH_BYTES]);
int rb_tree_next(struct rb_tree *tree, u64 *chunk);
int rb_tree_sync(struct rb_tree *tree);
void rb_tree_get_stats(struct rb_tree *tree, struct rb_tags_stats *ret);

#endif /* DM_ROLLBACCINE_TREE_H */
