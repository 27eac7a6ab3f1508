// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tags in a hash tree on the disk, below a top in memory.
 *
 * Level 0 are the leaves, a chunk of 128 tags each.  A page of level n + 1 holds
 * the digests of (up to) 128 pages of level n.  Levels are on the disk, leaves
 * first, while they fit into the pages we may use and until one would be a
 * single page; the digests of the highest such level are in memory (top).  The
 * digest of a page of zeros is zeros, and that of a leaf whose blocks are all
 * EMPTY with one version spells out that version: neither needs its page on the
 * disk.  So a new tree reads as empty whatever is there, and discarding a lot
 * writes few pages.  0xff throughout is no digest: the page below is lost.
 *
 * What holds, at any time: a page is in the cache, or its slot on the disk holds
 * what the digest above it says.  A page changes in the cache only.  The writer
 * copies a batch of dirty pages, writes the copies to their slots, flushes the
 * disk, and only then enters their digests one level up, which makes the page
 * there dirty in turn.  Until then, and for as long as it fails, a page stays
 * dirty or busy, and such a page is never dropped; nor is one that has pages
 * below it in the cache.  Therefore:
 *
 * (a) The disk loses power, the memory of the node survives.  What the disk lost
 *     or tore was either not flushed: then it is still in the cache, and will be
 *     written again since the write or flush failed; or flushed: then the disk
 *     has it.  The tree is as it was in memory: nothing is lost, and no tag goes
 *     back to an older one.  Should the layers below hide the loss (report a
 *     flush as done though writes before it vanished), the page is found not to
 *     match, -EBADMSG, as if somebody had rolled it back.
 * (b) A write fails, or stops half way: its slot holds the old page, the new
 *     one, or a mixture.  Nobody reads the slot: the page stays in the cache, dirty,
 *     and is written again.  If the disk takes no writes at all, the cache grows
 *     to twice its bound; then pins that need another page fail with -EIO.
 * (c) The node restarts.  Nothing on the disk is trusted, not even if it is all
 *     consistent: it could be an older tree.  The new tree is empty, and its
 *     owner asks a peer for tags.
 *
 * Data and tags need no common order on the disk either: what a block has to be
 * is decided in memory; the disk's block matches, or it is repaired.
 *
 * Locks: rb_leaf.lock of a page (its content), then the xarray's lock (cache,
 * states, counts, all pins), both with irqs off.  Never two pages' locks at once.
 */
#include <crypto/hash.h>
#include <linux/bio.h>
#include <linux/completion.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "dm-rollbaccine-tree.h"

#define RB_TREE_BATCH 32
#define RB_TREE_MIN_CACHE 4
/* Rounds of eviction a pin waits for before it exceeds the cache's bound. */
#define RB_TREE_ROUNDS 3

static struct rb_tree_page *rb_tree_page_of(struct rb_leaf *leaf)
{
	return container_of(leaf, struct rb_tree_page, leaf);
}

static unsigned long rb_tree_slot(const struct rb_tree *tree,
				  unsigned int level, u64 index)
{
	return tree->levels[level].slot + index;
}

/* ---- digests of pages ------------------------------------------------- */

int rb_tree_digest(struct rb_tree *tree, unsigned int level,
			  const void *content, u8 ret[RB_HASH_BYTES])
{
	if (!level)
		return rb_tags_digest(tree->sha, content, ret);
	if (!memchr_inv(content, 0, RB_BLOCK_BYTES)) {
		memset(ret, 0, RB_HASH_BYTES);
		return 0;
	}
	return crypto_shash_tfm_digest(tree->sha, content, RB_BLOCK_BYTES, ret);
}

static bool rb_tree_lost(const u8 digest[RB_HASH_BYTES])
{
	return !memchr_inv(digest, 0xff, RB_HASH_BYTES);
}

/* What is known of a page without reading it; false: it has to be read. */
static bool rb_tree_expand(unsigned int level, const u8 digest[RB_HASH_BYTES],
			   void *content)
{
	struct rb_tag plain, *tags = content;
	unsigned int i;

	if (!rb_tags_digest_is_uniform(digest, &plain))
		return false;
	if (level) {
		memset(content, 0, RB_BLOCK_BYTES);
		return true;
	}
	for (i = 0; i < RB_CHUNK_TAGS; i++)
		tags[i] = plain;
	return true;
}

/* The digest that a page of @level, @index has to have; @parent is pinned. */
static void rb_tree_expected(struct rb_tree *tree, struct rb_tree_page *parent,
			     u64 index, u8 ret[RB_HASH_BYTES])
{
	unsigned long flags;
	u32 i;

	if (parent) {
		div_u64_rem(index, tree->fanout, &i);
		spin_lock_irqsave(&parent->leaf.lock, flags);
		memcpy(ret, rb_tree_entry(parent->leaf.tags, i), RB_HASH_BYTES);
		spin_unlock_irqrestore(&parent->leaf.lock, flags);
	} else {
		xa_lock_irqsave(&tree->pages, flags);
		memcpy(ret, rb_tree_entry(tree->top, index), RB_HASH_BYTES);
		xa_unlock_irqrestore(&tree->pages, flags);
	}
}

/* ---- the cache -------------------------------------------------------- */

static void rb_tree_free_page(struct rb_tree_page *page)
{
	kfree(page->leaf.tags);
	kfree(page);
}

static void rb_tree_get_locked(struct rb_tree *tree, struct rb_tree_page *page)
{
	if (!page->pins++)
		tree->nr_pinned++;
	if (!list_empty(&page->lru)) {
		list_del_init(&page->lru);
		tree->nr_lru--;
	}
}

/* It may be evicted from now on, unless something stands against that. */
void rb_tree_idle_locked(struct rb_tree *tree, struct rb_tree_page *page)
{
	if (page->pins || page->dirty || page->busy)
		return;
	list_add_tail(&page->lru, &tree->lru);
	tree->nr_lru++;
}

/* Return: the page, if it has to be freed. */
static struct rb_tree_page *rb_tree_put_locked(struct rb_tree *tree,
					       struct rb_tree_page *page)
{
	if (WARN_ON_ONCE(!page->pins) || --page->pins)
		return NULL;
	if (page->dead)
		return page;
	tree->nr_pinned--;
	rb_tree_idle_locked(tree, page);
	return NULL;
}

static void rb_tree_put(struct rb_tree *tree, struct rb_tree_page *page)
{
	struct rb_tree_page *unused;
	unsigned long flags;

	if (!page)
		return;
	xa_lock_irqsave(&tree->pages, flags);
	unused = rb_tree_put_locked(tree, page);
	xa_unlock_irqrestore(&tree->pages, flags);
	if (unused)
		rb_tree_free_page(unused);
}

/* Take a page out of the cache, and with it its pin on the parent. */
static void rb_tree_forget_locked(struct rb_tree *tree,
				  struct rb_tree_page *page)
{
	__xa_erase(&tree->pages, page->slot);
	tree->nr_cached--;
	tree->nr_pinned -= !!page->pins;
	page->dead = true;
	/* A parent in the cache is never dead: this frees nothing. */
	if (page->parent)
		rb_tree_put_locked(tree, page->parent);
	page->parent = NULL;
}

static struct rb_tree_page *rb_tree_evict_one(struct rb_tree *tree,
					      unsigned int above)
{
	struct rb_tree_page *page;
	unsigned long flags;

	xa_lock_irqsave(&tree->pages, flags);
	page = list_first_entry_or_null(&tree->lru, struct rb_tree_page, lru);
	if (tree->nr_cached <= above)
		page = NULL;
	if (page) {
		list_del_init(&page->lru);
		tree->nr_lru--;
		rb_tree_forget_locked(tree, page);
	}
	xa_unlock_irqrestore(&tree->pages, flags);
	return page;
}

/* Down to @above pages if possible, at most @most of them. */
static unsigned long rb_tree_evict(struct rb_tree *tree, unsigned int above,
				   unsigned long most)
{
	struct rb_tree_page *page;
	unsigned long evicted = 0;

	while (evicted < most) {
		page = rb_tree_evict_one(tree, above);
		if (!page)
			break;
		rb_tree_free_page(page);
		evicted++;
	}
	return evicted;
}

enum rb_tree_room { RB_ROOM, RB_ROOM_SOON, RB_ROOM_NEVER };

/* Whether there is room, and after which batch to look again. */
static enum rb_tree_room rb_tree_room(struct rb_tree *tree, u64 *batches)
{
	enum rb_tree_room room = RB_ROOM_SOON;
	unsigned int unpinned;

	xa_lock_irq(&tree->pages);
	*batches = tree->batches;
	unpinned = tree->nr_cached - tree->nr_pinned;
	if (tree->nr_failed >= tree->limit ||
	    (tree->failing && unpinned >= tree->limit * 2))
		room = RB_ROOM_NEVER;
	else if (tree->nr_cached < tree->limit || tree->failing ||
		 unpinned == tree->nr_lru)
		room = RB_ROOM;
	else
		tree->pressure = true;
	xa_unlock_irq(&tree->pages);
	return room;
}

/*
 * Before a page is added.  A cache full of dirty pages waits for the writer, but
 * never for a pin to go: what is pinned comes on top of the bound.
 */
static int rb_tree_make_room(struct rb_tree *tree)
{
	unsigned int round;
	u64 batches;

	for (round = 0; round < RB_TREE_ROUNDS; round++) {
		rb_tree_evict(tree, tree->limit - 1, ULONG_MAX);
		switch (rb_tree_room(tree, &batches)) {
		case RB_ROOM:
			return 0;
		case RB_ROOM_NEVER:
			return -EIO;
		case RB_ROOM_SOON:
			break;
		}
		rb_tree_kick(tree);
		wait_event(tree->wait, READ_ONCE(tree->batches) != batches);
	}
	return 0;
}

static struct rb_tree_page *rb_tree_page_alloc(struct rb_tree *tree,
					       unsigned int level, u64 index)
{
	struct rb_tree_page *page = kzalloc(sizeof(*page), GFP_NOIO);

	if (!page)
		return NULL;
	page->leaf.tags = kmalloc(RB_BLOCK_BYTES, GFP_NOIO);
	if (!page->leaf.tags) {
		kfree(page);
		return NULL;
	}
	spin_lock_init(&page->leaf.lock);
	INIT_LIST_HEAD(&page->lru);
	page->level = level;
	page->index = index;
	page->slot = rb_tree_slot(tree, level, index);
	page->loading = true;
	return page;
}

/* Return: 0, -EEXIST (somebody was faster), -ENOMEM. */
static int rb_tree_insert(struct rb_tree *tree, struct rb_tree_page *page,
			  struct rb_tree_page *parent)
{
	void *old;

	xa_lock_irq(&tree->pages);
	old = __xa_cmpxchg(&tree->pages, page->slot, NULL, page, GFP_NOIO);
	if (!old) {
		tree->nr_cached++;
		rb_tree_get_locked(tree, page);
		page->parent = parent;
		if (parent)
			rb_tree_get_locked(tree, parent);
	}
	xa_unlock_irq(&tree->pages);
	if (!old)
		return 0;
	return xa_is_err(old) ? xa_err(old) : -EEXIST;
}

void rb_tree_mark_dirty(struct rb_tree *tree, struct rb_tree_page *page)
{
	unsigned long flags;
	bool kick;

	lockdep_assert_held(&page->leaf.lock);
	if (page->dirty)
		return;
	xa_lock_irqsave(&tree->pages, flags);
	page->dirty = true;
	__xa_set_mark(&tree->pages, page->slot, RB_TREE_DIRTY);
	kick = ++tree->nr_dirty > tree->limit / 2;
	xa_unlock_irqrestore(&tree->pages, flags);
	if (kick)
		rb_tree_kick(tree);
}

/* Nothing is known: a leaf says never written, an upper page that all is lost. */
static int rb_tree_fill_blank(struct rb_tree *tree, struct rb_tree_page *page)
{
	spin_lock_irq(&page->leaf.lock);
	memset(page->leaf.tags, page->level ? 0xff : 0, RB_BLOCK_BYTES);
	rb_tree_mark_dirty(tree, page);
	spin_unlock_irq(&page->leaf.lock);
	return 0;
}

static int rb_tree_load(struct rb_tree *tree, struct rb_tree_page *page)
{
	u8 expected[RB_HASH_BYTES];

	/* Only a page below could change this, and that is the one we load. */
	rb_tree_expected(tree, page->parent, page->index, expected);
	if (rb_tree_lost(expected))
		return -EBADMSG;
	if (rb_tree_expand(page->level, expected, page->leaf.tags))
		return 0;
	return rb_tree_read(tree, page, expected);
}

static void rb_tree_loaded(struct rb_tree *tree, struct rb_tree_page *page,
			   int error)
{
	xa_lock_irq(&tree->pages);
	page->error = error;
	if (error)
		rb_tree_forget_locked(tree, page);
	/* Content and error are seen before this is, by rb_tree_lookup(). */
	smp_store_release(&page->loading, false);
	xa_unlock_irq(&tree->pages);
	wake_up_all(&tree->wait);
}

/* The page if it is cached, pinned, and loaded unless it has an error. */
static struct rb_tree_page *rb_tree_lookup(struct rb_tree *tree,
					   unsigned int level, u64 index)
{
	struct rb_tree_page *page;

	xa_lock_irq(&tree->pages);
	page = xa_load(&tree->pages, rb_tree_slot(tree, level, index));
	if (page)
		rb_tree_get_locked(tree, page);
	xa_unlock_irq(&tree->pages);
	if (page) /* pairs with rb_tree_loaded() */
		wait_event(tree->wait, !smp_load_acquire(&page->loading));
	return page;
}

/*
 * Pin a page whose @parent is pinned.  With @blank it is not read, but made up,
 * unless it is there already.
 */
static struct rb_tree_page *rb_tree_get(struct rb_tree *tree,
					unsigned int level, u64 index,
					struct rb_tree_page *parent, bool blank)
{
	struct rb_tree_page *page;
	int ret;

	for (;;) {
		page = rb_tree_lookup(tree, level, index);
		if (page && !page->error)
			return page;
		if (page) {
			ret = page->error;
			rb_tree_put(tree, page);
			if (!blank)
				return ERR_PTR(ret);
		}
		ret = rb_tree_make_room(tree);
		if (ret)
			return ERR_PTR(ret);
		page = rb_tree_page_alloc(tree, level, index);
		if (!page)
			return ERR_PTR(-ENOMEM);
		ret = rb_tree_insert(tree, page, parent);
		if (!ret)
			break;
		rb_tree_free_page(page);
		if (ret != -EEXIST)
			return ERR_PTR(ret);
	}
	ret = blank ? rb_tree_fill_blank(tree, page) : rb_tree_load(tree, page);
	rb_tree_loaded(tree, page, ret);
	if (!ret)
		return page;
	rb_tree_put(tree, page);
	return ERR_PTR(ret);
}

/**
 * enum rb_tree_mend - what to do about pages whose content is lost
 * @RB_MEND_NOT: fail
 * @RB_MEND: make up the leaf, and upper pages that do not match; not upper pages
 *	that cannot be read: all else below them would be lost, and it may work
 *	again later
 * @RB_MEND_ALL: those as well
 */
enum rb_tree_mend { RB_MEND_NOT, RB_MEND, RB_MEND_ALL };

static bool rb_tree_is_lost(const struct rb_tree_page *page)
{
	return PTR_ERR(page) == -EBADMSG || PTR_ERR(page) == -EIO;
}

static bool rb_tree_mends(const struct rb_tree_page *page, unsigned int level,
			  enum rb_tree_mend mend)
{
	if (mend == RB_MEND_NOT || !IS_ERR(page) || !rb_tree_is_lost(page))
		return false;
	return !level || mend == RB_MEND_ALL || PTR_ERR(page) == -EBADMSG;
}

/*
 * Pin the page of a level that @chunk is in or below; NULL above the highest.
 */
static struct rb_tree_page *rb_tree_walk(struct rb_tree *tree, u64 chunk,
					 unsigned int down_to,
					 enum rb_tree_mend mend)
{
	struct rb_tree_page *parent = NULL, *page = NULL;
	unsigned int level = tree->nr_levels, i;
	u64 index;

	while (level-- > down_to) {
		for (index = chunk, i = 0; i < level; i++)
			index = div_u64(index, tree->fanout);
		page = rb_tree_get(tree, level, index, parent, false);
		if (rb_tree_mends(page, level, mend))
			page = rb_tree_get(tree, level, index, parent, true);
		rb_tree_put(tree, parent);
		if (IS_ERR(page))
			return page;
		parent = page;
	}
	return page;
}

/* ---- for the front ---------------------------------------------------- */

static int rb_tree_pin_leaf(struct rb_tree *tree, u64 chunk,
			    enum rb_tree_mend mend)
{
	struct rb_tree_page *page = rb_tree_lookup(tree, 0, chunk);

	if (page && !page->error)
		return 0;
	rb_tree_put(tree, page);
	page = rb_tree_walk(tree, chunk, 0, mend);
	return PTR_ERR_OR_ZERO(page);
}

int rb_tree_pin(struct rb_tree *tree, u64 chunk)
{
	return rb_tree_pin_leaf(tree, chunk, RB_MEND_NOT);
}

/* For who is going to overwrite all of the leaf. */
int rb_tree_pin_blank(struct rb_tree *tree, u64 chunk, bool force)
{
	return rb_tree_pin_leaf(tree, chunk, force ? RB_MEND_ALL : RB_MEND);
}

void rb_tree_unpin(struct rb_tree *tree, u64 chunk)
{
	rb_tree_put(tree, xa_load(&tree->pages, rb_tree_slot(tree, 0, chunk)));
}

/* Of a pinned chunk.  Any context. */
struct rb_leaf *rb_tree_leaf(struct rb_tree *tree, u64 chunk)
{
	struct rb_tree_page *page;

	page = xa_load(&tree->pages, rb_tree_slot(tree, 0, chunk));
	return page ? &page->leaf : NULL;
}

/* The leaf was changed; under its lock.  Any context. */
void rb_tree_dirty(struct rb_tree *tree, struct rb_leaf *leaf)
{
	rb_tree_mark_dirty(tree, rb_tree_page_of(leaf));
}

static int rb_tree_digest_cached(struct rb_tree *tree,
				 struct rb_tree_page *page,
				 u8 ret[RB_HASH_BYTES])
{
	int err;

	mutex_lock(&tree->scratch_lock);
	spin_lock_irq(&page->leaf.lock);
	memcpy(tree->scratch, page->leaf.tags, RB_BLOCK_BYTES);
	spin_unlock_irq(&page->leaf.lock);
	err = rb_tree_digest(tree, page->level, tree->scratch, ret);
	mutex_unlock(&tree->scratch_lock);
	return err;
}

/* Of a chunk whose parent is pinned. */
static int rb_tree_hash_below(struct rb_tree *tree, struct rb_tree_page *parent,
			      u64 chunk, u8 ret[RB_HASH_BYTES])
{
	struct rb_tree_page *page = rb_tree_lookup(tree, 0, chunk);
	int err = 0;

	if (page && !page->error)
		err = rb_tree_digest_cached(tree, page, ret);
	else
		rb_tree_expected(tree, parent, chunk, ret);
	rb_tree_put(tree, page);
	return !err && rb_tree_lost(ret) ? -EBADMSG : err;
}

int rb_tree_hash(struct rb_tree *tree, u64 chunk, u8 ret[RB_HASH_BYTES])
{
	struct rb_tree_page *parent = rb_tree_walk(tree, chunk, 1, RB_MEND_NOT);
	int err;

	if (IS_ERR(parent))
		return PTR_ERR(parent);
	err = rb_tree_hash_below(tree, parent, chunk, ret);
	rb_tree_put(tree, parent);
	return err;
}

/* Whether a chunk is, or may be, other than never written. */
static int rb_tree_used(struct rb_tree *tree, struct rb_tree_page *parent,
			u64 chunk, bool *used)
{
	u8 digest[RB_HASH_BYTES];
	int err = rb_tree_hash_below(tree, parent, chunk, digest);

	*used = err || memchr_inv(digest, 0, sizeof(digest));
	return err == -EBADMSG ? 0 : err;
}

/* @chunk is within the device. */
int rb_tree_next(struct rb_tree *tree, u64 *chunk)
{
	u64 end, chunks = tree->levels[0].pages;
	struct rb_tree_page *parent;
	bool used = false;
	int err = 0;

	while (*chunk < chunks) {
		parent = rb_tree_walk(tree, *chunk, 1, RB_MEND_NOT);
		if (IS_ERR(parent))
			return rb_tree_is_lost(parent) ? 0 : PTR_ERR(parent);
		end = min((div_u64(*chunk, tree->fanout) + 1) * tree->fanout,
			  chunks);
		for (; *chunk < end; (*chunk)++) {
			err = rb_tree_used(tree, parent, *chunk, &used);
			if (err || used)
				break;
		}
		rb_tree_put(tree, parent);
		if (err || used)
			return err;
		cond_resched();
	}
	return -ENOENT;
}

void rb_tree_get_stats(struct rb_tree *tree, struct rb_tags_stats *ret)
{
	u64 top = tree->levels[tree->nr_levels - 1].pages * RB_HASH_BYTES;
	unsigned long flags;

	xa_lock_irqsave(&tree->pages, flags);
	ret->cached = tree->nr_cached;
	ret->dirty = tree->nr_dirty;
	ret->reads = tree->reads;
	ret->writes = tree->writes;
	ret->errors = tree->errors;
	ret->mismatches = tree->mismatches;
	xa_unlock_irqrestore(&tree->pages, flags);
	ret->memory += sizeof(*tree) + top + RB_BLOCK_BYTES +
		       tree->batch_size *
			       (sizeof(*tree->batch) + RB_BLOCK_BYTES) +
		       ret->cached *
			       (sizeof(struct rb_tree_page) + RB_BLOCK_BYTES);
}

/* ---- memory pressure -------------------------------------------------- */

static unsigned long rb_tree_shrink_count(struct shrinker *shrinker,
					  struct shrink_control *control)
{
	struct rb_tree *tree = rb_shrinker_data(shrinker);
	unsigned long flags, count;

	xa_lock_irqsave(&tree->pages, flags);
	count = tree->nr_cached - tree->nr_pinned;
	xa_unlock_irqrestore(&tree->pages, flags);
	return count ?: SHRINK_EMPTY;
}

static unsigned long rb_tree_shrink_scan(struct shrinker *shrinker,
					 struct shrink_control *control)
{
	struct rb_tree *tree = rb_shrinker_data(shrinker);
	unsigned long evicted = rb_tree_evict(tree, 0, control->nr_to_scan);
	unsigned long flags;

	if (evicted < control->nr_to_scan) {
		xa_lock_irqsave(&tree->pages, flags);
		tree->pressure = true;
		xa_unlock_irqrestore(&tree->pages, flags);
		rb_tree_kick(tree);
	}
	return evicted ?: SHRINK_STOP;
}

/* ---- life ------------------------------------------------------------- */

u64 rb_tags_min_tree_pages(u64 blocks)
{
	return (blocks >> RB_CHUNK_SHIFT) + !!(blocks % RB_CHUNK_TAGS);
}

static int rb_tree_plan(struct rb_tree *tree,
			const struct rb_tags_params *params)
{
	u64 pages = rb_tags_min_tree_pages(params->blocks), slot = 0;

	if (params->tree_pages > ULONG_MAX || pages > params->tree_pages)
		return -EINVAL;
	while (tree->nr_levels < RB_TREE_MAX_LEVELS &&
	       pages <= params->tree_pages - slot) {
		tree->levels[tree->nr_levels++] = (struct rb_tree_level){
			.pages = pages,
			.slot = slot,
		};
		slot += pages;
		if (pages == 1)
			break;
		pages = div_u64(pages + tree->fanout - 1, tree->fanout);
	}
	return 0;
}

static int rb_tree_alloc(struct rb_tree *tree)
{
	u64 top = tree->levels[tree->nr_levels - 1].pages;
	unsigned int i;

	if (top > SIZE_MAX / RB_HASH_BYTES)
		return -ENOMEM;
	/* No complaint: the size is the user's choice. */
	tree->top = kvcalloc(top, RB_HASH_BYTES, GFP_KERNEL | __GFP_NOWARN);
	tree->scratch = kmalloc(RB_BLOCK_BYTES, GFP_KERNEL);
	tree->batch = kcalloc(tree->batch_size, sizeof(*tree->batch),
			      GFP_KERNEL);
	if (!tree->top || !tree->scratch || !tree->batch)
		return -ENOMEM;
	for (i = 0; i < tree->batch_size; i++) {
		tree->batch[i].tree = tree;
		tree->batch[i].copy = kmalloc(RB_BLOCK_BYTES, GFP_KERNEL);
		if (!tree->batch[i].copy)
			return -ENOMEM;
	}
	tree->wq = alloc_workqueue("rollbaccine_tags",
				   WQ_MEM_RECLAIM | WQ_UNBOUND, 1);
	if (!tree->wq)
		return -ENOMEM;
	tree->shrinker = rb_shrinker_create(rb_tree_shrink_count,
					    rb_tree_shrink_scan, tree,
					    "dm-rollbaccine-tags");
	return tree->shrinker ? 0 : -ENOMEM;
}

int rb_tree_create(const struct rb_tags_params *params,
		   struct crypto_shash *sha, struct rb_tree **ret)
{
	struct rb_tree *tree;
	int err;

	tree = kzalloc(sizeof(*tree), GFP_KERNEL);
	if (!tree)
		return -ENOMEM;
	tree->bdev = params->bdev;
	tree->sha = sha;
	tree->fanout = clamp(params->fanout ?: RB_TREE_FANOUT, 2u,
			     (unsigned int)RB_TREE_FANOUT);
	tree->limit = max(params->cache_pages, RB_TREE_MIN_CACHE + 0u);
	tree->batch_size = clamp(tree->limit / 4, 1u, RB_TREE_BATCH + 0u);
	xa_init_flags(&tree->pages, XA_FLAGS_LOCK_IRQ);
	INIT_LIST_HEAD(&tree->lru);
	INIT_DELAYED_WORK(&tree->work, rb_tree_work);
	init_waitqueue_head(&tree->wait);
	init_completion(&tree->batch_done);
	mutex_init(&tree->scratch_lock);
	err = rb_tree_plan(tree, params);
	if (!err)
		err = rb_tree_alloc(tree);
	if (err) {
		rb_tree_destroy(tree);
		return err;
	}
	*ret = tree;
	return 0;
}

/* Nothing is written: with the top gone nobody could believe it. */
void rb_tree_destroy(struct rb_tree *tree)
{
	struct rb_tree_page *page;
	unsigned long slot;
	unsigned int i;

	if (tree->shrinker)
		rb_shrinker_destroy(tree->shrinker);
	if (tree->wq) {
		cancel_delayed_work_sync(&tree->work);
		destroy_workqueue(tree->wq);
	}
	xa_for_each(&tree->pages, slot, page)
		rb_tree_free_page(page);
	xa_destroy(&tree->pages);
	for (i = 0; tree->batch && i < tree->batch_size; i++)
		kfree(tree->batch[i].copy);
	kfree(tree->batch);
	kfree(tree->scratch);
	kvfree(tree->top);
	kfree(tree);
}
