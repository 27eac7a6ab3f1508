// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of the parts that need no device: SELFTEST=1 builds this module in
 * place of the target.  Loading it runs them; it loads only if all pass.
 *
 *	insmod dm-rollbaccine-selftest.ko [only=<test>] [key=logon:<name>] [speed=1]
 */
#include <linux/err.h>
#include <linux/ktime.h>
#include <linux/module.h>

#include "dm-rollbaccine-crypto.h"
#include "selftest.h"

static bool speed;
module_param(speed, bool, 0444);
MODULE_PARM_DESC(speed, "measure sealing and authentication as well");

static char *only;
module_param(only, charp, 0444);
MODULE_PARM_DESC(only, "name of the one test to be run");

static char *key;
module_param(key, charp, 0444);
MODULE_PARM_DESC(key, "a key that has to be found, as in a table line");

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

static int rb_selftest_key(void)
{
	struct rb_keys *keys = rb_keys_load(key);

	if (IS_ERR(keys)) {
		pr_err(RB_SELFTEST "key %s: error %ld\n", key, PTR_ERR(keys));
		return PTR_ERR(keys);
	}
	RB_EXPECT(rb_keys_encrypted(keys) == !!strcmp(key, "-"));
	rb_keys_destroy(keys);
	return 0;
}

static int __init rb_selftest_init(void)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < ARRAY_SIZE(rb_selftests) && !ret; i++)
		if (!only || !strcmp(only, rb_selftests[i].name))
			ret = rb_selftest_run(&rb_selftests[i]);
	if (!ret && key)
		ret = rb_selftest_key();
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
