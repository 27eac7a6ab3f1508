// SPDX-License-Identifier: Apache-2.0
/* Growable buffers, percent-encoding and the one form of a failure text. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Process 1 must not exit (the kernel would panic): it says so on the console and stands still. */
void fatal(const char *what)
{
	fprintf(stderr, "harness-agent: fatal: %s: %s\n", what, strerror(errno));
	if (getpid() != 1)
		exit(1);
	for (;;)
		pause();
}

char *buf_extend(struct buf *b, size_t len)
{
	if (b->cap - b->len < len + 1) {
		size_t cap = b->cap ? b->cap : 4096;
		char *data;

		while (cap - b->len < len + 1)
			cap *= 2;
		data = realloc(b->data, cap);
		if (!data)
			fatal("out of memory");
		b->data = data;
		b->cap = cap;
	}
	b->len += len;
	b->data[b->len] = '\0';
	return b->data + b->len - len;
}

void buf_add(struct buf *b, const void *data, size_t len)
{
	char *dst = buf_extend(b, len);

	if (len)
		memcpy(dst, data, len);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	char *text = NULL;
	va_list args;
	int len;

	va_start(args, fmt);
	len = vasprintf(&text, fmt, args);
	va_end(args);
	if (len < 0)
		fatal("out of memory");
	buf_add(b, text, (size_t)len);
	free(text);
}

static bool is_plain(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '_' || c == '-' || c == '/';
}

/* The empty text is written as a lone '%': a word must not vanish. */
void buf_add_encoded(struct buf *b, const char *text)
{
	static const char hex[] = "0123456789ABCDEF";

	if (!*text)
		buf_add(b, "%", 1);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		char *dst;

		if (is_plain(c)) {
			buf_add(b, &c, 1);
			continue;
		}
		dst = buf_extend(b, 3);
		dst[0] = '%';
		dst[1] = hex[c >> 4];
		dst[2] = hex[c & 15];
	}
}

void buf_free(struct buf *b)
{
	free(b->data);
	memset(b, 0, sizeof(*b));
}

int fail_with(int error, struct buf *out, const char *call, const char *object)
{
	const char *name = strerrorname_np(error);

	if (name)
		buf_printf(out, "%s: %s: %s", call, name, object);
	else
		buf_printf(out, "%s: E%d: %s", call, error, object);
	return error ? -error : -EIO;
}

int fail(struct buf *out, const char *call, const char *fmt, ...)
{
	int error = errno;
	char *object = NULL;
	va_list args;
	int len;

	va_start(args, fmt);
	len = vasprintf(&object, fmt, args);
	va_end(args);
	if (len < 0)
		fatal("out of memory");
	error = fail_with(error, out, call, object);
	free(object);
	return error;
}

bool parse_u64(const char *text, uint64_t *value)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoull(text, &end, 10);
	return !errno && !*end;
}

uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}
