// SPDX-License-Identifier: Apache-2.0
/*
 * Writes past the page cache whose content tells which write it came from, so that a reader knows
 * of every block how old it is. Nothing that is written this way looks like anything else: a disk
 * or a link on which the word "plain" is found has not been encrypted.
 */
#define _GNU_SOURCE
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MAX_BLOCKS 256
#define RECORD_BYTES 32

/* Coprime to every number of blocks used, so that all of them are written in turn. */
#define STRIDE 7919

static char *buffer(void)
{
	void *memory;

	if (posix_memalign(&memory, BLOCK_BYTES, MAX_BLOCKS * BLOCK_BYTES))
		exit(complain("posix_memalign"));
	return memory;
}

static void fill(char *data, uint64_t seed, uint64_t write, uint64_t block)
{
	char record[RECORD_BYTES + 1];

	snprintf(record, sizeof(record), "plain%08x %08x %08x\n", (unsigned int)seed,
		 (unsigned int)write, (unsigned int)block);
	for (size_t at = 0; at < BLOCK_BYTES; at += RECORD_BYTES)
		memcpy(data + at, record, RECORD_BYTES);
}

static int open_device(const char *path, int flags)
{
	int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC | flags, 0600);

	if (fd < 0)
		exit(complain("open"));
	return fd;
}

static int put(int fd, const char *data, size_t len, uint64_t offset)
{
	ssize_t done = pwrite(fd, data, len, (off_t)offset);

	if (done == (ssize_t)len)
		return 0;
	if (done >= 0)
		errno = EIO;
	return complain("pwrite");
}

/* One write of COUNT blocks; `sync` flushes afterwards, `dsync` asks for FUA. */
int cmd_write(int argc, char **argv)
{
	uint64_t block = number(argv[2]), count = number(argv[3]);
	uint64_t seed = number(argv[4]), write = number(argv[5]);
	char *data = buffer();
	int fd;

	(void)argc;
	if (!count || count > MAX_BLOCKS) {
		errno = EINVAL;
		return complain("count");
	}
	for (uint64_t i = 0; i < count; i++)
		fill(data + i * BLOCK_BYTES, seed, write, block + i);
	fd = open_device(argv[1], strcmp(argv[6], "dsync") ? 0 : O_DSYNC);
	if (put(fd, data, count * BLOCK_BYTES, block * BLOCK_BYTES))
		return 1;
	if (!strcmp(argv[6], "sync") && fdatasync(fd) < 0)
		return complain("fdatasync");
	return 0;
}

int cmd_flush(int argc, char **argv)
{
	(void)argc;
	return fdatasync(open_device(argv[1], 0)) < 0 ? complain("fdatasync") : 0;
}

/*
 * Writes FIRST, FIRST + 1, ... LAST (0: without end), one block of the device or file each, a flush
 * after every SYNC_EVERY. What a flush has promised is put down on ACK_DEVICE before the next write, where it
 * outlives this guest. Prints the last write that was promised.
 */
int cmd_load(int argc, char **argv)
{
	uint64_t blocks = number(argv[2]), seed = number(argv[3]), write = number(argv[4]);
	uint64_t last = number(argv[5]), every = number(argv[6]), promised = write - 1;
	int fd = open_device(argv[1], O_CREAT), ack = -1, failed = 0;
	char *data = buffer(), *note = buffer();

	(void)argc;
	if (strcmp(argv[7], "-"))
		ack = open_device(argv[7], O_DSYNC);
	for (; !last || write <= last; write++) {
		uint64_t block = write * STRIDE % blocks;

		fill(data, seed, write, block);
		failed = put(fd, data, BLOCK_BYTES, block * BLOCK_BYTES);
		if (failed)
			break;
		if (write % every && write != last)
			continue;
		if (fdatasync(fd) < 0) {
			failed = complain("fdatasync");
			break;
		}
		promised = write;
		memset(note, 0, BLOCK_BYTES);
		snprintf(note, BLOCK_BYTES, "%llu\n", (unsigned long long)promised);
		if (ack >= 0 && put(ack, note, BLOCK_BYTES, 0))
			exit(1);
	}
	printf("promised %llu\n", (unsigned long long)promised);
	return failed;
}

static int range_ioctl(char **argv, unsigned long request, const char *what)
{
	uint64_t range[2] = { number(argv[2]) * BLOCK_BYTES, number(argv[3]) * BLOCK_BYTES };

	return ioctl(open_device(argv[1], 0), request, range) < 0 ? complain(what) : 0;
}

int cmd_discard(int argc, char **argv)
{
	(void)argc;
	return range_ioctl(argv, BLKDISCARD, "BLKDISCARD");
}

int cmd_zeroes(int argc, char **argv)
{
	(void)argc;
	return range_ioctl(argv, BLKZEROOUT, "BLKZEROOUT");
}
