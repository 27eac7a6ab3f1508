/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A fuzzer of everything that reads what a peer, or a stranger, has sent.
 *
 * The first byte of an input selects what the rest is: FUZZ_MESSAGE, one
 * message and who receives it; FUZZ_HANDSHAKE, what happens to one message of a
 * handshake on its way; FUZZ_SESSION, what happens to a stream of messages.
 */
#ifndef DM_ROLLBACCINE_FUZZ_H
#define DM_ROLLBACCINE_FUZZ_H

#include <stdio.h>
#include <stdlib.h>

#include "dm-rollbaccine-session.h"

enum fuzz_kind { FUZZ_MESSAGE, FUZZ_HANDSHAKE, FUZZ_SESSION, FUZZ_KINDS };

/* What a receiver of a message is like; then header and control part follow. */
struct fuzz_message {
	u8 kind;
	u8 from; /* enum rb_wire_side in bit 0 */
	u8 reserved[2];
	u32 epoch; /* of the limits */
	u64 blocks; /* of the limits */
	u64 expected; /* index of the next operation; issued, for progress */
	struct rb_progress last;
};

struct fuzz_handshake {
	u8 kind;
	u8 message; /* 0 to 3: HELLO to WELCOME */
	u8 mode; /* bit 0: no key; bit 1: the keys differ */
	u8 reserved;
	/* What is XORed over the message follows. */
};

#define FUZZ_INPUT_MAX 8192

#define FUZZ_REQUIRE(condition)						\
	do {								\
		if (!(condition)) {					\
			fprintf(stderr, "%s:%d: violated: %s\n",	\
				__FILE__, __LINE__, #condition);	\
			abort();					\
		}							\
	} while (0)

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

/* Each aborts when a property does not hold. */
bool fuzz_message(const u8 *data, size_t size); /* was it accepted? */
void fuzz_handshake(const u8 *data, size_t size);
void fuzz_session(const u8 *data, size_t size);

/*
 * Inputs worth starting from, of at most FUZZ_INPUT_MAX bytes: a message that
 * has to be accepted, and then what becomes of it.
 */
u64 fuzz_random(void);
size_t fuzz_generate_message(u8 *data);
size_t fuzz_generate_other(u8 *data);
size_t fuzz_mutate(u8 *data, size_t size);

struct rb_keys *toy_keys(u64 master); /* 0: no key */
bool toy_keys_same(const struct rb_keys *a, const struct rb_keys *b);

#endif /* DM_ROLLBACCINE_FUZZ_H */
