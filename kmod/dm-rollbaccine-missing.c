// SPDX-License-Identifier: GPL-2.0-only
/*
 * The blocks whose tag is known while the disk's content is not yet right: one
 * bit each, in pages that exist only while a bit in them is set.
 */
#include <linux/bitmap.h>
#include <linux/gfp.h>

#include "dm-rollbaccine-tree.h"

#define RB_MISSING_BITS (PAGE_SIZE * BITS_PER_BYTE)

/* The part of a range that lies in one page of bits. */
struct rb_missing_part {
	unsigned long page;
	unsigned int bit;
	unsigned int bits;
};

static struct rb_missing_part rb_missing_part(u64 first, u64 count)
{
	struct rb_missing_part part = {
		.page = first / RB_MISSING_BITS,
		.bit = first % RB_MISSING_BITS,
	};

	part.bits = min_t(u64, count, RB_MISSING_BITS - part.bit);
	return part;
}

static unsigned int rb_missing_set(unsigned long *bits,
				   const struct rb_missing_part *part)
{
	unsigned int set = 0, i;

	for (i = part->bit; i < part->bit + part->bits; i++)
		set += !__test_and_set_bit(i, bits);
	return set;
}

static unsigned int rb_missing_clear(unsigned long *bits,
				     const struct rb_missing_part *part)
{
	unsigned int end = part->bit + part->bits, cleared = 0;
	unsigned long i = part->bit;

	/* By set bits: mostly there are few. */
	for_each_set_bit_from(i, bits, end) {
		__clear_bit(i, bits);
		cleared++;
	}
	return cleared;
}

/* 0 also if somebody else was faster. */
static int rb_missing_add_page(struct rb_tags *t, unsigned long page)
{
	void *bits = (void *)get_zeroed_page(GFP_NOIO);
	void *old;

	if (!bits)
		return -ENOMEM;
	old = xa_cmpxchg_irq(&t->missing, page, NULL, bits, GFP_NOIO);
	if (old)
		free_page((unsigned long)bits);
	else
		atomic64_add(PAGE_SIZE, &t->memory);
	return xa_err(old);
}

static int rb_missing_mark_part(struct rb_tags *t,
				const struct rb_missing_part *part)
{
	unsigned long *bits;
	unsigned long flags;
	int ret;

	xa_lock_irqsave(&t->missing, flags);
	/* The page can go again while we do not hold the lock. */
	while (!(bits = xa_load(&t->missing, part->page))) {
		xa_unlock_irqrestore(&t->missing, flags);
		ret = rb_missing_add_page(t, part->page);
		if (ret)
			return ret;
		xa_lock_irqsave(&t->missing, flags);
	}
	atomic64_add(rb_missing_set(bits, part), &t->nr_missing);
	xa_unlock_irqrestore(&t->missing, flags);
	return 0;
}

int rb_tags_mark_missing(struct rb_tags *t, u64 first, u64 count)
{
	struct rb_missing_part part;
	int ret;

	for (; count; first += part.bits, count -= part.bits) {
		part = rb_missing_part(first, count);
		ret = rb_missing_mark_part(t, &part);
		if (ret)
			return ret;
	}
	return 0;
}

static unsigned int rb_missing_clear_part(struct rb_tags *t,
					  const struct rb_missing_part *part)
{
	unsigned long *bits, *unused = NULL;
	unsigned int cleared = 0;
	unsigned long flags;

	xa_lock_irqsave(&t->missing, flags);
	bits = xa_load(&t->missing, part->page);
	if (bits)
		cleared = rb_missing_clear(bits, part);
	if (cleared) {
		atomic64_sub(cleared, &t->nr_missing);
		if (bitmap_empty(bits, RB_MISSING_BITS))
			unused = __xa_erase(&t->missing, part->page);
	}
	xa_unlock_irqrestore(&t->missing, flags);
	if (unused) {
		free_page((unsigned long)unused);
		atomic64_sub(PAGE_SIZE, &t->memory);
	}
	return cleared;
}

u64 rb_tags_clear_missing(struct rb_tags *t, u64 first, u64 count)
{
	struct rb_missing_part part;
	u64 cleared = 0;

	for (; count && rb_tags_missing(t);
	     first += part.bits, count -= part.bits) {
		part = rb_missing_part(first, count);
		cleared += rb_missing_clear_part(t, &part);
	}
	return cleared;
}

u64 rb_tags_missing(const struct rb_tags *t)
{
	return atomic64_read(&t->nr_missing);
}

u64 rb_tags_next_missing(struct rb_tags *t, u64 from)
{
	unsigned long page = from / RB_MISSING_BITS;
	unsigned long bit = from % RB_MISSING_BITS;
	unsigned long flags, *bits;
	u64 ret = RB_NO_BLOCK;

	if (!rb_tags_missing(t))
		return RB_NO_BLOCK;
	xa_lock_irqsave(&t->missing, flags);
	bits = xa_find(&t->missing, &page, ULONG_MAX, XA_PRESENT);
	while (bits) {
		if (page != from / RB_MISSING_BITS)
			bit = 0;
		bit = find_next_bit(bits, RB_MISSING_BITS, bit);
		if (bit < RB_MISSING_BITS) {
			ret = (u64)page * RB_MISSING_BITS + bit;
			break;
		}
		bits = xa_find_after(&t->missing, &page, ULONG_MAX, XA_PRESENT);
	}
	xa_unlock_irqrestore(&t->missing, flags);
	return ret;
}

bool rb_tags_test_missing(struct rb_tags *t, u64 first, u64 count)
{
	u64 found = rb_tags_next_missing(t, first);

	return found != RB_NO_BLOCK && found - first < count;
}

void rb_missing_exit(struct rb_tags *t)
{
	unsigned long page;
	void *bits;

	xa_for_each(&t->missing, page, bits)
		free_page((unsigned long)bits);
	xa_destroy(&t->missing);
}
