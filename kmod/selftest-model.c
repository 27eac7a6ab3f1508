// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random operations on a tag store, compared with plain arrays.
 */
#include <crypto/sha2.h>
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "selftest-model.h"
#include "selftest.h"

#define RB_MODEL_MAX_RANGE 300

struct rb_range {
	u64 first;
	u64 count;
};

u32 rb_model_random(struct rb_model *model, u32 below)
{
	return prandom_u32_state(&model->rnd) % below;
}

static u64 rb_model_padded(const struct rb_model *model)
{
	return rb_tags_min_tree_pages(model->blocks) * RB_CHUNK_TAGS;
}

int rb_model_init(struct rb_model *model, const struct rb_tags_params *params,
		  u64 seed)
{
	unsigned int i;
	int ret;

	*model = (struct rb_model){ .blocks = params->blocks };
	prandom_seed_state(&model->rnd, seed);
	ret = rb_tags_create(params, &model->t);
	if (ret)
		return ret;
	model->tags = kvcalloc(rb_model_padded(model), sizeof(*model->tags),
			       GFP_KERNEL);
	model->missing = bitmap_zalloc(model->blocks, GFP_KERNEL);
	model->buf = kvcalloc(max_t(u64, model->blocks, RB_CHUNK_TAGS),
			      sizeof(*model->buf), GFP_KERNEL);
	if (!model->tags || !model->missing || !model->buf)
		return -ENOMEM;
	for (i = 1; i <= RB_MODEL_EPOCHS && !ret; i++)
		ret = rb_tags_epoch_add(model->t, i);
	return ret;
}

void rb_model_exit(struct rb_model *model)
{
	rb_tags_put(model->t);
	kvfree(model->tags);
	bitmap_free(model->missing);
	kvfree(model->buf);
}

static struct rb_range rb_model_range(struct rb_model *model, u32 most)
{
	struct rb_range range;

	range.first = rb_model_random(model, model->blocks);
	range.count = 1 + rb_model_random(model, most);
	range.count = min(range.count, model->blocks - range.first);
	return range;
}

static struct rb_tag rb_model_tag(struct rb_model *model, u16 page)
{
	struct rb_tag tag = {
		.index = cpu_to_le64(model->index),
		.epoch = cpu_to_le32(1 + model->index % RB_MODEL_EPOCHS),
	};

	/* Some EMPTY ones amid the others. */
	if (!rb_model_random(model, 16))
		return tag;
	tag.page = cpu_to_le16(page);
	tag.state = RB_TAG_DATA;
	prandom_bytes_state(&model->rnd, tag.tag, sizeof(tag.tag));
	return tag;
}

/* Return: 1 if pinned, 0 if the disk was allowed to fail and did. */
static int rb_model_pin(struct rb_model *model, struct rb_range range,
			enum rb_pin mode)
{
	int ret = rb_tags_pin(model->t, range.first, range.count, mode, NULL);

	if (model->flaky && ret == -EIO) {
		model->skipped++;
		return 0;
	}
	return ret ?: 1;
}

static int rb_model_set(struct rb_model *model, struct rb_range range)
{
	unsigned long flags;
	unsigned int i;
	int ret;

	ret = rb_model_pin(model, range, RB_PIN_SET);
	if (ret <= 0)
		return ret;
	model->index++;
	for (i = 0; i < range.count; i++)
		model->tags[range.first + i] = rb_model_tag(model, i);
	/* As from an interrupt. */
	local_irq_save(flags);
	rb_tags_set(model->t, range.first, range.count,
		    model->tags + range.first);
	local_irq_restore(flags);
	rb_tags_unpin(model->t, range.first, range.count, RB_PIN_SET);
	return 0;
}

static int rb_model_empty(struct rb_model *model, struct rb_range range)
{
	struct rb_tag tag = {};
	unsigned int i;
	int ret;

	ret = rb_model_pin(model, range, RB_PIN_EMPTY);
	if (ret <= 0)
		return ret;
	model->index++;
	tag.index = cpu_to_le64(model->index);
	tag.epoch = cpu_to_le32(1);
	for (i = 0; i < range.count; i++)
		model->tags[range.first + i] = tag;
	rb_tags_set_empty(model->t, range.first, range.count, 1, model->index);
	rb_tags_unpin(model->t, range.first, range.count, RB_PIN_EMPTY);
	return 0;
}

static int rb_model_get(struct rb_model *model, struct rb_range range)
{
	int ret = rb_model_pin(model, range, RB_PIN_GET);

	if (ret <= 0)
		return ret;
	rb_tags_get(model->t, range.first, range.count, model->buf);
	rb_tags_unpin(model->t, range.first, range.count, RB_PIN_GET);
	RB_EXPECT(!memcmp(model->buf, model->tags + range.first,
			  range.count * sizeof(*model->buf)));
	return 0;
}

/* Two owners of one range, of which one discards it. */
static int rb_model_overlap(struct rb_model *model, struct rb_range range)
{
	int ret = rb_model_pin(model, range, RB_PIN_SET);

	if (ret <= 0)
		return ret;
	ret = rb_model_empty(model, range);
	if (!ret && !model->flaky)
		rb_tags_set(model->t, range.first, range.count,
			    model->tags + range.first);
	rb_tags_unpin(model->t, range.first, range.count, RB_PIN_SET);
	return ret;
}

int rb_model_set_chunk(struct rb_model *model, u64 chunk)
{
	u64 first = chunk * RB_CHUNK_TAGS;
	struct rb_tag *tags = model->buf;
	unsigned int i;
	int ret;

	memset(tags, 0, RB_CHUNK_TAGS * sizeof(*tags));
	model->index++;
	for (i = 0; i < RB_CHUNK_TAGS && first + i < model->blocks; i++)
		tags[i] = rb_model_tag(model, i);
	ret = rb_tags_write_chunk(model->t, chunk, tags);
	if (!ret)
		memcpy(model->tags + first, tags,
		       RB_CHUNK_TAGS * sizeof(*tags));
	return model->flaky && ret == -EIO ? 0 : ret;
}

static int rb_model_chunk(struct rb_model *model, u64 chunk, u32 what)
{
	int ret;

	/* With a disk that fails for a while a reset does harm. */
	if (what || model->flaky)
		return rb_model_set_chunk(model, chunk);
	ret = rb_tags_reset_chunk(model->t, chunk);
	if (!ret)
		memset(model->tags + chunk * RB_CHUNK_TAGS, 0,
		       RB_CHUNK_TAGS * sizeof(*model->tags));
	return model->flaky && ret == -EIO ? 0 : ret;
}

static int rb_model_mark(struct rb_model *model, struct rb_range range)
{
	u64 before;

	if (rb_model_random(model, 2)) {
		bitmap_set(model->missing, range.first, range.count);
		return rb_tags_mark_missing(model->t, range.first, range.count);
	}
	before = bitmap_weight(model->missing, model->blocks);
	bitmap_clear(model->missing, range.first, range.count);
	RB_EXPECT(rb_tags_clear_missing(model->t, range.first, range.count) ==
		  before - bitmap_weight(model->missing, model->blocks));
	return 0;
}

static int rb_model_find(struct rb_model *model, struct rb_range range)
{
	u64 next = find_next_bit(model->missing, model->blocks, range.first);

	RB_EXPECT(rb_tags_next_missing(model->t, range.first) ==
		  (next < model->blocks ? next : RB_NO_BLOCK));
	RB_EXPECT(rb_tags_test_missing(model->t, range.first, range.count) ==
		  (next < range.first + range.count));
	RB_EXPECT(rb_tags_missing(model->t) ==
		  bitmap_weight(model->missing, model->blocks));
	return 0;
}

/* One random operation. */
int rb_model_step(struct rb_model *model)
{
	struct rb_range range = rb_model_range(model, RB_MODEL_MAX_RANGE);
	struct rb_range large = rb_model_range(model, model->blocks);
	u64 chunk = range.first / RB_CHUNK_TAGS;

	switch (rb_model_random(model, 20)) {
	case 0:
		return rb_model_empty(model, large);
	case 1:
	case 2:
		return rb_model_empty(model, range);
	case 3:
		return rb_model_overlap(model, range);
	case 4:
	case 5:
		return rb_model_chunk(model, chunk, rb_model_random(model, 3));
	case 6:
	case 7:
		return rb_model_mark(model, range);
	case 8:
		return rb_model_find(model, large);
	case 9:
	case 10:
	case 11:
		return rb_model_get(model, range);
	case 12:
		return rb_model_get(model, large);
	case 13:
		return model->flaky ? 0 : rb_model_check_chunk(model, chunk);
	case 14:
		return rb_tags_sync(model->t) && !model->flaky ? -EIO : 0;
	default:
		return rb_model_set(model, range);
	}
}

void rb_model_digest(const struct rb_model *model, u64 chunk,
		     u8 ret[RB_HASH_BYTES])
{
	const struct rb_tag *tags = model->tags + chunk * RB_CHUNK_TAGS;
	bool same = true;
	unsigned int i;

	for (i = 0; i < RB_CHUNK_TAGS; i++)
		same = same && tags[i].state == RB_TAG_EMPTY &&
		       tags[i].index == tags[0].index &&
		       tags[i].epoch == tags[0].epoch;
	if (!same) {
		sha256((const u8 *)tags, RB_CHUNK_TAGS * sizeof(*tags), ret);
		return;
	}
	memset(ret, 0, RB_HASH_BYTES);
	memcpy(ret + 16, &tags[0].index, 8);
	memcpy(ret + 24, &tags[0].epoch, 4);
}

int rb_model_check_chunk(struct rb_model *model, u64 chunk)
{
	u8 digest[RB_HASH_BYTES], expected[RB_HASH_BYTES];
	struct rb_tag *tags = model->tags + chunk * RB_CHUNK_TAGS;
	int ret;

	rb_model_digest(model, chunk, expected);
	ret = rb_tags_hash(model->t, chunk, digest);
	RB_EXPECT(!ret);
	RB_EXPECT(!memcmp(digest, expected, sizeof(digest)));
	ret = rb_tags_read_chunk(model->t, chunk, model->buf);
	RB_EXPECT(!ret);
	RB_EXPECT(!memcmp(model->buf, tags, RB_CHUNK_TAGS * sizeof(*tags)));
	return 0;
}

static int rb_model_check_used(struct rb_model *model)
{
	u64 chunks = rb_tags_chunks(model->t), found = 0, chunk;
	int ret;

	for (chunk = 0; chunk < chunks; chunk++) {
		if (!memchr_inv(model->tags + chunk * RB_CHUNK_TAGS, 0,
				RB_CHUNK_TAGS * sizeof(*model->tags)))
			continue;
		ret = rb_tags_next_chunk(model->t, &found);
		RB_EXPECT(!ret);
		RB_EXPECT(found == chunk);
		found++;
	}
	RB_EXPECT(rb_tags_next_chunk(model->t, &found) == -ENOENT);
	return 0;
}

static int rb_model_check_epochs(struct rb_model *model)
{
	u64 counts[RB_MODEL_EPOCHS + 1] = {}, i;

	for (i = 0; i < model->blocks; i++)
		if (rb_tag_is_data(&model->tags[i]))
			counts[le32_to_cpu(model->tags[i].epoch)]++;
	/* Where leaves were overwritten unread, a count may be too high. */
	for (i = 1; i <= RB_MODEL_EPOCHS; i++) {
		u64 blocks = rb_tags_epoch_blocks(model->t, i);

		RB_EXPECT(model->flaky ? blocks >= counts[i] :
					 blocks == counts[i]);
	}
	return 0;
}

/* Everything. */
int rb_model_check(struct rb_model *model)
{
	struct rb_range all = { .count = model->blocks };
	u64 chunk;
	int ret;

	for (chunk = 0; chunk < rb_tags_chunks(model->t); chunk++) {
		ret = rb_model_check_chunk(model, chunk);
		if (ret)
			return ret;
	}
	ret = rb_model_check_used(model) ?: rb_model_check_epochs(model);
	return ret ?: rb_model_find(model, all);
}
