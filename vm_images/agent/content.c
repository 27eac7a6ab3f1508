// SPDX-License-Identifier: Apache-2.0
/*
 * The bytes that a write stores: the record stream of its line number. The host's
 * harness/model/content.py defines the same stream; both are compared in the unit tests.
 */
#include "agent.h"

#include <stdio.h>
#include <string.h>

#define RECORD_BYTES 32
#define DIGITS_END 26 /* position of the offset's last digit */

/* The record after @record; its twelve digits never overflow in a file that can exist. */
static void advance(char *record)
{
	char *digit = record + DIGITS_END;
	int carry = RECORD_BYTES;

	for (; carry; digit--) {
		carry += *digit - '0';
		*digit = (char)('0' + carry % 10);
		carry /= 10;
	}
}

/* Formatting every record would cost an emulated guest 3 ms for 32 KiB: count in decimal. */
void pattern_fill(void *dst, unsigned int line, uint64_t offset, size_t len)
{
	size_t skip = offset % RECORD_BYTES;
	char record[64];
	char *out = dst;

	snprintf(record, sizeof(record), "step %04u byte %012llu ...\n", line,
		 (unsigned long long)(offset - skip));
	while (len) {
		size_t part = RECORD_BYTES - skip < len ? RECORD_BYTES - skip : len;

		memcpy(out, record + skip, part);
		advance(record);
		out += part;
		len -= part;
		skip = 0;
	}
}
