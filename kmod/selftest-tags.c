// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of the tag store with tags in memory, and of what it costs.
 */
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "selftest-model.h"
#include "selftest.h"

#define RB_GIB_BLOCKS ((1u << 30) / RB_BLOCK_BYTES)

static int rb_test_random(u64 blocks, u64 seed, unsigned int steps)
{
	struct rb_tags_params params = { .blocks = blocks };
	struct rb_model model;
	unsigned int i;
	int ret;

	ret = rb_model_init(&model, &params, seed);
	for (i = 0; i < steps && !ret; i++)
		ret = rb_model_step(&model);
	ret = ret ?: rb_model_check(&model);
	rb_model_exit(&model);
	return ret;
}

static int rb_test_bounds_of(struct rb_tags *t, struct rb_tag *tags)
{
	u8 digest[RB_HASH_BYTES];
	u64 chunk = 2;

	RB_EXPECT(rb_tags_chunks(t) == 2);
	RB_EXPECT(rb_tags_pin(t, 0, 0, RB_PIN_GET, NULL) == -EINVAL);
	RB_EXPECT(rb_tags_pin(t, 129, 1, RB_PIN_GET, NULL) == -EINVAL);
	RB_EXPECT(rb_tags_pin(t, 1, 129, RB_PIN_SET, NULL) == -EINVAL);
	RB_EXPECT(rb_tags_pin(t, U64_MAX, 2, RB_PIN_SET, NULL) == -EINVAL);
	RB_EXPECT(rb_tags_hash(t, 2, digest) == -EINVAL);
	RB_EXPECT(rb_tags_read_chunk(t, 2, tags) == -EINVAL);
	RB_EXPECT(rb_tags_write_chunk(t, 2, tags) == -EINVAL);
	RB_EXPECT(rb_tags_reset_chunk(t, U64_MAX) == -EINVAL);
	RB_EXPECT(rb_tags_next_chunk(t, &chunk) == -ENOENT);
	return 0;
}

/* Tags no node of ours would send. */
static int rb_test_invalid_of(struct rb_tags *t, struct rb_tag *tags)
{
	const struct rb_tag bad[] = {
		{ .state = RB_TAG_DATA },
		{ .state = 2, .epoch = cpu_to_le32(1), .index = cpu_to_le64(1) },
		{ .reserved = 1 },
		{ .epoch = cpu_to_le32(1) },
		{ .index = cpu_to_le64(1) },
		{ .page = cpu_to_le16(1) },
		{ .tag[15] = 1 },
	};
	const struct rb_tag good = {
		.state = RB_TAG_DATA,
		.epoch = cpu_to_le32(1),
		.index = cpu_to_le64(1),
		.tag[15] = 1,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		memset(tags, 0, RB_BLOCK_BYTES);
		tags[127] = bad[i];
		RB_EXPECT(rb_tags_write_chunk(t, 0, tags) == -EINVAL);
	}
	memset(tags, 0, RB_BLOCK_BYTES);
	tags[0] = good;
	RB_EXPECT(rb_tags_write_chunk(t, 1, tags) == 0);
	/* Past the end of the device. */
	tags[1] = good;
	RB_EXPECT(rb_tags_write_chunk(t, 1, tags) == -EINVAL);
	RB_EXPECT(rb_tags_chunk_valid(t, 0, tags));
	return 0;
}

static int rb_test_epochs_of(struct rb_tags *t, struct rb_tag *tags)
{
	memset(tags, 0, RB_BLOCK_BYTES);
	tags[0].state = RB_TAG_DATA;
	tags[0].epoch = cpu_to_le32(U32_MAX);
	tags[0].index = cpu_to_le64(1);
	RB_EXPECT(rb_tags_epoch_forget(t, U32_MAX) == -ENOENT);
	RB_EXPECT(rb_tags_epoch_add(t, U32_MAX) == 0);
	RB_EXPECT(rb_tags_epoch_add(t, U32_MAX) == 0);
	RB_EXPECT(rb_tags_write_chunk(t, 0, tags) == 0);
	RB_EXPECT(rb_tags_epoch_blocks(t, U32_MAX) == 1);
	RB_EXPECT(rb_tags_epoch_forget(t, U32_MAX) == -EBUSY);
	RB_EXPECT(rb_tags_reset_chunk(t, 0) == 0);
	RB_EXPECT(rb_tags_epoch_blocks(t, U32_MAX) == 0);
	RB_EXPECT(rb_tags_epoch_forget(t, U32_MAX) == 0);
	RB_EXPECT(rb_tags_epoch_forget(t, U32_MAX) == -ENOENT);
	return 0;
}

static int rb_test_edges(void)
{
	struct rb_tags_params params = { .blocks = 0 };
	struct rb_tag *tags;
	struct rb_tags *t;
	int ret;

	RB_EXPECT(rb_tags_create(&params, &t) == -EINVAL);
	params.blocks = 129;
	ret = rb_tags_create(&params, &t);
	if (ret)
		return ret;
	tags = kzalloc(RB_BLOCK_BYTES, GFP_KERNEL);
	ret = tags ? 0 : -ENOMEM;
	ret = ret ?: rb_test_bounds_of(t, tags);
	ret = ret ?: rb_test_invalid_of(t, tags);
	ret = ret ?: rb_test_epochs_of(t, tags);
	kfree(tags);
	/* Handed over: the second owner ends it. */
	rb_tags_put(rb_tags_hold(t));
	ret = ret ?: rb_tags_missing(t) ? -EINVAL : 0;
	rb_tags_put(t);
	return ret;
}

static u64 rb_memory(struct rb_tags *t)
{
	struct rb_tags_stats stats;

	rb_tags_get_stats(t, &stats);
	return stats.memory;
}

static int rb_discard(struct rb_tags *t, u64 first, u64 count, u64 index)
{
	int ret = rb_tags_pin(t, first, count, RB_PIN_EMPTY, NULL);

	if (ret)
		return ret;
	rb_tags_set_empty(t, first, count, 1, index);
	rb_tags_unpin(t, first, count, RB_PIN_EMPTY);
	return 0;
}

static int rb_fill(struct rb_tags *t, u64 first, u64 count)
{
	struct rb_tag tag = {
		.state = RB_TAG_DATA,
		.epoch = cpu_to_le32(1),
		.index = cpu_to_le64(1),
	};
	int ret = rb_tags_pin(t, first, count, RB_PIN_SET, NULL);

	if (ret)
		return ret;
	for (; count; first++, count--)
		rb_tags_set(t, first, 1, &tag);
	return 0;
}

/* What a device of a TiB costs, and a GiB of it in each condition. */
static int rb_test_footprint_of(struct rb_tags *t)
{
	const u64 gib = RB_GIB_BLOCKS;
	/* A chunk has a lock; what a debugging kernel keeps in it is no cost of ours. */
	const u64 debugging = (gib >> RB_CHUNK_SHIFT) *
			      (sizeof(spinlock_t) - sizeof(arch_spinlock_t));
	u64 empty, before, missing, discarded, full, trimmed;
	int ret;

	empty = rb_memory(t);
	RB_EXPECT(empty < 16384);
	ret = rb_tags_mark_missing(t, 0, gib);
	missing = rb_memory(t) - empty;
	RB_EXPECT(!ret && missing <= 2 * gib / BITS_PER_BYTE);
	RB_EXPECT(rb_tags_clear_missing(t, 0, U64_MAX) == gib);
	RB_EXPECT(rb_memory(t) == empty);

	ret = rb_discard(t, 0, gib, 1);
	discarded = rb_memory(t) - empty;
	RB_EXPECT(!ret && discarded <= gib);

	before = rb_memory(t);
	ret = rb_fill(t, 64 * gib, gib);
	RB_EXPECT(!ret);
	full = rb_memory(t) - before;
	RB_EXPECT(full >= gib * sizeof(struct rb_tag));
	RB_EXPECT(full - debugging <= gib * sizeof(struct rb_tag) * 102 / 100);
	/* While somebody has the tags pinned they stay. */
	ret = rb_discard(t, 64 * gib, gib, 2);
	RB_EXPECT(!ret && rb_memory(t) - before == full);
	rb_tags_unpin(t, 64 * gib, gib, RB_PIN_SET);
	ret = rb_discard(t, 64 * gib, gib, 3);
	trimmed = rb_memory(t) - before;
	RB_EXPECT(!ret && trimmed == discarded);
	pr_info(RB_SELFTEST "tags in memory: bytes of 1 TiB unwritten: %llu, per GiB discarded: %llu, full: %llu, missing: %llu\n",
		empty, discarded, full, missing);
	return 0;
}

static int rb_test_speed_of(struct rb_tags *t)
{
	const u64 gib = RB_GIB_BLOCKS;
	u64 set, get, pins, ends[5];
	struct rb_tag tag;
	u64 i;
	int ret;

	ends[0] = ktime_get_ns();
	ret = rb_fill(t, 0, gib);
	if (ret)
		return ret;
	ends[1] = ktime_get_ns();
	for (i = 0; i < gib; i++)
		rb_tags_set(t, i, 1, &(struct rb_tag){});
	ends[2] = ktime_get_ns();
	for (i = 0; i < gib; i++)
		rb_tags_get(t, (i * 40503) % gib, 1, &tag);
	ends[3] = ktime_get_ns();
	for (i = 0; i < gib; i++) {
		if (rb_tags_pin(t, i, 1, RB_PIN_SET, NULL))
			return -ENOMEM;
		rb_tags_unpin(t, i, 1, RB_PIN_SET);
	}
	ends[4] = ktime_get_ns();
	rb_tags_unpin(t, 0, gib, RB_PIN_SET);
	set = div64_u64(ends[2] - ends[1], gib);
	get = div64_u64(ends[3] - ends[2], gib);
	pins = div64_u64(ends[4] - ends[3], gib);
	pr_info(RB_SELFTEST "tags in memory: ns per set %llu, random get %llu, pin and unpin %llu\n",
		set, get, pins);
	return 0;
}

static int rb_test_costs(int (*test)(struct rb_tags *t))
{
	struct rb_tags_params params = { .blocks = 1024ull * RB_GIB_BLOCKS };
	struct rb_tags *t;
	int ret = rb_tags_create(&params, &t);

	if (ret)
		return ret;
	ret = test(t);
	rb_tags_put(t);
	return ret;
}

int rb_selftest_tags(void)
{
	int ret = rb_test_edges();
	u64 seed;

	for (seed = 1; seed <= 4 && !ret; seed++)
		ret = rb_test_random(1000 * seed * seed + 1, seed, 2000);
	ret = ret ?: rb_test_random(1, 1, 200);
	ret = ret ?: rb_test_random(70000, 9, 300);
	ret = ret ?: rb_test_costs(rb_test_footprint_of);
	return ret ?: rb_test_costs(rb_test_speed_of);
}
