/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A tag store and, beside it, plain arrays that say what it has to answer.
 */
#ifndef DM_ROLLBACCINE_SELFTEST_MODEL_H
#define DM_ROLLBACCINE_SELFTEST_MODEL_H

#include <linux/prandom.h>

#include "dm-rollbaccine-tags.h"

#define RB_MODEL_EPOCHS 3

/**
 * struct rb_model - both of them
 * @t: the store
 * @blocks: its size
 * @tags: what it has to hold, padded to whole chunks
 * @missing: which blocks are missing
 * @index: of the last operation
 * @rnd: source of all choices: a seed gives the same steps again
 * @buf: room for a pinned range
 * @flaky: the disk below may fail: -EIO of a pin skips the step
 * @skipped: how often it did
 */
struct rb_model {
	struct rb_tags *t;
	u64 blocks;
	struct rb_tag *tags;
	unsigned long *missing;
	u64 index;
	struct rnd_state rnd;
	struct rb_tag *buf;
	bool flaky;
	unsigned int skipped;
};

int rb_model_init(struct rb_model *model, const struct rb_tags_params *params,
		  u64 seed);
void rb_model_exit(struct rb_model *model);
u32 rb_model_random(struct rb_model *model, u32 below);
int rb_model_step(struct rb_model *model);
int rb_model_set_chunk(struct rb_model *model, u64 chunk);
void rb_model_digest(const struct rb_model *model, u64 chunk,
		     u8 ret[RB_HASH_BYTES]);
int rb_model_check_chunk(struct rb_model *model, u64 chunk);
int rb_model_check(struct rb_model *model);

#endif /* DM_ROLLBACCINE_SELFTEST_MODEL_H */
