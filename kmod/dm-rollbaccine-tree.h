/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of the tag store: the leaf both backends share, the tree, and what its
 * files need of each other.
 */
#ifndef DM_ROLLBACCINE_TREE_H
#define DM_ROLLBACCINE_TREE_H

#include <linux/atomic.h>
#include <linux/bio.h>
#include <linux/completion.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "dm-rollbaccine-tags.h"

#ifndef DM_MSG_PREFIX
#define DM_MSG_PREFIX "rollbaccine"
#endif

struct crypto_shash;
struct rb_tree;
struct shrinker;

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

/* The self-test puts a disk with faults here. */
#ifndef RB_TREE_SUBMIT
#define RB_TREE_SUBMIT(bio) submit_bio(bio)
#endif

#define RB_TREE_FANOUT (RB_BLOCK_BYTES / RB_HASH_BYTES)
#define RB_TREE_MAX_LEVELS 10
#define RB_TREE_DIRTY XA_MARK_0

/**
 * struct rb_tree_page - a page in the cache
 * @leaf: its lock and content; on upper levels the content is digests
 * @parent: page above, kept by a pin; NULL: the top
 * @slot: where on the disk, and its key in the cache
 * @lru: on rb_tree.lru while clean, not busy and without pins
 * @level: 0: a leaf
 * @index: number within its level
 * @pins: users, and pages below that are in the cache
 * @error: why loading failed
 * @loading: content not there yet; only its loader touches it
 * @dirty: content is newer than the digest above; set under both locks
 * @busy: a copy is on its way to the disk
 * @failed: the last copy did not get there
 * @dead: no longer in the cache, goes with its last pin
 */
struct rb_tree_page {
	struct rb_leaf leaf;
	struct rb_tree_page *parent;
	unsigned long slot;
	struct list_head lru;
	unsigned int level;
	u64 index;
	unsigned int pins;
	int error;
	bool loading;
	bool dirty;
	bool busy;
	bool failed;
	bool dead;
};

/* A copy on its way to the disk. */
struct rb_tree_write {
	struct rb_tree *tree;
	struct rb_tree_page *page;
	void *copy;
	u8 digest[RB_HASH_BYTES];
	struct bio bio;
	struct bio_vec vec;
	int error;
	bool skip; /* the digest says it all */
};

struct rb_tree_level {
	u64 pages;
	u64 slot; /* of its first page */
};

struct rb_tree {
	struct block_device *bdev;
	struct crypto_shash *sha;
	unsigned int fanout;
	unsigned int nr_levels;
	struct rb_tree_level levels[RB_TREE_MAX_LEVELS];
	u8 *top; /* digests of the highest level; under the lock of @pages */
	unsigned int limit; /* of the cache */
	struct shrinker *shrinker;
	struct workqueue_struct *wq;
	struct delayed_work work;
	wait_queue_head_t wait; /* a load or a batch ended */
	struct mutex scratch_lock;
	void *scratch;

	/* The writer's. */
	struct rb_tree_write *batch;
	unsigned int batch_size;
	unsigned long cursor;
	atomic_t in_flight;
	struct completion batch_done;

	struct xarray pages; /* slot to rb_tree_page; its lock covers the rest */
	struct list_head lru;
	unsigned int nr_cached;
	unsigned int nr_lru;
	unsigned int nr_dirty;
	unsigned int nr_pinned;
	unsigned int nr_failed;
	bool pressure; /* somebody waits for a page to become clean */
	bool failing; /* of the last batch nothing was written */
	u64 batches;
	u64 sync_wanted;
	u64 sync_done;
	int sync_error;
	u64 reads;
	u64 writes;
	u64 errors;
	u64 mismatches;
};

static inline u8 *rb_tree_entry(void *page, unsigned int i)
{
	return (u8 *)page + i * RB_HASH_BYTES;
}

/* -tree, for -tree-write */
int rb_tree_digest(struct rb_tree *tree, unsigned int level,
		   const void *content, u8 ret[RB_HASH_BYTES]);
void rb_tree_mark_dirty(struct rb_tree *tree, struct rb_tree_page *page);
void rb_tree_idle_locked(struct rb_tree *tree, struct rb_tree_page *page);

/* -tree-write */
int rb_tree_read(struct rb_tree *tree, const struct rb_tree_page *page,
		 const u8 expected[RB_HASH_BYTES]);
void rb_tree_kick(struct rb_tree *tree);
void rb_tree_work(struct work_struct *work);
int rb_tree_sync(struct rb_tree *tree);

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
void rb_tree_get_stats(struct rb_tree *tree, struct rb_tags_stats *ret);

#endif /* DM_ROLLBACCINE_TREE_H */
