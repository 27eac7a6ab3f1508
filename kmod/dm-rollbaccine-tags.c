// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tag store: tags in memory, and the front of both backends.
 *
 * In memory a chunk costs nothing until one of its tags is set.  Then it has a
 * leaf: with a page of tags, or, if all its blocks were discarded by the same
 * operation, with nothing but that operation's version.  So a device that mkfs
 * discards from end to end costs about 40 bytes per 512 KiB, not 4 KiB.  Leaves
 * stay until the store goes; their pages go when a whole chunk is discarded.
 *
 * Locks, outermost first: scratch_lock, rb_leaf.lock, those of the tree and of
 * the xarrays.
 */
#include <crypto/hash.h>
#include <linux/minmax.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "compat.h"
#include "dm-rollbaccine-tree.h"

/* What an entry of an xarray costs, about: 64 of them share 576 bytes. */
#define RB_XARRAY_ENTRY 9
#define RB_LEAF_BYTES (sizeof(struct rb_leaf) + RB_XARRAY_ENTRY)

struct rb_epoch_count {
	atomic64_t blocks;
	struct rcu_head rcu;
};

/* ---- digests ---------------------------------------------------------- */

/* First half zero; see rb_tags_hash() for why that is safe. */
struct rb_uniform_digest {
	__le64 zero[2];
	__le64 index;
	__le32 epoch;
	__le32 zero_too;
};

static_assert(sizeof(struct rb_uniform_digest) == RB_HASH_BYTES);

void rb_tags_uniform_digest(u32 epoch, u64 index, u8 ret[RB_HASH_BYTES])
{
	struct rb_uniform_digest digest = {
		.index = cpu_to_le64(index),
		.epoch = cpu_to_le32(epoch),
	};

	memcpy(ret, &digest, sizeof(digest));
}

bool rb_tags_digest_is_uniform(const u8 digest[RB_HASH_BYTES],
			       struct rb_tag *ret)
{
	struct rb_uniform_digest uniform;

	memcpy(&uniform, digest, sizeof(uniform));
	*ret = (struct rb_tag){
		.index = uniform.index,
		.epoch = uniform.epoch,
	};
	return !uniform.zero[0] && !uniform.zero[1] && !uniform.zero_too;
}

/* Whether all tags are the same, and EMPTY. */
static bool rb_tags_uniform(const struct rb_tag *tags)
{
	struct rb_tag plain = {
		.index = tags[0].index,
		.epoch = tags[0].epoch,
	};

	return !memcmp(&plain, tags, sizeof(plain)) &&
	       !memcmp(tags, tags + 1, (RB_CHUNK_TAGS - 1) * sizeof(*tags));
}

int rb_tags_digest(struct crypto_shash *sha, const struct rb_tag *tags,
		   u8 ret[RB_HASH_BYTES])
{
	if (rb_tags_uniform(tags)) {
		rb_tags_uniform_digest(le32_to_cpu(tags[0].epoch),
				       le64_to_cpu(tags[0].index), ret);
		return 0;
	}
	return crypto_shash_tfm_digest(sha, (const u8 *)tags,
				       RB_CHUNK_TAGS * sizeof(*tags), ret);
}

/* ---- blocks per epoch ------------------------------------------------- */

/* Gathers a run of the same epoch before it touches the shared counter. */
struct rb_tally {
	struct rb_tags *t;
	u32 epoch;
	s64 blocks;
};

static void rb_tally_flush(struct rb_tally *tally)
{
	struct rb_epoch_count *count;

	if (!tally->blocks)
		return;
	rcu_read_lock();
	count = xa_load(&tally->t->epochs, tally->epoch);
	if (count)
		atomic64_add(tally->blocks, &count->blocks);
	rcu_read_unlock();
	tally->blocks = 0;
}

static void rb_tally_add(struct rb_tally *tally, const struct rb_tag *tag,
			 int blocks)
{
	u32 epoch = le32_to_cpu(tag->epoch);

	if (!rb_tag_is_data(tag))
		return;
	if (tally->epoch != epoch)
		rb_tally_flush(tally);
	tally->epoch = epoch;
	tally->blocks += blocks;
}

int rb_tags_epoch_add(struct rb_tags *t, u32 epoch)
{
	struct rb_epoch_count *count, *old;

	if (xa_load(&t->epochs, epoch))
		return 0;
	count = kzalloc(sizeof(*count), GFP_NOIO);
	if (!count)
		return -ENOMEM;
	old = xa_cmpxchg(&t->epochs, epoch, NULL, count, GFP_NOIO);
	if (old)
		kfree(count);
	else
		atomic64_add(sizeof(*count) + RB_XARRAY_ENTRY, &t->memory);
	return xa_err(old);
}

u64 rb_tags_epoch_blocks(struct rb_tags *t, u32 epoch)
{
	struct rb_epoch_count *count;
	s64 blocks = 0;

	rcu_read_lock();
	count = xa_load(&t->epochs, epoch);
	if (count)
		blocks = atomic64_read(&count->blocks);
	rcu_read_unlock();
	return max_t(s64, blocks, 0);
}

int rb_tags_epoch_forget(struct rb_tags *t, u32 epoch)
{
	struct rb_epoch_count *count;

	if (rb_tags_epoch_blocks(t, epoch))
		return -EBUSY;
	count = xa_erase(&t->epochs, epoch);
	if (!count)
		return -ENOENT;
	kfree_rcu(count, rcu);
	atomic64_sub(sizeof(*count) + RB_XARRAY_ENTRY, &t->memory);
	return 0;
}

/* ---- leaves in memory ------------------------------------------------- */

static void rb_leaf_fill(struct rb_leaf *leaf, unsigned int from,
			 unsigned int count)
{
	struct rb_tag plain = {
		.index = cpu_to_le64(leaf->index),
		.epoch = cpu_to_le32(leaf->epoch),
	};
	unsigned int i;

	for (i = from; i < from + count; i++)
		leaf->tags[i] = plain;
}

/* @leaf may be NULL: never set. */
static void rb_leaf_read(struct rb_leaf *leaf, unsigned int from,
			 unsigned int count, struct rb_tag *ret)
{
	struct rb_tag plain = {};
	unsigned long flags;
	unsigned int i;

	if (leaf) {
		spin_lock_irqsave(&leaf->lock, flags);
		if (leaf->tags) {
			memcpy(ret, leaf->tags + from, count * sizeof(*ret));
			spin_unlock_irqrestore(&leaf->lock, flags);
			return;
		}
		plain.index = cpu_to_le64(leaf->index);
		plain.epoch = cpu_to_le32(leaf->epoch);
		spin_unlock_irqrestore(&leaf->lock, flags);
	}
	for (i = 0; i < count; i++)
		ret[i] = plain;
}

static struct rb_leaf *rb_memory_leaf_add(struct rb_tags *t, u64 chunk)
{
	struct rb_leaf *leaf, *old;

	leaf = kzalloc(sizeof(*leaf), GFP_NOIO);
	if (!leaf)
		return ERR_PTR(-ENOMEM);
	spin_lock_init(&leaf->lock);
	old = xa_cmpxchg(&t->leaves, chunk, NULL, leaf, GFP_NOIO);
	if (!old) {
		atomic64_add(RB_LEAF_BYTES, &t->memory);
		return leaf;
	}
	kfree(leaf);
	return xa_is_err(old) ? ERR_PTR(xa_err(old)) : old;
}

/* Give the leaf its tags, and count a pin on them. */
static int rb_memory_leaf_expand(struct rb_tags *t, struct rb_leaf *leaf)
{
	struct rb_tag *tags = NULL;

	spin_lock_irq(&leaf->lock);
	if (!leaf->tags) {
		spin_unlock_irq(&leaf->lock);
		tags = kmalloc(RB_BLOCK_BYTES, GFP_NOIO);
		if (!tags)
			return -ENOMEM;
		spin_lock_irq(&leaf->lock);
	}
	if (!leaf->tags) {
		swap(leaf->tags, tags);
		rb_leaf_fill(leaf, 0, RB_CHUNK_TAGS);
		atomic64_add(RB_BLOCK_BYTES, &t->memory);
	}
	leaf->pins++;
	spin_unlock_irq(&leaf->lock);
	kfree(tags);
	return 0;
}

static int rb_memory_pin(struct rb_tags *t, u64 chunk, bool expand)
{
	struct rb_leaf *leaf = xa_load(&t->leaves, chunk);

	if (!leaf)
		leaf = rb_memory_leaf_add(t, chunk);
	if (IS_ERR(leaf))
		return PTR_ERR(leaf);
	return expand ? rb_memory_leaf_expand(t, leaf) : 0;
}

static void rb_memory_unpin(struct rb_tags *t, u64 chunk)
{
	struct rb_leaf *leaf = xa_load(&t->leaves, chunk);
	unsigned long flags;

	if (WARN_ON_ONCE(!leaf))
		return;
	spin_lock_irqsave(&leaf->lock, flags);
	WARN_ON_ONCE(!leaf->pins);
	leaf->pins--;
	spin_unlock_irqrestore(&leaf->lock, flags);
}

static int rb_memory_next(struct rb_tags *t, u64 *chunk)
{
	unsigned long i = *chunk;
	struct rb_leaf *leaf;
	bool used;

	for (leaf = xa_find(&t->leaves, &i, ULONG_MAX, XA_PRESENT); leaf;
	     leaf = xa_find_after(&t->leaves, &i, ULONG_MAX, XA_PRESENT)) {
		spin_lock_irq(&leaf->lock);
		used = leaf->tags ? !!memchr_inv(leaf->tags, 0, RB_BLOCK_BYTES) :
				    leaf->epoch || leaf->index;
		spin_unlock_irq(&leaf->lock);
		if (used) {
			*chunk = i;
			return 0;
		}
		cond_resched();
	}
	return -ENOENT;
}

/* ---- pins ------------------------------------------------------------- */

/* The part of a range that lies in one chunk. */
struct rb_part {
	u64 chunk;
	unsigned int from;
	unsigned int count;
};

static struct rb_part rb_part(u64 first, u64 count)
{
	struct rb_part part = {
		.chunk = first >> RB_CHUNK_SHIFT,
		.from = first % RB_CHUNK_TAGS,
	};

	part.count = min_t(u64, count, RB_CHUNK_TAGS - part.from);
	return part;
}

/* Whether a pin in memory has to see to it that there is a page of tags. */
static bool rb_part_expands(const struct rb_part *part, enum rb_pin mode)
{
	return mode == RB_PIN_SET ||
	       (mode == RB_PIN_EMPTY && part->count < RB_CHUNK_TAGS);
}

static struct rb_leaf *rb_tags_leaf(struct rb_tags *t, u64 chunk)
{
	return t->tree ? rb_tree_leaf(t->tree, chunk) :
			 xa_load(&t->leaves, chunk);
}

static int rb_part_pin(struct rb_tags *t, const struct rb_part *part,
		       enum rb_pin mode)
{
	if (t->tree)
		return rb_tree_pin(t->tree, part->chunk);
	if (mode == RB_PIN_GET)
		return 0;
	return rb_memory_pin(t, part->chunk, rb_part_expands(part, mode));
}

static void rb_part_unpin(struct rb_tags *t, const struct rb_part *part,
			  enum rb_pin mode)
{
	if (t->tree)
		rb_tree_unpin(t->tree, part->chunk);
	else if (rb_part_expands(part, mode))
		rb_memory_unpin(t, part->chunk);
}

static void rb_parts_unpin(struct rb_tags *t, u64 first, u64 count,
			   enum rb_pin mode)
{
	struct rb_part part;

	for (; count; first += part.count, count -= part.count) {
		part = rb_part(first, count);
		rb_part_unpin(t, &part, mode);
	}
}

int rb_tags_pin(struct rb_tags *t, u64 first, u64 count, enum rb_pin mode,
		u64 *bad)
{
	u64 start = first, end = first + count;
	struct rb_part part;
	int ret;

	might_sleep();
	if (!count || end < first || end > t->blocks)
		return -EINVAL;
	for (; first < end; first += part.count) {
		part = rb_part(first, end - first);
		ret = rb_part_pin(t, &part, mode);
		if (ret) {
			if (bad)
				*bad = part.chunk;
			rb_parts_unpin(t, start, first - start, mode);
			return ret;
		}
	}
	atomic64_inc(&t->pinned);
	return 0;
}

void rb_tags_unpin(struct rb_tags *t, u64 first, u64 count, enum rb_pin mode)
{
	atomic64_dec(&t->pinned);
	rb_parts_unpin(t, first, count, mode);
}

/* ---- tags of pinned blocks -------------------------------------------- */

void rb_tags_get(struct rb_tags *t, u64 first, u64 count, struct rb_tag *ret)
{
	struct rb_part part;

	for (; count; first += part.count, count -= part.count) {
		part = rb_part(first, count);
		rb_leaf_read(rb_tags_leaf(t, part.chunk), part.from, part.count,
			     ret);
		ret += part.count;
	}
}

static void rb_part_set(struct rb_tags *t, const struct rb_part *part,
			const struct rb_tag *tags)
{
	struct rb_leaf *leaf = rb_tags_leaf(t, part->chunk);
	struct rb_tally old = { .t = t }, new = { .t = t };
	unsigned long flags;
	unsigned int i;

	if (WARN_ON_ONCE(!leaf))
		return;
	spin_lock_irqsave(&leaf->lock, flags);
	if (WARN_ON_ONCE(!leaf->tags)) {
		spin_unlock_irqrestore(&leaf->lock, flags);
		return;
	}
	for (i = 0; i < part->count; i++) {
		rb_tally_add(&old, &leaf->tags[part->from + i], -1);
		rb_tally_add(&new, &tags[i], 1);
	}
	/* A block is not to be counted nowhere in between. */
	rb_tally_flush(&new);
	rb_tally_flush(&old);
	memcpy(leaf->tags + part->from, tags, part->count * sizeof(*tags));
	if (t->tree)
		rb_tree_dirty(t->tree, leaf);
	spin_unlock_irqrestore(&leaf->lock, flags);
}

void rb_tags_set(struct rb_tags *t, u64 first, u64 count,
		 const struct rb_tag *tags)
{
	struct rb_part part;

	for (; count; first += part.count, count -= part.count) {
		part = rb_part(first, count);
		rb_part_set(t, &part, tags);
		tags += part.count;
	}
}

static void rb_part_set_empty(struct rb_tags *t, const struct rb_part *part,
			      u32 epoch, u64 index)
{
	struct rb_leaf *leaf = rb_tags_leaf(t, part->chunk);
	struct rb_tally old = { .t = t };
	struct rb_tag *unused = NULL;
	unsigned long flags;
	unsigned int i;

	if (WARN_ON_ONCE(!leaf))
		return;
	spin_lock_irqsave(&leaf->lock, flags);
	for (i = 0; leaf->tags && i < part->count; i++)
		rb_tally_add(&old, &leaf->tags[part->from + i], -1);
	rb_tally_flush(&old);
	leaf->epoch = epoch;
	leaf->index = index;
	if (!t->tree && part->count == RB_CHUNK_TAGS && !leaf->pins)
		swap(unused, leaf->tags);
	if (leaf->tags)
		rb_leaf_fill(leaf, part->from, part->count);
	else
		WARN_ON_ONCE(part->count != RB_CHUNK_TAGS);
	if (t->tree)
		rb_tree_dirty(t->tree, leaf);
	spin_unlock_irqrestore(&leaf->lock, flags);
	if (unused)
		atomic64_sub(RB_BLOCK_BYTES, &t->memory);
	kfree(unused);
}

void rb_tags_set_empty(struct rb_tags *t, u64 first, u64 count, u32 epoch,
		       u64 index)
{
	struct rb_part part;

	for (; count; first += part.count, count -= part.count) {
		part = rb_part(first, count);
		rb_part_set_empty(t, &part, epoch, index);
	}
}

/* ---- whole chunks ----------------------------------------------------- */

/* All 128 tags, those past the end of the device included. */
static struct rb_part rb_whole(u64 chunk)
{
	return (struct rb_part){ .chunk = chunk, .count = RB_CHUNK_TAGS };
}

int rb_tags_hash(struct rb_tags *t, u64 chunk, u8 ret[RB_HASH_BYTES])
{
	struct rb_leaf *leaf;
	int err;

	if (chunk >= rb_tags_chunks(t))
		return -EINVAL;
	if (t->tree)
		return rb_tree_hash(t->tree, chunk, ret);
	leaf = xa_load(&t->leaves, chunk);
	if (!leaf) {
		rb_tags_uniform_digest(0, 0, ret);
		return 0;
	}
	mutex_lock(&t->scratch_lock);
	rb_leaf_read(leaf, 0, RB_CHUNK_TAGS, t->scratch);
	err = rb_tags_digest(t->sha, t->scratch, ret);
	mutex_unlock(&t->scratch_lock);
	return err;
}

int rb_tags_read_chunk(struct rb_tags *t, u64 chunk,
		       struct rb_tag ret[RB_CHUNK_TAGS])
{
	struct rb_part part = rb_whole(chunk);
	int err;

	if (chunk >= rb_tags_chunks(t))
		return -EINVAL;
	err = rb_part_pin(t, &part, RB_PIN_GET);
	if (err)
		return err;
	rb_leaf_read(rb_tags_leaf(t, chunk), 0, RB_CHUNK_TAGS, ret);
	rb_part_unpin(t, &part, RB_PIN_GET);
	return 0;
}

static bool rb_tag_valid(const struct rb_tag *tag)
{
	if (tag->state > RB_TAG_DATA || tag->reserved ||
	    !tag->epoch != !tag->index)
		return false;
	if (rb_tag_is_data(tag))
		return tag->epoch;
	return !tag->page && !memchr_inv(tag->tag, 0, sizeof(tag->tag));
}

bool rb_tags_chunk_valid(const struct rb_tags *t, u64 chunk,
			 const struct rb_tag tags[RB_CHUNK_TAGS])
{
	u64 first = chunk << RB_CHUNK_SHIFT;
	unsigned int within, i;

	if (chunk >= rb_tags_chunks(t))
		return false;
	within = min_t(u64, t->blocks - first, RB_CHUNK_TAGS);
	for (i = 0; i < within; i++)
		if (!rb_tag_valid(&tags[i]))
			return false;
	return !memchr_inv(tags + within, 0,
			   (RB_CHUNK_TAGS - within) * sizeof(*tags));
}

int rb_tags_write_chunk(struct rb_tags *t, u64 chunk,
			const struct rb_tag tags[RB_CHUNK_TAGS])
{
	bool uniform = rb_tags_uniform(tags);
	enum rb_pin mode = uniform ? RB_PIN_EMPTY : RB_PIN_SET;
	struct rb_part part = rb_whole(chunk);
	int ret;

	if (!rb_tags_chunk_valid(t, chunk, tags))
		return -EINVAL;
	ret = rb_part_pin(t, &part, mode);
	if (t->tree && (ret == -EBADMSG || ret == -EIO))
		ret = rb_tree_pin_blank(t->tree, chunk, false);
	if (ret)
		return ret;
	if (uniform)
		rb_part_set_empty(t, &part, le32_to_cpu(tags[0].epoch),
				  le64_to_cpu(tags[0].index));
	else
		rb_part_set(t, &part, tags);
	rb_part_unpin(t, &part, mode);
	return 0;
}

int rb_tags_reset_chunk(struct rb_tags *t, u64 chunk)
{
	struct rb_part part = rb_whole(chunk);
	int ret;

	if (chunk >= rb_tags_chunks(t))
		return -EINVAL;
	ret = rb_part_pin(t, &part, RB_PIN_EMPTY);
	if (t->tree && (ret == -EBADMSG || ret == -EIO))
		ret = rb_tree_pin_blank(t->tree, chunk, true);
	if (ret)
		return ret;
	rb_part_set_empty(t, &part, 0, 0);
	rb_part_unpin(t, &part, RB_PIN_EMPTY);
	return 0;
}

int rb_tags_next_chunk(struct rb_tags *t, u64 *chunk)
{
	if (*chunk >= rb_tags_chunks(t))
		return -ENOENT;
	return t->tree ? rb_tree_next(t->tree, chunk) :
			 rb_memory_next(t, chunk);
}

/* ---- life ------------------------------------------------------------- */

int rb_tags_sync(struct rb_tags *t)
{
	return t->tree ? rb_tree_sync(t->tree) : 0;
}

void rb_tags_get_stats(struct rb_tags *t, struct rb_tags_stats *ret)
{
	*ret = (struct rb_tags_stats){ .missing = rb_tags_missing(t) };
	if (t->tree)
		rb_tree_get_stats(t->tree, ret);
	ret->memory += sizeof(*t) + RB_BLOCK_BYTES + atomic64_read(&t->memory);
}

u64 rb_tags_blocks(const struct rb_tags *t)
{
	return t->blocks;
}

static void rb_tags_destroy(struct rb_tags *t)
{
	struct rb_epoch_count *count;
	struct rb_leaf *leaf;
	unsigned long i;

	if (atomic64_read(&t->pinned))
		DMERR("tag store freed with %lld pins left",
		      (long long)atomic64_read(&t->pinned));
	if (t->tree)
		rb_tree_destroy(t->tree);
	xa_for_each(&t->leaves, i, leaf) {
		kfree(leaf->tags);
		kfree(leaf);
		cond_resched();
	}
	xa_destroy(&t->leaves);
	xa_for_each(&t->epochs, i, count)
		kfree(count);
	xa_destroy(&t->epochs);
	rb_missing_exit(t);
	crypto_free_shash(t->sha); /* not there, or an error: does nothing */
	kfree(t->scratch);
	kfree(t);
}

int rb_tags_create(const struct rb_tags_params *params, struct rb_tags **ret)
{
	struct rb_tags *t;
	int err = -ENOMEM;

	/* An xarray's index has to hold a chunk. */
	if (!params->blocks ||
	    (params->blocks - 1) >> RB_CHUNK_SHIFT >= ULONG_MAX)
		return -EINVAL;
	t = kzalloc(sizeof(*t), GFP_KERNEL);
	if (!t)
		return -ENOMEM;
	refcount_set(&t->ref, 1);
	t->blocks = params->blocks;
	mutex_init(&t->scratch_lock);
	xa_init(&t->leaves);
	xa_init_flags(&t->missing, XA_FLAGS_LOCK_IRQ);
	xa_init(&t->epochs);
	t->scratch = kmalloc(RB_BLOCK_BYTES, GFP_KERNEL);
	if (!t->scratch)
		goto bad;
	t->sha = crypto_alloc_shash("sha256", 0, 0);
	if (IS_ERR(t->sha)) {
		err = PTR_ERR(t->sha);
		goto bad;
	}
	if (params->tree_pages) {
		err = rb_tree_create(params, t->sha, &t->tree);
		if (err)
			goto bad;
	}
	*ret = t;
	return 0;

bad:
	rb_tags_destroy(t);
	return err;
}

struct rb_tags *rb_tags_hold(struct rb_tags *t)
{
	refcount_inc(&t->ref);
	return t;
}

void rb_tags_put(struct rb_tags *t)
{
	if (t && refcount_dec_and_test(&t->ref))
		rb_tags_destroy(t);
}
