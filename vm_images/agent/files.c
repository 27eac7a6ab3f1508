// SPDX-License-Identifier: Apache-2.0
/* Files from the host, such as a module that was built after the guest had booted, and back. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_MAX (1UL << 20)

/* file-read PATH: its first MiB; the length that a file of the kernel's claims to have is not its */
int cmd_file_read(const struct cmd *cmd, struct buf *out)
{
	int fd = open(cmd->argv[1], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t before = out->len;
	char part[4096];
	ssize_t got = 1;

	if (fd < 0)
		return fail(out, "open", "%s", cmd->argv[1]);
	while (out->len - before < READ_MAX && (got = read(fd, part, sizeof(part))) > 0)
		buf_add(out, part, (size_t)got);
	close(fd);
	if (got < 0) {
		out->len = before;
		return fail(out, "read", "%s", cmd->argv[1]);
	}
	return 0;
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decode @hex in place: the number of bytes, or -1. A module is long: this is no place for sscanf. */
static ssize_t decode(char *hex)
{
	size_t len = 0;

	for (; hex[2 * len]; len++) {
		int high = nibble(hex[2 * len]);
		int low = high < 0 ? -1 : nibble(hex[2 * len + 1]);

		if (low < 0)
			return -1;
		hex[len] = (char)(high << 4 | low);
	}
	return (ssize_t)len;
}

/* Open a file to be written, with the folders that lead to it. */
static int open_file(char *path, int how, struct buf *out)
{
	char *slash = strrchr(path, '/');
	int fd;

	if (slash && slash != path) {
		*slash = '\0';
		make_dirs(path);
		*slash = '/';
	}
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | how, 0755);
	return fd < 0 ? fail(out, "open", "%s", path) : fd;
}

static int write_all(int fd, const char *data, size_t left, const char *path, struct buf *out)
{
	while (left) {
		ssize_t done = write(fd, data, left);

		if (done < 0)
			return fail(out, "write", "%s", path);
		data += done;
		left -= (size_t)done;
	}
	return 0;
}

static int put(const struct cmd *cmd, int how, struct buf *out)
{
	char *path = cmd->argv[1];
	char *data = cmd->argv[2];
	ssize_t len = decode(data);
	int fd, ret;

	if (len < 0)
		return fail_with(EINVAL, out, "content", "is not hexadecimal");
	fd = open_file(path, how, out);
	if (fd < 0)
		return fd;
	ret = write_all(fd, data, (size_t)len, path, out);
	if (close(fd) < 0 && !ret)
		ret = fail(out, "close", "%s", path);
	return ret;
}

/* file-put PATH HEX: what was in the file is gone */
int cmd_file_put(const struct cmd *cmd, struct buf *out)
{
	return put(cmd, O_TRUNC, out);
}

/* file-append PATH HEX */
int cmd_file_append(const struct cmd *cmd, struct buf *out)
{
	return put(cmd, O_APPEND, out);
}

/* install PATH: this program, for others to call */
int cmd_install(const struct cmd *cmd, struct buf *out)
{
	static const char self[] = "/proc/self/exe";
	int from = open(self, O_RDONLY | O_CLOEXEC), fd, ret = 0;
	char part[65536];
	ssize_t got = 0;

	if (from < 0)
		return fail(out, "open", "%s", self);
	fd = open_file(cmd->argv[1], O_TRUNC, out);
	if (fd < 0) {
		close(from);
		return fd;
	}
	while (!ret && (got = read(from, part, sizeof(part))) > 0)
		ret = write_all(fd, part, (size_t)got, cmd->argv[1], out);
	if (got < 0)
		ret = fail(out, "read", "%s", self);
	close(from);
	close(fd);
	return ret;
}
