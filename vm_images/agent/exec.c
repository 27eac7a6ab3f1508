// SPDX-License-Identifier: Apache-2.0
/* Run one program with a time limit. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX 65536
#define LOOK_US 10000

extern char **environ;

/* Start argv with its output in a pipe, as leader of its own process group. */
static int start(char **argv, pid_t *pid, int *from, struct buf *out)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t defaults;
	int fds[2], error;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return fail(out, "pipe2", "%s", argv[0]);
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, fds[1], 1);
	posix_spawn_file_actions_adddup2(&files, fds[1], 2);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigdefault(&attr, &defaults);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
	error = posix_spawnp(pid, argv[0], &files, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	close(fds[1]);
	if (error) {
		close(fds[0]);
		return fail_with(error, out, "posix_spawn", argv[0]);
	}
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	*from = fds[0];
	return 0;
}

/* Read what there is; beyond the limit it is thrown away, so that the program never blocks. */
bool take_output(int from, struct buf *out)
{
	char part[4096];
	ssize_t got;

	while ((got = read(from, part, sizeof(part))) > 0) {
		size_t room = out->len < OUTPUT_MAX ? OUTPUT_MAX - out->len : 0;

		buf_add(out, part, (size_t)got < room ? (size_t)got : room);
	}
	return got < 0 && (errno == EAGAIN || errno == EINTR);
}

/*
 * Collect output until the program ends; false if it did not by @end. Looked at now and then only,
 * or each line it prints would cost two switches to another address space.
 */
static bool watch(int from, int pidfd, uint64_t end, struct buf *out)
{
	/* A child left in the background may keep the pipe open: only the exit counts. */
	struct pollfd exited = { .fd = pidfd, .events = POLLIN };
	bool more = true;
	uint64_t now;

	while ((now = now_us()) < end) {
		uint64_t wait_us = more && end - now > LOOK_US ? LOOK_US : end - now;

		if (poll(&exited, 1, (int)(wait_us / 1000) + 1) < 0 && errno != EINTR)
			fatal("poll");
		if (exited.revents)
			return true;
		if (more)
			more = take_output(from, out);
	}
	return false;
}

/* exec TIMEOUT_MS PROGRAM ARG... -> its output; status is its exit status, 128+n after signal n */
int cmd_exec(const struct cmd *cmd, struct buf *out)
{
	uint64_t timeout_ms;
	int from, pidfd, status, ret;
	bool ended;
	pid_t pid;

	if (!parse_u64(cmd->argv[1], &timeout_ms) || timeout_ms > 86400000)
		return fail_with(EINVAL, out, "timeout", cmd->argv[1]);
	ret = start(cmd->argv + 2, &pid, &from, out);
	if (ret)
		return ret;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		fatal("pidfd_open");
	ended = watch(from, pidfd, now_us() + timeout_ms * 1000, out);
	if (!ended)
		kill(-pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	take_output(from, out);
	close(pidfd);
	close(from);
	if (!ended)
		return -ETIMEDOUT;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
