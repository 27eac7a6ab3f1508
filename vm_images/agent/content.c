// SPDX-License-Identifier: Apache-2.0
/*
 * The bytes that a write stores: the record stream of its line number. The host's
 * harness/model/content.py defines the same stream; both are compared in the unit tests.
 */
#include "agent.h"

#include <stdio.h>
#include <string.h>

#define RECORD_BYTES 32

void pattern_fill(void *dst, unsigned int line, uint64_t offset, size_t len)
{
	char record[64];
	char *out = dst;

	while (len) {
		size_t skip = offset % RECORD_BYTES;
		size_t part = RECORD_BYTES - skip;

		if (part > len)
			part = len;
		snprintf(record, sizeof(record), "step %04u byte %012llu ...\n", line,
			 (unsigned long long)(offset - skip));
		memcpy(out, record + skip, part);
		out += part;
		offset += part;
		len -= part;
	}
}
