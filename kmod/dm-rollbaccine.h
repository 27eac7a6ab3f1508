/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared declarations of the rollbaccine target.
 *
 * Files, in reading order: -target (device-mapper face), -args (table line),
 * -primary (issue, send, complete), -uplink (the primary's connection),
 * -backup (listen, receive, report), -store (ordered apply and flush, used by
 * both roles), -op (memory of an operation), -net (sockets, threads), -wire
 * (message format), -fault (seeded defects, FAULTS=1 builds only).
 */
#ifndef DM_ROLLBACCINE_H
#define DM_ROLLBACCINE_H

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/device-mapper.h>
#include <linux/list.h>
#include <linux/mempool.h>
#include <linux/mutex.h>
#include <linux/net.h>
#include <linux/rbtree.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#define DM_MSG_PREFIX "rollbaccine"

#include "compat.h"
#include "dm-rollbaccine-fault.h"
#include "dm-rollbaccine-wire.h"

#define RB_BLOCK_SIZE (RB_BLOCK_SECTORS << SECTOR_SHIFT)
/* Bytes of copied data a node may hold; beyond it, writes wait. */
#define RB_WINDOW_BYTES (16u << 20)
#define RB_DEFAULT_PEER_TIMEOUT_MS 5000
/* A peer is lost after this many silent ticks of peer_timeout / RB_TICKS. */
#define RB_TICKS 8

struct rb_store;

/**
 * struct rb_op - one indexed operation, from its index until nobody needs it
 *
 * Data of a write lives in pages of our own, attached to @bio; the submitter
 * may change its buffer under I/O without the two nodes drifting apart.
 */
struct rb_op {
	struct rb_store *store;
	u64 index;
	enum rb_wire_type type;
	u8 flags;
	u32 bytes; /* charged to the window */
	refcount_t ref;
	blk_status_t status;
	struct bio *bio;

	/* Covered by store->lock. */
	u64 first; /* sectors, inclusive */
	u64 last;
	struct rb_node node;
	u64 subtree_last;
	unsigned int blockers; /* earlier overlapping operations still open */
	bool done;
	struct list_head order;
	struct list_head sync;
	struct list_head ready;
	struct work_struct work;

	/* Primary only.  A plain write is ended by the store's answer, a
	 * RB_WIRE_F_SYNC one by whoever takes it off the list of waiters.
	 */
	struct bio *source;
	/* Covered by rb_device.lock. */
	bool synced;
	struct list_head send;
	struct list_head waiter;
	unsigned long issued_at;
#ifdef CONFIG_DM_ROLLBACCINE_FAULTS
	bool dropped; /* pretend to have applied it */
#endif
};

/**
 * struct rb_store_ops - what a store tells its owner, in any context
 * @written: the operation has reached the disk, or failed: see op->status
 * @synced: everything up to a RB_WIRE_F_SYNC operation is durable, or failed
 * @progress: applied, durable or the failed flag have changed
 */
struct rb_store_ops {
	void (*written)(struct rb_store *store, struct rb_op *op);
	void (*synced)(struct rb_store *store, struct rb_op *op);
	void (*progress)(struct rb_store *store);
};

/**
 * struct rb_store - the local disk, written in index order where ranges overlap
 */
struct rb_store {
	struct block_device *bdev;
	const struct rb_store_ops *ops;
	bool freeze_on_error; /* nothing is applied past a failed operation */
	struct bio_set bios;
	mempool_t op_pool;
	mempool_t page_pool;
	struct workqueue_struct *wq;
	wait_queue_head_t wait; /* room in the window, idleness, resumption */

	spinlock_t lock; /* everything below, and the marked part of rb_op */
	struct rb_root_cached ranges;
	struct list_head order; /* not yet part of the applied prefix */
	struct list_head sync; /* waiting for a flush of the disk */
	struct list_head ready; /* unblocked, to be started by ready_work */
	u64 applied;
	u64 durable;
	u64 errors;
	u64 flush_upto;
	unsigned int live; /* operations allocated */
	unsigned int running;
	unsigned int early; /* done, but something before them is not */
	u32 window_used;
	bool flushing;
	bool failed;
	bool held; /* suspended: start nothing new */
	struct work_struct ready_work;
	struct work_struct flush_work;
};

enum rb_role { RB_PRIMARY, RB_BACKUP };

enum rb_state {
	RB_CONNECTING, /* no peer, nothing missed: writes wait */
	RB_CONNECTED,
	RB_LOST, /* primary: the peer missed something; backup: peer is silent */
};

enum rb_loss_policy { RB_LOSS_ERROR, RB_LOSS_SUSPEND };

/**
 * struct rb_conn - a connection one thread owns and others use
 * @tx: held while sending, and to take the socket away
 * @guard: held briefly; makes @sock safe to shut down from elsewhere
 * @sock: NULL without a connection; changed under both
 */
struct rb_conn {
	struct mutex tx; /* held while sending */
	struct mutex guard; /* taken inside tx */
	struct socket *sock;
};

/* Room for struct rb_per_bio. */
#define RB_PER_BIO_SIZE sizeof(unsigned long)

/* Fields of the primary; those after the threads are under rb_device.lock. */
struct rb_primary {
	struct task_struct *issue_thread;
	struct task_struct *send_thread;
	struct task_struct *uplink_thread;
	wait_queue_head_t issue_wait;
	wait_queue_head_t send_wait;
	wait_queue_head_t drain_wait;

	struct bio_list held; /* accepted, no index yet */
	u64 issued;
	u64 sent;
	struct rb_progress peer;
	struct list_head send;
	struct list_head waiters; /* RB_WIRE_F_SYNC operations, by index */
	unsigned int inflight;
	bool quiescing; /* suspending: do not wait for a peer */

	/* The uplink thread's own. */
	u32 last_refusal;
	unsigned int silent_ticks;
	unsigned int stall_ticks;
	u64 stall_mark;
	unsigned long tick_at;
};

struct rb_backup {
	struct task_struct *listen_thread;
	struct task_struct *receive_thread;
	struct task_struct *report_thread;
	struct socket *listener;
	wait_queue_head_t wait; /* a session begins or ends */
	wait_queue_head_t report_wait;

	bool attached; /* the receiver has a session */
	bool report; /* the primary wants to hear from us */
	bool receiving; /* in the middle of an operation */
	u64 received;
	u64 reported; /* highest durable index told to the primary */
	unsigned long heard_at; /* when the primary last said something */
};

/**
 * struct rb_device - one target instance
 */
struct rb_device {
	struct dm_target *ti;
	struct dm_dev *dev;
	enum rb_role role;
	u64 id;
	u64 generation;
	__be32 addr;
	u16 port;
	unsigned int peer_timeout_ms;
	enum rb_loss_policy on_peer_loss;
	unsigned int nr_features; /* words, as given */
	bool timeout_given;
	bool policy_given;

	struct rb_store store;
	struct rb_conn conn;

	spinlock_t lock; /* the rest, and the marked parts above */
	enum rb_state state;
	bool stopping;
	u64 peer_id;
	u64 peer_generation;
	union {
		struct rb_primary primary;
		struct rb_backup backup;
	};
#ifdef CONFIG_DM_ROLLBACCINE_FAULTS
	struct rb_faults faults;
#endif
};

static inline bool rb_stopping(const struct rb_device *rb)
{
	return READ_ONCE(rb->stopping);
}

static inline unsigned long rb_peer_timeout(const struct rb_device *rb)
{
	return msecs_to_jiffies(rb->peer_timeout_ms);
}

static inline unsigned long rb_tick(const struct rb_device *rb)
{
	return max(rb_peer_timeout(rb) / RB_TICKS, 1UL);
}

const char *rb_device_name(const struct rb_device *rb);

/* -args */
int rb_parse_args(struct rb_device *rb, unsigned int argc, char **argv);
size_t rb_print_args(const struct rb_device *rb, char *result, size_t maxlen);

/* -primary */
int rb_primary_start(struct rb_device *rb);
void rb_primary_stop(struct rb_device *rb);
int rb_primary_map(struct rb_device *rb, struct bio *bio);
void rb_primary_suspend(struct rb_device *rb);
void rb_primary_drain(struct rb_device *rb);
void rb_primary_resume(struct rb_device *rb);
void rb_primary_complete(struct rb_device *rb);
void rb_primary_abandon(struct rb_device *rb);
void rb_primary_wake(struct rb_device *rb);

/* -uplink */
int rb_uplink_thread(void *data);

/* -backup */
int rb_backup_start(struct rb_device *rb);
void rb_backup_stop(struct rb_device *rb);
bool rb_backup_silent(const struct rb_device *rb);

/* -store */
int rb_store_init(struct rb_store *store, struct block_device *bdev,
		  const struct rb_store_ops *ops, bool freeze_on_error);
void rb_store_exit(struct rb_store *store);
void rb_store_submit(struct rb_store *store, struct rb_op *op);
void rb_store_suspend(struct rb_store *store);
void rb_store_resume(struct rb_store *store);
void rb_store_wait_idle(struct rb_store *store);

/* -op */
int rb_op_pools_init(struct rb_store *store);
void rb_op_pools_exit(struct rb_store *store);
bool rb_op_room(struct rb_store *store, u32 bytes);
struct rb_op *rb_op_alloc(struct rb_store *store, enum rb_wire_type type,
			  u64 sector, u32 sectors, blk_opf_t opf);
void rb_op_get(struct rb_op *op);
void rb_op_put(struct rb_op *op);

/* -net */
typedef bool (*rb_give_up_fn)(struct rb_device *rb);
int rb_thread_start(struct task_struct **ret, int (*fn)(void *data),
		    struct rb_device *rb, const char *what);
void rb_thread_stop(struct task_struct **thread);
void rb_thread_enter(void);
int rb_net_connect(struct rb_device *rb, struct socket **ret);
int rb_net_listen(struct rb_device *rb, struct socket **ret);
int rb_net_accept(struct rb_device *rb, struct socket *listener,
		  struct socket **ret);
int rb_net_send(struct socket *sock, void *buf, size_t len, bool more);
int rb_net_send_bio(struct socket *sock, struct bio *bio, size_t len);
int rb_net_recv(struct rb_device *rb, struct socket *sock, void *buf,
		size_t len, rb_give_up_fn give_up);
int rb_net_recv_bio(struct rb_device *rb, struct socket *sock, struct bio *bio,
		    size_t len, rb_give_up_fn give_up);
void rb_net_set_timeouts(struct socket *sock, unsigned long timeout);
bool rb_net_unread(struct rb_conn *conn);
void rb_conn_init(struct rb_conn *conn);
void rb_conn_attach(struct rb_conn *conn, struct socket *sock);
void rb_conn_break(struct rb_conn *conn);
void rb_conn_detach(struct rb_conn *conn);

#endif /* DM_ROLLBACCINE_H */
