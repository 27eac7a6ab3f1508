// SPDX-License-Identifier: Apache-2.0
/*
 * The steps of a workload, by system call. Paths are relative to the mount point, which is the
 * working directory while a run is active. What a step writes is the record stream of its line, so
 * that recovered bytes tell which write they come from.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

/* The record stream counts bytes in twelve digits. */
#define OFFSET_MAX 900000000000LL
#define LENGTH_MAX (64LL << 20)
#define XATTR_NAME "user.xattr1"
#define XATTR_VALUE "val1"

struct step {
	unsigned int line;
	const char *verb;
	char **args;
	int argc;
	struct buf *out;
};

struct flag {
	const char *name;
	int value;
};

static const struct flag open_flags[] = {
	{ "O_RDONLY", O_RDONLY }, { "O_WRONLY", O_WRONLY },	{ "O_RDWR", O_RDWR },
	{ "O_CREAT", O_CREAT },	  { "O_EXCL", O_EXCL },		{ "O_TRUNC", O_TRUNC },
	{ "O_APPEND", O_APPEND }, { "O_DIRECT", O_DIRECT },	{ "O_SYNC", O_SYNC },
	{ "O_DSYNC", O_DSYNC },	  { "O_DIRECTORY", O_DIRECTORY }, { "O_NOFOLLOW", O_NOFOLLOW },
};

static const struct flag falloc_flags[] = {
	{ "0", 0 },
	{ "FALLOC_FL_KEEP_SIZE", FALLOC_FL_KEEP_SIZE },
	{ "FALLOC_FL_PUNCH_HOLE", FALLOC_FL_PUNCH_HOLE },
	{ "FALLOC_FL_ZERO_RANGE", FALLOC_FL_ZERO_RANGE },
	{ "FALLOC_FL_COLLAPSE_RANGE", FALLOC_FL_COLLAPSE_RANGE },
	{ "FALLOC_FL_INSERT_RANGE", FALLOC_FL_INSERT_RANGE },
	{ "FALLOC_FL_UNSHARE_RANGE", FALLOC_FL_UNSHARE_RANGE },
};

/* File descriptor of the step's first argument, or -errno with the failure reported. */
static int handle_of(const struct step *s)
{
	int fd = handle_find(s->args[0]);

	return fd < 0 ? fail_with(EBADF, s->out, "handle", s->args[0]) : fd;
}

static int parse_flags(const struct flag *known, size_t count, const char *text)
{
	char *copy = strdup(text), *rest = copy, *word;
	int value = 0;

	if (!copy)
		fatal("out of memory");
	while (value >= 0 && (word = strsep(&rest, "|"))) {
		size_t i = 0;

		while (i < count && strcmp(known[i].name, word))
			i++;
		value = i < count ? value | known[i].value : -1;
	}
	free(copy);
	return value;
}

static int bad_argument(const struct step *s, const char *text)
{
	return fail_with(EINVAL, s->out, s->verb, text);
}

static bool parse_mode(const char *text, mode_t *mode)
{
	char *end;

	*mode = (mode_t)strtoul(text, &end, 8);
	return *text && !*end && *mode <= 07777;
}

/* Offsets may be negative in original workloads: the system call has to refuse them, not we. */
static bool parse_off(const char *text, off_t *value)
{
	char *end;

	errno = 0;
	*value = strtoll(text, &end, 10);
	return *text && !errno && !*end;
}

static int parse_range(const struct step *s, int first, off_t *offset, off_t *len)
{
	if (!parse_off(s->args[first], offset) || *offset > OFFSET_MAX)
		return bad_argument(s, s->args[first]);
	if (!parse_off(s->args[first + 1], len) || *len < 0 || *len > LENGTH_MAX)
		return bad_argument(s, s->args[first + 1]);
	return 0;
}

/* What the step stores, page-aligned. A negative offset has no bytes: the write will be refused. */
static void *step_data(const struct step *s, off_t offset, off_t len)
{
	void *data = aligned_alloc(BLOCK_BYTES, ((size_t)len / BLOCK_BYTES + 1) * BLOCK_BYTES);

	if (!data)
		fatal("out of memory");
	if (offset >= 0)
		pattern_fill(data, s->line, (uint64_t)offset, (size_t)len);
	return data;
}

static int step_result(const struct step *s, int ret, const char *call)
{
	return ret < 0 ? fail(s->out, call, "%s", s->args[0]) : 0;
}

static int step_open(const struct step *s)
{
	int flags = parse_flags(open_flags, ARRAY_SIZE(open_flags), s->args[1]);
	mode_t mode;
	int fd;

	if (flags < 0)
		return bad_argument(s, s->args[1]);
	if (!parse_mode(s->args[2], &mode))
		return bad_argument(s, s->args[2]);
	fd = open(s->args[0], flags | O_CLOEXEC, mode);
	return fd < 0 ? step_result(s, fd, "open") : handle_add(s->args[0], fd, s->out);
}

static int step_opendir(const struct step *s)
{
	int fd = open(s->args[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? step_result(s, fd, "open") : handle_add(s->args[0], fd, s->out);
}

static int step_close(const struct step *s)
{
	return step_result(s, handle_close(s->args[0]), "close");
}

static int step_mkdir(const struct step *s)
{
	mode_t mode;

	if (!parse_mode(s->args[1], &mode))
		return bad_argument(s, s->args[1]);
	return step_result(s, mkdir(s->args[0], mode), "mkdir");
}

static int step_rmdir(const struct step *s)
{
	return step_result(s, rmdir(s->args[0]), "rmdir");
}

/* A character device 1:3: opening it blocks nobody, and its number is worth checking. */
static int step_mknod(const struct step *s)
{
	mode_t mode;

	if (!parse_mode(s->args[1], &mode))
		return bad_argument(s, s->args[1]);
	return step_result(s, mknod(s->args[0], S_IFCHR | mode, makedev(1, 3)), "mknod");
}

static int step_symlink(const struct step *s)
{
	if (symlink(s->args[0], s->args[1]) < 0)
		return fail(s->out, "symlink", "%s", s->args[1]);
	return 0;
}

static int step_link(const struct step *s)
{
	return step_result(s, link(s->args[0], s->args[1]), "link");
}

static int step_rename(const struct step *s)
{
	return step_result(s, rename(s->args[0], s->args[1]), "rename");
}

static int step_unlink(const struct step *s)
{
	return step_result(s, unlink(s->args[0]), "unlink");
}

static int step_remove(const struct step *s)
{
	return step_result(s, remove(s->args[0]), "remove");
}

static int step_truncate(const struct step *s)
{
	off_t size;

	if (!parse_off(s->args[1], &size))
		return bad_argument(s, s->args[1]);
	return step_result(s, truncate(s->args[0], size), "truncate");
}

static int step_falloc(const struct step *s)
{
	int mode = parse_flags(falloc_flags, ARRAY_SIZE(falloc_flags), s->args[1]);
	int fd = handle_of(s);
	off_t offset, len;

	if (mode < 0)
		return bad_argument(s, s->args[1]);
	if (fd < 0)
		return fd;
	if (parse_range(s, 2, &offset, &len))
		return -EINVAL;
	return step_result(s, fallocate(fd, mode, offset, len), "fallocate");
}

static int write_all(const struct step *s, int fd, const char *data, off_t offset, off_t len)
{
	while (len > 0) {
		ssize_t done = pwrite(fd, data, (size_t)len, offset);

		if (done < 0)
			return step_result(s, -1, "pwrite");
		data += done;
		offset += done;
		len -= done;
	}
	return 0;
}

static int step_write(const struct step *s)
{
	int fd = handle_of(s);
	off_t offset, len;
	char *data;
	int ret;

	if (fd < 0)
		return fd;
	if (parse_range(s, 1, &offset, &len))
		return -EINVAL;
	data = step_data(s, offset, len);
	ret = write_all(s, fd, data, offset, len);
	free(data);
	return ret;
}

/* Close the handle, then one direct, synchronous write of the whole range through a new one. */
static int step_dwrite(const struct step *s)
{
	off_t offset, len;
	void *data;
	ssize_t done;
	int fd, ret;

	if (parse_range(s, 1, &offset, &len))
		return -EINVAL;
	if (handle_find(s->args[0]) >= 0 && handle_close(s->args[0]) < 0)
		return step_result(s, -1, "close");
	fd = open(s->args[0], O_RDWR | O_DIRECT | O_SYNC | O_CLOEXEC);
	if (fd < 0)
		return step_result(s, fd, "open");
	data = step_data(s, offset, len);
	done = pwrite(fd, data, (size_t)len, offset);
	if (done >= 0 && done < len) {
		errno = EIO;
		done = -1;
	}
	ret = step_result(s, (int)(done < 0 ? -1 : 0), "pwrite");
	free(data);
	if (close(fd) < 0 && !ret)
		ret = step_result(s, -1, "close");
	return ret;
}

static sigjmp_buf store_failed;

static void on_sigbus(int sig)
{
	(void)sig;
	siglongjmp(store_failed, 1);
}

/* Store into a mapping; no space or a disk error arrives as SIGBUS. */
static int mapped_store(const struct step *s, char *map, off_t offset, off_t len)
{
	struct sigaction old, act = { .sa_handler = on_sigbus };
	int ret = 0;

	sigaction(SIGBUS, &act, &old);
	if (!sigsetjmp(store_failed, 1)) {
		pattern_fill(map + offset, s->line, (uint64_t)offset, (size_t)len);
	} else {
		errno = EIO;
		ret = step_result(s, -1, "mapped store");
	}
	sigaction(SIGBUS, &old, NULL);
	return ret;
}

/* All of what was stored is synced: the original synced the first 8192 bytes only. */
static int step_mmapwrite(const struct step *s)
{
	int fd = handle_of(s);
	off_t offset, len, page;
	char *map;
	int ret;

	if (fd < 0)
		return fd;
	if (parse_range(s, 1, &offset, &len))
		return -EINVAL;
	if (fallocate(fd, 0, offset, len) < 0)
		return step_result(s, -1, "fallocate");
	map = mmap(NULL, (size_t)(offset + len), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return step_result(s, -1, "mmap");
	ret = mapped_store(s, map, offset, len);
	page = offset & ~(off_t)(BLOCK_BYTES - 1);
	if (!ret)
		ret = step_result(s, msync(map + page, (size_t)(offset + len - page), MS_SYNC),
				  "msync");
	if (munmap(map, (size_t)(offset + len)) < 0 && !ret)
		ret = step_result(s, -1, "munmap");
	return ret;
}

static int step_fsetxattr(const struct step *s)
{
	int fd = handle_of(s);

	if (fd < 0)
		return fd;
	return step_result(s, fsetxattr(fd, XATTR_NAME, XATTR_VALUE, strlen(XATTR_VALUE), 0),
			   "fsetxattr");
}

static int step_removexattr(const struct step *s)
{
	return step_result(s, removexattr(s->args[0], XATTR_NAME), "removexattr");
}

static int step_fsync(const struct step *s)
{
	int fd = handle_of(s);

	return fd < 0 ? fd : step_result(s, fsync(fd), "fsync");
}

static int step_fdatasync(const struct step *s)
{
	int fd = handle_of(s);

	return fd < 0 ? fd : step_result(s, fdatasync(fd), "fdatasync");
}

static int step_sync(const struct step *s)
{
	(void)s;
	sync();
	return 0;
}

static int step_none(const struct step *s)
{
	(void)s;
	return 0;
}

static const struct {
	const char *verb;
	int args;
	int (*run)(const struct step *s);
} verbs[] = {
	{ "open", 3, step_open },
	{ "opendir", 2, step_opendir },
	{ "close", 1, step_close },
	{ "mkdir", 2, step_mkdir },
	{ "rmdir", 1, step_rmdir },
	{ "mknod", 2, step_mknod },
	{ "symlink", 2, step_symlink },
	{ "link", 2, step_link },
	{ "unlink", 1, step_unlink },
	{ "remove", 1, step_remove },
	{ "rename", 2, step_rename },
	{ "falloc", 4, step_falloc },
	{ "write", 3, step_write },
	{ "dwrite", 3, step_dwrite },
	{ "mmapwrite", 3, step_mmapwrite },
	{ "truncate", 2, step_truncate },
	{ "fsetxattr", 1, step_fsetxattr },
	{ "removexattr", 1, step_removexattr },
	{ "fsync", 1, step_fsync },
	{ "fdatasync", 1, step_fdatasync },
	{ "sync", 0, step_sync },
	{ "none", 0, step_none },
};

int cmd_step(const struct cmd *cmd, struct buf *out)
{
	struct step s = {
		.verb = cmd->argv[2],
		.args = cmd->argv + 3,
		.argc = cmd->argc - 3,
		.out = out,
	};
	uint64_t line;

	if (!run_active())
		return fail_with(EINVAL, out, "step", "no run is active");
	if (!parse_u64(cmd->argv[1], &line) || !line || line > 9999)
		return fail_with(EINVAL, out, "step", cmd->argv[1]);
	s.line = (unsigned int)line;
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(verbs[i].verb, s.verb))
			continue;
		if (s.argc != verbs[i].args)
			return bad_argument(&s, "wrong number of arguments");
		return verbs[i].run(&s);
	}
	return fail_with(ENOSYS, out, "step", s.verb);
}
