// SPDX-License-Identifier: Apache-2.0
/* One run of a workload: its working directory and its handles, one per name. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HANDLES_MAX 256

struct handle {
	char *name; /* NULL: a handle whose name was opened again */
	int fd;
};

static struct {
	bool active;
	bool keep_going;
	struct handle handles[HANDLES_MAX];
	int count;
} run;

bool run_active(void)
{
	return run.active;
}

bool run_keeps_going(void)
{
	return run.active && run.keep_going;
}

int cmd_begin(const struct cmd *cmd, struct buf *out)
{
	bool keep_going = cmd->argc == 3;

	if (run.active)
		return fail_with(EBUSY, out, "begin", "a run is active already");
	if (keep_going && strcmp(cmd->argv[2], "keep-going"))
		return fail_with(EINVAL, out, "begin", cmd->argv[2]);
	if (chdir(cmd->argv[1]) < 0)
		return fail(out, "chdir", "%s", cmd->argv[1]);
	run.active = true;
	run.keep_going = keep_going;
	return 0;
}

/* Close every handle; with @out, the first close that fails is the result. */
int run_close(struct buf *out)
{
	int ret = 0;

	for (int i = 0; i < run.count; i++) {
		struct handle *h = &run.handles[i];

		if (close(h->fd) < 0 && out && !ret)
			ret = fail(out, "close", "%s", h->name ? h->name : "(opened again)");
		free(h->name);
	}
	run.count = 0;
	if (run.active && chdir("/") < 0)
		fatal("chdir /");
	run.active = false;
	return ret;
}

int cmd_end(const struct cmd *cmd, struct buf *out)
{
	(void)cmd;
	if (!run.active)
		return fail_with(EINVAL, out, "end", "no run is active");
	return run_close(out);
}

static struct handle *find(const char *name)
{
	for (int i = 0; i < run.count; i++)
		if (run.handles[i].name && !strcmp(run.handles[i].name, name))
			return &run.handles[i];
	return NULL;
}

int handle_find(const char *name)
{
	const struct handle *h = find(name);

	return h ? h->fd : -1;
}

/* Close the handle: close(2)'s result and errno, EBADF if there is none. */
int handle_close(const char *name)
{
	struct handle *h = find(name);
	int fd;

	if (!h) {
		errno = EBADF;
		return -1;
	}
	fd = h->fd;
	free(h->name);
	*h = run.handles[--run.count];
	return close(fd);
}

/*
 * A name opened again: its old handle stays open until the end of the run, as the generator means
 * it (creat of an open file unlinks it first, and so leaves an orphan inode behind).
 */
int handle_add(const char *name, int fd, struct buf *out)
{
	struct handle *old = find(name);

	if (run.count == HANDLES_MAX) {
		close(fd);
		return fail_with(EMFILE, out, "open", name);
	}
	if (old) {
		free(old->name);
		old->name = NULL;
	}
	run.handles[run.count].name = strdup(name);
	run.handles[run.count].fd = fd;
	if (!run.handles[run.count++].name)
		fatal("out of memory");
	return 0;
}
