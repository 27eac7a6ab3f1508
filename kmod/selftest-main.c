// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of the parts that need no device: SELFTEST=1 builds this module in
 * place of the target.  Loading it runs them; it loads only if all pass.
 *
 *	insmod dm-rollbaccine-selftest.ko [speed=1]
 */
#include <linux/ktime.h>
#include <linux/module.h>

#include "selftest.h"

static bool speed;
module_param(speed, bool, 0444);
MODULE_PARM_DESC(speed, "measure sealing and authentication as well");

static const struct rb_selftest rb_selftests[] = {
	{ "crypto", rb_selftest_crypto },
	{ "session", rb_selftest_session },
	{ "tags", rb_selftest_tags },
	{ "tree", rb_selftest_tree },
};

static int rb_selftest_run(const struct rb_selftest *test)
{
	ktime_t begin = ktime_get();
	int ret = test->run();

	pr_info(RB_SELFTEST "%s: %s (%lld ms)\n", test->name,
		ret ? "FAILED" : "ok",
		ktime_ms_delta(ktime_get(), begin));
	return ret;
}

static int __init rb_selftest_init(void)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < ARRAY_SIZE(rb_selftests) && !ret; i++)
		ret = rb_selftest_run(&rb_selftests[i]);
	if (!ret && speed)
		ret = rb_selftest_speed();
	return ret;
}

static void __exit rb_selftest_exit(void)
{
}

module_init(rb_selftest_init);
module_exit(rb_selftest_exit);
MODULE_DESCRIPTION("tests of the parts of dm-rollbaccine");
MODULE_LICENSE("GPL");
