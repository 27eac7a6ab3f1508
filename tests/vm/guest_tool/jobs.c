// SPDX-License-Identifier: Apache-2.0
/* Commands in the background: the agent runs one at a time, and some are meant to hang. */
#define _GNU_SOURCE
#include "tool.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_BYTES 128
#define POLL_MS 2

static const char *path_of(const char *job, const char *what)
{
	static char paths[4][PATH_BYTES];
	static unsigned int turn;
	char *path = paths[turn++ % ARRAY_SIZE(paths)];

	snprintf(path, PATH_BYTES, "/tmp/job-%s.%s", job, what);
	return path;
}

static void put_number(const char *job, const char *what, int value)
{
	const char *half = path_of(job, "half");
	FILE *file = fopen(half, "w");

	if (!file)
		exit(complain(half));
	fprintf(file, "%d\n", value);
	fclose(file);
	/* A reader finds the whole number or no file. */
	if (rename(half, path_of(job, what)) < 0)
		exit(complain(half));
}

static int get_number(const char *job, const char *what, int *value)
{
	FILE *file = fopen(path_of(job, what), "r");
	int found;

	if (!file)
		return 0;
	found = fscanf(file, "%d", value);
	fclose(file);
	return found == 1;
}

/* The child leads a group of its own and survives this program. */
int cmd_bg(int argc, char **argv)
{
	int out;
	pid_t pid;

	unlink(path_of(argv[1], "status"));
	out = open(path_of(argv[1], "out"), O_CREAT | O_TRUNC | O_WRONLY, 0600);
	if (out < 0)
		return complain("open");
	pid = fork();
	if (pid < 0)
		return complain("fork");
	if (pid) {
		put_number(argv[1], "pid", (int)pid);
		return 0;
	}
	setsid();
	pid = fork();
	if (!pid) {
		dup2(out, 1);
		dup2(out, 2);
		setvbuf(stdout, NULL, _IOLBF, 0);
		exit(run_command(argc - 2, argv + 2));
	}
	close(1);
	close(2);
	{
		int status = 0;

		waitpid(pid, &status, 0);
		put_number(argv[1], "status",
			   WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	}
	_exit(0);
}

int cmd_join(int argc, char **argv)
{
	uint64_t end = now_ms() + number(argv[2]);
	char part[4096];
	int status, out;
	ssize_t got;

	(void)argc;
	while (!get_number(argv[1], "status", &status)) {
		if (now_ms() >= end)
			return STILL_RUNNING;
		pause_ms(POLL_MS);
	}
	out = open(path_of(argv[1], "out"), O_RDONLY);
	while (out >= 0 && (got = read(out, part, sizeof(part))) > 0)
		fwrite(part, 1, (size_t)got, stdout);
	return status;
}

int cmd_kill(int argc, char **argv)
{
	int pid;

	(void)argc;
	if (!get_number(argv[1], "pid", &pid))
		return 1;
	kill(-pid, SIGKILL);
	/* Whoever was to put it down is gone as well. */
	put_number(argv[1], "status", 128 + SIGKILL);
	return 0;
}
