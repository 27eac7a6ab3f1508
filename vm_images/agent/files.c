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

static int put(const struct cmd *cmd, int how, struct buf *out)
{
	const char *path = cmd->argv[1];
	char *data = cmd->argv[2];
	ssize_t left = decode(data);
	int fd, ret = 0;

	if (left < 0)
		return fail_with(EINVAL, out, "content", "is not hexadecimal");
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | how, 0755);
	if (fd < 0)
		return fail(out, "open", "%s", path);
	while (left > 0 && !ret) {
		ssize_t done = write(fd, data, (size_t)left);

		if (done < 0)
			ret = fail(out, "write", "%s", path);
		data += done;
		left -= done;
	}
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
