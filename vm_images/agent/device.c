// SPDX-License-Identifier: Apache-2.0
/* Block devices read and written past the page cache: digests, single blocks, zeroing. */
#define _GNU_SOURCE
#include "agent.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIGEST_BYTES 16
#define BLOCKMAP_HASH_BYTES 8
#define HUGE_PAGE_BYTES (2UL << 20)

/* Most blocks of a small file system are zero: tell so with plain 64-bit loads, out at the first. */
bool block_is_zero(const void *block)
{
	const uint64_t *p = block;

	for (size_t i = 0; i < BLOCK_BYTES / sizeof(*p); i += 8)
		if (p[i] | p[i + 1] | p[i + 2] | p[i + 3] | p[i + 4] | p[i + 5] | p[i + 6] |
		    p[i + 7])
			return false;
	return true;
}

/*
 * One megabyte, shared by all commands: only one runs at a time. In one huge page if there is one:
 * then a direct read of all of it has one segment, not one per page.
 */
void *chunk_buffer(void)
{
	static void *chunk;

	if (!chunk) {
		if (posix_memalign(&chunk, HUGE_PAGE_BYTES, HUGE_PAGE_BYTES))
			fatal("out of memory");
		madvise(chunk, HUGE_PAGE_BYTES, MADV_HUGEPAGE);
	}
	return chunk;
}

/* Open past the page cache where the object allows it (a plain file on tmpfs does not). */
int device_open(const char *path, int flags, struct buf *out)
{
	int fd = open(path, flags | O_DIRECT | O_CLOEXEC);

	if (fd < 0 && errno == EINVAL)
		fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? fail(out, "open", "%s", path) : fd;
}

/* Drop what the kernel has cached of the device: others read it buffered. Plain files refuse. */
void device_forget_cache(int fd)
{
	if (ioctl(fd, BLKFLSBUF, 0) < 0)
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

/* The length a command names in bytes; 0 stands for the whole device. */
int device_length(int fd, const char *path, const char *text, uint64_t *len, struct buf *out)
{
	struct stat st;

	if (!parse_u64(text, len) || *len % BLOCK_BYTES)
		return fail_with(EINVAL, out, "length", text);
	if (*len)
		return 0;
	if (fstat(fd, &st) < 0)
		return fail(out, "fstat", "%s", path);
	*len = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, len) < 0)
		return fail(out, "ioctl(BLKGETSIZE64)", "%s", path);
	*len -= *len % BLOCK_BYTES;
	return 0;
}

int read_chunk(int fd, const char *path, void *dst, uint64_t offset, size_t len, struct buf *out)
{
	while (len) {
		ssize_t got = pread(fd, dst, len, (off_t)offset);

		if (!got)
			errno = ENODATA;
		if (got <= 0)
			return fail(out, "pread", "%s at %llu", path, (unsigned long long)offset);
		dst = (char *)dst + got;
		offset += (uint64_t)got;
		len -= (size_t)got;
	}
	return 0;
}

int device_write(int fd, const char *path, const char *data, uint64_t offset, uint64_t len,
		 struct buf *out)
{
	while (len) {
		size_t part = len < CHUNK_BYTES ? len : CHUNK_BYTES;
		ssize_t done = pwrite(fd, data, part, (off_t)offset);

		if (done <= 0)
			return fail(out, "pwrite", "%s at %llu", path, (unsigned long long)offset);
		data += done;
		offset += (uint64_t)done;
		len -= (uint64_t)done;
	}
	return 0;
}

int device_zero(int fd, const char *path, uint64_t offset, uint64_t len, struct buf *out)
{
	uint64_t range[2] = { offset, len };
	void *zeros = chunk_buffer();

	if (!len || !ioctl(fd, BLKZEROOUT, range))
		return 0;
	if (errno != ENOTTY && errno != EOPNOTSUPP && errno != EINVAL)
		return fail(out, "ioctl(BLKZEROOUT)", "%s", path);
	memset(zeros, 0, CHUNK_BYTES);
	while (len) {
		uint64_t part = len < CHUNK_BYTES ? len : CHUNK_BYTES;
		int ret = device_write(fd, path, zeros, offset, part, out);

		if (ret)
			return ret;
		offset += part;
		len -= part;
	}
	return 0;
}

/* Call @visit for every non-zero block of the first @len bytes. */
static int each_block(int fd, const char *path, uint64_t len,
		      void (*visit)(void *arg, uint64_t number, const void *block), void *arg,
		      struct buf *out)
{
	char *chunk = chunk_buffer();

	for (uint64_t offset = 0; offset < len; offset += CHUNK_BYTES) {
		size_t part = len - offset < CHUNK_BYTES ? len - offset : CHUNK_BYTES;
		int ret = read_chunk(fd, path, chunk, offset, part, out);

		if (ret)
			return ret;
		for (size_t at = 0; at < part; at += BLOCK_BYTES)
			if (!block_is_zero(chunk + at))
				visit(arg, (offset + at) / BLOCK_BYTES, chunk + at);
	}
	return 0;
}

/* What digest, blockmap and image-save have in common: open, take the length, visit, close. */
static int visit_device(const char *path, const char *length,
			void (*visit)(void *arg, uint64_t number, const void *block), void *arg,
			struct buf *out)
{
	int fd = device_open(path, O_RDONLY, out);
	uint64_t len;
	int ret;

	if (fd < 0)
		return fd;
	device_forget_cache(fd);
	ret = device_length(fd, path, length, &len, out);
	if (!ret)
		ret = each_block(fd, path, len, visit, arg, out);
	close(fd);
	return ret;
}

struct digest {
	struct blake2b hash;
	uint64_t blocks;
};

static void add_to_digest(void *arg, uint64_t number, const void *block)
{
	struct digest *d = arg;
	uint64_t le_number = htole64(number);

	blake2b_update(&d->hash, &le_number, sizeof(le_number));
	blake2b_update(&d->hash, block, BLOCK_BYTES);
	d->blocks++;
}

/* digest DEV LEN -> "DIGEST BLOCKS" */
int cmd_digest(const struct cmd *cmd, struct buf *out)
{
	struct digest d = { .blocks = 0 };
	int ret;

	blake2b_init(&d.hash, DIGEST_BYTES);
	ret = visit_device(cmd->argv[1], cmd->argv[2], add_to_digest, &d, out);
	if (ret)
		return ret;
	blake2b_hex(&d.hash, out);
	buf_printf(out, " %llu", (unsigned long long)d.blocks);
	return 0;
}

static void add_to_map(void *arg, uint64_t number, const void *block)
{
	struct buf *map = arg;
	struct blake2b hash;

	blake2b_init(&hash, BLOCKMAP_HASH_BYTES);
	blake2b_update(&hash, block, BLOCK_BYTES);
	buf_printf(map, "%llu ", (unsigned long long)number);
	blake2b_hex(&hash, map);
	buf_add(map, "\n", 1);
}

/* blockmap DEV LEN -> one line "NUMBER HASH" per non-zero block */
int cmd_blockmap(const struct cmd *cmd, struct buf *out)
{
	struct buf map = { 0 };
	int ret = visit_device(cmd->argv[1], cmd->argv[2], add_to_map, &map, out);

	if (!ret)
		buf_add(out, map.data, map.len);
	buf_free(&map);
	return ret;
}

/* readblock DEV NUMBER -> its 4096 bytes */
int cmd_readblock(const struct cmd *cmd, struct buf *out)
{
	const char *path = cmd->argv[1];
	uint64_t number;
	int fd, ret;

	if (!parse_u64(cmd->argv[2], &number) || number > INT64_MAX / BLOCK_BYTES)
		return fail_with(EINVAL, out, "readblock", cmd->argv[2]);
	fd = device_open(path, O_RDONLY, out);
	if (fd < 0)
		return fd;
	device_forget_cache(fd);
	ret = read_chunk(fd, path, chunk_buffer(), number * BLOCK_BYTES, BLOCK_BYTES, out);
	if (!ret)
		buf_add(out, chunk_buffer(), BLOCK_BYTES);
	close(fd);
	return ret;
}

/* zero DEV LEN */
int cmd_zero(const struct cmd *cmd, struct buf *out)
{
	const char *path = cmd->argv[1];
	int fd = device_open(path, O_RDWR, out);
	uint64_t len;
	int ret;

	if (fd < 0)
		return fd;
	ret = device_length(fd, path, cmd->argv[2], &len, out);
	if (!ret)
		ret = device_zero(fd, path, 0, len, out);
	if (!ret && fsync(fd) < 0)
		ret = fail(out, "fsync", "%s", path);
	device_forget_cache(fd);
	close(fd);
	return ret;
}

/* flush DEV */
int cmd_flush(const struct cmd *cmd, struct buf *out)
{
	const char *path = cmd->argv[1];
	int fd = device_open(path, O_RDWR, out);
	int ret = 0;

	if (fd < 0)
		return fd;
	if (fsync(fd) < 0)
		ret = fail(out, "fsync", "%s", path);
	close(fd);
	return ret;
}
