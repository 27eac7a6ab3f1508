// SPDX-License-Identifier: GPL-2.0-only
/*
 * A disk in memory with a volatile cache.  I/O completes from a work item, the
 * latest first.
 */
#include <linux/blkdev.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "dm-rollbaccine-wire.h"
#include "selftest-disk.h"

static void rb_disk_work(struct work_struct *work);

struct rb_disk *rb_disk_create(unsigned long pages)
{
	struct rb_disk *disk = kzalloc(sizeof(*disk), GFP_KERNEL);

	if (!disk)
		return NULL;
	disk->pages = pages;
	disk->data = kvmalloc(pages * RB_BLOCK_BYTES, GFP_KERNEL);
	disk->stable = kvmalloc(pages * RB_BLOCK_BYTES, GFP_KERNEL);
	if (!disk->data || !disk->stable) {
		kvfree(disk->data);
		kvfree(disk->stable);
		kfree(disk);
		return NULL;
	}
	spin_lock_init(&disk->lock);
	bio_list_init(&disk->queue);
	INIT_WORK(&disk->work, rb_disk_work);
	/* What somebody left there. */
	prandom_seed_state(&disk->rnd, pages);
	prandom_bytes_state(&disk->rnd, disk->data, pages * RB_BLOCK_BYTES);
	memcpy(disk->stable, disk->data, pages * RB_BLOCK_BYTES);
	return disk;
}

void rb_disk_destroy(struct rb_disk *disk)
{
	if (!disk)
		return;
	cancel_work_sync(&disk->work);
	kvfree(disk->data);
	kvfree(disk->stable);
	kfree(disk);
}

void rb_disk_heal(struct rb_disk *disk)
{
	spin_lock_irq(&disk->lock);
	disk->fail_at = 0;
	disk->off = 0;
	spin_unlock_irq(&disk->lock);
}

u8 *rb_disk_page(struct rb_disk *disk, unsigned long page)
{
	return disk->data + page * RB_BLOCK_BYTES;
}

/* Of each sector in which they differ, take it from @from or not. */
static void rb_disk_mix(struct rb_disk *disk, u8 *to, const u8 *from,
			size_t bytes)
{
	size_t i;

	for (i = 0; i < bytes; i += SECTOR_SIZE)
		if (memcmp(to + i, from + i, SECTOR_SIZE) &&
		    prandom_u32_state(&disk->rnd) % 2)
			memcpy(to + i, from + i, SECTOR_SIZE);
}

static void rb_disk_power_cut(struct rb_disk *disk)
{
	size_t bytes = disk->pages * RB_BLOCK_BYTES;

	rb_disk_mix(disk, disk->stable, disk->data, bytes);
	memcpy(disk->data, disk->stable, bytes);
	disk->off = disk->off_for;
}

/* Return: the fault of this write or flush, RB_DISK_FAULTS for none. */
static enum rb_disk_fault rb_disk_event(struct rb_disk *disk)
{
	disk->events++;
	if (!disk->fail_at || disk->events < disk->fail_at ||
	    disk->events - disk->fail_at >= disk->fail_for)
		return RB_DISK_FAULTS;
	return disk->fault;
}

static int rb_disk_write(struct rb_disk *disk, u8 *to, const u8 *from)
{
	enum rb_disk_fault fault = rb_disk_event(disk);

	switch (fault) {
	case RB_DISK_LOST:
		break;
	case RB_DISK_TORN:
		rb_disk_mix(disk, to, from, RB_BLOCK_BYTES);
		break;
	case RB_DISK_POWER:
		memcpy(to, from, RB_BLOCK_BYTES);
		rb_disk_power_cut(disk);
		break;
	case RB_DISK_DONE:
	case RB_DISK_FAULTS:
		memcpy(to, from, RB_BLOCK_BYTES);
		break;
	}
	return fault == RB_DISK_FAULTS ? 0 : -EIO;
}

static int rb_disk_flush(struct rb_disk *disk)
{
	enum rb_disk_fault fault = rb_disk_event(disk);
	size_t bytes = disk->pages * RB_BLOCK_BYTES;

	switch (fault) {
	case RB_DISK_LOST:
		break;
	case RB_DISK_TORN:
		rb_disk_mix(disk, disk->stable, disk->data, bytes);
		break;
	case RB_DISK_POWER:
		rb_disk_power_cut(disk);
		break;
	case RB_DISK_DONE:
	case RB_DISK_FAULTS:
		memcpy(disk->stable, disk->data, bytes);
		break;
	}
	return fault == RB_DISK_FAULTS ? 0 : -EIO;
}

static int rb_disk_do(struct rb_disk *disk, struct bio *bio)
{
	unsigned long page = bio->bi_iter.bi_sector / RB_BLOCK_SECTORS;
	u8 *on_disk = rb_disk_page(disk, page);

	if (disk->off) {
		disk->off--;
		return -EIO;
	}
	if (!bio->bi_iter.bi_size)
		return bio->bi_opf & REQ_PREFLUSH ? rb_disk_flush(disk) :
						    -EIO;
	if (page >= disk->pages || bio->bi_iter.bi_size != RB_BLOCK_BYTES)
		return -EIO;
	if (bio_op(bio) == REQ_OP_WRITE)
		return rb_disk_write(disk, on_disk, bio_data(bio));
	memcpy(bio_data(bio), on_disk, RB_BLOCK_BYTES);
	return 0;
}

static void rb_disk_work(struct work_struct *work)
{
	struct rb_disk *disk = container_of(work, struct rb_disk, work);
	struct bio *bio;
	int error;

	for (;;) {
		spin_lock_irq(&disk->lock);
		bio = bio_list_pop(&disk->queue);
		error = bio ? rb_disk_do(disk, bio) : 0;
		spin_unlock_irq(&disk->lock);
		if (!bio)
			return;
		bio->bi_status = errno_to_blk_status(error);
		bio_endio(bio);
	}
}

void rb_disk_submit(struct rb_disk *disk, struct bio *bio)
{
	spin_lock_irq(&disk->lock);
	bio_list_add_head(&disk->queue, bio);
	spin_unlock_irq(&disk->lock);
	queue_work(system_unbound_wq, &disk->work);
}
