// SPDX-License-Identifier: Apache-2.0
/*
 * Run a load stream against a block device, telling the host after every flush what is durable now
 * and going on only at its word; and read back what a device holds of load streams.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REQUESTS (STREAM_OPS + 1)
#define UNKNOWN 0 /* in load.last: nothing can be said of this block */

struct load {
	const char *path;
	int fd;
	aio_context_t aio;
	uint64_t stream;
	uint32_t blocks;
	uint32_t *last; /* batch that wrote each block last */
	bool *zeroed; /* whether that was a zeroing */
	char *data; /* of all ops of a batch */
	uint32_t durable; /* every batch up to here is */
};

/* What became of a batch. */
struct fate {
	int write_error; /* of any of its writes: each may or may not have happened */
	int flush_error;
	struct buf detail;
};

static void *aligned_memory(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			    0);

	if (memory == MAP_FAILED)
		fatal("out of memory");
	return memory;
}

static void note_error(int *kept, int error)
{
	if (!*kept)
		*kept = error;
}

/* Submit all of @requests and wait for each; their data is that of one buffer per op. */
static void run_requests(struct load *l, struct iocb **requests, int count, struct fate *fate)
{
	struct io_event events[REQUESTS];
	int sent = 0, ended = 0;

	while (ended < count) {
		long done = 0;

		if (sent < count)
			done = syscall(SYS_io_submit, l->aio, count - sent, requests + sent);
		if (done < 0 && errno != EAGAIN && errno != EINTR) {
			/* Refused as it was handed in, as an I/O error of that request. */
			note_error(requests[sent]->aio_lio_opcode == IOCB_CMD_FDSYNC ?
				   &fate->flush_error : &fate->write_error, errno);
			sent++;
			ended++;
			continue;
		}
		sent += done > 0 ? (int)done : 0;
		done = syscall(SYS_io_getevents, l->aio, sent > ended ? 1 : 0, sent - ended, events,
			       NULL);
		if (done < 0 && errno != EINTR)
			fatal("io_getevents");
		for (long i = 0; i < done; i++, ended++) {
			const struct iocb *r = (const void *)(uintptr_t)events[i].obj;
			bool flush = r->aio_lio_opcode == IOCB_CMD_FDSYNC;

			if (events[i].res < 0)
				note_error(flush ? &fate->flush_error : &fate->write_error,
					   (int)-events[i].res);
			else if (!flush && (uint64_t)events[i].res != r->aio_nbytes)
				note_error(&fate->write_error, EIO);
		}
	}
}

/* All writes of the batch at once, and where it has one, a flush among them. */
static void run_writes(struct load *l, uint32_t number, const struct stream_batch *b,
		       struct fate *fate)
{
	struct iocb requests[REQUESTS] = { 0 }, *list[REQUESTS];
	char *data = l->data;
	int count = 0;

	for (unsigned int i = 0; i < b->count; i++) {
		const struct stream_op *op = &b->ops[i];
		const struct version v = { l->stream, number, i };
		struct iocb *r = &requests[i];

		r->aio_lio_opcode = IOCB_CMD_PWRITE;
		r->aio_fildes = (uint32_t)l->fd;
		r->aio_buf = (uintptr_t)data;
		r->aio_nbytes = op->count * BLOCK_BYTES;
		r->aio_offset = (int64_t)(op->start * BLOCK_BYTES);
		r->aio_rw_flags = b->flush == FLUSH_EACH ? RWF_DSYNC : 0;
		for (uint32_t n = 0; n < op->count; n++, data += BLOCK_BYTES)
			version_fill(data, &v, op->start + n);
		if (b->flush == FLUSH_AMONG && i == b->count / 2) {
			requests[b->count].aio_lio_opcode = IOCB_CMD_FDSYNC;
			requests[b->count].aio_fildes = (uint32_t)l->fd;
			list[count++] = &requests[b->count];
		}
		list[count++] = r;
	}
	run_requests(l, list, count, fate);
}

static void run_zeroing(struct load *l, const struct stream_batch *b, struct fate *fate)
{
	uint64_t offset = b->ops[0].start * BLOCK_BYTES, len = b->ops[0].count * BLOCK_BYTES;
	uint64_t range[2] = { offset, len };
	unsigned long request = b->kind == BATCH_DISCARD ? BLKDISCARD : BLKZEROOUT;
	struct buf why = { 0 };

	/* A device without discards, or a plain file, is given zeros: to read as zeros is the point. */
	if (ioctl(l->fd, request, range) < 0) {
		int error = errno;

		if (error == EOPNOTSUPP || error == ENOTTY || error == EINVAL)
			error = -device_zero(l->fd, l->path, offset, len, &why);
		if (error)
			note_error(&fate->write_error, error);
	}
	buf_free(&why);
}

static void remember(struct load *l, uint32_t number, const struct stream_batch *b, bool certain)
{
	for (unsigned int i = 0; i < b->count; i++)
		for (uint32_t n = b->ops[i].start; n < b->ops[i].start + b->ops[i].count; n++) {
			l->last[n] = certain ? number : UNKNOWN;
			l->zeroed[n] = b->kind != BATCH_WRITE;
		}
}

/* Read a block that this stream wrote: nothing is under way, so only the last write can be there. */
static void verify(struct load *l, uint32_t number, struct fate *fate)
{
	struct buf why = { 0 };
	struct version v;
	char *block = l->data;

	if (l->last[number] == UNKNOWN)
		return;
	if (read_chunk(l->fd, l->path, block, number * BLOCK_BYTES, BLOCK_BYTES, &why)) {
		buf_printf(&fate->detail, "block %u, written in batch %u: %s", number,
			   l->last[number], why.data);
	} else if (l->zeroed[number] ? !block_is_zero(block) :
		   !version_read(block, number, &v) || v.stream != l->stream ||
		   v.batch != l->last[number]) {
		buf_printf(&fate->detail, "block %u, %s in batch %u, reads as ", number,
			   l->zeroed[number] ? "zeroed" : "written", l->last[number]);
		block_describe(block, &fate->detail);
	}
	buf_free(&why);
}

static void run_batch(struct load *l, uint32_t number, struct fate *fate)
{
	struct stream_batch b;

	stream_batch(l->stream, number, l->blocks, &b);
	if (b.kind == BATCH_WRITE)
		run_writes(l, number, &b, fate);
	else
		run_zeroing(l, &b, fate);
	remember(l, number, &b, !fate->write_error);
	if (b.flush == FLUSH_AFTER && fdatasync(l->fd) < 0)
		note_error(&fate->flush_error, errno);
	if (!fate->write_error && !fate->flush_error) {
		/* What a flush among the writes covers of its own batch is not known. */
		if (b.flush == FLUSH_AFTER || b.flush == FLUSH_EACH)
			l->durable = number;
		else if (b.flush == FLUSH_AMONG && l->durable < number - 1)
			l->durable = number - 1;
	}
	if (b.verify)
		verify(l, b.verify_block, fate);
}

/* Tell the host about a batch after which something is durable, or went wrong; false: to stop. */
static bool report(const struct load *l, uint32_t number, const struct fate *fate)
{
	const char *state = fate->detail.len ? "mismatch" : fate->write_error ? "failed" :
			    fate->flush_error ? "unflushed" : "ok";
	struct buf event = { 0 };
	struct stream_batch b;
	bool go = true;

	stream_batch(l->stream, number, l->blocks, &b);
	if (b.flush == FLUSH_NONE && !strcmp(state, "ok"))
		return true;
	buf_printf(&event, "load %u %u %s ", number, l->durable, state);
	if (fate->detail.len) {
		char *text = strndup(fate->detail.data, fate->detail.len);

		if (!text)
			fatal("out of memory");
		buf_add_encoded(&event, text);
		free(text);
	} else if (fate->write_error || fate->flush_error) {
		buf_add_encoded(&event, strerrorname_np(fate->write_error ? fate->write_error :
							fate->flush_error) ?: "unknown");
	} else {
		buf_add_encoded(&event, "");
	}
	buf_printf(&event, "\n");
	go = script_event(&event);
	buf_free(&event);
	return go;
}

static int load_open(struct load *l, struct buf *out)
{
	l->fd = device_open(l->path, O_RDWR, out);
	if (l->fd < 0)
		return l->fd;
	device_forget_cache(l->fd);
	if (syscall(SYS_io_setup, REQUESTS, &l->aio) < 0) {
		int ret = fail(out, "io_setup", "%s", l->path);

		close(l->fd);
		return ret;
	}
	l->last = calloc(l->blocks, sizeof(*l->last));
	l->zeroed = calloc(l->blocks, sizeof(*l->zeroed));
	if (!l->last || !l->zeroed)
		fatal("out of memory");
	l->data = aligned_memory(STREAM_OPS * STREAM_OP_BLOCKS * BLOCK_BYTES);
	return 0;
}

static void load_close(struct load *l)
{
	munmap(l->data, STREAM_OPS * STREAM_OP_BLOCKS * BLOCK_BYTES);
	free(l->last);
	free(l->zeroed);
	syscall(SYS_io_destroy, l->aio);
	close(l->fd);
}

/* load DEV BLOCKS STREAM MOST -> "BATCH DURABLE" when MOST batches ran or the host said stop */
int cmd_load(const struct cmd *cmd, struct buf *out)
{
	struct load l = { .path = cmd->argv[1] };
	uint64_t blocks, most;
	uint32_t number = 0;
	bool go = true;
	int ret;

	if (!parse_u64(cmd->argv[2], &blocks) || !blocks || blocks > 1 << 24)
		return fail_with(EINVAL, out, "blocks", cmd->argv[2]);
	if (!parse_u64(cmd->argv[3], &l.stream))
		return fail_with(EINVAL, out, "stream", cmd->argv[3]);
	if (!parse_u64(cmd->argv[4], &most) || most >= UINT32_MAX)
		return fail_with(EINVAL, out, "batches", cmd->argv[4]);
	l.blocks = (uint32_t)blocks;
	ret = load_open(&l, out);
	if (ret)
		return ret;
	while (go && number < most) {
		struct fate fate = { 0 };

		run_batch(&l, ++number, &fate);
		go = report(&l, number, &fate);
		buf_free(&fate.detail);
	}
	load_close(&l);
	buf_printf(out, "%u %u", number, l.durable);
	return 0;
}

static void scan_block(const void *block, uint32_t number, struct buf *out)
{
	struct version v;

	if (block_is_zero(block))
		return;
	buf_printf(out, "%u ", number);
	if (version_read(block, number, &v)) {
		buf_printf(out, "%llu %u %u\n", (unsigned long long)v.stream, v.batch, v.op);
		return;
	}
	buf_printf(out, "bad ");
	block_describe(block, out);
	buf_printf(out, "\n");
}

/* Blocks that cannot be read are told one by one. */
static void scan_chunk(int fd, const char *path, uint32_t first, uint32_t count, struct buf *out)
{
	char *chunk = chunk_buffer();
	struct buf why = { 0 };

	if (!read_chunk(fd, path, chunk, first * BLOCK_BYTES, count * BLOCK_BYTES, &why)) {
		for (uint32_t i = 0; i < count; i++)
			scan_block(chunk + i * BLOCK_BYTES, first + i, out);
	} else if (count == 1) {
		buf_printf(out, "%u unreadable ", first);
		buf_add_encoded(out, why.data);
		buf_printf(out, "\n");
	} else {
		for (uint32_t i = 0; i < count; i++)
			scan_chunk(fd, path, first + i, 1, out);
	}
	buf_free(&why);
}

/* load-scan DEV BLOCKS -> for each block that is not zero, "NUMBER STREAM BATCH OP" or what it is */
int cmd_load_scan(const struct cmd *cmd, struct buf *out)
{
	const uint32_t step = CHUNK_BYTES / BLOCK_BYTES;
	uint64_t blocks;
	int fd;

	if (!parse_u64(cmd->argv[2], &blocks) || blocks > 1 << 24)
		return fail_with(EINVAL, out, "blocks", cmd->argv[2]);
	fd = device_open(cmd->argv[1], O_RDONLY, out);
	if (fd < 0)
		return fd;
	device_forget_cache(fd);
	for (uint32_t at = 0; at < blocks; at += step)
		scan_chunk(fd, cmd->argv[1], at, blocks - at < step ? (uint32_t)blocks - at : step,
			   out);
	close(fd);
	return 0;
}
