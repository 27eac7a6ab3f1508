// SPDX-License-Identifier: Apache-2.0
/*
 * Wait for a state that a device-mapper target reports in its status line of `key value` pairs, or
 * another driver in a file of the kernel. Neither has an event for a counter, so the status is read
 * again and again, a few times a millisecond at first.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BACKOFF_MIN_NS 200000L
#define BACKOFF_MAX_NS 2000000L
#define PAIRS_MAX 64
#define FILE_MAX 16384

/* Append the status of @name to @text, failure text to @out; 0 or -errno. */
typedef int (*status_fn)(const char *name, struct buf *text, struct buf *out);

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

/* One condition: KEY, ==, >= or <=, VALUE; VALUE is another key's value, a number or a word. */
static bool holds(const char *cond, const struct pairs *p)
{
	const char *op = strpbrk(cond, "=<>");
	const char *left = value_of(p, cond, (size_t)(op - cond));
	const char *right = value_of(p, op + 2, strlen(op + 2));
	uint64_t a, b;

	if (!left)
		return false;
	if (!right)
		right = op + 2;
	if (*op == '=')
		return !strcmp(left, right);
	if (!parse_u64(left, &a) || !parse_u64(right, &b))
		return false;
	return *op == '>' ? a >= b : a <= b;
}

static bool well_formed(const char *cond)
{
	const char *op = strpbrk(cond, "=<>");

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

/* COMMAND NAME TIMEOUT_MS COND... -> the status in which all conditions held, or the last one */
static int wait_for(const struct cmd *cmd, status_fn read_status, struct buf *out)
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
		int ret = read_status(cmd->argv[1], &status, out);
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

static int target_status(const char *name, struct buf *text, struct buf *out)
{
	return dm_status_text(name, false, text, out);
}

/* dm-wait NAME TIMEOUT_MS COND... */
int cmd_dm_wait(const struct cmd *cmd, struct buf *out)
{
	return wait_for(cmd, target_status, out);
}

static void add_pair(const char *key, const char *value, struct buf *text)
{
	buf_printf(text, "%s%s %s", text->len ? " " : "", key, value);
}

/* What is written `key:value` or `key: value` as pairs; everything else is for people. */
static void add_pairs(char *line, struct buf *text)
{
	const char *key = NULL;
	char *word;

	while ((word = strsep(&line, " \t\n"))) {
		char *value = strchr(word, ':');

		if (!*word)
			continue;
		if (key && !value)
			add_pair(key, word, text);
		key = NULL;
		if (!value || value == word)
			continue;
		*value++ = '\0';
		if (*value)
			add_pair(word, value, text);
		else
			key = word;
	}
}

static int file_status(const char *path, struct buf *text, struct buf *out)
{
	char content[FILE_MAX + 1];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t got;

	if (fd < 0)
		return fail(out, "open", "%s", path);
	while (len < FILE_MAX && (got = read(fd, content + len, FILE_MAX - len)) > 0)
		len += (size_t)got;
	if (got < 0) {
		int ret = fail(out, "read", "%s", path);

		close(fd);
		return ret;
	}
	close(fd);
	content[len] = '\0';
	add_pairs(content, text);
	return 0;
}

/* file-status PATH -> what it says as `key value` pairs */
int cmd_file_status(const struct cmd *cmd, struct buf *out)
{
	return file_status(cmd->argv[1], out, out);
}

/* file-wait PATH TIMEOUT_MS COND... */
int cmd_file_wait(const struct cmd *cmd, struct buf *out)
{
	return wait_for(cmd, file_status, out);
}
