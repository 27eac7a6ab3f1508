// SPDX-License-Identifier: GPL-2.0-only
/*
 * Commits one mistake at a time, to see it reported:
 *
 *	echo NAME >/sys/module/harness_bad/parameters/commit
 *
 * Only for guests that are thrown away.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/timer.h>
#include <linux/vmalloc.h>

#define SIZE	64

static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);
static DEFINE_SPINLOCK(spin);
static DECLARE_COMPLETION(never);

/* What the compiler must neither foresee nor remove. */
static volatile int zero;
static void * volatile sink;

static void use_after_free(void)
{
	char *object = kmalloc(SIZE, GFP_KERNEL);

	kfree(object);
	OPTIMIZER_HIDE_VAR(object);
	zero = READ_ONCE(object[8]) & 0;
}

static void out_of_bounds(void)
{
	char *object = kmalloc(SIZE, GFP_KERNEL);

	OPTIMIZER_HIDE_VAR(object);
	WRITE_ONCE(object[SIZE], 'x');
	kfree(object);
}

static void double_free(void)
{
	char *object = kmalloc(SIZE, GFP_KERNEL);

	kfree(object);
	OPTIMIZER_HIDE_VAR(object);
	kfree(object);
}

static void stack_out_of_bounds(void)
{
	volatile char local[8] = { };
	int at = 8 + zero;

	OPTIMIZER_HIDE_VAR(at);
	zero = local[at] & 0;
}

static void vmalloc_out_of_bounds(void)
{
	char *object = vmalloc(PAGE_SIZE - 8);

	OPTIMIZER_HIDE_VAR(object);
	zero = READ_ONCE(object[PAGE_SIZE - 8]) & 0;
	vfree(object);
}

/* KFENCE looks at one allocation in many: try until it must have been ours. */
static void sampled_use_after_free(void)
{
	unsigned long end = jiffies + 20 * HZ;

	while (time_before(jiffies, end)) {
		use_after_free();
		cond_resched();
	}
}

static void shift_too_far(void)
{
	int bits = 40 + zero;

	OPTIMIZER_HIDE_VAR(bits);
	zero = (1 << bits) & 0;
}

static void index_too_high(void)
{
	static int table[4];
	int at = 5 + zero;

	OPTIMIZER_HIDE_VAR(at);
	/* A plain access is gone before the compiler adds the check. */
	zero = READ_ONCE(table[at]) & 0;
}

static void leak(void)
{
	int i;

	/* More than one: the last may still be seen in a register or on a stack. */
	for (i = 0; i < 10; i++)
		sink = kmalloc(SIZE, GFP_KERNEL);
	sink = NULL;
}

static void lock_inversion(void)
{
	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);

	mutex_lock(&second);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&second);
}

static void on_timer(struct timer_list *timer)
{
	spin_lock(&spin);
	spin_unlock(&spin);
}

static DEFINE_TIMER(bad_timer, on_timer);

static void lock_also_taken_by_interrupt(void)
{
	mod_timer(&bad_timer, jiffies + 1);
	while (timer_pending(&bad_timer))
		msleep(20);
	timer_delete_sync(&bad_timer);
	spin_lock(&spin);
	spin_unlock(&spin);
}

static void unlock_not_locked(void)
{
	mutex_unlock(&first);
}

static void free_held_lock(void)
{
	struct mutex *lock = kmalloc(sizeof(*lock), GFP_KERNEL);

	if (!lock)
		return;
	mutex_init(lock);
	mutex_lock(lock);
	kfree(lock);
}

static void lock_not_initialised(void)
{
	spinlock_t *lock = kzalloc(sizeof(*lock), GFP_KERNEL);

	if (!lock)
		return;
	spin_lock(lock);
	spin_unlock(lock);
	kfree(lock);
}

static void return_with_lock(void)
{
	mutex_lock(&first);
}

static void rcu_misuse(void)
{
	static void __rcu *pointer;

	sink = rcu_dereference(pointer);
}

static void sleep_in_atomic(void)
{
	spin_lock(&spin);
	msleep(1);
	spin_unlock(&spin);
}

static void allocate_in_atomic(void)
{
	spin_lock(&spin);
	kfree(kmalloc(SIZE, GFP_KERNEL));
	spin_unlock(&spin);
}

static void delete_twice(void)
{
	static LIST_HEAD(list);
	struct list_head entry;

	list_add(&entry, &list);
	list_del(&entry);
	list_del(&entry);
}

static void drop_reference_twice(void)
{
	refcount_t count = REFCOUNT_INIT(1);

	if (refcount_dec_and_test(&count))
		refcount_dec(&count);
}

struct timed {
	struct timer_list timer;
};

static void free_active_timer(void)
{
	struct timed *object = kzalloc(sizeof(*object), GFP_KERNEL);

	if (!object)
		return;
	timer_setup(&object->timer, on_timer, 0);
	mod_timer(&object->timer, jiffies + 3600 * HZ);
	kfree(object);
}

static void leave_objects_in_cache(void)
{
	struct kmem_cache *cache =
		kmem_cache_create("harness_bad", SIZE, 0, 0, NULL);

	if (!cache)
		return;
	sink = kmem_cache_alloc(cache, GFP_KERNEL);
	kmem_cache_destroy(cache);
}

static void warn(void)
{
	WARN_ON(!zero);
}

static int wait_for_ever(void *unused)
{
	wait_for_completion(&never);
	return 0;
}

/* The timeout is the guest's kernel.hung_task_timeout_secs. */
static void hang(void)
{
	kthread_run(wait_for_ever, NULL, "harness_hang");
}

static void spin_for(unsigned int seconds)
{
	unsigned long end = jiffies + seconds * HZ;

	/* Under emulation jiffies move on by the timer's interrupt alone. */
	while (time_before(jiffies, end))
		cpu_relax();
}

static void after_grace_period(struct rcu_head *unused)
{
}

/* With preemption: the thread that begins grace periods must come to run. */
static void stall_rcu(void)
{
	static struct rcu_head head;

	rcu_read_lock();
	/* A reader stalls nothing as long as nobody waits for it. */
	call_rcu(&head, after_grace_period);
	spin_for(30);
	rcu_read_unlock();
}

static void soft_lockup(void)
{
	preempt_disable();
	spin_for(15);
	preempt_enable();
}

static void null_dereference(void)
{
	int *nowhere = NULL;

	OPTIMIZER_HIDE_VAR(nowhere);
	zero = READ_ONCE(*nowhere);
}

static void bug(void)
{
	BUG_ON(!zero);
}

static const struct {
	const char *name;
	void (*commit)(void);
} mistakes[] = {
#define MISTAKE(name) { #name, name }
	MISTAKE(use_after_free),
	MISTAKE(out_of_bounds),
	MISTAKE(double_free),
	MISTAKE(stack_out_of_bounds),
	MISTAKE(vmalloc_out_of_bounds),
	MISTAKE(sampled_use_after_free),
	MISTAKE(shift_too_far),
	MISTAKE(index_too_high),
	MISTAKE(leak),
	MISTAKE(lock_inversion),
	MISTAKE(lock_also_taken_by_interrupt),
	MISTAKE(unlock_not_locked),
	MISTAKE(free_held_lock),
	MISTAKE(lock_not_initialised),
	MISTAKE(return_with_lock),
	MISTAKE(rcu_misuse),
	MISTAKE(sleep_in_atomic),
	MISTAKE(allocate_in_atomic),
	MISTAKE(delete_twice),
	MISTAKE(drop_reference_twice),
	MISTAKE(free_active_timer),
	MISTAKE(leave_objects_in_cache),
	MISTAKE(warn),
	MISTAKE(hang),
	MISTAKE(stall_rcu),
	MISTAKE(soft_lockup),
	MISTAKE(null_dereference),
	MISTAKE(bug),
};

static int commit(const char *name, const struct kernel_param *unused)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(mistakes); i++) {
		if (!sysfs_streq(name, mistakes[i].name))
			continue;
		/* Parameters are set under a lock, which is no part of this. */
		kernel_param_unlock(THIS_MODULE);
		mistakes[i].commit();
		kernel_param_lock(THIS_MODULE);
		return 0;
	}
	return -EINVAL;
}

static const struct kernel_param_ops commit_ops = { .set = commit };
module_param_cb(commit, &commit_ops, NULL, 0200);
MODULE_PARM_DESC(commit, "name of the mistake to make");

static int __init harness_bad_init(void)
{
	return 0;
}
module_init(harness_bad_init);

/* Without an exit the module stays loaded: its threads may still run. */

MODULE_DESCRIPTION("Deliberate mistakes, one at a time");
MODULE_LICENSE("GPL");
