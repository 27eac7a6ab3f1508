/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared declarations of the rollbaccine target.
 *
 * Files, in reading order: -target (device-mapper face), -args (table line),
 * -status, -message, -node (role, epochs, quorum), -lead
 * (promote, demote), -heir (a new table), -verify (scrub), -write (a primary's
 * writes), -read (reads and their repair), -store (ordered apply and flush),
 * -slot (who may touch which blocks when), -op (memory of an operation), -peer
 * (one connection: threads, sending), -dial (a leader's side of it), -listen
 * and -backup (the other side), -resync and -fill (tags and blocks a backup
 * lacks), -block (single blocks from and for peers), -mend (tags from and for
 * peers), -net (sockets), -fault (seeded defects, FAULTS=1 builds only);
 * -crypto, -session, -wire, -tags and -tree have headers of their own.
 */
#ifndef DM_ROLLBACCINE_H
#define DM_ROLLBACCINE_H

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/completion.h>
#include <linux/device-mapper.h>
#include <linux/list.h>
#include <linux/mempool.h>
#include <linux/mutex.h>
#include <linux/net.h>
#include <linux/rbtree.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#define DM_MSG_PREFIX "rollbaccine"

#include "compat.h"
#include "dm-rollbaccine-fault.h"
#include "dm-rollbaccine-wire.h"
#include "dm-rollbaccine-crypto.h"
#include "dm-rollbaccine-session.h"
#include "dm-rollbaccine-tags.h"

#define RB_DEFAULT_WINDOW_KIB 16384
#define RB_DEFAULT_PEER_TIMEOUT_MS 5000
#define RB_DEFAULT_TREE_CACHE_PAGES 256
#define RB_MAX_PEERS 8
/* A peer is lost after this many silent ticks of peer_timeout / RB_TICKS. */
#define RB_TICKS 8
#define RB_RETRY_MS 100
#define RB_MAX_SERVING 256

struct rb_device;
struct rb_store;

/**
 * struct rb_slot - a range of blocks somebody is using, or waits to use
 * @first: first block
 * @last: last block
 * @shared: uses it together with others that share
 * @granted: called in process context once no earlier one is in the way
 *
 * Slots are granted in the order in which they were taken where they conflict.
 */
struct rb_slot {
	u64 first;
	u64 last;
	bool shared;
	void (*granted)(struct rb_slot *slot);

	/* Covered by store->lock. */
	unsigned int blockers;
	struct rb_node node;
	u64 subtree_last;
	struct list_head ready;
};

/* For those who sleep until they have it. */
struct rb_waiting_slot {
	struct rb_slot slot;
	struct completion granted;
};

#define RB_FEW_TAGS 4

/**
 * struct rb_op - one indexed operation, from its index until nobody needs it
 *
 * A write's data, encrypted, lives in pages of our own, attached to @bio.
 * On a backup also what a resync brings in between (RB_WIRE_TAGS): a page of
 * tags, which has no index and no place in the prefixes.
 */
struct rb_op {
	struct rb_store *store;
	enum rb_wire_type type;
	u32 flags;
	u64 index;
	u32 epoch;
	u32 blocks;
	u64 first;
	u32 bytes; /* charged to the window */
	bool pinned;
	bool voided; /* could not be encrypted: changes nothing, see status */
	blk_status_t status;
	refcount_t ref;
	struct bio *bio;
	struct rb_tag *tags; /* one per block of a write */
	struct rb_tag few[RB_FEW_TAGS];
	struct rb_slot slot;
	struct work_struct work;

	/* Covered by store->lock. */
	bool done;
	struct list_head order;
	struct list_head sync;

	/* Primary only.  A plain write is ended by the store's answer, a
	 * RB_WIRE_F_SYNC one by whoever takes it off the list of waiters.
	 */
	struct bio *source;
	/* Covered by rb_device.lock. */
	bool ready; /* tags are recorded, may be sent */
	bool synced;
	struct list_head log;
	struct list_head waiter;
	unsigned long issued_at;
	/* Backup only: received and not handed to the store. */
	struct list_head queue;
#ifdef CONFIG_DM_ROLLBACCINE_FAULTS
	bool dropped; /* pretend to have applied it */
#endif
};

/**
 * struct rb_store - the local disk, written in index order where ranges overlap
 */
struct rb_store {
	struct rb_device *rb;
	struct block_device *bdev;
	sector_t start; /* of the data */
	u32 window; /* bytes */
	struct bio_set bios;
	mempool_t op_pool;
	mempool_t tag_pool;
	mempool_t page_pool;
	mempool_t read_pool;
	struct mutex read_bulk; /* one at a time waits for pages to read into */
	/*
	 * Three, so that no work waits for one queued behind it: disk and
	 * crypto alone; what may wait for slots and memory; what holds a slot
	 * and may wait for a peer.
	 */
	struct workqueue_struct *wq;
	struct workqueue_struct *slow_wq;
	struct workqueue_struct *repair_wq;
	wait_queue_head_t wait; /* room in the window, idleness, resumption */

	spinlock_t lock; /* everything below, and the marked parts above */
	struct rb_root_cached ranges;
	struct list_head order; /* not yet part of the applied prefix */
	struct list_head sync; /* waiting for a flush of the disk */
	struct list_head ready; /* granted, to be told by ready_work */
	u64 applied;
	u64 durable;
	u64 errors;
	u64 flush_upto;
	unsigned int live; /* operations allocated */
	unsigned int slots; /* taken */
	unsigned int early; /* done, but something before them is not */
	u32 window_used;
	bool flushing;
	bool failed;
	bool freeze_on_error; /* nothing is applied past a failed operation */
	bool held; /* suspended: start nothing new */
	struct work_struct ready_work;
	struct work_struct flush_work;
};

enum rb_role { RB_PRIMARY, RB_BACKUP };
enum rb_loss_policy { RB_LOSS_ERROR, RB_LOSS_SUSPEND };
enum rb_ack { RB_ACK_MEMORY, RB_ACK_WRITE, RB_ACK_FLUSH };

enum rb_state {
	RB_CONNECTING, /* primary: fewer peers in sync than the quorum */
	RB_CONNECTED,
	RB_FENCED, /* primary: there is a higher epoch */
	RB_FAILED, /* the disk has failed */
	RB_LOST, /* backup: in sync, its primary is silent */
	RB_RECOVERING, /* backup: empty memory, trusts nothing */
	RB_SYNCING, /* backup: lacks tags or blocks */
};

/* A message that is not an operation, waiting to be sent. */
struct rb_letter {
	struct list_head list;
	enum rb_wire_type type;
	struct rb_block_message block; /* or the number of a chunk in it */
	struct page *page; /* data of a BLOCK_DATA, or tags */
};

/**
 * struct rb_fetch - one block wanted from a peer
 * @done: called once, in process context, never under a lock
 */
struct rb_fetch {
	struct list_head list; /* under rb_device.lock; empty when not asked */
	u64 block;
	struct rb_tag tag;
	struct page *page; /* filled with ciphertext */
	int error;
	unsigned int ticks;
	void (*done)(struct rb_fetch *fetch);
	void *private;
	struct work_struct work;
};

/**
 * struct rb_peer - another node, and the connection to it if there is one
 * @tx: held while sending, and to take the socket away
 * @guard: held briefly, inside @tx; makes @sock safe to shut down
 * @sock: NULL without a connection; changed under both
 */
struct rb_peer {
	struct rb_device *rb;
	u64 id;
	__be32 addr;
	u16 port;
	struct task_struct *receive_thread;
	struct task_struct *send_thread;
	wait_queue_head_t wait; /* the receiver: a session begins or ends */
	wait_queue_head_t send_wait;
	struct mutex tx;
	struct mutex guard;
	struct socket *sock;
	struct rb_session session; /* .tx under @tx, .rx the receiver's own */
	void *tx_control; /* RB_WIRE_MAX_CONTROL, under @tx */
	void *rx_control; /* the receiver's own */
	struct page *rx_page;

	/* Under rb_device.lock. */
	bool up;
	bool broken; /* the session has to end */
	bool dialled; /* we are the connector of the session */
	bool blocked; /* `disconnect` until `connect` */
	bool streaming; /* operations are sent to it */
	bool insync;
	bool report_now; /* listener: tell how far we are */
	bool ping;
	struct rb_op *cursor; /* next in the log to be sent; NULL: the next one */
	u64 sent;
	struct rb_progress progress;
	u64 incarnation;
	struct list_head letters;
	unsigned int nr_letters;
	struct list_head fetches;
	unsigned int serving; /* blocks being read for it */

	/* Resync, source: under @tx. */
	unsigned long *chunks; /* to be sent; NULL: all that are not empty */
	u64 next_chunk;
	u64 hashed; /* chunks compared */
	bool resyncing;
	bool begin; /* RESYNC_BEGIN has to be sent */
	bool full;

	/* The receiver's own. */
	u32 last_refusal;
	unsigned int silent_ticks;
	unsigned int stall_ticks;
	u64 stall_mark;
	unsigned long tick_at;
	unsigned long send_tick_at; /* the sender's own */
	unsigned long heard_at; /* listener: when it last said something */
	bool begun; /* listener: RESYNC_BEGIN has come */
	bool named; /* listener: EPOCHS has */
	u64 hash_next; /* listener, under @tx: next chunk to be hashed */
	bool hashing;
};

/* Room for struct rb_per_bio or struct rb_read.  Debugging kernels have more in
 * a work_struct.
 */
#define RB_PER_BIO_SIZE (352u + (unsigned int)sizeof(struct work_struct))

/* What only a primary uses; under rb_device.lock but for the thread. */
struct rb_primary {
	struct task_struct *issue_thread;
	wait_queue_head_t issue_wait;
	wait_queue_head_t drain_wait;
	struct rb_cipher *cipher; /* of the current epoch */
	struct mutex issue; /* who gives out indices */
	struct bio_list held; /* accepted, no index yet */
	u64 issued;
	struct list_head log; /* by index; not yet sent to all that stream */
	struct list_head waiters; /* RB_WIRE_F_SYNC operations, by index */
	bool quiescing; /* suspending: do not wait for a peer */
	unsigned int alone_ticks; /* below the quorum for so long */
	unsigned long tick_at;
};

/* What only a backup uses; under rb_device.lock. */
struct rb_backup {
	struct task_struct *resync_thread;
	wait_queue_head_t resync_wait;
	struct list_head queue; /* received, not handed to the store */
	struct mutex apply; /* one at a time empties the queue */
	struct rb_peer *leader; /* whose session it is, if any */
	struct timer_list report_timer; /* what need not be told at once */
	bool receiving; /* in the middle of a message */
	bool tags_complete; /* RESYNC_END has come */
	/*
	 * @whole: disk and tags are the state after the operation @position of
	 * the epoch rb_device.data_epoch; also while a session is on that has
	 * changed nothing of it yet.  Without it @position is what once was
	 * whole, and so all that this node can have acknowledged.
	 * @follows: the session's operations go on from there.
	 */
	bool whole;
	bool follows;
	u64 position;
	unsigned int tags_pending; /* RB_WIRE_TAGS not adopted yet */
	unsigned int fetching;
	bool insync; /* whole, and the session's primary knows */
	u32 steps; /* of a scan, to show that it gets on */
	bool scan; /* the disk may have what memory does not know of */
	bool holding;
	u64 hold; /* with @holding: nothing past it is applied */
	u64 received;
	u64 reported; /* highest durable index told to the primary */
};

/**
 * struct rb_device - one target instance
 */
struct rb_device {
	struct dm_target *ti;
	struct dm_dev *dev;

	/* The table line. */
	enum rb_role first_role;
	u64 id;
	char *key;
	__be32 addr;
	u16 port;
	unsigned int nr_peers;
	struct rb_peer *peers;
	bool create;
	unsigned int given; /* bit per feature */
	unsigned int peer_timeout_ms;
	enum rb_loss_policy on_peer_loss;
	unsigned int quorum;
	enum rb_ack ack;
	unsigned int window_kib;
	u64 tree_pages;
	unsigned int tree_cache_pages;

	u64 sectors; /* of data */
	struct rb_keys *keys;
	struct rb_tags *tags;
	struct rb_store store;
	struct task_struct *listen_thread;
	struct socket *listener;
	struct rb_greetings *greetings; /* -listen's own */
	struct rb_mend *mend; /* -mend's own */
	wait_queue_head_t wait; /* stopping */
	struct list_head devices; /* see -heir */
	struct mutex admin; /* one promote or demote at a time */
	struct work_struct verify_work;
	bool verifying;
	bool suspended;
	bool started;

	spinlock_t lock; /* the rest, and the marked parts above */
	enum rb_role role;
	enum rb_state state;
	bool stopping;
	bool fenced;
	bool empty; /* memory is empty: nothing on the disk is trusted */
	u64 incarnation;
	u8 cluster[RB_CLUSTER_BYTES];
	u32 epoch; /* followed, or led */
	u32 promised; /* nothing below is accepted; >= epoch */
	u32 data_epoch; /* of the last operation, see rb_backup.whole */
	unsigned int inflight; /* bios */
	u64 corrupt;
	u64 repaired;
	u64 resynced;
	u64 rejected;
	struct rb_primary primary;
	struct rb_backup backup;
#ifdef CONFIG_DM_ROLLBACCINE_FAULTS
	struct rb_faults faults;
#endif
};

static inline bool rb_stopping(const struct rb_device *rb)
{
	return READ_ONCE(rb->stopping);
}

static inline bool rb_is_primary(const struct rb_device *rb)
{
	return READ_ONCE(rb->role) == RB_PRIMARY;
}

static inline unsigned long rb_peer_timeout(const struct rb_device *rb)
{
	return msecs_to_jiffies(rb->peer_timeout_ms);
}

static inline unsigned long rb_tick(const struct rb_device *rb)
{
	return max(rb_peer_timeout(rb) / RB_TICKS, 1UL);
}

static inline u64 rb_blocks(const struct rb_device *rb)
{
	return rb->sectors / RB_BLOCK_SECTORS;
}

#define rb_for_each_peer(peer, rb) \
	for (peer = (rb)->peers; peer < (rb)->peers + (rb)->nr_peers; peer++)

#include "dm-rollbaccine-calls.h"

#endif /* DM_ROLLBACCINE_H */
