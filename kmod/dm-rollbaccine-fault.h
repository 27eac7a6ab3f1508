/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Seeded defects, for FAULTS=1 builds only.  In a release build every function
 * below is empty and the module contains none of them.
 */
#ifndef DM_ROLLBACCINE_FAULT_H
#define DM_ROLLBACCINE_FAULT_H

#include <linux/atomic.h>
#include <linux/errno.h>
#include <linux/list.h>
#include <linux/types.h>

struct rb_device;
struct rb_op;
struct rb_progress;
struct rb_store;

void rb_store_submit(struct rb_store *store, struct rb_op *op, bool unsealed);

#ifdef CONFIG_DM_ROLLBACCINE_FAULTS

#define RB_FAULTS 1
#define RB_VERSION_SUFFIX "-faults"

enum rb_fault {
	RB_FAULT_EARLY_ACK,
	RB_FAULT_DROP_WRITE,
	RB_FAULT_REORDER_OVERLAP,
	RB_FAULT_SKIP_LAST_PAGE,
	RB_FAULT_IGNORE_DISCARD,
	RB_FAULT_CORRUPT_BYTE,
	RB_FAULT_NONCE_REUSE,
	RB_FAULT_SKIP_TAG_CHECK,
	RB_FAULT_STALE_TAG,
	RB_FAULT_ACK_BEFORE_DURABLE,
	RB_FAULT_RESYNC_SKIP,
	RB_FAULT_IGNORE_EPOCH,
	RB_FAULT_FEW_EPOCHS,
	RB_FAULT_COUNT,
};

/**
 * struct rb_faults - what goes wrong on purpose, and how often it has
 * @arg: per fault, see the table in -fault.c; 0 = not selected
 * @writes: data writes seen, for those that strike at every n-th
 * @multi_page: those among them that have several pages
 * @zeroings: discards and zeroings seen
 * @chunks: differing chunks seen
 * @injected: how often a defect has struck
 * @batch: operations held back by reorder_overlap, in index order
 * @batched: length of @batch
 * @held_at: when the last of @batch came, in jiffies
 */
struct rb_faults {
	u32 arg[RB_FAULT_COUNT];
	u64 writes;
	u64 multi_page;
	u64 zeroings;
	u64 chunks;
	atomic64_t injected;
	struct list_head batch;
	unsigned int batched;
	unsigned long held_at;
};

void rb_fault_init(struct rb_device *rb);
int rb_fault_parse(struct rb_device *rb, const char *value);
void rb_fault_start(struct rb_device *rb);
unsigned int rb_fault_selected(const struct rb_device *rb);
size_t rb_fault_print_args(const struct rb_device *rb, char *result,
			   size_t maxlen, size_t sz);
size_t rb_fault_print_status(const struct rb_device *rb, char *result,
			     size_t maxlen, size_t sz);
bool rb_fault_skips_peer(struct rb_device *rb);
bool rb_fault_delay_send(struct rb_device *rb, const struct rb_op *op);
unsigned long rb_fault_poll(const struct rb_device *rb, unsigned long timeout);
void rb_fault_submit(struct rb_device *rb, struct rb_op *op);
void rb_fault_idle(struct rb_device *rb);
void rb_fault_tick(struct rb_device *rb);
bool rb_fault_dropped(const struct rb_op *op);
void rb_fault_progress(struct rb_device *rb, struct rb_progress *progress);
bool rb_fault_skip_chunk(struct rb_device *rb);
bool rb_fault_stale(struct rb_device *rb);
bool rb_fault_ignores_epoch(struct rb_device *rb);
unsigned int rb_fault_epochs(const struct rb_device *rb, unsigned int count);

#else

#define RB_FAULTS 0
#define RB_VERSION_SUFFIX ""

static inline void rb_fault_init(struct rb_device *rb) {}
static inline int rb_fault_parse(struct rb_device *rb, const char *value)
{
	return -EINVAL;
}

static inline void rb_fault_start(struct rb_device *rb) {}
static inline unsigned int rb_fault_selected(const struct rb_device *rb)
{
	return 0;
}

static inline size_t rb_fault_print_args(const struct rb_device *rb,
					 char *result, size_t maxlen, size_t sz)
{
	return sz;
}

static inline size_t rb_fault_print_status(const struct rb_device *rb,
					   char *result, size_t maxlen,
					   size_t sz)
{
	return sz;
}

static inline bool rb_fault_skips_peer(struct rb_device *rb)
{
	return false;
}

static inline bool rb_fault_delay_send(struct rb_device *rb,
				       const struct rb_op *op)
{
	return false;
}

static inline unsigned long rb_fault_poll(const struct rb_device *rb,
					  unsigned long timeout)
{
	return timeout;
}

#define rb_fault_submit(rb, op) rb_store_submit(&(rb)->store, op, false)
static inline void rb_fault_idle(struct rb_device *rb) {}
static inline void rb_fault_tick(struct rb_device *rb) {}
static inline bool rb_fault_dropped(const struct rb_op *op)
{
	return false;
}

static inline void rb_fault_progress(struct rb_device *rb,
				     struct rb_progress *progress) {}
static inline bool rb_fault_skip_chunk(struct rb_device *rb)
{
	return false;
}

static inline bool rb_fault_stale(struct rb_device *rb)
{
	return false;
}

static inline bool rb_fault_ignores_epoch(struct rb_device *rb)
{
	return false;
}

static inline unsigned int rb_fault_epochs(const struct rb_device *rb,
					   unsigned int count)
{
	return count;
}

#endif

#endif /* DM_ROLLBACCINE_FAULT_H */
