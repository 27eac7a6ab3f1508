// SPDX-License-Identifier: GPL-2.0-only
/*
 * Seeded defects: FAULTS=1 builds only.
 *
 * Each is a mistake a replicator could really make, selected per device by the
 * feature `fault <name>[:<number>]`, so that a verifier can prove it notices.
 *
 *	name		 on	 number (default)
 *	early_ack	 primary milliseconds each operation is sent late (200)
 *	drop_write	 backup	 strikes at every n-th data write (7)
 *	reorder_overlap	 backup	 milliseconds a write is held for a later one (200)
 *	skip_last_page	 backup	 strikes at every n-th write of several pages (1)
 *	ignore_discard	 backup	 strikes at every n-th discard or zeroing (1)
 *	corrupt_byte	 backup	 strikes at every n-th data write (7)
 *	nonce_reuse	 both	 of no meaning
 *	skip_tag_check	 both	 of no meaning
 *	stale_tag	 both	 of no meaning
 *	ack_before_durable both	 of no meaning
 *	resync_skip	 both	 strikes at every n-th differing chunk (1)
 *	ignore_epoch	 both	 of no meaning
 *	few_epochs	 both	 no defect: how many epochs may have blocks (4)
 *
 * What a backup gets wrong it also records as right, or its own check of tags
 * would find it and repair it from its primary.
 */
#include <linux/highmem.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "dm-rollbaccine.h"

/* More than this is not held back, whatever overlaps. */
#define RB_MAX_BATCH 256
#define RB_FAULT_POLL_MS 10

#define RB_ON_PRIMARY BIT(RB_PRIMARY)
#define RB_ON_BACKUP BIT(RB_BACKUP)
#define RB_ON_BOTH (RB_ON_PRIMARY | RB_ON_BACKUP)

static const struct {
	const char *name;
	unsigned int roles;
	u32 number;
} rb_fault_table[RB_FAULT_COUNT] = {
	[RB_FAULT_EARLY_ACK] = { "early_ack", RB_ON_PRIMARY, 200 },
	[RB_FAULT_DROP_WRITE] = { "drop_write", RB_ON_BACKUP, 7 },
	[RB_FAULT_REORDER_OVERLAP] = { "reorder_overlap", RB_ON_BACKUP, 200 },
	[RB_FAULT_SKIP_LAST_PAGE] = { "skip_last_page", RB_ON_BACKUP, 1 },
	[RB_FAULT_IGNORE_DISCARD] = { "ignore_discard", RB_ON_BACKUP, 1 },
	[RB_FAULT_CORRUPT_BYTE] = { "corrupt_byte", RB_ON_BACKUP, 7 },
	[RB_FAULT_NONCE_REUSE] = { "nonce_reuse", RB_ON_BOTH, 1 },
	[RB_FAULT_SKIP_TAG_CHECK] = { "skip_tag_check", RB_ON_BOTH, 1 },
	[RB_FAULT_STALE_TAG] = { "stale_tag", RB_ON_BOTH, 1 },
	[RB_FAULT_ACK_BEFORE_DURABLE] = { "ack_before_durable", RB_ON_BOTH, 1 },
	[RB_FAULT_RESYNC_SKIP] = { "resync_skip", RB_ON_BOTH, 1 },
	[RB_FAULT_IGNORE_EPOCH] = { "ignore_epoch", RB_ON_BOTH, 1 },
	[RB_FAULT_FEW_EPOCHS] = { "few_epochs", RB_ON_BOTH, 4 },
};

void rb_fault_init(struct rb_device *rb)
{
	INIT_LIST_HEAD(&rb->faults.batch);
	atomic64_set(&rb->faults.injected, 0);
}

static int rb_fault_find(const char *name, size_t len)
{
	int i;

	for (i = 0; i < RB_FAULT_COUNT; i++)
		if (strlen(rb_fault_table[i].name) == len &&
		    !strncmp(rb_fault_table[i].name, name, len))
			return i;
	return -ENOENT;
}

/* @value: <name>[:<number>] */
int rb_fault_parse(struct rb_device *rb, const char *value)
{
	const char *colon = strchrnul(value, ':');
	int fault = rb_fault_find(value, colon - value);
	u32 number;

	if (fault < 0) {
		rb->ti->error = "Unknown fault";
		return -EINVAL;
	}
	if (!(rb_fault_table[fault].roles & BIT(rb->first_role))) {
		rb->ti->error = "Fault belongs to the other role";
		return -EINVAL;
	}
	number = rb_fault_table[fault].number;
	if (*colon && (kstrtou32(colon + 1, 10, &number) || !number ||
		       number > 60000)) {
		rb->ti->error = "Number of a fault must be 1 to 60000";
		return -EINVAL;
	}
	rb->faults.arg[fault] = number;
	return 0;
}

unsigned int rb_fault_selected(const struct rb_device *rb)
{
	unsigned int i, count = 0;

	for (i = 0; i < RB_FAULT_COUNT; i++)
		count += !!rb->faults.arg[i];
	return count;
}

size_t rb_fault_print_args(const struct rb_device *rb, char *result,
			   size_t maxlen, size_t sz)
{
	int i;

	for (i = 0; i < RB_FAULT_COUNT; i++)
		if (rb->faults.arg[i])
			DMEMIT(" fault %s:%u", rb_fault_table[i].name,
			       rb->faults.arg[i]);
	return sz;
}

size_t rb_fault_print_status(const struct rb_device *rb, char *result,
			     size_t maxlen, size_t sz)
{
	DMEMIT(" injected %lld",
	       (long long)atomic64_read(&rb->faults.injected));
	return sz;
}

static void rb_fault_struck(struct rb_device *rb)
{
	atomic64_inc(&rb->faults.injected);
}

/* Primary: asked when a flush has not reached the peer.  Lock held. */
bool rb_fault_skips_peer(struct rb_device *rb)
{
	if (!rb->faults.arg[RB_FAULT_EARLY_ACK])
		return false;
	rb_fault_struck(rb);
	return true;
}

/*
 * Primary: a lazy replicator collects before it sends.  Asked with the lock
 * held about what is to be sent next.
 */
bool rb_fault_delay_send(struct rb_device *rb, const struct rb_op *op)
{
	u32 ms = rb->faults.arg[RB_FAULT_EARLY_ACK];

	if (!ms || rb->primary.quiescing)
		return false;
	return time_before(jiffies, op->issued_at + msecs_to_jiffies(ms));
}

/* How long a thread may sleep without looking whether a delay is over. */
unsigned long rb_fault_poll(const struct rb_device *rb, unsigned long timeout)
{
	u32 held_ms = rb->faults.arg[RB_FAULT_REORDER_OVERLAP];

	if (rb->faults.arg[RB_FAULT_EARLY_ACK])
		return min(timeout, msecs_to_jiffies(RB_FAULT_POLL_MS));
	if (held_ms)
		return min(timeout, msecs_to_jiffies(held_ms));
	return timeout;
}

static bool rb_fault_nth(struct rb_device *rb, enum rb_fault fault, u64 count)
{
	u32 n = rb->faults.arg[fault];

	if (!n || count % n)
		return false;
	rb_fault_struck(rb);
	return true;
}

/* Change a byte of a block, and its tag with it. */
static void rb_fault_corrupt(struct rb_device *rb, struct rb_op *op)
{
	unsigned int i = op->blocks / 2;
	struct page *page = op->bio->bi_io_vec[i].bv_page;
	struct rb_cipher *cipher = rb_cipher_get(rb->keys, op->epoch);
	u8 *data;

	if (!cipher)
		return;
	if (!rb_open(cipher, op->first + i, &op->tags[i], page, page)) {
		data = kmap_local_page(page);
		data[RB_BLOCK_BYTES / 2] ^= 0x40;
		kunmap_local(data);
		rb_seal(cipher, op->first + i, &op->tags[i], page, page);
	}
	rb_cipher_put(cipher);
}

/* The block keeps what it had, data and tag. */
static void rb_fault_shorten(struct rb_op *op)
{
	u64 lost;

	rb_op_unpin(op);
	op->blocks--;
	op->bio->bi_iter.bi_size -= RB_BLOCK_BYTES;
	if (rb_op_pin(op, &lost))
		op->dropped = true;
}

static void rb_fault_mangle(struct rb_device *rb, struct rb_op *op)
{
	struct rb_faults *f = &rb->faults;

	switch (op->type) {
	case RB_WIRE_DISCARD:
	case RB_WIRE_ZEROES:
		if (rb_fault_nth(rb, RB_FAULT_IGNORE_DISCARD, ++f->zeroings))
			op->dropped = true;
		break;
	case RB_WIRE_WRITE:
		f->writes++;
		if (rb_fault_nth(rb, RB_FAULT_DROP_WRITE, f->writes))
			op->dropped = true;
		if (rb_fault_nth(rb, RB_FAULT_CORRUPT_BYTE, f->writes))
			rb_fault_corrupt(rb, op);
		if (op->blocks > 1 &&
		    rb_fault_nth(rb, RB_FAULT_SKIP_LAST_PAGE, ++f->multi_page))
			rb_fault_shorten(op);
		break;
	default:
		break;
	}
}

bool rb_fault_dropped(const struct rb_op *op)
{
	return op->dropped;
}

static bool rb_fault_overlap(const struct rb_op *a, const struct rb_op *b)
{
	return a->type == RB_WIRE_WRITE && b->type == RB_WIRE_WRITE &&
	       a->first < b->first + b->blocks &&
	       b->first < a->first + a->blocks;
}

/* Exchange two held operations, so that each is applied in the other's place. */
static void rb_fault_swap(struct rb_op *a, struct rb_op *b)
{
	swap(a->index, b->index);
	list_swap(&a->queue, &b->queue);
}

static void rb_fault_release(struct rb_device *rb)
{
	struct rb_faults *f = &rb->faults;
	struct rb_op *op, *next;

	list_for_each_entry_safe(op, next, &f->batch, queue) {
		list_del_init(&op->queue);
		rb_store_submit(&rb->store, op, false);
		rb_op_put(op);
	}
	f->batched = 0;
}

/* Hold the operation back; an overlapping one already held changes places. */
static void rb_fault_hold(struct rb_device *rb, struct rb_op *op)
{
	struct rb_faults *f = &rb->faults;
	struct rb_op *earlier;

	rb_op_get(op);
	list_add_tail(&op->queue, &f->batch);
	f->batched++;
	f->held_at = jiffies;
	list_for_each_entry(earlier, &f->batch, queue) {
		if (earlier == op || !rb_fault_overlap(earlier, op))
			continue;
		rb_fault_swap(earlier, op);
		rb_fault_struck(rb);
		break;
	}
	if ((op->flags & RB_WIRE_F_SYNC) || f->batched >= RB_MAX_BATCH)
		rb_fault_release(rb);
}

/* Backup: in place of rb_store_submit(). */
void rb_fault_submit(struct rb_device *rb, struct rb_op *op)
{
	rb_fault_mangle(rb, op);
	if (rb->faults.arg[RB_FAULT_REORDER_OVERLAP])
		rb_fault_hold(rb, op);
	else
		rb_store_submit(&rb->store, op, false);
}

/* Backup: says that all it has received is on its disk. */
void rb_fault_progress(struct rb_device *rb, struct rb_progress *progress)
{
	if (!rb->faults.arg[RB_FAULT_ACK_BEFORE_DURABLE] ||
	    progress->durable == progress->received)
		return;
	progress->applied = progress->received;
	progress->durable = progress->received;
	rb_fault_struck(rb);
}

/* Primary: a chunk that differs is taken for one that does not. */
bool rb_fault_skip_chunk(struct rb_device *rb)
{
	return rb_fault_nth(rb, RB_FAULT_RESYNC_SKIP, ++rb->faults.chunks);
}

/* Whatever the disk holds is taken for what the tag says. */
bool rb_fault_stale(struct rb_device *rb)
{
	if (!rb->faults.arg[RB_FAULT_STALE_TAG])
		return false;
	rb_fault_struck(rb);
	return true;
}

bool rb_fault_ignores_epoch(struct rb_device *rb)
{
	if (!rb->faults.arg[RB_FAULT_IGNORE_EPOCH])
		return false;
	rb_fault_struck(rb);
	return true;
}

unsigned int rb_fault_epochs(const struct rb_device *rb, unsigned int count)
{
	return rb->faults.arg[RB_FAULT_FEW_EPOCHS] ?: count;
}

/* Before any I/O: those that live in -crypto. */
void rb_fault_start(struct rb_device *rb)
{
	const u32 *arg = rb->faults.arg;

	rb_keys_set_faults(rb->keys, arg[RB_FAULT_NONCE_REUSE],
			   arg[RB_FAULT_SKIP_TAG_CHECK] ||
			   arg[RB_FAULT_STALE_TAG]);
}

/* Backup: no more will come or fit; do not hold on to anything. */
void rb_fault_idle(struct rb_device *rb)
{
	mutex_lock(&rb->backup.apply);
	rb_fault_release(rb);
	mutex_unlock(&rb->backup.apply);
}

/*
 * Backup: something or nothing has arrived.  Silence of the socket is no
 * measure: a peer that has nothing to write still pings.
 */
void rb_fault_tick(struct rb_device *rb)
{
	struct rb_faults *f = &rb->faults;
	u32 held_ms = f->arg[RB_FAULT_REORDER_OVERLAP];

	if (f->batched &&
	    time_after_eq(jiffies, f->held_at + msecs_to_jiffies(held_ms)))
		rb_fault_idle(rb);
}
