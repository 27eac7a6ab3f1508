/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tests that run in the kernel when dm-rollbaccine-selftest.ko is loaded.
 */
#ifndef DM_ROLLBACCINE_SELFTEST_H
#define DM_ROLLBACCINE_SELFTEST_H

#include <linux/printk.h>

#define RB_SELFTEST "dm-rollbaccine-selftest: "

/* For functions that return 0 or an error: leave with -EINVAL and a word why. */
#define RB_EXPECT(condition)						\
	do {								\
		if (!(condition)) {					\
			pr_err(RB_SELFTEST "%s:%d: %s\n", __func__,	\
			       __LINE__, #condition);			\
			return -EINVAL;					\
		}							\
	} while (0)

/* One of several tests; the first that fails ends the loading of the module. */
struct rb_selftest {
	const char *name;
	int (*run)(void);
};

int rb_selftest_crypto(void);
int rb_selftest_session(void);
int rb_selftest_tags(void);
int rb_selftest_tree(void);

/* Figures instead of a verdict. */
int rb_selftest_speed(void);

#endif /* DM_ROLLBACCINE_SELFTEST_H */
