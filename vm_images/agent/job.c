// SPDX-License-Identifier: Apache-2.0
/*
 * A program in a root tree of its own which meets the host now and then: while it runs, whatever it
 * has started may call `harness-agent --tell SOCKET WORD...` and is held until the host has answered.
 * None of its processes outlives it.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JOB_MARK "HARNESS_JOB"
#define LINE_BYTES 4096
#define LINE_PATIENCE_MS 5000
#define SWEEPS 100

struct job {
	pid_t pid;
	int pidfd;
	int output;
	int listener;
	char mark[64]; /* in the environment of all that the job starts */
};

static int job_listen(char *path, struct buf *out)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char *slash = strrchr(path, '/');
	int fd, ret;

	if (!slash || slash == path || strlen(path) >= sizeof(address.sun_path))
		return fail_with(EINVAL, out, "socket", path);
	*slash = '\0';
	make_dirs(path);
	*slash = '/';
	unlink(path);
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fail(out, "socket", "%s", path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 8) == 0)
		return fd;
	ret = fail(out, "bind", "%s", path);
	close(fd);
	return ret;
}

/* Between fork and exec; an errno in @failure says what did not work. */
static void job_become(const char *root, char **argv, const char *mark, int output, int failure)
{
	int null = open("/dev/null", O_RDONLY);

	setpgid(0, 0);
	signal(SIGPIPE, SIG_DFL);
	umask(022);
	dup2(null, 0);
	dup2(output, 1);
	dup2(output, 2);
	/* Who stays where he is needs no right to go anywhere. */
	if ((!strcmp(root, "/") || chroot(root) == 0) && chdir("/") == 0) {
		setenv(JOB_MARK, mark, 1);
		execvp(argv[0], argv);
	}
	if (write(failure, &errno, sizeof(errno)) < 0)
		_exit(126);
	_exit(127);
}

static int job_start(struct job *job, const char *root, char **argv, struct buf *out)
{
	static unsigned int number;
	int output[2], failure[2], error = 0;
	ssize_t got;

	snprintf(job->mark, sizeof(job->mark), "%d.%u", getpid(), ++number);
	if (pipe2(output, O_CLOEXEC) < 0 || pipe2(failure, O_CLOEXEC) < 0)
		fatal("pipe2");
	job->pid = fork();
	if (job->pid < 0)
		fatal("fork");
	if (!job->pid)
		job_become(root, argv, job->mark, output[1], failure[1]);
	close(output[1]);
	close(failure[1]);
	got = read(failure[0], &error, sizeof(error));
	close(failure[0]);
	if (got == sizeof(error)) {
		waitpid(job->pid, NULL, 0);
		close(output[0]);
		return fail_with(error, out, "exec", argv[0]);
	}
	fcntl(output[0], F_SETFL, O_NONBLOCK);
	job->output = output[0];
	job->pidfd = (int)syscall(SYS_pidfd_open, job->pid, 0);
	if (job->pidfd < 0)
		fatal("pidfd_open");
	return 0;
}

/* One line without its newline; false if the other end says nothing sensible in time. */
static bool read_line(int fd, char *line)
{
	size_t len = 0;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t got;

		if (poll(&p, 1, LINE_PATIENCE_MS) <= 0 || len == LINE_BYTES - 1)
			return false;
		got = read(fd, line + len, LINE_BYTES - 1 - len);
		if (got <= 0)
			return false;
		len += (size_t)got;
		line[len] = '\0';
		if (strchr(line, '\n')) {
			*strchr(line, '\n') = '\0';
			return true;
		}
	}
}

/* Somebody wants to meet the host: false if the host has said stop. */
static bool job_meet(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	char line[LINE_BYTES];
	bool go = true;

	if (fd < 0)
		return true;
	if (read_line(fd, line)) {
		const char *answer;

		go = script_rendezvous(line);
		answer = go ? "go\n" : "stop\n";
		/* Who did not wait for it has ended, which is noticed elsewhere. */
		(void)!send(fd, answer, strlen(answer), MSG_NOSIGNAL);
	}
	close(fd);
	return go;
}

/* Until the program has ended: 0, or why it has to be ended. */
static int job_watch(const struct job *job, uint64_t end, struct buf *out)
{
	struct pollfd p[3] = { { .fd = job->pidfd, .events = POLLIN },
			       { .fd = job->output, .events = POLLIN },
			       { .fd = job->listener, .events = POLLIN } };

	for (;;) {
		uint64_t now = now_us();

		if (now >= end)
			return -ETIMEDOUT;
		if (poll(p, ARRAY_SIZE(p), (int)((end - now) / 1000) + 1) < 0 && errno != EINTR)
			fatal("poll");
		if (p[1].fd >= 0 && p[1].revents && !take_output(job->output, out))
			p[1].fd = -1;
		if (p[2].revents && !job_meet(job->listener))
			return -ECANCELED;
		if (p[0].revents)
			return 0;
	}
}

static bool has_mark(const char *pid, const char *mark)
{
	char path[64], *text = NULL;
	size_t size = 0;
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%.20s/environ", pid);
	file = fopen(path, "re");
	while (file && !found && getdelim(&text, &size, '\0', file) > 0)
		found = !strncmp(text, JOB_MARK "=", sizeof(JOB_MARK)) &&
			!strcmp(text + sizeof(JOB_MARK), mark);
	if (file)
		fclose(file);
	free(text);
	return found;
}

static int kill_marked(const char *mark)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	int found = 0;

	while (proc && (entry = readdir(proc)))
		if (isdigit((unsigned char)*entry->d_name) && has_mark(entry->d_name, mark)) {
			kill((pid_t)atol(entry->d_name), SIGKILL);
			found++;
		}
	if (proc)
		closedir(proc);
	return found;
}

/* A process that is being killed may have started another: until none is found. */
static void job_sweep(const struct job *job)
{
	const struct timespec pause = { 0, 10000000L };

	for (int i = 0; i < SWEEPS && kill_marked(job->mark); i++) {
		reap_orphans();
		nanosleep(&pause, NULL);
	}
}

/* job ROOT SOCKET TIMEOUT_MS PROGRAM ARG... -> as exec, in the root tree ROOT; SOCKET: to meet the host */
int cmd_job(const struct cmd *cmd, struct buf *out)
{
	struct job job = { 0 };
	uint64_t timeout_ms;
	int ret, status = 0;

	if (!parse_u64(cmd->argv[3], &timeout_ms) || timeout_ms > 86400000)
		return fail_with(EINVAL, out, "timeout", cmd->argv[3]);
	job.listener = job_listen(cmd->argv[2], out);
	if (job.listener < 0)
		return job.listener;
	ret = job_start(&job, cmd->argv[1], cmd->argv + 4, out);
	if (!ret) {
		ret = job_watch(&job, now_us() + timeout_ms * 1000, out);
		if (ret)
			kill(-job.pid, SIGKILL);
		/* Its end is not waited for by sweeping: the first process is our child. */
		while (waitpid(job.pid, &status, 0) < 0 && errno == EINTR)
			;
		job_sweep(&job);
		take_output(job.output, out);
		close(job.output);
		close(job.pidfd);
	}
	close(job.listener);
	unlink(cmd->argv[2]);
	if (ret)
		return ret;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* For `harness-agent --tell`: 0 if the host says to go on. */
int tell(const char *path, char **words)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct buf line = { 0 };
	char answer[LINE_BYTES];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ssize_t got;

	for (; *words; words++)
		buf_printf(&line, "%s%s", line.len ? " " : "", *words);
	buf_printf(&line, "\n");
	if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
		fatal("socket");
	strcpy(address.sun_path, path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    send(fd, line.data, line.len, MSG_NOSIGNAL) != (ssize_t)line.len) {
		perror(path);
		return 2;
	}
	/* However long it takes: the host has a guest to stop and another to look at. */
	got = read(fd, answer, sizeof(answer));
	return got >= 3 && !memcmp(answer, "go\n", 3) ? 0 : 1;
}
