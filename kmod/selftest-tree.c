// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of the tag store with its hash tree on a disk that fails: each write and
 * flush in turn, in each way; each page changed, swapped or put back to what it
 * was before.
 */
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/module.h>

#include "selftest-disk.h"

/* The tree writes to this, unless it was given a real one. */
static struct rb_disk *rb_disk;
#define RB_TREE_SUBMIT(bio)						\
	((bio)->bi_bdev ? submit_bio(bio) : rb_disk_submit(rb_disk, bio))
#include "dm-rollbaccine-tree.c"
#include "dm-rollbaccine-tree-write.c"

#include "selftest-model.h"
#include "selftest.h"

static char *disk;
module_param(disk, charp, 0444);
MODULE_PARM_DESC(disk, "a block device of 48 KiB or more; its content is lost");

#define RB_TEST_BLOCKS 741 /* 6 leaves, the last one not full */
#define RB_TEST_FANOUT 2 /* 6 + 3 + 2 + 1 pages */
#define RB_TEST_PAGES 12

static int rb_tree_test_begin(struct rb_model *model,
			      const struct rb_tags_params *params, u64 seed)
{
	rb_disk = rb_disk_create(params->tree_pages);
	if (!rb_disk)
		return -ENOMEM;
	return rb_model_init(model, params, seed);
}

static void rb_tree_test_end(struct rb_model *model)
{
	rb_model_exit(model);
	rb_disk_destroy(rb_disk);
	rb_disk = NULL;
}

/* All of it goes, unless somebody forgot to unpin or a page is dirty. */
static int rb_tree_test_drop(struct rb_model *model)
{
	struct rb_tree *tree = model->t->tree;

	rb_tree_evict(tree, 0, ULONG_MAX);
	if (tree->nr_cached)
		pr_err(RB_SELFTEST "%u cached: %u pinned, %u dirty, %u failed, %u idle\n",
		       tree->nr_cached, tree->nr_pinned, tree->nr_dirty,
		       tree->nr_failed, tree->nr_lru);
	RB_EXPECT(!tree->nr_cached);
	RB_EXPECT(!tree->nr_pinned);
	RB_EXPECT(!tree->nr_lru);
	RB_EXPECT(!tree->nr_dirty);
	RB_EXPECT(!tree->nr_failed);
	return 0;
}

/* On the disk, and nowhere else, there is all that should be. */
static int rb_tree_test_settled(struct rb_model *model)
{
	RB_EXPECT(rb_tags_sync(model->t) == 0);
	return rb_tree_test_drop(model) ?: rb_model_check(model) ?:
	       rb_tree_test_drop(model);
}

static int rb_tree_test_steps(struct rb_model *model, unsigned int steps)
{
	int ret = 0;

	while (!ret && steps--)
		ret = rb_model_step(model);
	return ret;
}

/* ---- no faults -------------------------------------------------------- */

static int rb_tree_test_random(const struct rb_tags_params *params, u64 seed,
			       unsigned int levels)
{
	struct rb_model model = {};
	unsigned int round;
	int ret;

	ret = rb_tree_test_begin(&model, params, seed);
	if (!ret && model.t->tree->nr_levels != levels) {
		pr_err(RB_SELFTEST "%u levels on disk\n",
		       model.t->tree->nr_levels);
		ret = -EINVAL;
	}
	/* What the disk held before means nothing. */
	ret = ret ?: rb_model_check(&model);
	for (round = 0; round < 3 && !ret; round++)
		ret = rb_tree_test_steps(&model, 40) ?:
		      rb_tree_test_settled(&model);
	if (ret)
		pr_err(RB_SELFTEST "seed %llu, round %u\n", seed, round);
	rb_tree_test_end(&model);
	return ret;
}

static const struct rb_tags_params rb_test_params = {
	.blocks = RB_TEST_BLOCKS,
	.fanout = RB_TEST_FANOUT,
	.tree_pages = RB_TEST_PAGES,
	.cache_pages = 4,
};

static int rb_tree_test_shapes(void)
{
	struct rb_tags_params params = rb_test_params;
	unsigned int levels;
	int ret = 0;

	/* The fewer pages, the more of the tree is in memory. */
	for (levels = 4; levels && !ret; levels--) {
		static const u64 pages[] = { 0, 8, 9, 11, 12 };

		params.tree_pages = pages[levels];
		ret = rb_tree_test_random(&params, levels, levels);
	}
	params.blocks = 3000;
	params.fanout = 4;
	params.tree_pages = 100;
	ret = ret ?: rb_tree_test_random(&params, 5, 4);
	params.cache_pages = 16;
	ret = ret ?: rb_tree_test_random(&params, 6, 4);
	params.cache_pages = 1000;
	ret = ret ?: rb_tree_test_random(&params, 7, 4);
	params.fanout = 0;
	ret = ret ?: rb_tree_test_random(&params, 8, 2);
	params.blocks = 100;
	params.tree_pages = 1;
	return ret ?: rb_tree_test_random(&params, 9, 1);
}

static int rb_tree_test_edges(void)
{
	struct rb_tags_params params = rb_test_params;
	struct rb_tags *t;
	int ret;

	params.tree_pages = 5;
	RB_EXPECT(rb_tags_create(&params, &t) == -EINVAL);
	RB_EXPECT(rb_tags_min_tree_pages(params.blocks) == 6);
	RB_EXPECT(rb_tags_min_tree_pages(1) == 1);
	RB_EXPECT(rb_tags_min_tree_pages(128) == 1);
	RB_EXPECT(rb_tags_min_tree_pages(129) == 2);
	/* More than fits memory: refused, and without a splat. */
	params.fanout = 0;
	params.blocks = 1ull << 50;
	params.tree_pages = 1ull << 43;
	ret = rb_tags_create(&params, &t);
	RB_EXPECT(ret == -ENOMEM);
	return 0;
}

/* The first pages of a real disk. */
static int rb_tree_test_disk(void)
{
	struct rb_tags_params params = rb_test_params;
	struct rb_model model = {};
	struct file *file;
	int ret;

	if (!disk)
		return 0;
	file = filp_open(disk, O_RDWR | O_LARGEFILE, 0);
	if (IS_ERR(file))
		return PTR_ERR(file);
	params.bdev = I_BDEV(file->f_mapping->host);
	ret = S_ISBLK(file->f_mapping->host->i_mode) ? 0 : -ENOTBLK;
	ret = ret ?: rb_model_init(&model, &params, 11);
	ret = ret ?: rb_tree_test_steps(&model, 200);
	ret = ret ?: rb_tree_test_settled(&model);
	if (!ret && !model.t->tree->reads)
		ret = -EINVAL;
	rb_model_exit(&model);
	fput(file);
	return ret;
}

/* ---- failing writes --------------------------------------------------- */

/*
 * One run of the same steps, in which one or several writes or flushes fail.
 * Return: how many there were, or an error.
 */
static int rb_tree_test_failing(enum rb_disk_fault fault, u64 at, u64 count)
{
	struct rb_model model = {};
	int ret;

	ret = rb_tree_test_begin(&model, &rb_test_params, 77);
	if (ret)
		goto out;
	model.flaky = true;
	rb_disk->fault = fault;
	rb_disk->fail_at = at;
	rb_disk->fail_for = count;
	rb_disk->off_for = 1 + at % 7;
	ret = rb_tree_test_steps(&model, 30);
	rb_disk_heal(rb_disk);
	ret = ret ?: rb_tree_test_settled(&model);
	if (ret)
		pr_err(RB_SELFTEST "fault %u of event %llu (%llu)\n", fault, at,
		       count);
	ret = ret ?: min_t(u64, rb_disk->events, INT_MAX);
out:
	rb_tree_test_end(&model);
	return ret;
}

static int rb_tree_test_each_write(void)
{
	int events = rb_tree_test_failing(RB_DISK_LOST, 0, 0), ret = 0, i;
	enum rb_disk_fault fault;

	if (events < 0)
		return events;
	RB_EXPECT(events > 10);
	pr_info(RB_SELFTEST "tree: %d writes and flushes to fail\n", events);
	for (fault = 0; fault < RB_DISK_FAULTS; fault++) {
		for (i = 1; i <= events && ret >= 0; i++)
			ret = rb_tree_test_failing(fault, i, 1);
		for (i = 1; i <= events && ret >= 0; i += 10)
			ret = rb_tree_test_failing(fault, i, 12);
	}
	return min(ret, 0);
}

/* A disk that takes no writes for long: the cache has an end, and no tag goes. */
static int rb_tree_test_dead_disk(void)
{
	struct rb_tags_params params = rb_test_params;
	struct rb_model model = {};
	struct rb_tags_stats stats;
	int ret;

	params.blocks = 3000;
	params.fanout = 4;
	params.tree_pages = 33;
	ret = rb_tree_test_begin(&model, &params, 5);
	ret = ret ?: rb_tree_test_steps(&model, 20);
	if (ret)
		goto out;
	model.flaky = true;
	rb_disk->fail_for = U64_MAX;
	rb_disk->fail_at = 1;
	ret = rb_tree_test_steps(&model, 100);
	if (!ret && (!model.skipped || rb_tags_sync(model.t) != -EIO))
		ret = -EINVAL;
	rb_tags_get_stats(model.t, &stats);
	/* Twice the bound, and what the largest pin had on top. */
	if (stats.cached >= params.tree_pages)
		ret = -EINVAL;
	rb_disk_heal(rb_disk);
	ret = ret ?: rb_tree_test_settled(&model);
out:
	rb_tree_test_end(&model);
	return ret;
}

/* The writer tries again by itself. */
static int rb_tree_test_retry(void)
{
	struct rb_model model = {};
	unsigned int i;
	int ret;

	ret = rb_tree_test_begin(&model, &rb_test_params, 6);
	ret = ret ?: rb_model_set_chunk(&model, 3);
	if (ret)
		goto out;
	rb_disk->fail_for = U64_MAX;
	rb_disk->fail_at = 1;
	ret = rb_tags_sync(model.t) == -EIO ? 0 : -EINVAL;
	rb_disk_heal(rb_disk);
	for (i = 0; i < 1000 && READ_ONCE(model.t->tree->nr_failed); i++)
		msleep(20);
	ret = ret ?: i == 1000 ? -ETIMEDOUT : rb_tree_test_settled(&model);
out:
	rb_tree_test_end(&model);
	return ret;
}

/* ---- pages that are not what was written ------------------------------ */

/* The level of a page of the disk, and the chunks at or below it. */
static unsigned int rb_tree_test_span(struct rb_tree *tree, unsigned long slot,
				      u64 *first, u64 *count)
{
	unsigned int level = 0, i;

	while (level + 1 < tree->nr_levels &&
	       slot >= tree->levels[level + 1].slot)
		level++;
	*first = slot - tree->levels[level].slot;
	*count = 1;
	for (i = 0; i < level; i++) {
		*first *= tree->fanout;
		*count *= tree->fanout;
	}
	*count = min(*count, tree->levels[0].pages - *first);
	return level;
}

static int rb_tree_test_pin(struct rb_model *model, u64 chunk, int expected)
{
	u64 first = chunk * RB_CHUNK_TAGS, bad = RB_NO_BLOCK;
	u64 count = min_t(u64, RB_CHUNK_TAGS, model->blocks - first);
	int ret = rb_tags_pin(model->t, first, count, RB_PIN_SET, &bad);

	RB_EXPECT(ret == expected);
	RB_EXPECT(!ret || bad == chunk);
	if (!ret)
		rb_tags_unpin(model->t, first, count, RB_PIN_SET);
	return 0;
}

/* Exactly the chunks at or below a page cannot be pinned. */
static int rb_tree_test_found(struct rb_model *model, unsigned long slot)
{
	u64 first, count, chunk;
	u8 digest[RB_HASH_BYTES];
	unsigned int level;
	int ret = 0;

	level = rb_tree_test_span(model->t->tree, slot, &first, &count);
	for (chunk = 0; chunk < rb_tags_chunks(model->t) && !ret; chunk++) {
		bool below = chunk >= first && chunk - first < count;

		ret = rb_tree_test_pin(model, chunk, below ? -EBADMSG : 0);
		RB_EXPECT(rb_tags_hash(model->t, chunk, digest) ==
			  (below && level ? -EBADMSG : 0));
	}
	/* A range over all of it names the first, and leaves nothing pinned. */
	RB_EXPECT(rb_tags_pin(model->t, 0, model->blocks, RB_PIN_GET, &chunk) ==
		  -EBADMSG);
	RB_EXPECT(chunk == first);
	chunk = first;
	RB_EXPECT(rb_tags_next_chunk(model->t, &chunk) == 0 && chunk == first);
	return ret ?: rb_tree_test_drop(model);
}

/* The chunks below are written again; all others have lost nothing. */
static int rb_tree_test_healed(struct rb_model *model, unsigned long slot)
{
	u64 first, count, chunk;
	int ret = 0;

	rb_tree_test_span(model->t->tree, slot, &first, &count);
	for (chunk = first; chunk < first + count && !ret; chunk++) {
		struct rb_tag *tags = model->tags + chunk * RB_CHUNK_TAGS;

		ret = rb_tree_test_pin(model, chunk, -EBADMSG);
		RB_EXPECT(rb_tags_write_chunk(model->t, chunk, tags) == 0);
		ret = ret ?: rb_model_check_chunk(model, chunk);
	}
	return ret ?: rb_tree_test_settled(model);
}

static int rb_tree_test_fill(struct rb_model *model)
{
	u64 chunk;
	int ret = 0;

	for (chunk = 0; chunk < rb_tags_chunks(model->t) && !ret; chunk++)
		ret = rb_model_set_chunk(model, chunk);
	RB_EXPECT(!ret && rb_tags_sync(model->t) == 0);
	return rb_tree_test_drop(model);
}

/* Each page: a flipped bit, an old version, another page; then healed. */
static int rb_tree_test_page(struct rb_model *model, unsigned long slot,
			     const u8 *old, u8 *good)
{
	u8 *page = rb_disk_page(rb_disk, slot);
	unsigned long other = (slot + 1) % rb_disk->pages;
	u64 mismatches = model->t->tree->mismatches;
	int ret;

	memcpy(good, page, RB_BLOCK_BYTES);
	page[rb_model_random(model, RB_BLOCK_BYTES)] ^=
		1 << rb_model_random(model, 8);
	ret = rb_tree_test_found(model, slot);
	RB_EXPECT(model->t->tree->mismatches > mismatches);

	RB_EXPECT(memcmp(good, old, RB_BLOCK_BYTES));
	memcpy(page, old, RB_BLOCK_BYTES);
	ret = ret ?: rb_tree_test_found(model, slot);

	memcpy(page, rb_disk_page(rb_disk, other), RB_BLOCK_BYTES);
	ret = ret ?: rb_tree_test_found(model, slot);

	/* Put right from outside: nothing bad was remembered. */
	memcpy(page, good, RB_BLOCK_BYTES);
	ret = ret ?: rb_model_check(model) ?: rb_tree_test_drop(model);

	memcpy(page, old, RB_BLOCK_BYTES);
	return ret ?: rb_tree_test_healed(model, slot);
}

static int rb_tree_test_pages(void)
{
	struct rb_model model = {};
	unsigned long slot;
	u8 *old, *good;
	int ret;

	old = kvmalloc(rb_test_params.tree_pages * RB_BLOCK_BYTES, GFP_KERNEL);
	good = kmalloc(RB_BLOCK_BYTES, GFP_KERNEL);
	ret = old && good ? 0 : -ENOMEM;
	ret = ret ?: rb_tree_test_begin(&model, &rb_test_params, 8);
	ret = ret ?: rb_tree_test_fill(&model);
	if (ret)
		goto out;
	/* Counts of epochs are too high after a leaf was lost. */
	model.flaky = true;
	memcpy(old, rb_disk->data, rb_disk->pages * RB_BLOCK_BYTES);
	ret = rb_tree_test_fill(&model);
	for (slot = 0; slot < rb_disk->pages && !ret; slot++) {
		ret = rb_tree_test_page(&model, slot,
					old + slot * RB_BLOCK_BYTES, good);
		if (ret)
			pr_err(RB_SELFTEST "page %lu\n", slot);
	}
	/* The whole tree as it was. */
	if (!ret) {
		memcpy(rb_disk->data, old, rb_disk->pages * RB_BLOCK_BYTES);
		ret = rb_tree_test_healed(&model, rb_disk->pages - 1);
	}
out:
	rb_tree_test_end(&model);
	kvfree(old);
	kfree(good);
	return ret;
}

/* An upper page that cannot be read is made up only when that is asked for. */
static int rb_tree_test_unreadable(void)
{
	struct rb_model model = {};
	int ret;

	ret = rb_tree_test_begin(&model, &rb_test_params, 9);
	ret = ret ?: rb_tree_test_fill(&model);
	if (ret)
		goto out;
	model.flaky = true;
	rb_disk->off = UINT_MAX;
	ret = rb_tree_test_pin(&model, 5, -EIO);
	if (rb_tags_write_chunk(model.t, 5, model.tags + 5 * RB_CHUNK_TAGS) !=
	    -EIO)
		ret = -EINVAL;
	rb_disk_heal(rb_disk);
	/* No harm was done. */
	ret = ret ?: rb_tree_test_settled(&model);
	rb_disk->off = UINT_MAX;
	if (rb_tags_reset_chunk(model.t, 5))
		ret = -EINVAL;
	rb_disk_heal(rb_disk);
	memset(model.tags + 5 * RB_CHUNK_TAGS, 0, RB_BLOCK_BYTES);
	ret = ret ?: rb_model_check_chunk(&model, 5) ?:
	      rb_tree_test_pin(&model, 4, -EBADMSG);
out:
	rb_tree_test_end(&model);
	return ret;
}

/* ---- many at once ----------------------------------------------------- */

#define RB_TEST_THREADS 3

struct rb_tree_test_thread {
	struct rb_tags *t;
	struct task_struct *task;
	u32 id;
	u64 *latest; /* index last set, of each of our blocks */
	int result;
};

static struct rb_tag rb_tree_test_tag(u32 id, u64 block, u64 index)
{
	struct rb_tag tag = {
		.state = RB_TAG_DATA,
		.epoch = cpu_to_le32(id + 1),
		.index = cpu_to_le64(index),
	};

	memcpy(tag.tag, &block, sizeof(block));
	return tag;
}

/* Every third block is ours, so that leaves are shared. */
static int rb_tree_test_turn(struct rb_tree_test_thread *thread,
			     struct rnd_state *rnd, u64 index)
{
	u32 slot = prandom_u32_state(rnd) % (RB_TEST_BLOCKS / RB_TEST_THREADS);
	u64 block = slot * RB_TEST_THREADS + thread->id;
	struct rb_tag tag, expected = {};
	int ret;

	ret = rb_tags_pin(thread->t, block, 1, RB_PIN_SET, NULL);
	if (ret)
		return ret;
	if (thread->latest[slot])
		expected = rb_tree_test_tag(thread->id, block,
					    thread->latest[slot]);
	rb_tags_get(thread->t, block, 1, &tag);
	if (memcmp(&tag, &expected, sizeof(tag)))
		ret = -EINVAL;
	tag = rb_tree_test_tag(thread->id, block, index);
	rb_tags_set(thread->t, block, 1, &tag);
	thread->latest[slot] = index;
	rb_tags_unpin(thread->t, block, 1, RB_PIN_SET);
	return ret;
}

static int rb_tree_test_thread(void *data)
{
	struct rb_tree_test_thread *thread = data;
	struct rnd_state rnd;
	u64 index;

	prandom_seed_state(&rnd, thread->id);
	for (index = 1; index <= 2000 && !thread->result; index++)
		thread->result = rb_tree_test_turn(thread, &rnd, index);
	while (!kthread_should_stop())
		msleep(20);
	return 0;
}

/* Meanwhile: flushing, shrinking, hashing. */
static int rb_tree_test_disturb(struct rb_tags *t, unsigned int i)
{
	struct shrink_control control = { .nr_to_scan = 1 + i % 5 };
	u8 digest[RB_HASH_BYTES];
	u64 chunk = i % 6;

	RB_EXPECT(rb_tags_hash(t, chunk, digest) == 0);
	rb_tree_shrink_count(t->tree->shrinker, &control);
	rb_tree_shrink_scan(t->tree->shrinker, &control);
	if (i % 16 == 0)
		RB_EXPECT(rb_tags_sync(t) == 0);
	rb_tags_next_chunk(t, &chunk);
	return 0;
}

static int rb_tree_test_busy(struct rb_model *model,
			     struct rb_tree_test_thread *threads)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < RB_TEST_THREADS; i++) {
		threads[i].t = model->t;
		threads[i].id = i;
		threads[i].latest = kcalloc(RB_TEST_BLOCKS, sizeof(u64),
					    GFP_KERNEL);
		if (!threads[i].latest)
			return -ENOMEM;
	}
	for (i = 0; i < RB_TEST_THREADS; i++) {
		struct task_struct *task = kthread_run(rb_tree_test_thread,
						       &threads[i], "rb_test");

		if (IS_ERR(task))
			return PTR_ERR(task);
		threads[i].task = task;
	}
	for (i = 0; i < 400 && !ret; i++)
		ret = rb_tree_test_disturb(model->t, i);
	return ret;
}

static int rb_tree_test_threads(unsigned int cache_pages)
{
	struct rb_tree_test_thread threads[RB_TEST_THREADS] = {};
	struct rb_tags_params params = rb_test_params;
	struct rb_model model = {};
	unsigned int i, slot;
	int ret;

	params.cache_pages = cache_pages;
	ret = rb_tree_test_begin(&model, &params, 10);
	ret = ret ?: rb_tree_test_busy(&model, threads);
	for (i = 0; i < RB_TEST_THREADS; i++) {
		if (threads[i].task)
			kthread_stop(threads[i].task);
		ret = ret ?: threads[i].result;
		for (slot = 0; !ret && slot < RB_TEST_BLOCKS / 3; slot++) {
			u64 block = slot * RB_TEST_THREADS + i;

			if (threads[i].latest[slot])
				model.tags[block] = rb_tree_test_tag(
					i, block, threads[i].latest[slot]);
		}
		kfree(threads[i].latest);
	}
	ret = ret ?: rb_tree_test_settled(&model);
	rb_tree_test_end(&model);
	return ret;
}

/* ---- cost ------------------------------------------------------------- */

#define RB_COST_BLOCKS (RB_CHUNK_TAGS * 128u * 4) /* 256 MiB of device */

static int rb_tree_test_touch(struct rb_tags *t, struct rnd_state *rnd,
			      unsigned int times, u32 below)
{
	struct rb_tag tag = rb_tree_test_tag(0, 0, 1);
	u64 block;
	int ret;

	for (; times; times--) {
		block = prandom_u32_state(rnd) % below;
		ret = rb_tags_pin(t, block, 1, RB_PIN_SET, NULL);
		if (ret)
			return ret;
		rb_tags_set(t, block, 1, &tag);
		rb_tags_unpin(t, block, 1, RB_PIN_SET);
	}
	return 0;
}

static int rb_tree_test_cost(unsigned int levels, u64 tree_pages)
{
	struct rb_tags_params params = {
		.blocks = RB_COST_BLOCKS,
		.tree_pages = tree_pages,
		.cache_pages = 64,
	};
	struct rb_tags_stats stats, base;
	struct rb_model model = {};
	struct rnd_state rnd;
	u64 begin, hit, miss;
	int ret;

	prandom_seed_state(&rnd, 1);
	ret = rb_tree_test_begin(&model, &params, 1);
	if (ret)
		goto out;
	rb_tags_get_stats(model.t, &base);
	begin = ktime_get_ns();
	ret = rb_tree_test_touch(model.t, &rnd, 20000, 1024);
	hit = ktime_get_ns() - begin;
	begin = ktime_get_ns();
	ret = ret ?: rb_tree_test_touch(model.t, &rnd, 2000, RB_COST_BLOCKS);
	miss = ktime_get_ns() - begin;
	rb_tags_get_stats(model.t, &stats);
	if (model.t->tree->nr_levels != levels ||
	    stats.cached > params.cache_pages)
		ret = -EINVAL;
	pr_info(RB_SELFTEST "tree, %u levels on disk: bytes of memory %llu, top per GiB %llu, at most %zu per cached page\n",
		levels, base.memory,
		model.t->tree->levels[levels - 1].pages * RB_HASH_BYTES * 4,
		sizeof(struct rb_tree_page) + RB_BLOCK_BYTES);
	pr_info(RB_SELFTEST "tree, %u levels on disk: ns per pin, set, unpin: %llu cached, %llu random over 256 MiB with 64 cached pages (%llu reads, %llu writes for 2000)\n",
		levels, div_u64(hit, 20000), div_u64(miss, 2000), stats.reads,
		stats.writes);
out:
	rb_tree_test_end(&model);
	return ret;
}

int rb_selftest_tree(void)
{
	static const struct {
		const char *name;
		int (*run)(void);
	} tests[] = {
		{ "edges", rb_tree_test_edges },
		{ "shapes", rb_tree_test_shapes },
		{ "disk", rb_tree_test_disk },
		{ "pages", rb_tree_test_pages },
		{ "unreadable", rb_tree_test_unreadable },
		{ "retry", rb_tree_test_retry },
		{ "dead disk", rb_tree_test_dead_disk },
		{ "each write", rb_tree_test_each_write },
	};
	unsigned int i;
	int ret = 0;

	for (i = 0; i < ARRAY_SIZE(tests) && !ret; i++) {
		ktime_t begin = ktime_get();

		ret = tests[i].run();
		pr_info(RB_SELFTEST "tree: %s: %d (%lld ms)\n", tests[i].name,
			ret, ktime_ms_delta(ktime_get(), begin));
	}
	ret = ret ?: rb_tree_test_threads(4);
	ret = ret ?: rb_tree_test_threads(32);
	ret = ret ?: rb_tree_test_cost(1, RB_COST_BLOCKS / RB_CHUNK_TAGS);
	return ret ?: rb_tree_test_cost(2, RB_COST_BLOCKS / RB_CHUNK_TAGS + 4);
}
