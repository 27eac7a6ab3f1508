// SPDX-License-Identifier: Apache-2.0
/*
 * Prepared devices kept in memory, as their non-zero blocks: putting one back replaces mkfs before
 * every case, and gives every case the same device to the last bit.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define GROW_BLOCKS 1024

struct image {
	struct image *next;
	char *key;
	uint64_t len;
	uint64_t count;
	uint64_t cap;
	uint64_t *numbers; /* ascending */
	char *data; /* page-aligned for direct writes; block i belongs to numbers[i] */
};

static struct image *images;

static struct image *find_image(const char *key)
{
	struct image *im = images;

	while (im && strcmp(im->key, key))
		im = im->next;
	return im;
}

static void free_image(struct image *im)
{
	if (im->data)
		munmap(im->data, im->cap * BLOCK_BYTES);
	free(im->numbers);
	free(im->key);
	free(im);
}

static struct image *take_image(const char *key)
{
	for (struct image **at = &images; *at; at = &(*at)->next) {
		struct image *im = *at;

		if (strcmp(im->key, key))
			continue;
		*at = im->next;
		return im;
	}
	return NULL;
}

/* One of that name without blocks; what was known by it is gone, its memory is used again. */
static struct image *new_image(const char *key)
{
	struct image *im = take_image(key);

	if (!im) {
		im = calloc(1, sizeof(*im));
		if (im)
			im->key = strdup(key);
		if (!im || !im->key)
			fatal("out of memory");
	}
	im->count = 0;
	return im;
}

static void grow(struct image *im)
{
	uint64_t cap = im->cap + GROW_BLOCKS + im->cap / 2;
	void *data;

	if (im->data)
		data = mremap(im->data, im->cap * BLOCK_BYTES, cap * BLOCK_BYTES, MREMAP_MAYMOVE);
	else
		data = mmap(NULL, cap * BLOCK_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	im->numbers = realloc(im->numbers, cap * sizeof(*im->numbers));
	if (data == MAP_FAILED || !im->numbers)
		fatal("out of memory");
	im->data = data;
	im->cap = cap;
}

static void add_chunk(struct image *im, const char *chunk, uint64_t offset, size_t len)
{
	for (size_t at = 0; at < len; at += BLOCK_BYTES) {
		if (block_is_zero(chunk + at))
			continue;
		if (im->count == im->cap)
			grow(im);
		memcpy(im->data + im->count * BLOCK_BYTES, chunk + at, BLOCK_BYTES);
		im->numbers[im->count++] = (offset + at) / BLOCK_BYTES;
	}
}

static int read_image(struct image *im, int fd, const char *path, struct buf *out)
{
	for (uint64_t offset = 0; offset < im->len; offset += CHUNK_BYTES) {
		size_t part = im->len - offset < CHUNK_BYTES ? im->len - offset : CHUNK_BYTES;
		int ret = read_chunk(fd, path, chunk_buffer(), offset, part, out);

		if (ret)
			return ret;
		add_chunk(im, chunk_buffer(), offset, part);
	}
	return 0;
}

/* image-save KEY DEV LEN -> number of non-zero blocks kept */
int cmd_image_save(const struct cmd *cmd, struct buf *out)
{
	const char *path = cmd->argv[2];
	int fd = device_open(path, O_RDONLY, out);
	struct image *im;
	int ret;

	if (fd < 0)
		return fd;
	device_forget_cache(fd);
	im = new_image(cmd->argv[1]);
	ret = device_length(fd, path, cmd->argv[3], &im->len, out);
	if (!ret)
		ret = read_image(im, fd, path, out);
	close(fd);
	if (ret) {
		free_image(im);
		return ret;
	}
	im->next = images;
	images = im;
	buf_printf(out, "%llu", (unsigned long long)im->count);
	return 0;
}

int cmd_image_drop(const struct cmd *cmd, struct buf *out)
{
	struct image *im = take_image(cmd->argv[1]);

	if (!im)
		return fail_with(ENOENT, out, "image", cmd->argv[1]);
	free_image(im);
	return 0;
}

/* Write saved blocks [first, end) of the image, neighbours in one go. */
static int write_blocks(const struct image *im, uint64_t first, uint64_t end, int fd,
			const char *path, struct buf *out)
{
	while (first < end) {
		uint64_t run = 1;
		int ret;

		while (first + run < end && run < CHUNK_BYTES / BLOCK_BYTES &&
		       im->numbers[first + run] == im->numbers[first] + run)
			run++;
		ret = device_write(fd, path, im->data + first * BLOCK_BYTES,
				   im->numbers[first] * BLOCK_BYTES, run * BLOCK_BYTES, out);
		if (ret)
			return ret;
		first += run;
	}
	return 0;
}

static int restore_all(const struct image *im, int fd, const char *path, struct buf *out)
{
	int ret = device_zero(fd, path, 0, im->len, out);

	return ret ? ret : write_blocks(im, 0, im->count, fd, path, out);
}

/* A run of blocks that differ, gathered while the device is read from front to back. */
struct pending {
	uint64_t offset; /* of the device, of blocks that have to become zero */
	uint64_t len;
	uint64_t first; /* of the image, of blocks that have to be written */
	uint64_t end;
	uint64_t written;
};

static int flush_zero(struct pending *p, int fd, const char *path, struct buf *out)
{
	static const char zeros[CHUNK_BYTES] __attribute__((aligned(BLOCK_BYTES)));
	int ret = device_write(fd, path, zeros, p->offset, p->len, out);

	p->written += p->len / BLOCK_BYTES;
	p->len = 0;
	return ret;
}

static int flush_data(const struct image *im, struct pending *p, int fd, const char *path,
		      struct buf *out)
{
	int ret = write_blocks(im, p->first, p->end, fd, path, out);

	p->written += p->end - p->first;
	return ret;
}

/* Mend one chunk of the device; @at is the image's first block not before this chunk. */
static int mend_chunk(const struct image *im, uint64_t *at, const char *chunk, uint64_t offset,
		      size_t len, int fd, const char *path, struct pending *p, struct buf *out)
{
	int ret = 0;

	p->first = p->end = *at;
	for (size_t i = 0; !ret && i < len; i += BLOCK_BYTES) {
		uint64_t number = (offset + i) / BLOCK_BYTES;
		bool wanted = *at < im->count && im->numbers[*at] == number;
		const char *want = im->data + *at * BLOCK_BYTES;

		if (!wanted && !block_is_zero(chunk + i)) {
			if (!p->len)
				p->offset = offset + i;
			p->len += BLOCK_BYTES;
		} else if (p->len) {
			ret = flush_zero(p, fd, path, out);
		}
		if (!wanted)
			continue;
		if (!ret && memcmp(want, chunk + i, BLOCK_BYTES)) {
			p->end = *at + 1;
		} else if (!ret) {
			ret = flush_data(im, p, fd, path, out);
			p->first = p->end = *at + 1;
		}
		(*at)++;
	}
	if (!ret && p->len)
		ret = flush_zero(p, fd, path, out);
	return ret ? ret : flush_data(im, p, fd, path, out);
}

static int restore_diff(const struct image *im, int fd, const char *path, uint64_t *written,
			struct buf *out)
{
	struct pending p = { 0 };
	uint64_t at = 0;
	int ret = 0;

	for (uint64_t offset = 0; !ret && offset < im->len; offset += CHUNK_BYTES) {
		size_t part = im->len - offset < CHUNK_BYTES ? im->len - offset : CHUNK_BYTES;

		ret = read_chunk(fd, path, chunk_buffer(), offset, part, out);
		if (!ret)
			ret = mend_chunk(im, &at, chunk_buffer(), offset, part, fd, path, &p, out);
	}
	*written = p.written;
	return ret;
}

static int restore(const struct cmd *cmd, bool diff, struct buf *out)
{
	const struct image *im = find_image(cmd->argv[1]);
	const char *path = cmd->argv[2];
	uint64_t written;
	int fd, ret;

	if (!im)
		return fail_with(ENOENT, out, "image", cmd->argv[1]);
	fd = device_open(path, O_RDWR, out);
	if (fd < 0)
		return fd;
	device_forget_cache(fd);
	written = im->count;
	ret = diff ? restore_diff(im, fd, path, &written, out) : restore_all(im, fd, path, out);
	if (!ret && fsync(fd) < 0)
		ret = fail(out, "fsync", "%s", path);
	device_forget_cache(fd);
	close(fd);
	if (!ret)
		buf_printf(out, "%llu", (unsigned long long)written);
	return ret;
}

/* image-restore KEY DEV -> blocks written after the whole range was zeroed */
int cmd_image_restore(const struct cmd *cmd, struct buf *out)
{
	return restore(cmd, false, out);
}

/* image-restore-diff KEY DEV -> blocks written because they differed */
int cmd_image_restore_diff(const struct cmd *cmd, struct buf *out)
{
	return restore(cmd, true, out);
}
