/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A disk in memory that fails in ways of our choice, at a moment of our choice.
 */
#ifndef DM_ROLLBACCINE_SELFTEST_DISK_H
#define DM_ROLLBACCINE_SELFTEST_DISK_H

#include <linux/bio.h>
#include <linux/prandom.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

/* What happens to the write or flush that fails; each ends with an error. */
enum rb_disk_fault {
	RB_DISK_LOST, /* nothing of it is done */
	RB_DISK_TORN, /* some sectors are written */
	RB_DISK_DONE, /* it is done all the same */
	RB_DISK_POWER, /* and of what was not flushed some sectors are lost */
	RB_DISK_FAULTS
};

/**
 * struct rb_disk - the disk
 * @pages: its size
 * @data: what a read returns
 * @stable: what a power cut leaves of it
 * @events: writes and flushes so far
 * @fail_at: number of the first that fails; 0: none
 * @fail_for: how many fail from there on
 * @fault: how
 * @off_for: after a power cut, so much I/O fails, reads too
 */
struct rb_disk {
	unsigned long pages;
	u8 *data;
	u8 *stable;
	u64 events;
	u64 fail_at;
	u64 fail_for;
	enum rb_disk_fault fault;
	unsigned int off_for;

	unsigned int off;
	struct rnd_state rnd;
	spinlock_t lock;
	struct bio_list queue;
	struct work_struct work;
};

struct rb_disk *rb_disk_create(unsigned long pages);
void rb_disk_destroy(struct rb_disk *disk);
void rb_disk_heal(struct rb_disk *disk);
u8 *rb_disk_page(struct rb_disk *disk, unsigned long page);
void rb_disk_submit(struct rb_disk *disk, struct bio *bio);

#endif /* DM_ROLLBACCINE_SELFTEST_DISK_H */
