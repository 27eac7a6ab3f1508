// SPDX-License-Identifier: Apache-2.0
/*
 * Wait for a target to reach a state it reports in its status line of `key value` pairs. Device
 * mapper has no event for a counter, so the status is read again and again, a few times a
 * millisecond at first.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BACKOFF_MIN_NS 200000L
#define BACKOFF_MAX_NS 2000000L
#define PAIRS_MAX 64

struct pairs {
	char *words[PAIRS_MAX * 2];
	int count;
};

/* Split @text in place. */
static void split_pairs(char *text, struct pairs *p)
{
	char *word;

	p->count = 0;
	while ((word = strsep(&text, " \n")) && p->count < PAIRS_MAX * 2)
		if (*word)
			p->words[p->count++] = word;
}

static const char *value_of(const struct pairs *p, const char *key, size_t len)
{
	for (int i = 0; i + 1 < p->count; i += 2)
		if (strlen(p->words[i]) == len && !memcmp(p->words[i], key, len))
			return p->words[i + 1];
	return NULL;
}

/* One condition: KEY==VALUE or KEY>=VALUE, VALUE being another key's value, a number or a word. */
static bool holds(const char *cond, const struct pairs *p)
{
	const char *op = strpbrk(cond, "=>");
	const char *left = value_of(p, cond, (size_t)(op - cond));
	const char *right = value_of(p, op + 2, strlen(op + 2));
	uint64_t a, b;

	if (!left)
		return false;
	if (!right)
		right = op + 2;
	if (*op == '=')
		return !strcmp(left, right);
	return parse_u64(left, &a) && parse_u64(right, &b) && a >= b;
}

static bool well_formed(const char *cond)
{
	const char *op = strpbrk(cond, "=>");

	return op && op != cond && op[1] == '=' && op[2];
}

static bool all_hold(const struct cmd *cmd, const struct buf *status)
{
	char *copy = strdup(status->data ? status->data : "");
	struct pairs pairs;
	bool ok = true;

	if (!copy)
		fatal("out of memory");
	split_pairs(copy, &pairs);
	for (int i = 3; ok && i < cmd->argc; i++)
		ok = holds(cmd->argv[i], &pairs);
	free(copy);
	return ok;
}

/* dm-wait NAME TIMEOUT_MS COND... -> the status in which all conditions held, or the last one */
int cmd_dm_wait(const struct cmd *cmd, struct buf *out)
{
	struct timespec pause = { 0, BACKOFF_MIN_NS };
	uint64_t timeout_ms, end;

	if (!parse_u64(cmd->argv[2], &timeout_ms))
		return fail_with(EINVAL, out, "timeout", cmd->argv[2]);
	for (int i = 3; i < cmd->argc; i++)
		if (!well_formed(cmd->argv[i]))
			return fail_with(EINVAL, out, "condition", cmd->argv[i]);
	end = now_us() + timeout_ms * 1000;
	for (;;) {
		struct buf status = { 0 };
		bool late = now_us() >= end; /* before reading: a last look comes after the end */
		int ret = dm_status_text(cmd->argv[1], false, &status, out);
		bool done = !ret && all_hold(cmd, &status);

		if (!ret && (done || late))
			buf_add(out, status.data, status.len);
		buf_free(&status);
		if (ret || done)
			return ret;
		if (late)
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < BACKOFF_MAX_NS)
			pause.tv_nsec *= 2;
	}
}
