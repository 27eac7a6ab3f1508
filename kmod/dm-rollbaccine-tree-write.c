// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tree's disk, and its writer: the only one that brings pages there, and the
 * only one that enters their digests one level up.  See -tree for why.
 */
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/completion.h>
#include <linux/math64.h>
#include <linux/string.h>

#include "compat.h"
#include "dm-rollbaccine-tree.h"

#define RB_TREE_RETRY_MS 1000

/* ---- input and output ------------------------------------------------- */

static void rb_tree_bio_init(struct rb_tree *tree, struct bio *bio,
			     struct bio_vec *vec, blk_opf_t opf,
			     unsigned long slot, void *content)
{
	bio_init(bio, tree->bdev, vec, vec ? 1 : 0, opf);
	bio->bi_iter.bi_sector = (sector_t)slot * RB_BLOCK_SECTORS;
	if (vec)
		__bio_add_page(bio, virt_to_page(content), RB_BLOCK_BYTES,
			       offset_in_page(content));
}

static void rb_tree_bio_done(struct bio *bio)
{
	complete(bio->bi_private);
}

static int rb_tree_bio_wait(struct bio *bio)
{
	DECLARE_COMPLETION_ONSTACK(done);
	int ret;

	bio->bi_end_io = rb_tree_bio_done;
	bio->bi_private = &done;
	RB_TREE_SUBMIT(bio);
	wait_for_completion_io(&done);
	/* Whatever the layers below call it: the disk has not done it. */
	ret = bio->bi_status ? -EIO : 0;
	bio_uninit(bio);
	return ret;
}

static void rb_tree_count(struct rb_tree *tree, u64 *what)
{
	unsigned long flags;

	xa_lock_irqsave(&tree->pages, flags);
	(*what)++;
	xa_unlock_irqrestore(&tree->pages, flags);
}

static int rb_tree_flush(struct rb_tree *tree)
{
	struct bio bio;

	rb_tree_bio_init(tree, &bio, NULL, REQ_OP_WRITE | REQ_PREFLUSH, 0, NULL);
	return rb_tree_bio_wait(&bio);
}

/* 0, -EIO, or -EBADMSG if it is not what was written. */
int rb_tree_read(struct rb_tree *tree, const struct rb_tree_page *page,
		 const u8 expected[RB_HASH_BYTES])
{
	u8 digest[RB_HASH_BYTES];
	struct bio_vec vec;
	struct bio bio;
	int ret;

	rb_tree_bio_init(tree, &bio, &vec, REQ_OP_READ | REQ_META, page->slot,
			 page->leaf.tags);
	ret = rb_tree_bio_wait(&bio);
	rb_tree_count(tree, &tree->reads);
	if (!ret)
		ret = rb_tree_digest(tree, page->level, page->leaf.tags,
				     digest);
	if (ret) {
		rb_tree_count(tree, &tree->errors);
		DMERR_LIMIT("cannot read tag page %lu: %d", page->slot, ret);
	} else if (memcmp(digest, expected, RB_HASH_BYTES)) {
		rb_tree_count(tree, &tree->mismatches);
		DMERR_LIMIT("tag page %lu is not what was written", page->slot);
		ret = -EBADMSG;
	}
	return ret;
}
/* ---- the writer ------------------------------------------------------- */

/* While the disk takes no writes, this leaves it to the retry. */
void rb_tree_kick(struct rb_tree *tree)
{
	queue_delayed_work(tree->wq, &tree->work, 0);
}

/*
 * Dirty pages of one level, from @cursor on: those above would only become dirty
 * again.
 */
static unsigned int rb_tree_gather(struct rb_tree *tree, unsigned long *cursor)
{
	struct rb_tree_page *page;
	unsigned int level, n = 0;
	unsigned long slot;

	xa_lock_irq(&tree->pages);
	tree->pressure = false;
	page = xa_find(&tree->pages, cursor, ULONG_MAX, RB_TREE_DIRTY);
	level = page ? page->level : 0;
	slot = *cursor;
	while (page && n < tree->batch_size && page->level == level) {
		page->busy = true;
		tree->batch[n++].page = page;
		/* Not up to the next dirty page: these will make more. */
		*cursor = slot + 1;
		page = xa_find_after(&tree->pages, &slot, ULONG_MAX,
				     RB_TREE_DIRTY);
	}
	xa_unlock_irq(&tree->pages);
	return n;
}

static void rb_tree_copy(struct rb_tree *tree, struct rb_tree_write *write)
{
	struct rb_tree_page *page = write->page;
	struct rb_tag plain;

	spin_lock_irq(&page->leaf.lock);
	memcpy(write->copy, page->leaf.tags, RB_BLOCK_BYTES);
	xa_lock(&tree->pages);
	page->dirty = false;
	__xa_clear_mark(&tree->pages, page->slot, RB_TREE_DIRTY);
	tree->nr_dirty--;
	xa_unlock(&tree->pages);
	spin_unlock_irq(&page->leaf.lock);

	write->error = rb_tree_digest(tree, page->level, write->copy,
				      write->digest);
	write->skip = write->error ||
		      rb_tags_digest_is_uniform(write->digest, &plain);
}

static void rb_tree_wrote(struct bio *bio)
{
	struct rb_tree_write *write = bio->bi_private;
	struct rb_tree *tree = write->tree;

	if (bio->bi_status)
		write->error = -EIO;
	bio_uninit(bio);
	if (atomic_dec_and_test(&tree->in_flight))
		complete(&tree->batch_done);
}

static void rb_tree_submit(struct rb_tree *tree, unsigned int n)
{
	struct rb_tree_write *write;
	struct blk_plug plug;

	atomic_set(&tree->in_flight, 1);
	reinit_completion(&tree->batch_done);
	blk_start_plug(&plug);
	for (write = tree->batch; write < tree->batch + n; write++) {
		if (write->skip)
			continue;
		rb_tree_bio_init(tree, &write->bio, &write->vec,
				 REQ_OP_WRITE | REQ_META, write->page->slot,
				 write->copy);
		write->bio.bi_end_io = rb_tree_wrote;
		write->bio.bi_private = write;
		atomic_inc(&tree->in_flight);
		RB_TREE_SUBMIT(&write->bio);
	}
	blk_finish_plug(&plug);
	if (!atomic_dec_and_test(&tree->in_flight))
		wait_for_completion_io(&tree->batch_done);
}

/* Everything of the batch that reached the disk stays there, or failed. */
static void rb_tree_settle(struct rb_tree *tree, unsigned int n)
{
	struct rb_tree_write *write;
	unsigned int written = 0;
	int error;

	for (write = tree->batch; write < tree->batch + n; write++)
		written += !write->skip && !write->error;
	if (!written)
		return;
	error = rb_tree_flush(tree);
	for (write = tree->batch; write < tree->batch + n; write++)
		if (!write->skip && !write->error)
			write->error = error;
}

static void rb_tree_enter(struct rb_tree *tree,
			  const struct rb_tree_write *write)
{
	struct rb_tree_page *parent = write->page->parent;
	u64 index = write->page->index;
	u32 i;

	if (!parent) {
		xa_lock_irq(&tree->pages);
		memcpy(rb_tree_entry(tree->top, index), write->digest,
		       RB_HASH_BYTES);
		xa_unlock_irq(&tree->pages);
		return;
	}
	div_u64_rem(index, tree->fanout, &i);
	spin_lock_irq(&parent->leaf.lock);
	memcpy(rb_tree_entry(parent->leaf.tags, i), write->digest,
	       RB_HASH_BYTES);
	rb_tree_mark_dirty(tree, parent);
	spin_unlock_irq(&parent->leaf.lock);
}

static void rb_tree_finish(struct rb_tree *tree, struct rb_tree_write *write)
{
	struct rb_tree_page *page = write->page;

	if (write->error) {
		spin_lock_irq(&page->leaf.lock);
		rb_tree_mark_dirty(tree, page);
		spin_unlock_irq(&page->leaf.lock);
	} else {
		rb_tree_enter(tree, write);
	}
	xa_lock_irq(&tree->pages);
	page->busy = false;
	tree->nr_failed += !!write->error - page->failed;
	page->failed = write->error;
	tree->errors += !!write->error;
	tree->writes += !write->skip && !write->error;
	rb_tree_idle_locked(tree, page);
	xa_unlock_irq(&tree->pages);
}

/* Return: 0 or -EIO; @written: how many pages have become clean. */
static int rb_tree_write_batch(struct rb_tree *tree, unsigned long *cursor,
			       unsigned int *written)
{
	unsigned int n = rb_tree_gather(tree, cursor), i, failed = 0;
	int ret = 0;

	for (i = 0; i < n; i++)
		rb_tree_copy(tree, &tree->batch[i]);
	rb_tree_submit(tree, n);
	rb_tree_settle(tree, n);
	for (i = 0; i < n; i++) {
		failed += !!tree->batch[i].error;
		rb_tree_finish(tree, &tree->batch[i]);
	}
	if (failed) {
		DMERR_LIMIT("cannot write %u tag pages", failed);
		ret = -EIO;
	}
	*written = n - failed;
	xa_lock_irq(&tree->pages);
	tree->batches++;
	tree->failing = failed && !*written;
	xa_unlock_irq(&tree->pages);
	wake_up_all(&tree->wait);
	return ret;
}

/* Leaves come first, so what they make dirty above them is still to come. */
static int rb_tree_write_all(struct rb_tree *tree)
{
	unsigned long cursor = 0;
	unsigned int written;
	int ret = 0;

	while (xa_find(&tree->pages, &cursor, ULONG_MAX, RB_TREE_DIRTY)) {
		if (rb_tree_write_batch(tree, &cursor, &written))
			ret = -EIO;
		cond_resched();
	}
	return ret;
}

/* Return: whether pages were written. */
static bool rb_tree_write_some(struct rb_tree *tree)
{
	unsigned int written;

	if (!xa_find(&tree->pages, &tree->cursor, ULONG_MAX, RB_TREE_DIRTY))
		tree->cursor = 0;
	rb_tree_write_batch(tree, &tree->cursor, &written);
	cond_resched();
	return written;
}

static bool rb_tree_wants_writing(struct rb_tree *tree)
{
	bool wants;

	xa_lock_irq(&tree->pages);
	wants = tree->nr_dirty &&
		(tree->pressure || tree->nr_failed ||
		 tree->nr_dirty > tree->limit / 4);
	xa_unlock_irq(&tree->pages);
	return wants;
}

/* Return: whether somebody waited for it. */
static bool rb_tree_serve_sync(struct rb_tree *tree)
{
	u64 wanted;
	int error;

	xa_lock_irq(&tree->pages);
	wanted = tree->sync_wanted;
	xa_unlock_irq(&tree->pages);
	if (wanted == tree->sync_done)
		return false;
	error = rb_tree_write_all(tree);
	xa_lock_irq(&tree->pages);
	tree->sync_done = wanted;
	tree->sync_error = error;
	xa_unlock_irq(&tree->pages);
	wake_up_all(&tree->wait);
	return true;
}

void rb_tree_work(struct work_struct *work)
{
	struct rb_tree *tree = container_of(to_delayed_work(work),
					    struct rb_tree, work);
	bool retry;

	while (rb_tree_serve_sync(tree) ||
	       (rb_tree_wants_writing(tree) && rb_tree_write_some(tree)))
		;
	xa_lock_irq(&tree->pages);
	/* Whoever waits for a batch that was not needed any more. */
	tree->batches++;
	retry = tree->nr_failed;
	xa_unlock_irq(&tree->pages);
	wake_up_all(&tree->wait);
	if (retry)
		queue_delayed_work(tree->wq, &tree->work,
				   msecs_to_jiffies(RB_TREE_RETRY_MS));
}

int rb_tree_sync(struct rb_tree *tree)
{
	u64 mine;
	int ret;

	xa_lock_irq(&tree->pages);
	mine = ++tree->sync_wanted;
	xa_unlock_irq(&tree->pages);
	mod_delayed_work(tree->wq, &tree->work, 0);
	wait_event(tree->wait, READ_ONCE(tree->sync_done) >= mine);
	xa_lock_irq(&tree->pages);
	ret = tree->sync_error;
	xa_unlock_irq(&tree->pages);
	return ret;
}
