/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between the kernels we build on, found by feature and not by
 * version number, because distributions back-port.
 */
#ifndef DM_ROLLBACCINE_COMPAT_H
#define DM_ROLLBACCINE_COMPAT_H

#include <linux/blkdev.h>
#include <linux/device-mapper.h>
#include <linux/uio.h>

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

#endif /* DM_ROLLBACCINE_COMPAT_H */
