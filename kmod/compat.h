/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between the kernels we build on, found by feature and not by
 * version number, because distributions back-port.
 */
#ifndef DM_ROLLBACCINE_COMPAT_H
#define DM_ROLLBACCINE_COMPAT_H

#include <linux/blkdev.h>
#include <linux/device-mapper.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include <net/sock.h>

/*
 * Before commit 05bdb9965305 ("block: replace fmode_t with a block-specific
 * type for block open flags") (v6.5) the open mode was an fmode_t.
 */
#ifdef BLK_OPEN_WRITE
#define rb_open_mode_t blk_mode_t
#define RB_OPEN_WRITE BLK_OPEN_WRITE
#else
#define rb_open_mode_t fmode_t
#define RB_OPEN_WRITE FMODE_WRITE
#endif

/* Before v6.2 the direction of an iov_iter was given as READ or WRITE. */
#ifndef ITER_SOURCE
#define ITER_SOURCE WRITE
#define ITER_DEST READ
#endif

/* v6.4 added the helper. */
#ifndef module_dm
#define module_dm(name)						\
	static int __init dm_##name##_init(void)		\
	{							\
		return dm_register_target(&(name##_target));	\
	}							\
	module_init(dm_##name##_init)				\
	static void __exit dm_##name##_exit(void)		\
	{							\
		dm_unregister_target(&(name##_target));		\
	}							\
	module_exit(dm_##name##_exit)
#endif

/*
 * Before commit c42d50aefd17 ("mm: shrinker: add infrastructure for dynamically
 * allocating shrinker") (v6.7) a shrinker was embedded and had no private data.
 */
typedef unsigned long (*rb_shrink_fn)(struct shrinker *shrinker,
				      struct shrink_control *control);

#ifdef SHRINKER_ALLOCATED
static inline struct shrinker *rb_shrinker_create(rb_shrink_fn count,
						  rb_shrink_fn scan,
						  void *data, const char *name)
{
	struct shrinker *shrinker = shrinker_alloc(0, "%s", name);

	if (!shrinker)
		return NULL;
	shrinker->count_objects = count;
	shrinker->scan_objects = scan;
	shrinker->seeks = DEFAULT_SEEKS;
	shrinker->private_data = data;
	shrinker_register(shrinker);
	return shrinker;
}

static inline void *rb_shrinker_data(struct shrinker *shrinker)
{
	return shrinker->private_data;
}

static inline void rb_shrinker_destroy(struct shrinker *shrinker)
{
	shrinker_free(shrinker);
}
#else
struct rb_shrinker {
	struct shrinker shrinker;
	void *data;
};

static inline struct shrinker *rb_shrinker_create(rb_shrink_fn count,
						  rb_shrink_fn scan,
						  void *data, const char *name)
{
	struct rb_shrinker *rb = kzalloc(sizeof(*rb), GFP_KERNEL);

	if (!rb)
		return NULL;
	rb->shrinker.count_objects = count;
	rb->shrinker.scan_objects = scan;
	rb->shrinker.seeks = DEFAULT_SEEKS;
	rb->data = data;
	if (register_shrinker(&rb->shrinker, "%s", name)) {
		kfree(rb);
		return NULL;
	}
	return &rb->shrinker;
}

static inline void *rb_shrinker_data(struct shrinker *shrinker)
{
	return container_of(shrinker, struct rb_shrinker, shrinker)->data;
}

static inline void rb_shrinker_destroy(struct shrinker *shrinker)
{
	unregister_shrinker(shrinker);
	kfree(container_of(shrinker, struct rb_shrinker, shrinker));
}
#endif

/*
 * Declared in drivers/md/dm-audit.h only, which is not installed with the
 * headers; exported by dm-mod.
 */
#if IS_ENABLED(CONFIG_DM_AUDIT)
void dm_audit_log_bio(const char *dm_msg_prefix, const char *op,
		      struct bio *bio, sector_t sector, int result);
static inline void rb_audit_bio(struct bio *bio, sector_t sector)
{
	dm_audit_log_bio("rollbaccine", "integrity-mismatch", bio, sector, 0);
}
#else
static inline void rb_audit_bio(struct bio *bio, sector_t sector) {}
#endif

/*
 * v6.2 gave sockets a flag not to use the sending task's page fragment, which
 * was back-ported; Kbuild looks for it.  Without it only our own threads send,
 * never a task that may be in the middle of sending itself.
 */
#ifdef RB_HAVE_TASK_FRAG
#define RB_SENDS_ANYWHERE true
static inline void rb_sock_own_frag(struct sock *sk)
{
	sk->sk_use_task_frag = false;
}
#else
#define RB_SENDS_ANYWHERE false
static inline void rb_sock_own_frag(struct sock *sk) {}
#endif

#endif /* DM_ROLLBACCINE_COMPAT_H */
