/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tag store: what every 4 KiB block of the device has to be.
 *
 * A tag says which operation last wrote a block, and carries the GCM tag of its
 * ciphertext.  Tags live in memory, or (tree_pages) in a hash tree on the disk
 * whose top is in memory.  The interface is the same; with tags in memory a
 * pin does no I/O and -EBADMSG and -EIO do not occur.
 *
 * Life of an operation:
 *
 *	rb_tags_pin(t, first, count, mode)	may sleep, may fail: before the
 *						operation has its index
 *	rb_tags_set() or rb_tags_set_empty()	any context, cannot fail
 *	rb_tags_unpin(t, first, count, mode)	any context
 *
 * All memory an operation needs is allocated by the pin, with GFP_NOIO; when
 * there is none, the pin fails with -ENOMEM.  There is no reserve to wait for:
 * memory of tags is not given back, so waiting could last for ever.  Pins are
 * not exclusive and never wait for each other; who may set which block when is
 * the caller's business.  Within one chunk a set is seen whole or not at all.
 */
#ifndef DM_ROLLBACCINE_TAGS_H
#define DM_ROLLBACCINE_TAGS_H

#include <linux/blkdev.h>
#include <linux/types.h>

#include "dm-rollbaccine-wire.h"

/*
 * struct rb_tag (-wire) is the same in memory, on the wire and in the tree.
 * A chunk is as many of them as fit a block: the unit of leaves, hashes and
 * messages.
 */
#define RB_CHUNK_SHIFT 7
#define RB_NO_BLOCK U64_MAX
static_assert(1u << RB_CHUNK_SHIFT == RB_CHUNK_TAGS);

struct rb_tags;

/**
 * struct rb_tags_params - what a tag store is made for
 * @blocks: blocks of data it has tags for
 * @bdev: with a tree: the disk; its first @tree_pages blocks are the tree's
 * @tree_pages: 0: tags in memory
 * @cache_pages: bound of the tree's cache, pinned pages excepted
 * @fanout: hashes per upper page; 0 means 128, less is for tests
 */
struct rb_tags_params {
	u64 blocks;
	struct block_device *bdev;
	u64 tree_pages;
	unsigned int cache_pages;
	unsigned int fanout;
};

/**
 * struct rb_tags_stats - for status and tests
 * @memory: bytes, everything included
 * @missing: blocks marked missing
 * @cached: pages of the tree in memory
 * @dirty: those of them newer than the disk
 * @reads: pages of the tree read from the disk
 * @writes: pages of the tree written
 * @errors: reads, writes and flushes of the tree that failed
 * @mismatches: pages of the tree that were not what was written last
 */
struct rb_tags_stats {
	u64 memory;
	u64 missing;
	u64 cached;
	u64 dirty;
	u64 reads;
	u64 writes;
	u64 errors;
	u64 mismatches;
};

/**
 * enum rb_pin - what is going to be done to the pinned blocks
 * @RB_PIN_GET: rb_tags_get() only; with tags in memory this allocates nothing
 * @RB_PIN_SET: anything
 * @RB_PIN_EMPTY: rb_tags_get(), rb_tags_set_empty() of the pinned range or of
 *	whole chunks of it; a fully covered chunk then costs no page of tags
 */
enum rb_pin { RB_PIN_GET, RB_PIN_SET, RB_PIN_EMPTY };

/* Pages the tree needs at least for so many blocks of data (one level). */
u64 rb_tags_min_tree_pages(u64 blocks);

/**
 * rb_tags_create() - a tag store in which every block is EMPTY 0/0
 * @params: see there
 * @ret: the store, one reference
 *
 * Reads nothing: what a tree's pages held before has no meaning.  May sleep.
 * Return: 0, -ENOMEM, -EINVAL (too few tree pages, no blocks).
 */
int rb_tags_create(const struct rb_tags_params *params, struct rb_tags **ret);

/**
 * rb_tags_hold(), rb_tags_put() - references, to hand a store to a new table
 *
 * A tree goes on using the block_device it was created with: whoever takes it
 * over has to have opened the same one before the former owner closes it.
 * The last put frees everything and may sleep; nothing may be pinned then.
 */
struct rb_tags *rb_tags_hold(struct rb_tags *t);
void rb_tags_put(struct rb_tags *t);
u64 rb_tags_blocks(const struct rb_tags *t);
static inline u64 rb_tags_chunks(const struct rb_tags *t)
{
	return (rb_tags_blocks(t) + RB_CHUNK_TAGS - 1) >> RB_CHUNK_SHIFT;
}

/**
 * rb_tags_pin() - have the tags of a range at hand
 * @t: the store
 * @first: first block
 * @count: blocks, > 0; range within the device
 * @mode: see enum rb_pin
 * @bad: NULL, or where to say which chunk failed
 *
 * Process context; may sleep, and with a tree waits for I/O to the disk: call it
 * in a thread or a work item, not in map().  A pinned chunk of a tree holds 4 KiB, beyond the bound of the cache
 * if need be: keep single operations to some 256 MiB (split large discards).
 * The same range may be pinned many times, also by the same owner.
 *
 * Return: 0; -ENOMEM; -EINVAL (not in the device);
 * -EBADMSG: a page of the tree is not what was last written there, or its read
 * failed (-EIO): the tags of chunk *@bad are lost here.  Get them from a peer,
 * rb_tags_write_chunk() them, pin again.  If that fails too, with -EIO, the disk
 * takes no writes and the cache is full of what it did not take.
 * Nothing is pinned on failure.
 */
int rb_tags_pin(struct rb_tags *t, u64 first, u64 count, enum rb_pin mode,
		u64 *bad);
/* With exactly the range and mode of one pin before.  Any context. */
void rb_tags_unpin(struct rb_tags *t, u64 first, u64 count, enum rb_pin mode);

/**
 * rb_tags_get(), rb_tags_set(), rb_tags_set_empty() - tags of pinned blocks
 * @t: the store
 * @first: first block
 * @count: blocks, all of them pinned, with RB_PIN_SET for rb_tags_set()
 *
 * Any context, with or without interrupts.  Irqs are off for one chunk at a
 * time, so that a large rb_tags_set_empty() delays nobody.
 * They leave `missing` alone.
 */
void rb_tags_get(struct rb_tags *t, u64 first, u64 count, struct rb_tag *ret);
void rb_tags_set(struct rb_tags *t, u64 first, u64 count,
		 const struct rb_tag *tags);
/* EMPTY with that version: what a discard or write-zeroes leaves behind. */
void rb_tags_set_empty(struct rb_tags *t, u64 first, u64 count, u32 epoch,
		       u64 index);

/*
 * Whole chunks.  These pin for themselves: process context, may sleep, fail as
 * rb_tags_pin() does.  The last chunk is padded with zeroed tags.
 */

/**
 * rb_tags_hash() - digest of a chunk, equal on nodes with equal tags
 * @t: the store
 * @chunk: its number, block >> RB_CHUNK_SHIFT
 * @ret: SHA-256 of its 128 tags; if all 128 are EMPTY with the same version,
 *	instead 16 zero bytes, index (le64), epoch (le32), 4 zero bytes (no
 *	known input of SHA-256 has such a digest); so zeros if never written
 *
 * Sees any chunk as a pin would, but reads only upper pages of a tree.
 */
int rb_tags_hash(struct rb_tags *t, u64 chunk, u8 ret[RB_HASH_BYTES]);
int rb_tags_read_chunk(struct rb_tags *t, u64 chunk,
		       struct rb_tag ret[RB_CHUNK_TAGS]);
/*
 * Overwrites all tags of the chunk, whether its old ones can be read or not.  If
 * an upper page of the tree does not match, the tags of all other chunks below
 * it turn out lost too, one pin at a time.  -EIO: an upper page cannot be read.
 * -EINVAL: @tags has an unknown state, a non-zero reserved byte, EMPTY with a
 * page or tag, a state or version past the end of the device.  Leaves `missing`
 * alone.
 */
int rb_tags_write_chunk(struct rb_tags *t, u64 chunk,
			const struct rb_tag tags[RB_CHUNK_TAGS]);
/*
 * The chunk becomes EMPTY 0/0, whether its tags can be read or not, and whatever
 * else is lost with an upper page that cannot be read: the last resort.
 */
int rb_tags_reset_chunk(struct rb_tags *t, u64 chunk);
/* Whether rb_tags_write_chunk() would take them (wire input); pure. */
bool rb_tags_chunk_valid(const struct rb_tags *t, u64 chunk,
			 const struct rb_tag tags[RB_CHUNK_TAGS]);

/**
 * rb_tags_next_chunk() - the next chunk that is not all EMPTY 0/0
 * @t: the store
 * @chunk: where to start; set to the chunk found
 *
 * A chunk whose tags are lost (see rb_tags_pin()) counts as found.
 * Return: 0, -ENOENT (there is none), or as rb_tags_pin().
 */
int rb_tags_next_chunk(struct rb_tags *t, u64 *chunk);

/*
 * Blocks whose tag is known while the disk's content is not yet what the tag
 * says.  One bit per block, in memory whatever the backend, allocated where a
 * bit is set and freed when none is left.  No pins needed.
 */

/* Process context, GFP_NOIO; -ENOMEM: some of the range may be marked. */
int rb_tags_mark_missing(struct rb_tags *t, u64 first, u64 count);
/* Any context.  Return: how many were marked. */
u64 rb_tags_clear_missing(struct rb_tags *t, u64 first, u64 count);
bool rb_tags_test_missing(struct rb_tags *t, u64 first, u64 count); /* any? */
u64 rb_tags_missing(const struct rb_tags *t);
/* First missing block >= @from, or RB_NO_BLOCK.  Any context, O(1) per 32768 */
u64 rb_tags_next_missing(struct rb_tags *t, u64 from);

/*
 * DATA blocks per epoch, so that keys of epochs nothing refers to can go.  An
 * epoch has to be added before a tag of it is set; tags of others are not
 * counted.  When tags of a tree are lost, the count stays too high: an epoch may
 * be remembered for too long, never forgotten too early.
 */
int rb_tags_epoch_add(struct rb_tags *t, u32 epoch); /* 0 also if known; -ENOMEM */
u64 rb_tags_epoch_blocks(struct rb_tags *t, u32 epoch); /* any context */
/* Process context.  -EBUSY: blocks refer to it; -ENOENT: not known. */
int rb_tags_epoch_forget(struct rb_tags *t, u32 epoch);

/**
 * rb_tags_sync() - bring the tree on the disk up to date, durably
 *
 * Nothing depends on it: until a page is durable its content stays in memory.
 * Afterwards the store does no I/O of its own until somebody pins; so call it
 * when suspending.  May sleep.  Return: 0 or -EIO (then memory still has it all).
 */
int rb_tags_sync(struct rb_tags *t);

void rb_tags_get_stats(struct rb_tags *t, struct rb_tags_stats *ret);

static inline bool rb_tag_is_data(const struct rb_tag *tag)
{
	return tag->state == RB_TAG_DATA;
}

#endif /* DM_ROLLBACCINE_TAGS_H */
